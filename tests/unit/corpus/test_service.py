"""The corpus with the real journal and graph builder; vectors, graph and models in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from router.corpus.base import Acknowledgement, CorpusObserver, DocumentState, GraphBuilder, Upload
from router.corpus.chunk import document_id
from router.corpus.graph_builder import NameGraphBuilder
from router.corpus.openie import FactExtractor
from router.corpus.pictures import CorpusPictures
from router.corpus.service import Corpus
from router.errors import InternalError, InvalidInput, NotFound, StoreUnavailable
from router.settings import CorpusSettings, JournalSettings, MilvusSettings, WalkSettings
from router.stores.base import GraphBatch, VectorStore
from router.stores.journal import Journal, open_journal
from router.stores.milvus import MilvusVectorStore
from router.stores.mirror import GraphMirror
from router.stores.pictures import FolderPictureStore
from router.stores.vectors import PassageVectors
from router.testing.fakes import ColourEncoder, HashEmbedder, InMemoryGraphStore, InMemoryVectorStore, SimpleRecogniser
from router.types import Chunk, Matrix
from tests.unit.corpus import files

DURABLE, SEARCHABLE, UNCHANGED, FAILED = DocumentState.DURABLE, DocumentState.SEARCHABLE, DocumentState.UNCHANGED, DocumentState.FAILED


@dataclass
class Log:
    """An observer that remembers what it was told."""

    written: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)

    async def on_written(self, tenant: str, chunks: Sequence[Chunk], vectors: Matrix, batch: GraphBatch) -> None:
        assert len(chunks) == len(vectors)
        self.written += [chunk.document_name for chunk in chunks]

    async def on_deleted(self, tenant: str, document_id: str) -> None:
        self.deleted.append(document_id)


@dataclass
class World:
    """Everything that a corpus needs; outlives it, as stores outlive a process."""

    folder: Path
    vectors: VectorStore = field(default_factory=InMemoryVectorStore)
    graph: InMemoryGraphStore = field(default_factory=InMemoryGraphStore)
    embedder: HashEmbedder = field(default_factory=HashEmbedder)
    log: Log = field(default_factory=Log)
    picture_vectors: InMemoryVectorStore = field(default_factory=InMemoryVectorStore)
    encoder: ColourEncoder | None = field(default_factory=ColourEncoder)
    version: str = "1"
    sure: float | None = 0.9
    settings: CorpusSettings = field(default_factory=lambda: CorpusSettings(chunk_tokens=32, chunk_overlap_tokens=4, batch_chunks=4))
    patience_s: float = 5.0
    builder: GraphBuilder | None = None
    extractor: Callable[[Journal], FactExtractor] | None = None

    def pictures(self, journal: Journal) -> CorpusPictures:
        files = FolderPictureStore(self.folder / "pictures")
        return CorpusPictures(files, journal, self.encoder, self.version, self.picture_vectors, PassageVectors(64), sure=self.sure)

    @asynccontextmanager
    async def open(self, *, start: bool = True) -> AsyncIterator[tuple[Corpus, Journal]]:
        journal = await open_journal(JournalSettings(), self.folder)
        mirror = GraphMirror(self.graph, self.folder, WalkSettings())
        builder = self.builder or NameGraphBuilder(mirror, journal)
        observers: tuple[CorpusObserver, ...] = (mirror, self.log)
        corpus = Corpus(
            self.settings,
            journal,
            self.vectors,
            self.graph,
            self.embedder,
            SimpleRecogniser(),
            builder,
            observers,
            self.pictures(journal),
            self.patience_s,
            self.extractor(journal) if self.extractor is not None else None,
        )
        try:
            if start:
                await corpus.start()
            yield corpus, journal
        finally:
            await corpus.aclose()
            await journal.aclose()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
async def corpus(world: World) -> AsyncIterator[Corpus]:
    async with world.open() as (corpus, _):
        yield corpus


async def stream(*uploads: Upload) -> AsyncIterator[Upload]:
    for upload in uploads:
        yield upload


async def ingest(corpus: Corpus, *uploads: Upload, tenant: str = "t") -> list[Acknowledgement]:
    return [acknowledgement async for acknowledgement in corpus.ingest(tenant, stream(*uploads))]


async def drained(acknowledgements: AsyncIterator[Acknowledgement]) -> AsyncIterator[Acknowledgement]:
    """Ends where the stream ends, without its items."""
    async for _ in acknowledgements:
        pass
    for nothing in ():
        yield nothing


async def until_finished(journal: Journal) -> None:
    while await journal.unfinished("t"):  # noqa: ASYNC110 - it stands in the database
        await asyncio.sleep(0.01)


def states(acknowledgements: Sequence[Acknowledgement], name: str) -> list[DocumentState]:
    return [acknowledgement.state for acknowledgement in acknowledgements if acknowledgement.name == name]


def reasons(acknowledgements: Sequence[Acknowledgement]) -> dict[str, str]:
    return {given.name: given.failure.reason for given in acknowledgements if given.failure is not None}


ADA = Upload("ada.txt", b"Ada Lovelace met Charles Babbage in London.", title="Ada Lovelace", metadata={"year": 1843, "tags": ("a", "b")})
ENGINE = Upload("engine.md", b"# The Engine\n\n" + b"Charles Babbage built it. Ada Lovelace wrote notes. " * 12)
FACTS = Upload("facts.tsv", b"Ada Lovelace\tworked with\tCharles Babbage\nAda Lovelace\tborn in\tLondon\n")


async def test_documents_become_durable_then_searchable(world: World, corpus: Corpus) -> None:
    told = await ingest(corpus, ADA, ENGINE, FACTS)
    for upload in (ADA, ENGINE, FACTS):
        assert states(told, upload.name) == [DURABLE, SEARCHABLE]
    counts = {given.name: given.chunk_count for given in told}
    assert counts["ada.txt"] == 1
    assert counts["engine.md"] > 1
    assert counts["facts.tsv"] == 0
    stats = await corpus.stats("t")
    assert stats.documents == {"searchable": 3}
    assert stats.chunk_count == stats.vector_count == stats.graph["chunks"] == counts["engine.md"] + 1
    assert stats.graph["facts"] >= 2
    content = await world.graph.load("t")
    assert {"Ada Lovelace", "The Engine", "London"} <= {entity.name for entity in content.entities}
    record, text = await corpus.get("t", document_id("t", "ada.txt"))
    assert (record.title, record.metadata, record.state, text) == ("Ada Lovelace", ADA.metadata, SEARCHABLE, ADA.content.decode())
    (hit, *_) = await world.vectors.search("t", (await world.embedder.embed(["Ada Lovelace met Charles Babbage in London"]))[0], 1)
    assert hit.chunk_id in {chunk.id for chunk in content.chunks if chunk.document_id == record.id}


async def test_titles_come_from_the_upload_the_document_or_the_name(corpus: Corpus) -> None:
    await ingest(corpus, ADA, ENGINE, Upload("notes/plain.txt", b"words"), Upload("p.pdf", files.pdf("words", title="Paper")))
    titles = {record.name: record.title for record in (await corpus.list("t")).documents}
    assert titles == {"ada.txt": "Ada Lovelace", "engine.md": "The Engine", "notes/plain.txt": "plain", "p.pdf": "Paper"}


async def test_an_unchanged_document_costs_nothing(world: World, corpus: Corpus) -> None:
    await ingest(corpus, ADA, ENGINE, FACTS)
    embedded, written = world.embedder.embedded, list(world.log.written)
    told = await ingest(corpus, ADA, ENGINE, FACTS)
    assert [given.state for given in told] == [UNCHANGED] * 3
    assert (world.embedder.embedded, world.log.written) == (embedded, written)


@pytest.mark.parametrize(
    "changed",
    [
        replace(ADA, content=b"Grace Hopper."),
        replace(ADA, title="Other"),
        replace(ADA, collection="other"),
        replace(ADA, metadata={"year": 1844}),
        replace(ADA, metadata={"year": 1843.5, "tags": ("a", "b")}),
        replace(ADA, mime_type="text/markdown"),
    ],
)
async def test_any_change_replaces_the_document(world: World, corpus: Corpus, changed: Upload) -> None:
    await ingest(corpus, ADA)
    assert states(await ingest(corpus, changed), "ada.txt") == [DURABLE, SEARCHABLE]
    record, text = await corpus.get("t", document_id("t", "ada.txt"))
    assert (text, record.collection, record.metadata) == (changed.content.decode(), changed.collection, changed.metadata)
    assert await world.vectors.count("t") == 1
    assert world.log.deleted == [record.id]
    assert (await corpus.stats("t")).chunk_count == 1


async def test_names_of_a_replaced_version_leave_the_graph(world: World, corpus: Corpus) -> None:
    await ingest(corpus, ADA, ENGINE)
    await ingest(corpus, replace(ADA, content=b"Grace Hopper.", title="Grace Hopper"))
    names = {entity.name for entity in (await world.graph.load("t")).entities}
    assert "Grace Hopper" in names
    assert "London" not in names
    assert "Ada Lovelace" in names  # the other document names her


async def test_new_chunking_settings_make_a_document_new(world: World) -> None:
    async with world.open() as (corpus, _):
        await ingest(corpus, ENGINE)
    world.settings = CorpusSettings(chunk_tokens=64, chunk_overlap_tokens=4, batch_chunks=4)
    async with world.open() as (corpus, _):
        assert states(await ingest(corpus, ENGINE), "engine.md") == [DURABLE, SEARCHABLE]
        assert await world.vectors.count("t") == (await corpus.stats("t")).chunk_count


async def test_the_same_name_twice_in_a_stream_is_taken_in_order(world: World, corpus: Corpus) -> None:
    versions = [replace(ADA, content=f"Version {number}.".encode()) for number in range(12)]
    told = await ingest(corpus, *versions)
    assert states(told, "ada.txt").count(DURABLE) == 12
    assert (await corpus.get("t", document_id("t", "ada.txt")))[1] == "Version 11."
    assert await world.vectors.count("t") == 1


async def test_a_bad_document_is_named_while_the_others_go_on(corpus: Corpus) -> None:
    told = await ingest(
        corpus,
        Upload("empty.txt", b" "),
        ADA,
        Upload("secret.pdf", files.encrypted_pdf("secret")),
        Upload("picture.txt", files.PNG),
        Upload("broken.docx", b"PK\x03\x04"),
        Upload("a.xyz", b"words"),
        Upload("huge.txt", b"w" * (CorpusSettings().max_document_bytes + 1)),
        Upload("  ", b"words"),
        Upload("collection.txt", b"words", collection="No Such"),
        Upload("metadata.txt", b"words", metadata={"bad key!": 1}),
        Upload("title.txt", b"words", title="x" * 2000),
        ENGINE,
    )
    assert reasons(told) == {
        "empty.txt": "EMPTY",
        "secret.pdf": "ENCRYPTED",
        "picture.txt": "BINARY",
        "broken.docx": "BROKEN",
        "a.xyz": "UNSUPPORTED_TYPE",
        "huge.txt": "TOO_LARGE",
        "  ": "INVALID_INPUT",
        "collection.txt": "INVALID_INPUT",
        "metadata.txt": "INVALID_INPUT",
        "title.txt": "INVALID_INPUT",
    }
    assert states(told, "ada.txt") == states(told, "engine.md") == [DURABLE, SEARCHABLE]
    assert (await corpus.stats("t")).documents == {"searchable": 2}


async def test_a_broken_new_version_leaves_the_old(corpus: Corpus) -> None:
    await ingest(corpus, ADA)
    assert states(await ingest(corpus, replace(ADA, content=files.PNG)), "ada.txt") == [FAILED]
    assert (await corpus.get("t", document_id("t", "ada.txt")))[1] == ADA.content.decode()


async def test_what_a_stopped_process_left_is_finished_by_the_next(world: World) -> None:
    async with world.open(start=False) as (corpus, journal):  # it takes documents, but its indexer never runs, as after a kill
        taken = corpus.ingest("t", stream(ADA, ENGINE, FACTS))
        assert [(await anext(taken)).state for _ in range(3)] == [DURABLE] * 3
        await journal.begin_delete("t", document_id("t", "ada.txt"))
    assert await world.vectors.count("t") == 0
    async with world.open() as (corpus, journal):
        await until_finished(journal)
        stats = await corpus.stats("t")
        assert stats.documents == {"searchable": 2}
        assert stats.vector_count == stats.chunk_count == stats.graph["chunks"] > 0
        assert stats.graph["facts"] >= 2
        assert [record.name for record in (await corpus.list("t")).documents] == ["engine.md", "facts.tsv"]


async def test_a_caller_who_leaves_loses_nothing(world: World, corpus: Corpus) -> None:
    never = asyncio.Event()

    async def endless() -> AsyncIterator[Upload]:
        yield ADA
        await never.wait()

    async for given in corpus.ingest("t", endless()):
        assert given.state is DURABLE
        break
    assert states(await ingest(corpus, ADA), "ada.txt")[-1] in (SEARCHABLE, UNCHANGED)
    assert await world.vectors.count("t") == 1


async def test_an_error_of_the_callers_stream_reaches_the_caller(corpus: Corpus) -> None:
    async def breaking() -> AsyncIterator[Upload]:
        yield ADA
        raise InvalidInput("not a document", field="document")

    with pytest.raises(InvalidInput, match="not a document"):
        await asyncio.wait_for(anext(drained(corpus.ingest("t", breaking()))), 10)
    assert states(await ingest(corpus, ADA), "ada.txt")[-1] in (SEARCHABLE, UNCHANGED)


@pytest.mark.parametrize("store", ["vectors", "graph"])
async def test_an_outage_is_told_and_healed(world: World, store: str) -> None:
    world.patience_s = 0.05
    async with world.open() as (corpus, journal):
        await ingest(corpus, ENGINE)
        getattr(world, store).down = True
        told = await ingest(corpus, ADA, replace(ADA, name="more.txt"))
        assert states(told, "ada.txt") == states(told, "more.txt") == [DURABLE, FAILED]
        failure = next(given.failure for given in told if given.failure is not None)
        assert (failure.reason, failure.retryable) == ("STORE_UNAVAILABLE", True)
        assert "durable" in failure.message
        assert states(await ingest(corpus, replace(ADA, name="late.txt")), "late.txt") == [DURABLE, FAILED]
        with pytest.raises(StoreUnavailable, match="recorded"):
            await corpus.delete("t", document_id("t", "engine.md"))
        stats = await corpus.stats("t")
        assert stats.documents == {"durable": 3}
        assert [notice.reason for notice in stats.notices] == ["STORE_UNAVAILABLE"]
        getattr(world, store).down = False
        await until_finished(journal)
        stats = await corpus.stats("t")
        assert stats.documents == {"searchable": 3}
        assert stats.vector_count == stats.chunk_count == stats.graph["chunks"] == 3


class BrokenFor:
    """A builder with a bug that one document meets."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def build(self, tenant: str, chunks: Sequence[Chunk], recognised: object, triples: object, openings: object) -> GraphBatch:
        if any(chunk.document_name == self.name for chunk in chunks):
            raise ZeroDivisionError("a bug")
        return GraphBatch(chunks=tuple(chunks))


