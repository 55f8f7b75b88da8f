"""Pictures in questions: read from where they are, embedded once, found in the corpus, and what they show is as if it were named."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.corpus.base import Upload
from router.corpus.chunk import document_id
from router.corpus.graph_builder import NameGraphBuilder
from router.corpus.pictures import CorpusPictures
from router.corpus.service import Corpus
from router.errors import InvalidInput, NotFound, PermissionDenied, QueryRefused, RouterError
from router.filtering.policy_file import FilterPolicy
from router.filtering.refusal import RefusalRules
from router.models.pictures import load_picture
from router.models.spaces import Composition
from router.retrieval.base import Probe, RetrievalRequest
from router.retrieval.graph import GraphRetriever
from router.retrieval.linker import NameLinker
from router.retrieval.picture_uri import PictureAddresses
from router.retrieval.pictures import PictureSearch, QueryPictures, likeness, standardised, told
from router.retrieval.probe import Prober
from router.retrieval.relation_paths import RelationPaths
from router.retrieval.vector import VectorRetriever
from router.retrieval.web_page import AddressGuard
from router.retrieval.word_vectors import WordVectors
from router.settings import CorpusSettings, GraphSource, JournalSettings, PictureAddressSettings, VectorSource, WalkSettings
from router.stopwatch import Stopwatch
from router.stores.base import Scored
from router.stores.journal import Journal, open_journal
from router.stores.lexical import MemoryLexicalIndex
from router.stores.mirror import GraphMirror
from router.stores.pictures import FolderPictureStore
from router.stores.vectors import PassageVectors
from router.testing.fakes import ColourEncoder, HashEmbedder, InMemoryGraphStore, InMemoryVectorStore, SimpleRecogniser
from router.types import Caller, Condition, Deadline, Filter, ImagePart, ImageUriPart, Part, Query, TextPart
from tests.unit.corpus.test_service import ingest
from tests.unit.pictures import SVG, drawn

RED, BLUE, GREEN = drawn("red"), drawn("blue"), drawn("green")
RED_AGAIN = drawn("red", (300, 200), form="BMP")
"""The same in another size and format."""
CALLER = Caller("t", "r", Deadline.after(600))
PASSAGES = (
    Upload("lathe.txt", b"The Kestrel Lathe is serviced by the team Alder on Mondays.", title="Kestrel Lathe"),
    Upload("press.txt", b"The Osprey Press is serviced by the team Birch.", title="Osprey Press"),
    Upload("facts.tsv", b"Kestrel Lathe\tmaintained by\tJonas Weld\nOsprey Press\tmaintained by\tMira Lund\n"),
)
PICTURES = (
    Upload("one.png", RED, metadata={"caption": "Kestrel Lathe in hall B", "year": 2020}),
    Upload("two.png", BLUE, metadata={"caption": "Osprey Press in hall C", "year": 2021}),
    Upload("three.png", GREEN, metadata={"caption": "The yard", "year": 2021}),
)


class Up:
    is_up, last_seen, last_error = True, 0.0, ""


class CountingStore(InMemoryVectorStore):
    searches = 0

    async def search(self, *args, **kwargs):
        self.searches += 1
        return await super().search(*args, **kwargs)


@dataclass
class World:
    corpus: Corpus
    journal: Journal
    prober: Prober
    vector: VectorRetriever
    graph: GraphRetriever
    pictures: CountingStore
    encoder: ColourEncoder

    async def look(self, query: Query) -> Probe:
        return await self.prober.probe(query, CALLER, Stopwatch())

    async def ask(self, query: Query, source: str = "vector") -> list[str]:
        """Names of the documents that are found, best first."""
        request = RetrievalRequest(query, await self.look(query), CALLER, 8)
        found = await (self.vector if source == "vector" else self.graph).search(request)
        return [item.uri or item.text for item in found.evidence]


@asynccontextmanager
async def opened(
    folder: Path,
    *uploads: Upload,
    settings: PictureAddressSettings | None = None,
    text: HashEmbedder | None = None,
    encoder: ColourEncoder | None = None,
) -> AsyncIterator[World]:
    journal = await open_journal(JournalSettings(), folder)
    store, embedder, encoder = InMemoryGraphStore(), HashEmbedder(), encoder or ColourEncoder()
    mirror, passage_vectors, picture_vectors = GraphMirror(store, folder, WalkSettings()), PassageVectors(64), PassageVectors(64)
    passages, pictures, lexical = InMemoryVectorStore(), CountingStore(), MemoryLexicalIndex()
    files = FolderPictureStore(folder / "pictures")
    corpus = Corpus(
        CorpusSettings(),
        journal,
        passages,
        store,
        embedder,
        SimpleRecogniser(),
        NameGraphBuilder(mirror, journal),
        (mirror, passage_vectors, lexical),
        CorpusPictures(files, journal, encoder, "1", pictures, picture_vectors),
    )
    addresses = await PictureAddresses.open(settings or PictureAddressSettings(), journal, files, AddressGuard(allow=("127.0.0.1",)))
    linker, search = NameLinker(mirror), PictureSearch(pictures, picture_vectors, passage_vectors)
    looking = QueryPictures(encoder, text, Composition(0.5).compose, addresses, search, linker, journal)
    prober = Prober(embedder, passages, linker, mirror, RelationPaths(WordVectors(embedder), 3), 20, lexical, lexical, looking)
    try:
        await corpus.start()
        if uploads:
            assert all(given.failure is None for given in await ingest(corpus, *uploads))
        encoder.embedded = 0
        yield World(
            corpus,
            journal,
            prober,
            VectorRetriever("vector", VectorSource(), passages, lexical, journal, search),
            GraphRetriever("graph", GraphSource(), WalkSettings(), mirror, passage_vectors, journal, Up()),
            pictures,
            encoder,
        )
    finally:
        await addresses.aclose()
        await corpus.aclose()
        await journal.aclose()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with opened(tmp_path, *PASSAGES, *PICTURES) as made:
        yield made


def picture(data: bytes, *words: str, **query) -> Query:
    return Query((*map(TextPart, words), ImagePart(data, "")), **query)


async def test_a_picture_finds_the_picture_of_the_corpus(world: World) -> None:
    assert (await world.ask(picture(BLUE)))[0] == "two.png"
    assert (await world.ask(picture(RED_AGAIN)))[0] == "one.png"


async def test_a_picture_is_embedded_once(world: World) -> None:
    await world.ask(picture(BLUE, "What is this?"))
    assert world.encoder.embedded == 1


async def test_words_find_pictures_by_their_words(world: World) -> None:
    assert "two.png" in (await world.ask(Query((TextPart("Osprey Press in hall C"),))))[:2]


async def test_evidence_of_a_picture_carries_it(world: World) -> None:
    query = picture(BLUE)
    found = await world.vector.search(RetrievalRequest(query, await world.look(query), CALLER, 8))
    assert found.evidence[0].picture is not None
    assert (found.evidence[0].picture.mime_type, found.evidence[0].picture.width) == ("image/png", 64)
    assert found.evidence[0].text == "two\nOsprey Press in hall C"


async def test_a_filter_holds_for_pictures(world: World) -> None:
    old = Filter(must=(Condition("year", equals=2020),))
    assert await world.ask(picture(BLUE, filter=old)) == ["one.png"]


async def test_a_corpus_of_texts_is_searched_as_ever(tmp_path: Path) -> None:
    async with opened(tmp_path, *PASSAGES) as world:
        query = Query((TextPart("Who services the Kestrel Lathe?"),))
        request = RetrievalRequest(query, await world.look(query), CALLER, 8)
        found = await world.vector.search(request)
        world.vector._pictures = None
        assert found == await world.vector.search(request)
        assert world.pictures.searches == 0


async def test_what_the_picture_shows_is_as_if_it_were_named(world: World) -> None:
    probe = await world.look(picture(RED_AGAIN, "Who maintains the machine in this photo?"))
    assert probe.linked is not None
    [name] = [name for name in probe.linked if name.name == "Kestrel Lathe"]
    assert (name.is_shown, name.surface) == (True, "the machine in this photo")
    assert name.probability == pytest.approx(1.0)
    assert "Osprey Press" not in {name.name for name in probe.linked}
    assert told(picture(RED_AGAIN, "Who maintains it?"), probe) == "Who maintains it? (The picture shows Kestrel Lathe.)"


async def test_from_the_picture_over_the_entity_to_the_relation(world: World) -> None:
    """The picture alone says which machine, the facts alone who maintains it."""
    found = await world.ask(picture(RED_AGAIN, "Who maintains the machine in this photo?"), "graph")
    assert any("Jonas Weld" in text for text in found)
    assert "one.png" in found
    assert not any("Mira Lund" in text for text in found)
    other = await world.ask(picture(BLUE, "Who maintains the machine in this photo?"), "graph")
    assert any("Mira Lund" in text for text in other)


async def test_a_picture_like_none_names_nothing(world: World) -> None:
    probe = await world.look(picture(drawn("white"), "Who maintains the machine in this photo?"))
    assert (probe.pictures, [name for name in probe.linked or () if name.is_shown]) == ((), [])
    assert probe.picture_vector is not None


async def test_the_words_of_a_question_stay_its_vector(world: World) -> None:
    alone = await world.look(Query((TextPart("Who services the press?"),)))
    both = await world.look(picture(RED, "Who services the press?"))
    np.testing.assert_array_equal(alone.vector, both.vector)
    assert both.picture_vector is not None
    assert both.picture_query is not None
    halfway = both.vector + both.picture_vector
    np.testing.assert_allclose(both.picture_query, halfway / np.linalg.norm(halfway), atol=1e-6)
    only = await world.look(picture(RED))
    np.testing.assert_array_equal(only.vector, only.picture_query)
    np.testing.assert_array_equal(alone.picture_query, alone.vector)


# --- instructions ---------------------------------------------------------------------------------------------------


async def test_an_instruction_beside_a_picture_counts_as_words_beside_it_do(world: World) -> None:
    said = await world.look(picture(RED, "the same in blue"))
    told_so = await world.look(picture(RED, instruction="the same in blue"))
    assert told_so.picture_query is not None
    np.testing.assert_array_equal(told_so.picture_query, said.picture_query)
    np.testing.assert_array_equal(told_so.vector, (await world.look(picture(RED))).vector)


async def test_text_and_instruction_are_one_text_beside_the_picture_and_the_text_alone_finds_passages(world: World) -> None:
    both = await world.look(picture(RED, "Who services the press?", instruction="only drawings"))
    one = await world.look(picture(RED, "Who services the press?\nonly drawings"))
    np.testing.assert_array_equal(both.picture_query, one.picture_query)
    assert np.abs(both.vector - one.vector).max() > 1e-3
    words = await world.look(Query((TextPart("press"),), instruction="only drawings"))
    np.testing.assert_array_equal(words.picture_query, (await world.look(Query((TextPart("press\nonly drawings"),)))).vector)


@pytest.mark.parametrize("parts", [(TextPart("Who maintains the Kestrel Lathe?"),), (ImagePart(GREEN, ""),)])
async def test_no_names_words_paths_or_times_come_from_an_instruction(world: World, parts: tuple[Part, ...]) -> None:
    plain = await world.look(Query(parts))
    instructed = await world.look(Query(parts, instruction="What does the team of the Osprey Press say today about Mira Lund?"))
    for name in ("linked", "words", "paths", "coverage", "is_recent", "nearest", "pictures"):
        assert getattr(instructed, name) == getattr(plain, name), name
    np.testing.assert_array_equal(instructed.vector, plain.vector)


async def test_a_corpus_of_texts_pays_nothing_for_an_instruction(tmp_path: Path) -> None:
    async with opened(tmp_path, *PASSAGES) as world:
        query = Query((TextPart("Who services the Kestrel Lathe?"),), instruction="only drawings")
        assert (await world.look(query)).picture_query is None


async def test_filters_get_the_meaning_of_an_instruction(world: World) -> None:
    rule = {"name": "pay", "message": "Ask the office.", "examples": ["What does Ada earn?"], "threshold": 0.9}
    refusal = await RefusalRules.open(FilterPolicy.model_validate({"refuse": [rule]}), HashEmbedder())
    for query in (picture(RED, instruction="What does Ada earn?"), Query((TextPart("What does"),), instruction="Ada earn?")):
        probe = await world.look(query)
        await refusal.check(query, probe.vector, CALLER)  # this alone would be led past
        for vector in (await world.prober.said(query))[:-1]:
            await refusal.check(query, vector, CALLER)
        with pytest.raises(QueryRefused):
            await refusal.check(query, (await world.prober.said(query))[-1], CALLER)


class ToldColours(ColourEncoder):
    """Sees the other colours with an instruction."""

    takes_instructions = True

    async def embed_instructed(self, pictures, instruction, /):
        return -await self.embed(pictures)


class ToldWords(HashEmbedder):
    takes_instructions = True

    async def embed_instructed(self, texts, instruction, /):
        return await self.embed([f"{instruction}: {text}" for text in texts])


async def test_a_model_that_takes_instructions_is_told_it_with_picture_and_words(tmp_path: Path) -> None:
    async with opened(tmp_path, *PASSAGES, *PICTURES, text=ToldWords(), encoder=ToldColours()) as world:
        [seen] = await ToldColours().embed([load_picture(RED)])
        shows = await world.look(picture(RED, instruction="from behind"))
        np.testing.assert_allclose(shows.picture_query, -seen, atol=1e-6)
        np.testing.assert_allclose(shows.picture_vector, seen, atol=1e-6)
        assert shows.pictures  # what the picture shows is found without it
        [words] = await HashEmbedder().embed(["from behind: a press"])
        both = await world.look(picture(RED, "a press", instruction="from behind"))
        np.testing.assert_allclose(both.picture_query, (words - seen) / np.linalg.norm(words - seen), atol=1e-6)
        alone = await world.look(Query((TextPart("a press"),), instruction="from behind"))
        np.testing.assert_allclose(alone.picture_query, words, atol=1e-6)
        plain = await world.look(picture(RED))
        np.testing.assert_allclose(plain.picture_query, seen, atol=1e-6)


@pytest.mark.parametrize("data", [RED[:60], SVG, b"x"])
async def test_a_picture_that_cannot_be_read_names_its_part(world: World, data: bytes) -> None:
    with pytest.raises(InvalidInput) as refused:
        await world.look(picture(data, "What is this?"))
    assert refused.value.field == "query.parts[1].image"


async def test_a_store_that_is_down_leaves_its_part_of_the_probe_out(world: World) -> None:
    world.pictures.down = True
    query = picture(RED, "Who maintains the Kestrel Lathe?")
    probe = await world.look(query)
    assert (probe.pictures, probe.picture_vector is not None) == ((), True)
    found = await world.vector.search(RetrievalRequest(query, probe, CALLER, 8))
    assert found.degraded == "without pictures: the store is down"
    assert "lathe.txt" in {item.uri for item in found.evidence}


async def test_pictures_in_a_space_of_their_own_are_searched_there(tmp_path: Path) -> None:
    own = HashEmbedder()
    async with opened(tmp_path, *PASSAGES, *PICTURES, text=own) as world:
        probe = await world.look(picture(BLUE))
        # Passages cannot be searched by a picture of another space: they are by the words of what it shows.
        [words] = await HashEmbedder().embed(["What does the picture show? Osprey Press"])
        np.testing.assert_array_equal(probe.vector, words)
        assert probe.picture_query is probe.picture_vector
        assert own.embedded == 0
        await world.look(Query((TextPart("The yard"),)))
        assert own.embedded == 1
        assert (await world.ask(picture(BLUE)))[0] == "two.png"


# --- by address -----------------------------------------------------------------------------------------------------


async def resolved(world: World, uri: str) -> bytes:
    query = await world.prober.resolved(Query((TextPart("What?"), ImageUriPart(uri))), CALLER)
    [part] = [part for part in query.parts if isinstance(part, ImagePart)]
    return part.data


async def test_a_picture_of_the_own_corpus_by_its_id(world: World) -> None:
    [chunk] = await world.journal.document_chunks("t", [document_id("t", "one.png")])
    assert chunk.picture is not None
    assert await resolved(world, f"picture:{chunk.picture.id}") == RED
    with pytest.raises(NotFound) as missing:
        await world.prober.resolved(Query((ImageUriPart(f"picture:{chunk.picture.id}"),)), Caller("other", "r", CALLER.deadline))
    assert missing.value.field == "query.parts[0].image_uri"


async def test_a_picture_in_its_address(world: World) -> None:
    assert await resolved(world, "data:image/png;base64," + base64.b64encode(RED).decode()) == RED
    assert await resolved(world, "data:,%00a") == b"\0a"


@pytest.mark.parametrize(
    ("uri", "error"),
    [
        ("data:image/png;base64,§§", InvalidInput),
        ("data:nothing", InvalidInput),
        ("file:///etc/passwd", InvalidInput),
        ("ftp://x/y.png", InvalidInput),
        ("picture:../../journal.db", NotFound),
        ("picture:", NotFound),
        ("http://127.0.0.1/x.png", PermissionDenied),
        ("https://example.org/x.png", PermissionDenied),
    ],
)
async def test_other_addresses_are_refused(world: World, uri: str, error: type[RouterError]) -> None:
    with pytest.raises(error) as refused:
        await resolved(world, uri)
    assert refused.value.field == "query.parts[1].image_uri"


@asynccontextmanager
async def site(reply: bytes) -> AsyncIterator[int]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_an_allowed_host_gives_pictures_and_leads_nowhere_else(tmp_path: Path) -> None:
    allowed = PictureAddressSettings(allowed_hosts=("127.0.0.1",), max_bytes=4096)
    async with opened(tmp_path, settings=allowed) as world:
        async with site(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + RED) as port:
            assert await resolved(world, f"http://127.0.0.1:{port}/a.png") == RED
        async with site(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + bytes(5000)) as port:
            with pytest.raises(InvalidInput) as refused:
                await resolved(world, f"http://127.0.0.1:{port}/a.png")
            assert refused.value.reason == "TOO_LARGE"
        async with site(b"HTTP/1.1 302 Found\r\nlocation: http://10.0.0.1/\r\nconnection: close\r\n\r\n") as port:
            with pytest.raises(RouterError) as led:
                await resolved(world, f"http://127.0.0.1:{port}/a.png")
            assert led.value.reason == "PICTURE_STATUS"


# --- scores ---------------------------------------------------------------------------------------------------------


def test_the_better_picture_beats_the_mediocre_passage_though_its_cosine_is_smaller() -> None:
    passages, pictures = PassageVectors(64), PassageVectors(64)
    search = PictureSearch(InMemoryVectorStore(), pictures, passages)
    noise = np.random.default_rng(0).normal(0.4, 0.15, 200).astype(np.float32), np.random.default_rng(1).normal(0.1, 0.03, 200)
    [passage], [shown] = standardised([Scored("p", 0.6)], noise[0]), standardised([Scored("q", 0.25)], noise[1].astype(np.float32))
    assert shown.score > passage.score
    assert not search.has_any("t")


@given(st.lists(st.floats(-1, 1), max_size=50), st.lists(st.floats(-1, 1), min_size=2, max_size=9))
def test_standardising_keeps_the_order_and_stays_finite(sample: list[float], cosines: list[float]) -> None:
    hits = [Scored(str(place), cosine) for place, cosine in enumerate(cosines)]
    scaled = standardised(hits, np.array(sample, dtype=np.float32))
    assert all(np.isfinite(hit.score) for hit in scaled)
    for (one, other), (before, after) in zip(pairwise(hits), pairwise(scaled), strict=True):
        if one.score < other.score:
            assert before.score <= after.score


def test_likeness_is_sure_of_copies_and_of_nothing_below() -> None:
    assert [likeness(cosine) for cosine in (-1.0, 0.5, 0.99, 1.0)] == [0.0, 0.0, 1.0, 1.0]
    assert 0 < likeness(0.9) < 1
