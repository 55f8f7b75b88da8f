"""The graph source: names in, passages and facts with their paths out."""

from __future__ import annotations

import time
from dataclasses import dataclass

import pytest

from router.corpus.base import Triple
from router.corpus.chunk import embedded_text
from router.errors import StoreUnavailable
from router.models.base import Recognised, RecognisedName
from router.retrieval.base import Probe, RetrievalRequest
from router.retrieval.graph import GraphRetriever
from router.retrieval.linker import NameLinker, without_names
from router.retrieval.relation_paths import RelationPaths
from router.retrieval.word_vectors import WordVectors
from router.settings import EmbeddingSettings, GraphSource, WalkSettings
from router.stores.base import GraphBatch
from router.stores.mirror import GraphMirror
from router.stores.vectors import PassageVectors
from router.testing.fakes import InMemoryGraphStore
from router.types import NO_FILTER, Caller, Condition, Deadline, EvidenceKind, Filter, Query, Span, TextPart
from tests.unit.graphs import TENANT, mirror_of, passage

CORPUS = (
    passage("incident", "Incident 12", "The pump failed. It came from Aster Foundry.", year="2024"),
    passage("supplier", "Aster Foundry", "The account is held by Jonas Weld.", year="2024"),
    passage("person", "Jonas Weld", "He works in the Harbour Office.", year="2023"),
    passage("menu", "Canteen Menu", "Soup.", year="2024"),
)
FACTS = (
    Triple("Night Ferry", "directed_by", "Mara Holt"),
    Triple("Night Ferry", "release_year", "1962"),
    Triple("Stone Harbour", "directed_by", "Mara Holt"),
    Triple("Stone Harbour", "release_year", "1971"),
)


@dataclass
class Database:
    is_up: bool = True
    last_seen: float | None = None
    last_error: str = "connection refused"


@pytest.fixture
async def embedder(tmp_path):
    from router.models.embedding import open_embedder

    opened = await open_embedder(EmbeddingSettings(), tmp_path)
    yield opened
    await opened.aclose()


@pytest.fixture
async def ask(tmp_path, embedder):
    mirror, passages, _ = await mirror_of(CORPUS, tmp_path, FACTS)
    database = Database(last_seen=time.monotonic())
    paths = RelationPaths(WordVectors(embedder), 2)
    vectors = PassageVectors(embedder.dimension)
    await vectors.on_written(TENANT, CORPUS, await embedder.embed([embedded_text(chunk) for chunk in CORPUS]), GraphBatch())
    retriever = GraphRetriever("graph", GraphSource(), WalkSettings(), mirror, vectors, passages, database)

    async def search(text: str, where: Filter = NO_FILTER, *, up: bool = True):
        database.is_up = up
        linked = await NameLinker(mirror).link(TENANT, text)
        vector, unnamed = await embedder.embed([text, without_names(text, linked)])
        asked = () if where else tuple(await paths.best(await mirror.current(TENANT), linked, text, 5))
        probe = Probe(vector, (), linked, is_recent=False, unnamed=unnamed, paths=asked)
        return await retriever.search(
            RetrievalRequest(Query((TextPart(text),), filter=where), probe, Caller(TENANT, "r", Deadline.after(9)), 8)
        )

    return search


async def test_the_second_and_third_hop_are_found_with_their_path(ask) -> None:
    found = await ask("Who holds the account of the supplier behind Incident 12?")
    assert {item.id for item in found.evidence[:3]} == {"incident", "supplier", "person"}
    path = next(item for item in found.evidence if item.id == "person").provenance[0].path
    assert [(step.subject, step.relation, step.object) for step in path] == [
        ("the question", "names", "Incident 12"),
        ("Incident 12", "mentions", "Aster Foundry"),
        ("Aster Foundry", "mentions", "Jonas Weld"),
    ]
    assert "menu" not in {item.id for item in found.evidence}


async def test_a_question_without_known_names_finds_nothing_and_says_ok(ask) -> None:
    found = await ask("what is for lunch?")
    assert found.evidence == ()
    assert found.degraded == ""