async def test_a_document_that_cannot_be_indexed_fails_alone(world: World) -> None:
    world.builder = BrokenFor("ada.txt")
    async with world.open() as (corpus, _):
        told = await ingest(corpus, *(replace(ADA, name=name) for name in ("a.txt", "ada.txt", "z.txt")))
        assert states(told, "ada.txt") == [DURABLE, FAILED]
        assert reasons(told) == {"ada.txt": InternalError.default_reason}
        assert states(told, "a.txt") == states(told, "z.txt") == [DURABLE, SEARCHABLE]
        record, _ = await corpus.get("t", document_id("t", "ada.txt"))
        assert record.state is FAILED
        assert record.failure is not None
        assert record.chunk_count == 0
        world.builder.name = ""
        assert states(await ingest(corpus, ADA), "ada.txt") == [DURABLE, SEARCHABLE]
        assert await world.vectors.count("t") == 3


async def test_a_deleted_document_is_gone_everywhere(world: World, corpus: Corpus) -> None:
    told = await ingest(corpus, ADA, ENGINE, FACTS)
    for upload in (ADA, ENGINE, FACTS):
        expected = next(given.chunk_count for given in told if given.name == upload.name)
        assert await corpus.delete("t", document_id("t", upload.name)) == expected
        with pytest.raises(NotFound):
            await corpus.get("t", document_id("t", upload.name))
        with pytest.raises(NotFound):
            await corpus.delete("t", document_id("t", upload.name))
    stats = await corpus.stats("t")
    assert (stats.documents, stats.chunk_count, stats.vector_count, set(stats.graph.values())) == ({}, 0, 0, {0})
    assert len(world.log.deleted) == 3
    assert states(await ingest(corpus, ADA), "ada.txt") == [DURABLE, SEARCHABLE]


