"""What every GraphStore must do. A backend's test is a subclass with a `store` fixture (an empty store)."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from router.stores.base import EMPTY_GRAPH, GraphBatch, GraphStore, Subject
from router.types import Chunk, Entity, Fact, Mention, Span

TENANTS = ("o'brien", 'say "x"', "`back`tick", "a/b", "a%2Fb", "名前", "}) DETACH DELETE n //")
HOSTILE = ("o'brien", 'say "x"', "`back`tick", "a\\b", "}) DETACH DELETE n //", "line\nbreak", "名前", "$tenant", "")


def chunk(identity: str, document: str = "doc", ordinal: int = 0, title: str = "Title") -> Chunk:
    return Chunk(identity, document, "main", ordinal, title, (), "text", Span(0, 4))


def small_graph(document: str = "doc", prefix: str = "") -> GraphBatch:
    """Two passages, three entities, two subjects (one guessed), three mentions (one entity twice in a passage), two facts."""
    one, other = chunk(f"{prefix}c1", document), chunk(f"{prefix}c2", document, 1)
    return GraphBatch(
        chunks=(one, other),
        entities=(Entity("e1", "Aster", "TITLE"), Entity("e2", "Weld", "PERSON"), Entity("e3", "Harbour", "GPE")),
        subjects=(Subject(one.id, "e1"), Subject(other.id, "e1", 0.25)),
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

    async def test_a_later_confidence_takes_the_place_of_an_earlier_one(self, store: GraphStore, tenant: str) -> None:
        batch = small_graph()
        await store.upsert(tenant, batch)
        surer = Subject(batch.subjects[1].chunk_id, "e1", 0.75)
        await store.upsert(tenant, GraphBatch(subjects=(surer,)))
        assert (await store.load(tenant)).subjects == (batch.subjects[0], surer)

    async def test_batches_that_overlap_add_up(self, store: GraphStore, tenant: str) -> None:
        whole = small_graph()
        first = GraphBatch(whole.chunks, whole.entities, whole.subjects, whole.mentions[:2], whole.facts[:1])
        second = GraphBatch(whole.chunks[:1], whole.entities, (), whole.mentions[1:], whole.facts)
        await store.upsert(tenant, first)
        await store.upsert(tenant, second)
        assert await store.counts(tenant) == {"chunks": 2, "entities": 3, "mentions": 3, "facts": 2}
        assert (await store.load(tenant)).facts == whole.facts

    async def test_an_edge_named_twice_in_a_batch_is_one(self, store: GraphStore, tenant: str) -> None:
        whole = small_graph()
        twice = GraphBatch(whole.chunks * 2, whole.entities * 2, whole.subjects * 2, whole.mentions * 2, whole.facts * 2)
        await store.upsert(tenant, twice)
        assert await store.counts(tenant) == {"chunks": 2, "entities": 3, "mentions": 3, "facts": 2}

    async def test_a_batch_of_many_rows_is_written_and_deleted_whole(self, store: GraphStore, tenant: str) -> None:
        entities = tuple(Entity(f"e{n:04}", f"Name {n}", "TERM") for n in range(2_500))
        facts = tuple(Fact(f"f{n:04}", "e0000", "leads to", f"e{n:04}", "hub") for n in range(1, 2_500))
        chunks = tuple(chunk(f"c{n:03}", "long", n) for n in range(450))
        mentions = tuple(Mention(item.id, f"e{item.ordinal:04}", Span(0, 4)) for item in chunks)
        await store.upsert(tenant, GraphBatch(chunks, entities, (), mentions, facts))
        assert await store.counts(tenant) == {"chunks": 450, "entities": 2_500, "mentions": 450, "facts": 2_499}
        assert len((await store.load(tenant)).facts) == 2_499
        await store.delete_document(tenant, "hub")
        assert await store.counts(tenant) == {"chunks": 450, "entities": 450, "mentions": 450, "facts": 0}
        await store.delete_document(tenant, "long")
        assert await store.load(tenant) == EMPTY_GRAPH

    async def test_tenants_never_meet(self, store: GraphStore, tenant: str) -> None:
        other = f"{tenant}x"
        await store.upsert(tenant, small_graph())
        await store.upsert(other, small_graph())
        await store.delete_document(tenant, "doc")
        assert await store.load(tenant) == EMPTY_GRAPH
        assert (await store.counts(other))["facts"] == 2
        assert await store.neighbours(tenant, ["e2"], 10) == []

    async def test_no_two_tenants_make_one_key(self, store: GraphStore, tenant: str) -> None:
        # tenant "a", id "b/c" beside tenant "a/b", id "c".
        await store.upsert(tenant, GraphBatch(entities=(Entity("b/c", "Inner", "ORG"),)))
        await store.upsert(f"{tenant}/b", GraphBatch(entities=(Entity("c", "Outer", "ORG"),)))
        assert [entity.name for entity in (await store.load(tenant)).entities] == ["Inner"]
        assert [entity.name for entity in (await store.load(f"{tenant}/b")).entities] == ["Outer"]

    @pytest.mark.parametrize("name", TENANTS)
    async def test_names_of_tenants_are_data(self, store: GraphStore, tenant: str, name: str) -> None:
        await store.upsert(tenant, small_graph())
        await store.upsert(tenant + name, small_graph())
        await store.delete_document(tenant, "doc")
        content = await store.load(tenant + name)
        assert set(content.facts) == set(small_graph().facts)
        assert set(await store.neighbours(tenant + name, ["e2"], 10)) == set(small_graph().facts)
        assert await store.load(tenant) == EMPTY_GRAPH

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

    async def test_facts_about_what_the_passages_do_not_name_go_with_their_document(self, store: GraphStore, tenant: str) -> None:
        unnamed = (Entity("u1", "Quay", "TERM"), Entity("u2", "Tide", "TERM"))
        await store.upsert(tenant, small_graph())
        await store.upsert(tenant, GraphBatch(entities=unnamed, facts=(Fact("f9", "u1", "has", "u2", "doc"),)))
        await store.delete_document(tenant, "doc")
        assert await store.load(tenant) == EMPTY_GRAPH

    async def test_an_entity_with_a_fact_of_another_document_stays(self, store: GraphStore, tenant: str) -> None:
        await store.upsert(tenant, small_graph())
        kept = Fact("k", "e3", "is near", "e1", "other")
        await store.upsert(tenant, GraphBatch(facts=(kept,)))
        await store.delete_document(tenant, "doc")
        content = await store.load(tenant)
        assert content.facts == (kept,)
        assert [entity.id for entity in content.entities] == ["e1", "e3"]
        await store.delete_document(tenant, "doc")  # a repeat changes nothing
        assert await store.load(tenant) == content

    async def test_a_document_can_come_back(self, store: GraphStore, tenant: str) -> None:
        await store.upsert(tenant, small_graph())
        once = await store.load(tenant)
        await store.delete_document(tenant, "doc")
        await store.upsert(tenant, small_graph())
        assert await store.load(tenant) == once

    async def test_a_fact_of_something_with_itself(self, store: GraphStore, tenant: str) -> None:
        itself = Fact("s", "e", "cites", "e", "doc")
        await store.upsert(tenant, GraphBatch(entities=(Entity("e", "Loop", "TERM"),), facts=(itself,)))
        assert await store.neighbours(tenant, ["e"], 10) == [itself]
        await store.delete_document(tenant, "doc")
        assert await store.load(tenant) == EMPTY_GRAPH

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

    async def test_writers_and_deleters_at_once(self, store: GraphStore, tenant: str) -> None:
        for n in range(4):
            await store.upsert(tenant, small_graph(f"old{n}", f"o{n}-"))
        await asyncio.gather(
            *(store.upsert(tenant, small_graph(f"new{n}", f"n{n}-")) for n in range(4)),
            *(store.delete_document(tenant, f"old{n}") for n in range(4)),
            store.load(tenant),
        )
        assert await store.counts(tenant) == {"chunks": 8, "entities": 3, "mentions": 12, "facts": 8}

    async def test_a_living_store_answers(self, store: GraphStore) -> None:
        await store.ping()
