"""Communities of the graph and their summaries, over a real corpus whose stores and models are small ones in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.corpus.base import Upload
from router.corpus.graph_builder import NameGraphBuilder
from router.corpus.pictures import CorpusPictures
from router.corpus.service import Corpus
from router.errors import ModelUnavailable, StoreUnavailable
from router.retrieval.base import Probe, RetrievalRequest, Retrieved
from router.retrieval.communities import Communities, find_communities
from router.retrieval.overview import OverviewRetriever
from router.retrieval.summaries import CommunitySummaries
from router.retrieval.summary import Summary, SummaryWriter
from router.settings import CorpusSettings, GraphSource, JournalSettings, WalkSettings
from router.stores.base import GraphContent, GraphNodeChunk, Subject
from router.stores.graph_state import GraphState
from router.stores.journal import Journal, open_journal
from router.stores.mirror import GraphMirror
from router.stores.pictures import FolderPictureStore
from router.stores.snapshot import GraphSnapshot
from router.stores.vectors import PassageVectors
from router.testing.fakes import HashEmbedder, InMemoryGraphStore, InMemoryVectorStore, SimpleRecogniser
from router.types import (
    NO_FILTER,
    Caller,
    Condition,
    Deadline,
    Entity,
    Evidence,
    EvidenceKind,
    Filter,
    Mention,
    Provenance,
    Query,
    Span,
    TextPart,
)

SAMPLE = Path(__file__).parents[3] / "examples" / "sample" / "corpus"
WHOLE = "What is this corpus about?"

# --- communities ----------------------------------------------------------------------------------------------------

TIES = st.lists(st.tuples(st.integers(0, 11), st.integers(0, 7)), max_size=40)
"""That a passage names an entity."""


def content(ties: Sequence[tuple[int, int]], passages: int = 12) -> GraphContent:
    """Passage `i` belongs to document `i // 2` and names the entities that it is tied to; each document has its title."""
    chunks = tuple(GraphNodeChunk(f"p{i:02}", f"d{i // 2}", "main", i % 2, f"Title {i // 2}") for i in range(passages))
    titles = tuple(Entity(f"t{i}", f"Title {i}", "TITLE") for i in range(passages // 2))
    entities = tuple(Entity(f"e{entity}", f"Name {entity}", "ORG") for entity in sorted({entity for _, entity in ties}))
    subjects = tuple(Subject(chunk.id, f"t{chunk.document_id[1:]}") for chunk in chunks)
    mentions = tuple(Mention(f"p{i:02}", f"e{entity}", Span(0, 1)) for i, entity in sorted(set(ties)))
    return GraphContent(chunks, (*titles, *entities), subjects, mentions, ())


def snapshot_of(*contents: GraphContent) -> GraphSnapshot:
    state = GraphState()
    for some in contents:
        state = state.written(some)
    return GraphSnapshot(state, WalkSettings())


def groups(found: Communities) -> list[list[str]]:
    return [[found.snapshot.chunks[node].id for node in group.tolist()] for group in found.passages]


@given(TIES)
def test_every_passage_with_an_edge_is_in_exactly_one_community_and_no_other_is(ties) -> None:
    snapshot = snapshot_of(content(ties))
    weights = snapshot.weights
    tied = [chunk.id for node, chunk in enumerate(snapshot.chunks) if weights[node].nnz]
    found = groups(find_communities(snapshot))
    assert sorted(passage for group in found for passage in group) == sorted(tied)
    assert [(-len(group), group[0]) for group in found] == sorted((-len(group), group[0]) for group in found)
    assert all(group == sorted(group) for group in found)


@given(TIES, TIES)
def test_the_order_of_arrival_makes_no_difference(first, second) -> None:
    one, other = content(first), content(second)
    both = content([*first, *second])
    assert groups(find_communities(snapshot_of(one, other))) == groups(find_communities(snapshot_of(other, one)))
    assert groups(find_communities(snapshot_of(one, other))) == groups(find_communities(snapshot_of(both)))


def test_a_search_that_begins_with_the_earlier_communities_leaves_what_was_not_touched() -> None:
    ties = [(i, i // 4) for i in range(12)]
    before = find_communities(snapshot_of(content(ties)))
    assert groups(before) == [[f"p{i:02}" for i in range(start, start + 4)] for start in (0, 4, 8)]
    grown = snapshot_of(content([*ties, (12, 2), (13, 2)], passages=14))
    after = find_communities(grown, before)
    assert groups(after)[:2] == groups(before)[:2]
    assert sorted(passage for group in groups(after)[2:] for passage in group) == ["p08", "p09", "p10", "p11", "p12", "p13"]
    assert groups(find_communities(grown, after)) == groups(after)


def test_a_graph_without_edges_has_no_communities() -> None:
    assert find_communities(snapshot_of()).passages == ()


# --- summaries ------------------------------------------------------------------------------------------------------

DOCUMENTS = {
    "pumps.md": "# Otter Pump\n\nThe Otter Pump lifts water. Its housing comes from Aster Foundry. Aster Foundry is paid by the piece.",
    "foundry.md": "# Aster Foundry\n\nAster Foundry casts the housing of the Otter Pump. Its furnace is lit on Mondays.",
    "seals.md": "# Rubber Seal\n\nThe Rubber Seal closes the Otter Pump. Aster Foundry keeps a hundred of them.",
    "canteen.md": "# Harbour Canteen\n\nThe Harbour Canteen serves soup. Mara Holt cooks it from leeks.",
    "cook.md": "# Mara Holt\n\nMara Holt leads the Harbour Canteen. She bakes bread on Fridays.",
    "menu.md": "# Friday Menu\n\nThe Friday Menu of the Harbour Canteen is written by Mara Holt. There is bread with it.",
}


class CountingWriter(SummaryWriter):
    def __init__(self, *parts) -> None:
        super().__init__(*parts)
        self.written: list[Summary] = []

    async def write(self, *group) -> Summary:
        self.written.append(await super().write(*group))
        return self.written[-1]


class Nothing:
    """An inner source that finds what it is told to."""

    found = Retrieved(())

    async def search(self, request: RetrievalRequest) -> Retrieved:
        return self.found


@dataclass
class World:
    corpus: Corpus
    journal: Journal
    mirror: GraphMirror
    embedder: HashEmbedder
    writer: CountingWriter
    inner: Nothing
    retriever: OverviewRetriever
    ids: dict[str, str] = field(default_factory=dict)

    async def write(self, documents: Mapping[str, str | bytes], tenant: str = "acme", **metadata: str) -> None:
        async def uploads() -> AsyncIterator[Upload]:
            for name, text in documents.items():
                yield Upload(name, text if isinstance(text, bytes) else text.encode(), metadata=metadata)

        async for said in self.corpus.ingest(tenant, uploads()):
            assert said.failure is None, said
            self.ids[said.name] = said.document_id

    async def ask(self, text: str = WHOLE, where: Filter = NO_FILTER, tenant: str = "acme") -> Retrieved:
        vector = (await self.embedder.embed([text]))[0]
        probe = Probe(vector, (), (), is_recent=False)
        caller = Caller(tenant, "r", Deadline.after(9))
        return await self.retriever.search(RetrievalRequest(Query((TextPart(text),), filter=where), probe, caller, 8))

    async def summaries(self, *args, **kwargs) -> tuple[Evidence, ...]:
        return (await self.ask(*args, **kwargs)).evidence


@asynccontextmanager
async def opened(folder: Path, **settings: int) -> AsyncIterator[World]:
    journal = await open_journal(JournalSettings(), folder)
    store, embedder, inner = InMemoryGraphStore(), HashEmbedder(), Nothing()
    mirror, vectors = GraphMirror(store, folder, WalkSettings()), PassageVectors(embedder.dimension)
    corpus = Corpus(
        CorpusSettings(),
        journal,
        InMemoryVectorStore(),
        store,
        embedder,
        SimpleRecogniser(),
        NameGraphBuilder(mirror, journal),
        (mirror, vectors),
        CorpusPictures(FolderPictureStore(folder), journal, None, "", InMemoryVectorStore(), PassageVectors(embedder.dimension)),
    )
    writer = CountingWriter(GraphSource(**settings), vectors, journal, embedder)
    summaries = CommunitySummaries(writer, GraphSource(**settings).summaries, vectors, journal)
    try:
        await corpus.start()
        yield World(corpus, journal, mirror, embedder, writer, inner, OverviewRetriever("graph", inner, mirror, summaries))
    finally:
        summaries.close()
        await corpus.aclose()
        await journal.aclose()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with opened(tmp_path) as made:
        await made.write(DOCUMENTS)
        yield made


async def test_the_whole_is_told_community_by_community_with_members_to_check(world: World) -> None:
    first, second = await world.summaries()
    assert {name for name in ("Otter Pump", "Aster Foundry", "Rubber Seal") if name in first.title + second.title}
    by_theme = {("pump" if "Pump" in item.text else "food"): item for item in (first, second)}
    for item, names in (
        (by_theme["pump"], ("pumps.md", "foundry.md", "seals.md")),
        (by_theme["food"], ("canteen.md", "cook.md", "menu.md")),
    ):
        assert item.kind is EvidenceKind.SUMMARY
        assert set(item.metadata["document_ids"]) == {world.ids[name] for name in names}
        assert (item.metadata["passages"], item.metadata["documents"]) == (3, 3)
        assert item.provenance == (Provenance("graph", 1 if item is first else 2, 0.5, "share"),)
        quoted = await world.journal.chunks("acme", item.metadata["quoted_passages"])
        assert set(quoted) == set(item.metadata["quoted_passages"])
        assert all(any(sentence in chunk.text for chunk in quoted.values()) for sentence in item.text.split(". "))
        assert not any(sentence.startswith(("She", "Its", "There")) for sentence in item.text.split(". "))


async def test_an_ordinary_question_gets_what_the_inner_source_found_and_costs_nothing(world: World) -> None:
    world.inner.found = Retrieved((Evidence("e", EvidenceKind.PASSAGE, "T", "text", (Provenance("graph", 1, 1.0, "walk"),)),))
    embedded = world.embedder.embedded
    assert await world.ask("Who casts the housing of the Otter Pump?") is world.inner.found
    assert world.embedder.embedded == embedded + 1  # the question
    assert world.writer.written == []


async def test_an_overview_of_a_subject_stands_beside_what_its_names_lead_to(world: World) -> None:
    passage = Evidence("e", EvidenceKind.PASSAGE, "T", "text", (Provenance("graph", 1, 1.0, "walk"),))
    world.inner.found = Retrieved((passage,), seeds={"e": 4.0, "f": 12.0})
    found = await world.ask("Give me an overview of soup and bread in the Harbour Canteen")
    assert [item.kind for item in found.evidence] == [EvidenceKind.PASSAGE, EvidenceKind.SUMMARY]
    summary = found.evidence[1]
    assert "Mara Holt" in summary.text
    assert summary.provenance[0].rank == 2
    assert summary.provenance[0].scale == "cosine"
    assert found.seeds == pytest.approx({"e": 0.125, "f": 0.375, summary.id: 0.5})


async def test_only_passages_under_the_filter_count(world: World) -> None:
    await world.write({"oven.md": "# Bread Oven\n\nThe Bread Oven of the Harbour Canteen was built by Mara Holt."}, year="2024")
    (only,) = await world.summaries(where=Filter(must=(Condition("year", equals="2024"),)))
    assert only.metadata["document_ids"] == (world.ids["oven.md"],)
    assert only.text == "The Bread Oven of the Harbour Canteen was built by Mara Holt."
    assert await world.summaries(where=Filter(must=(Condition("year", equals="1999"),))) == ()
    (rest,) = [item for item in await world.summaries(where=Filter(must_not=(Condition("year", exists=True),))) if "Mara" in item.text]
    assert "Oven" not in rest.text + rest.title


async def test_a_write_costs_new_summaries_only_where_passages_came_or_went(world: World) -> None:
    before = await world.summaries()
    assert len(world.writer.written) == len(before) == 2
    assert await world.summaries() == before
    assert len(world.writer.written) == 2
    await world.write({"oven.md": "# Bread Oven\n\nThe Bread Oven of the Harbour Canteen was built by Mara Holt."})
    after = await world.summaries()
    assert len(world.writer.written) == 3
    assert len({item.id for item in after} & {item.id for item in before}) == 1
    assert after[0].metadata["passages"] == 4


async def test_the_text_of_a_deleted_document_is_in_no_summary(world: World) -> None:
    assert any("Friday" in item.text + item.title for item in await world.summaries())
    await world.corpus.delete("acme", world.ids["menu.md"])
    after = await world.summaries()
    assert not any("Friday Menu" in item.text + item.title for item in after)
    assert not any(world.ids["menu.md"] in item.metadata["document_ids"] for item in after)
    kept = world.retriever._summaries._tenants["acme"].summaries.values()
    assert not any("Friday Menu" in summary.text for summary in kept)


async def test_tenants_never_see_each_other(world: World) -> None:
    assert await world.summaries(tenant="other") == ()
    own = {"a.md": "# Grey Heron\n\nGrey Heron stands near Tall Reed.", "b.md": "# Tall Reed\n\nTall Reed hides Grey Heron."}
    await world.write(own, tenant="other")
    (theirs,) = await world.summaries(tenant="other")
    assert "Heron" in theirs.text
    assert "Pump" not in theirs.text + theirs.title
    assert not any("Heron" in item.text + item.title for item in await world.summaries())


async def test_number_and_length_are_bounded(tmp_path: Path) -> None:
    async with opened(tmp_path, summaries=1, summary_chars=100) as world:
        await world.write(DOCUMENTS)
        (only,) = await world.summaries()
        assert 0 < len(only.text) <= 100


async def test_what_is_down_is_no_empty_overview(world: World) -> None:
    async def no_model(texts):
        raise ModelUnavailable("the model is gone")

    async def no_journal(tenant, ids):
        raise StoreUnavailable("the journal is gone")

    embed, world.embedder.embed = world.embedder.embed, no_model  # type: ignore[method-assign]
    vector = (await embed([WHOLE]))[0]
    request = RetrievalRequest(Query((TextPart(WHOLE),)), Probe(vector, (), (), is_recent=False), Caller("acme", "r", Deadline.after(9)), 8)
    with pytest.raises(ModelUnavailable):
        await world.retriever.search(request)
    world.embedder.embed = embed  # type: ignore[method-assign]
    chunks, world.journal.chunks = world.journal.chunks, no_journal  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable):
        await world.retriever.search(request)
    world.journal.chunks = chunks  # type: ignore[method-assign]
    assert len((await world.retriever.search(request)).evidence) == 2


async def test_a_caller_who_gives_up_leaves_less_to_do(world: World) -> None:
    second = asyncio.Event()
    embed = world.embedder.embed

    async def slow_after_the_first(texts):
        if world.writer.written:
            second.set()
            await asyncio.Event().wait()
        return await embed(texts)

    world.embedder.embed = slow_after_the_first  # type: ignore[method-assign]
    asking = asyncio.create_task(world.ask())
    await second.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    world.embedder.embed = embed  # type: ignore[method-assign]
    assert len(await world.summaries()) == 2
    assert len(world.writer.written) == 2


async def test_degraded_is_still_said(world: World) -> None:
    world.inner.found = replace(Retrieved(()), degraded="the graph database is down")
    assert (await world.ask()).degraded == "the graph database is down"


async def test_the_sample_corpus_in_communities(tmp_path: Path) -> None:
    async with opened(tmp_path) as world:
        await world.write({path.name: path.read_bytes() for path in sorted(SAMPLE.iterdir()) if path.suffix in {".md", ".txt", ".tsv"}})
        found = await world.summaries()
        assert 4 <= len(found) <= 8
        assert all(item.text and item.title and len(item.text) <= GraphSource().summary_chars for item in found)
        shares = [item.provenance[0].score for item in found]
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) > 0.6
        members = [document for item in found for document in item.metadata["document_ids"]]
        assert len(set(members)) > 30