async def test_several_streams_at_once(world: World, corpus: Corpus) -> None:
    def uploads(letter: str) -> list[Upload]:
        return [Upload(f"{letter}{number}.txt", f"Document {letter} {number}.".encode()) for number in range(20)]

    results = await asyncio.gather(*(ingest(corpus, *uploads(letter), tenant=tenant) for letter, tenant in ("at", "bt", "au")))
    for told in results:
        assert sum(given.state is SEARCHABLE for given in told) == 20
    assert (await world.vectors.count("t"), await world.vectors.count("u")) == (40, 20)


async def test_a_stream_is_read_no_further_than_the_indexer_can_follow(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("router.corpus.service.UNFINISHED_AT_ONCE", 5)
    async with world.open(start=False) as (corpus, _):
        read = 0

        async def many() -> AsyncIterator[Upload]:
            nonlocal read
            for number in range(50):
                read += 1
                yield Upload(f"{number}.txt", b"words")

        acknowledgements = corpus.ingest("t", many())
        for _ in range(5):
            assert (await anext(acknowledgements)).state is DURABLE
        await asyncio.sleep(0.05)
        assert read == 6  # the sixth is held, not taken
        assert (await corpus.stats("t")).documents == {"durable": 5}
        await corpus.start()
        rest = [given.state async for given in acknowledgements]
        assert rest.count(SEARCHABLE) == 50


async def test_tenants_never_meet(world: World, corpus: Corpus) -> None:
    await ingest(corpus, ADA, tenant="a")
    await ingest(corpus, replace(ADA, content=b"Grace Hopper in New York."), tenant="b")
    mine, theirs = document_id("a", "ada.txt"), document_id("b", "ada.txt")
    for call in (corpus.get, corpus.delete):
        with pytest.raises(NotFound):
            await call("a", theirs)
    assert [record.id for record in (await corpus.list("a")).documents] == [mine]
    assert (await corpus.stats("c")).documents == {}
    await corpus.delete("a", mine)
    assert (await corpus.get("b", theirs))[1] == "Grace Hopper in New York."
    assert await world.vectors.count("b") == 1


async def test_many_facts(world: World, corpus: Corpus) -> None:
    content = "".join(f"subject {number % 5000}\trelation {number % 7}\tobject {number}\n" for number in range(30_000)).encode()
    assert states(await ingest(corpus, Upload("kg.tsv", content)), "kg.tsv") == [DURABLE, SEARCHABLE]
    assert (await corpus.stats("t")).graph["facts"] == 30_000


async def test_on_milvus_lite(world: World, tmp_path: Path) -> None:
    milvus = await MilvusVectorStore.open(MilvusSettings(), tmp_path, space="hash", dimension=world.embedder.dimension)
    world.vectors = milvus
    async with world.open() as (corpus, _):
        await ingest(corpus, ADA, ENGINE, FACTS)
        await ingest(corpus, replace(ENGINE, content=b"Charles Babbage built the Analytical Engine."))
        stats = await corpus.stats("t")
        assert stats.vector_count == stats.chunk_count == 2
        (vector,) = await world.embedder.embed(["The Analytical Engine that Babbage built"])
        (hit,) = await milvus.search("t", vector, 1)
        assert hit.chunk_id in {chunk.id for chunk in (await world.graph.load("t")).chunks if chunk.title == "engine"}
        assert await corpus.delete("t", document_id("t", "engine.md")) == 1
        assert await milvus.count("t") == 1
    await milvus.aclose()
