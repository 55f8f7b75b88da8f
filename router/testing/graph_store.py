"""What every GraphStore must do. A backend's test is a subclass with a `store` fixture (an empty store)."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from router.stores.base import EMPTY_GRAPH, GraphBatch, GraphStore, Subject
from router.types import Chunk, Entity, Fact, Mention, Span

HOSTILE = ("o'brien", 'say "x"', "`back`tick", "a\\b", "}) DETACH DELETE n //", "line\nbreak", "名前", "$tenant", "")


def chunk(identity: str, document: str = "doc", ordinal: int = 0, title: str = "Title") -> Chunk:
    return Chunk(identity, document, "main", ordinal, title, (), "text", Span(0, 4))


def small_graph(document: str = "doc", prefix: str = "") -> GraphBatch:
    """Two passages, three entities, one subject, three mentions (one entity twice in a passage), two facts."""
    one, other = chunk(f"{prefix}c1", document), chunk(f"{prefix}c2", document, 1)
    return GraphBatch(
        chunks=(one, other),
        entities=(Entity("e1", "Aster", "TITLE"), Entity("e2", "Weld", "PERSON"), Entity("e3", "Harbour", "GPE")),
        subjects=(Subject(one.id, "e1"),),
        mentions=(Mention(one.id, "e2", Span(3, 7)), Mention(one.id, "e2", Span(20, 24)), Mention(other.id, "e3", Span(0, 7))),
        facts=(
            Fact(f"{prefix}f1", "e2", "works for", "e1", document, one.id),
            Fact(f"{prefix}f2", "e2", "lives in", "e3", document, one.id),
        ),
    )


@pytest.fixture
def tenant() -> str:
    """A tenant of its own for each test, so that one server serves them all."""
    return f"t{uuid.uuid4().hex}"


class GraphStoreContract:
    async def test_an_unknown_tenant_has_an_empty_graph(self, store: GraphStore, tenant: str) -> None:
        assert await store.load(tenant) == EMPTY_GRAPH
        assert await store.counts(tenant) == {"chunks": 0, "entities": 0, "mentions": 0, "facts": 0}
        await store.delete_document(tenant, "nothing")

    async def test_what_is_written_is_read(self, store: GraphStore, tenant: str) -> None:
        batch = small_graph()
        await store.upsert(tenant, batch)
        content = await store.load(tenant)
        assert [item.id for item in content.chunks] == ["c1", "c2"]
        assert content.chunks[1].ordinal == 1
        assert content.entities == batch.entities
        assert content.subjects == batch.subjects
        assert set(content.mentions) == set(batch.mentions)
        assert content.facts == batch.facts
        assert await store.counts(tenant) == {"chunks": 2, "entities": 3, "mentions": 3, "facts": 2}

    async def test_writing_twice_is_writing_once(self, store: GraphStore, tenant: str) -> None:
        await store.upsert(tenant, small_graph())
        once = await store.load(tenant)
        await store.upsert(tenant, small_graph())
        assert await store.load(tenant) == once

    async def test_a_later_write_wins_and_adds(self, store: GraphStore, tenant: str) -> None:
        await store.upsert(tenant, small_graph())
        await store.upsert(tenant, GraphBatch(entities=(Entity("e1", "Aster Foundry", "TITLE"), Entity("e9", "New", "ORG"))))
        names = {entity.id: entity.name for entity in (await store.load(tenant)).entities}
        assert names == {"e1": "Aster Foundry", "e2": "Weld", "e3": "Harbour", "e9": "New"}

    async def test_tenants_never_meet(self, store: GraphStore, tenant: str) -> None:
        other = f"{tenant}x"
        await store.upsert(tenant, small_graph())
        await store.upsert(other, small_graph())
        await store.delete_document(tenant, "doc")
        assert await store.load(tenant) == EMPTY_GRAPH
        assert (await store.counts(other))["facts"] == 2
        assert await store.neighbours(tenant, ["e2"], 10) == []

    @pytest.mark.parametrize("name", HOSTILE)
    async def test_names_are_data(self, store: GraphStore, tenant: str, name: str) -> None:
        identity = f"id-{name}"
        batch = GraphBatch(
            chunks=(chunk(identity, name, title=name),),
            entities=(Entity(identity, name, name), Entity("o", "Other", "ORG")),
            mentions=(Mention(identity, identity, Span(0, 1)),),
            facts=(Fact(identity, identity, name, "o", name, identity),),
        )
        await store.upsert(tenant, batch)
        content = await store.load(tenant)
        assert (content.chunks[0].title, content.facts) == (name, batch.facts)
        assert {entity.name for entity in content.entities} == {name, "Other"}
        await store.delete_document(tenant, name)
        assert await store.load(tenant) == EMPTY_GRAPH

    async def test_a_shared_entity_outlives_one_document(self, store: GraphStore, tenant: str) -> None:
        await store.upsert(tenant, small_graph("doc"))
        await store.upsert(
            tenant, GraphBatch((chunk("d1", "second"),), (Entity("e2", "Weld", "PERSON"),), (), (Mention("d1", "e2", Span(0, 4)),))
        )
        await store.delete_document(tenant, "doc")
        content = await store.load(tenant)
        assert [entity.id for entity in content.entities] == ["e2"]
        assert [item.id for item in content.chunks] == ["d1"]
        assert content.facts == ()

    async def test_a_file_of_facts_is_deleted_without_passages(self, store: GraphStore, tenant: str) -> None:
        entities = tuple(Entity(f"e{n}", f"Name {n}", "TERM") for n in range(4))
        kept, gone = Fact("k", "e0", "knows", "e1", "kept"), Fact("g", "e1", "knows", "e2", "gone")
        await store.upsert(tenant, GraphBatch(entities=entities[:3], facts=(kept, gone)))
        await store.delete_document(tenant, "gone")
        content = await store.load(tenant)
        assert content.facts == (kept,)
        assert [entity.id for entity in content.entities] == ["e0", "e1"]

    async def test_neighbours(self, store: GraphStore, tenant: str) -> None:
        batch = small_graph()
        await store.upsert(tenant, batch)
        assert await store.neighbours(tenant, ["e2"], 10) == list(batch.facts)
        assert await store.neighbours(tenant, ["e1", "e2"], 10) == list(batch.facts)
        assert await store.neighbours(tenant, ["e3"], 10) == [batch.facts[1]]
        assert len(await store.neighbours(tenant, ["e2"], 1)) == 1
        assert await store.neighbours(tenant, [], 10) == []

    async def test_writers_at_once_lose_nothing(self, store: GraphStore, tenant: str) -> None:
        batches = [small_graph(f"doc{n}", f"{n}-") for n in range(8)]
        await asyncio.gather(*(store.upsert(tenant, batch) for batch in batches))
        assert await store.counts(tenant) == {"chunks": 16, "entities": 3, "mentions": 24, "facts": 16}

    async def test_a_living_store_answers(self, store: GraphStore) -> None:
        await store.ping()