async def test_a_filter_holds_on_the_way(ask) -> None:
    found = await ask("Who holds the account behind Incident 12?", Filter(must=(Condition("year", equals="2024"),)))
    assert {item.id for item in found.evidence} == {"incident", "supplier"}


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("who directed the film Night Ferry?", "Mara Holt"),
        ("in which year was Stone Harbour released?", "1971"),
        ("which films did Mara Holt direct?", "Night Ferry, Stone Harbour"),
    ],
)
async def test_a_fact_answers_with_its_relation(ask, question: str, answer: str) -> None:
    found = await ask(question)
    first = found.evidence[0]
    assert first.kind is EvidenceKind.FACT
    assert first.text.endswith(f": {answer}.")
    assert first.provenance[0].path


async def test_a_database_that_is_down_is_told_with_the_age(ask) -> None:
    found = await ask("Who is Jonas Weld?", up=False)
    assert found.evidence
    assert "connection refused" in found.degraded
    assert "0 s old" in found.degraded


class DownStore(InMemoryGraphStore):
    async def load(self, tenant: str):
        raise StoreUnavailable("down")


async def test_with_nothing_to_serve_from_the_source_is_unavailable(tmp_path) -> None:
    mirror = GraphMirror(DownStore(), tmp_path, WalkSettings())
    with pytest.raises(StoreUnavailable):
        await NameLinker(mirror).link(TENANT, "Jonas Weld")
    assert await NameLinker(mirror).ids_in(TENANT, "Jonas Weld") == ()


async def test_a_saved_snapshot_serves_while_the_store_is_down(tmp_path) -> None:
    mirror, _, _ = await mirror_of(CORPUS, tmp_path, FACTS)
    before = (await mirror.current(TENANT)).content
    await mirror.save()
    again = GraphMirror(DownStore(), tmp_path, WalkSettings())
    assert (await again.current(TENANT)).content == before
    with pytest.raises(StoreUnavailable):
        await again.current("another tenant")


async def test_a_deleted_document_leaves_no_trace(tmp_path) -> None:
    mirror, _, store = await mirror_of(CORPUS, tmp_path, FACTS)
    await store.delete_document(TENANT, "doc-supplier")
    await mirror.on_deleted(TENANT, "doc-supplier")
    snapshot = await mirror.current(TENANT)
    assert snapshot.node("supplier") is None
    assert snapshot.content == await store.load(TENANT), "the mirror and the store agree"


async def test_how_two_things_are_connected_is_evidence_of_its_own(ask) -> None:
    found = await ask("How is Incident 12 connected to Jonas Weld?")
    first = found.evidence[0]
    assert first.kind is EvidenceKind.FACT
    assert first.text == "Incident 12 and Jonas Weld: Incident 12 mentions Aster Foundry; Aster Foundry mentions Jonas Weld."
    assert len(first.provenance[0].path) == 2
    assert {item.id for item in found.evidence[1:4]} == {"incident", "supplier", "person"}
    assert found.links[first.id]


async def test_a_name_that_nothing_speaks_of_any_more_finds_nothing(tmp_path, embedder) -> None:
    """It is in the graph, but a hub: no passage is reached from it."""
    crowd = tuple(passage(f"p{number}", f"Page {number}", "Nordhelm Lockworks did it.") for number in range(30))
    known = [Recognised((RecognisedName("Nordhelm Lockworks", "ORG", Span(0, 18)),), ())] * len(crowd)
    mirror, passages, _ = await mirror_of(crowd, tmp_path, recognised=known)
    vectors = PassageVectors(embedder.dimension)
    retriever = GraphRetriever("graph", GraphSource(), WalkSettings(), mirror, vectors, passages, Database(last_seen=time.monotonic()))
    linked = await NameLinker(mirror).link(TENANT, "What did Nordhelm Lockworks do?")
    assert linked
    probe = Probe((await embedder.embed(["?"]))[0], (), linked, is_recent=False, paths=())
    query = Query((TextPart("What did Nordhelm Lockworks do?"),))
    found = await retriever.search(RetrievalRequest(query, probe, Caller(TENANT, "r", Deadline.after(9)), 8))
    assert found.evidence == ()
