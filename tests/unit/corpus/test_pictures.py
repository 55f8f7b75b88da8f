"""Pictures among the documents: ingested, replaced, deleted, their files kept as long as a passage has them and no longer."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageFont, ImageOps

from router.corpus.base import DocumentState, Upload
from router.corpus.chunk import document_id
from router.corpus.service import Corpus
from router.errors import NotFound, StoreUnavailable
from router.models.picture_file import ORIENTATION
from router.names import entity_id
from router.retrieval.passages import passage_evidence
from router.settings import CorpusSettings
from router.stores.journal import Journal
from router.stores.pictures import FolderPictureStore
from router.testing.fakes import ColourEncoder, ColourNames
from router.types import Picture, PictureLabel
from tests.unit.corpus.test_service import DURABLE, FAILED, SEARCHABLE, UNCHANGED, World, ingest, reasons, states, until_finished
from tests.unit.moving import film, slides
from tests.unit.pictures import SVG, animated, drawn, png_that_says
from tests.unit.sounds import as_wav, tone

RED, BLUE = drawn("red"), drawn("blue")
SAMPLE = Path(__file__).parents[3] / "examples" / "sample" / "pictures"
GATE, PUMP = (SAMPLE / "heron-gate.png").read_bytes(), (SAMPLE / "otter-pump.png").read_bytes()


def copied(content: bytes) -> bytes:
    """Smaller, recompressed and a little brighter."""
    image = Image.open(io.BytesIO(content)).convert("RGB")
    made = io.BytesIO()
    ImageEnhance.Brightness(image.resize((240, 180))).enhance(1.1).save(made, "JPEG", quality=60)
    return made.getvalue()


TEAPOT, UNSURE = PictureLabel("teapot", 0.93), PictureLabel("kettle", 0.89)


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def files(world: World, tenant: str = "t") -> list[str]:
    """Ids of the pictures whose file or thumbnail is there."""
    folder = world.folder / "pictures" / tenant
    return sorted({path.name.partition(".")[0] for path in folder.glob("*/*")})


async def the_chunk(journal: Journal, name: str):
    [chunk] = await journal.document_chunks("t", [document_id("t", name)])
    return chunk


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_a_picture_is_a_passage_of_its_words_that_has_a_picture(world: World) -> None:
    async with world.open() as (corpus, journal):
        told = await ingest(corpus, Upload("hall/lathe-red.png", RED, metadata={"caption": "The lathe of Ada Lovelace."}))
        assert states(told, "hall/lathe-red.png") == [DURABLE, SEARCHABLE]
        chunk = await the_chunk(journal, "hall/lathe-red.png")
        assert chunk.text == "lathe red\nThe lathe of Ada Lovelace."
        assert chunk.picture == Picture(sha(RED), "image/png", 64, 48)
        record, text = await corpus.get("t", chunk.document_id)
        assert text[chunk.span.start : chunk.span.end] == chunk.text
        assert record.mime_type == "image/png"
        picture, data = await corpus.picture("t", sha(RED))
        assert data == RED
        assert picture.thumbnail.startswith(b"\xff\xd8")
        assert await world.vectors.count("t") == 1
        assert await world.picture_vectors.count("t") == 1
        names = {entity.name for entity in (await world.graph.load("t")).entities}
        assert "Ada Lovelace" in names


async def test_the_words_of_a_picture_need_not_repeat_its_name(world: World) -> None:
    async with world.open() as (corpus, journal):
        await ingest(
            corpus,
            Upload("a.png", RED, title="Lathe 4", metadata={"caption": "lathe 4 in hall B", "alt": "A machine"}),
            Upload("0042.png", BLUE),
        )
        assert (await the_chunk(journal, "a.png")).text == "lathe 4 in hall B\nA machine"
        assert (await the_chunk(journal, "0042.png")).text == "0042"


async def test_the_true_type_counts_whatever_the_name_says(world: World) -> None:
    async with world.open() as (corpus, journal):
        await ingest(corpus, Upload("a.png", drawn("red", form="JPEG")), Upload("b", animated("red", "blue"), mime_type="image/png"))
        assert (await the_chunk(journal, "a.png")).picture.mime_type == "image/jpeg"
        assert (await the_chunk(journal, "b")).picture.mime_type == "image/gif"


async def test_a_moving_picture_is_a_document_of_its_frames(world: World) -> None:
    """The same picture comes twice, with the same words: two passages of one file."""
    moving = slides([("red", 2), ("blue", 2), ("red", 2)])
    async with world.open() as (corpus, journal):
        told = await ingest(corpus, Upload("lathe.gif", moving, metadata={"caption": "The lathe of Ada Lovelace."}))
        assert [(one.state, one.chunk_count) for one in told] == [(DURABLE, 3), (SEARCHABLE, 3)]
        identity = document_id("t", "lathe.gif")
        chunks = await journal.document_chunks("t", [identity])
        assert [chunk.headings for chunk in chunks] == [("at 0.0 s",), ("at 2.0 s",), ("at 4.0 s",)]
        assert {chunk.text for chunk in chunks} == {"The lathe of Ada Lovelace."}
        record, text = await corpus.get("t", identity)
        assert record.mime_type == "image/gif"
        assert all(text[chunk.span.start : chunk.span.end] == chunk.text for chunk in chunks)
        assert chunks[0].picture == chunks[2].picture != chunks[1].picture
        assert files(world) == sorted({chunk.picture.id for chunk in chunks})
        _, frame = await corpus.picture("t", chunks[1].picture.id)
        assert frame.startswith(b"\xff\xd8")
        assert await world.picture_vectors.count("t") == 3
        names = {entity.name for entity in (await world.graph.load("t")).entities}
        assert "Ada Lovelace" in names
        assert not any(name.startswith("at ") for name in names)
        await ingest(corpus, Upload("lathe.gif", slides([("red", 2), ("lime", 2)])))
        assert len(files(world)) == 2
        await corpus.delete("t", identity)
        assert files(world) == []
        assert await world.picture_vectors.count("t") == 0


async def test_a_video_is_a_document_of_its_frames(world: World, tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    async with world.open() as (corpus, journal):
        told = await ingest(corpus, Upload("hall/lathe-red.mp4", film(tmp_path, [("red", 3), ("blue", 3)])), Upload("b.webm", b"no video"))
        assert states(told, "hall/lathe-red.mp4") == [DURABLE, SEARCHABLE]
        assert reasons(told) == {"b.webm": "UNSUPPORTED_TYPE"}
        chunks = await journal.document_chunks("t", [document_id("t", "hall/lathe-red.mp4")])
        assert [(chunk.text, chunk.headings) for chunk in chunks] == [("lathe red", ("at 0.0 s",)), ("lathe red", ("at 3.0 s",))]
        record, _ = await corpus.get("t", chunks[0].document_id)
        assert record.mime_type == "video/mp4"


async def test_bad_pictures_fail_alone_with_their_reason(world: World) -> None:
    bad = {
        "short.png": (RED[:60], "BROKEN"),
        "text.png": (b"no picture", "UNSUPPORTED_TYPE"),
        "script.png": (SVG, "UNSUPPORTED_TYPE"),
        "script.svg": (SVG, "UNSUPPORTED_TYPE"),
        "bomb.png": (png_that_says(100_000, 100_000), "TOO_LARGE"),
        "nothing.png": (b"", "EMPTY"),
    }
    async with world.open() as (corpus, _):
        told = await ingest(corpus, *(Upload(name, content) for name, (content, _) in bad.items()), Upload("good.png", RED))
        assert reasons(told) == {name: reason for name, (_, reason) in bad.items()}
        assert states(told, "good.png") == [DURABLE, SEARCHABLE]
        assert states(told, "bomb.png") == [FAILED]
    assert files(world) == [sha(RED)]


async def test_again_is_unchanged_and_embeds_nothing(world: World) -> None:
    async with world.open() as (corpus, _):
        await ingest(corpus, Upload("a.png", RED))
        assert world.encoder is not None
        embedded = world.encoder.embedded
        told = await ingest(corpus, Upload("a.png", RED))
        assert states(told, "a.png") == [UNCHANGED]
        assert world.encoder.embedded == embedded


async def test_another_encoder_embeds_anew(world: World) -> None:
    async with world.open() as (corpus, _):
        await ingest(corpus, Upload("a.png", RED))
    world.encoder = ColourEncoder()
    world.version = "2"
    async with world.open() as (corpus, _):
        assert states(await ingest(corpus, Upload("a.png", RED)), "a.png") == [DURABLE, SEARCHABLE]
    assert world.encoder.embedded == 1


async def test_a_deleted_picture_is_gone_everywhere(world: World) -> None:
    async with world.open() as (corpus, _):
        await ingest(corpus, Upload("a.png", RED))
        await corpus.delete("t", document_id("t", "a.png"))
        assert files(world) == []
        assert await world.picture_vectors.count("t") == 0
        with pytest.raises(NotFound):
            await corpus.picture("t", sha(RED))


async def test_a_file_that_two_documents_have_goes_with_the_last(world: World) -> None:
    async with world.open() as (corpus, _):
        await ingest(corpus, Upload("a.png", RED), Upload("b.png", RED))
        await corpus.delete("t", document_id("t", "a.png"))
        assert (await corpus.picture("t", sha(RED)))[1] == RED
        assert await world.picture_vectors.count("t") == 1
        await corpus.delete("t", document_id("t", "b.png"))
        assert files(world) == []


async def test_a_replaced_picture_takes_its_file_with_it(world: World) -> None:
    async with world.open() as (corpus, journal):
        await ingest(corpus, Upload("a.png", RED))
        await ingest(corpus, Upload("a.png", BLUE))
        assert files(world) == [sha(BLUE)]
        assert await world.picture_vectors.count("t") == 1
        await ingest(corpus, Upload("a.png", BLUE, title="A new title"))
        assert files(world) == [sha(BLUE)]
        assert (await the_chunk(journal, "a.png")).picture.id == sha(BLUE)
        assert await world.picture_vectors.count("t") == 1


async def test_a_picture_replaced_by_a_text_of_its_name(world: World) -> None:
    async with world.open() as (corpus, journal):
        await ingest(corpus, Upload("a", RED, mime_type="image/png"))
        await ingest(corpus, Upload("a", b"Words only.", mime_type="text/plain"))
        assert files(world) == []
        assert (await the_chunk(journal, "a")).picture is None
        assert await world.picture_vectors.count("t") == 0


async def near(corpus: Corpus, content: bytes, tenant: str = "t") -> tuple[str, ...]:
    picture, _ = await corpus.picture(tenant, sha(content))
    return picture.near_duplicates


async def test_copies_of_a_photo_are_linked_until_they_are_deleted(world: World) -> None:
    copy = copied(GATE)
    async with world.open() as (corpus, journal):
        await ingest(corpus, Upload("gate.png", GATE), Upload("copy.jpg", copy), Upload("pump.png", PUMP), Upload("red.png", RED))
        await ingest(corpus, Upload("blue.png", BLUE), Upload("pump again.png", PUMP))
        await ingest(corpus, Upload("gate.png", GATE), tenant="u")
        assert await near(corpus, GATE) == (sha(copy),)
        assert await near(corpus, copy) == (sha(GATE),)
        assert await near(corpus, PUMP) == ()
        assert await near(corpus, RED) == ()
        assert await near(corpus, GATE, "u") == ()
        await corpus.delete("t", document_id("t", "copy.jpg"))
        assert await near(corpus, GATE) == ()
        assert set(await journal.fingerprints.all("t")) == {sha(GATE), sha(PUMP), sha(RED), sha(BLUE)}


async def test_a_sound_beside_pictures_has_neither_a_fingerprint_nor_their_vectors(world: World) -> None:
    sound = as_wav(tone(440))
    async with world.open() as (corpus, journal):
        told = await ingest(corpus, Upload("siren.wav", sound), Upload("red.png", RED))
        assert reasons(told) == {}
        assert set(await journal.fingerprints.all("t")) == {sha(RED)}
        assert await near(corpus, sound) == ()
        assert await world.picture_vectors.count("t") == 1


async def test_copies_are_linked_without_an_encoder_too(world: World) -> None:
    world.encoder = None
    async with world.open() as (corpus, _):
        await ingest(corpus, Upload("gate.png", GATE), Upload("copy.jpg", copied(GATE)))
        assert await near(corpus, GATE) == (sha(copied(GATE)),)


async def test_pictures_of_a_corpus_without_fingerprints_are_linked_when_they_come_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world.open() as (corpus, journal):
        with monkeypatch.context() as earlier:
            earlier.setattr(corpus._pictures, "version", lambda mime_type: world.version)  # as a release without them made its documents
            await ingest(corpus, Upload("gate.png", GATE))
        await journal.fingerprints.forget("t", sha(GATE))
        corpus._pictures._near_duplicates.remove("t", sha(GATE))
        await ingest(corpus, Upload("copy.jpg", copied(GATE)))
        assert await near(corpus, GATE) == ()
        assert await near(corpus, copied(GATE)) == ()
        assert states(await ingest(corpus, Upload("gate.png", GATE)), "gate.png") == [DURABLE, SEARCHABLE]
        assert await near(corpus, GATE) == (sha(copied(GATE)),)
        await corpus.delete("t", document_id("t", "gate.png"))


async def test_tenants_do_not_see_each_others_pictures(world: World) -> None:
    async with world.open() as (corpus, _):
        await ingest(corpus, Upload("a.png", RED))
        await ingest(corpus, Upload("a.png", RED), tenant="u")
        await ingest(corpus, Upload("b.png", BLUE), tenant="u")
        with pytest.raises(NotFound):
            await corpus.picture("t", sha(BLUE))
        await corpus.delete("t", document_id("t", "a.png"))
        assert (await corpus.picture("u", sha(RED)))[1] == RED


@pytest.mark.parametrize("picture_id", ["../../journal.db", "..", "", "a/b", "é" * 64, "0" * 64])
async def test_no_id_leads_out_of_the_folder(world: World, picture_id: str) -> None:
    async with world.open() as (corpus, _):
        with pytest.raises(NotFound):
            await corpus.picture("t", picture_id)
        with pytest.raises(NotFound):
            await FolderPictureStore(world.folder / "pictures").read("t", picture_id)


async def test_what_a_crash_left_half_done_is_finished_at_the_next_start(world: World) -> None:
    async with world.open() as (corpus, journal):
        await ingest(corpus, Upload("kept.png", RED), Upload("gone.png", BLUE))
        # As after a kill between a file and its document, and between a deletion and its end.
        await FolderPictureStore(world.folder / "pictures").put("t", sha(b"never taken"), b"never taken", b"thumbnail")
        await journal.begin_delete("t", document_id("t", "gone.png"))
    assert len(files(world)) == 3
    async with world.open() as (_, journal):
        await until_finished(journal)
        assert files(world) == [sha(RED)]
        assert await world.picture_vectors.count("t") == 1


async def test_an_outage_of_the_vectors_loses_nothing(world: World) -> None:
    world.patience_s = 0.05
    world.picture_vectors.down = True
    async with world.open() as (corpus, _):
        told = await ingest(corpus, Upload("a.png", RED))
        assert [given.failure.retryable for given in told if given.failure] == [True]
        world.picture_vectors.down = False
    async with world.open() as (_, journal):
        await until_finished(journal)
    assert await world.picture_vectors.count("t") == 1


async def test_a_full_disk_fails_the_document_and_says_so(world: World) -> None:
    (world.folder / "pictures").write_text("a file where the folder should be")
    async with world.open() as (corpus, _):
        told = await ingest(corpus, Upload("a.png", RED))
    assert reasons(told) == {"a.png": StoreUnavailable.default_reason}
    assert [given.state for given in told] == [DocumentState.FAILED]


async def test_without_an_encoder_pictures_are_found_by_their_words(world: World) -> None:
    world.encoder = None
    async with world.open() as (corpus, _):
        assert states(await ingest(corpus, Upload("a.png", RED)), "a.png") == [DURABLE, SEARCHABLE]
    assert await world.vectors.count("t") == 1
    assert await world.picture_vectors.count("t") == 0


async def test_what_a_picture_shows_is_a_name_in_it(world: World) -> None:
    world.encoder = ColourNames({(255, 0, 0): TEAPOT, (0, 0, 255): UNSURE})
    async with world.open() as (corpus, journal):
        await ingest(corpus, Upload("1.png", RED), Upload("2.png", BLUE), Upload("tea.txt", b"hot water.", title="The Teapot"))
        chunk = await the_chunk(journal, "1.png")
        assert (chunk.text, chunk.picture.labels) == ("1", (TEAPOT,))
        assert passage_evidence(chunk).metadata == {"labels": ("teapot (0.93)",)}
        assert passage_evidence(replace(chunk, metadata={"labels": "own"})).metadata == {"labels": "own"}
        assert (await the_chunk(journal, "2.png")).picture.labels == ()
        graph = await world.graph.load("t")
        assert [(mention.chunk_id, mention.entity_id) for mention in graph.mentions] == [(chunk.id, entity_id("the teapot"))]
        assert "kettle" not in {entity.name for entity in graph.entities}
        assert world.encoder.embedded == 2
        await corpus.delete("t", chunk.document_id)
        assert (await world.graph.load("t")).mentions == ()


@pytest.mark.parametrize("sure", [None, 0.95])
async def test_another_threshold_looks_again_and_takes_labels_back(world: World, sure: float | None) -> None:
    world.encoder = ColourNames({(255, 0, 0): TEAPOT})
    async with world.open() as (corpus, _):
        await ingest(corpus, Upload("1.png", RED))
    world.sure = sure
    async with world.open() as (corpus, journal):
        assert states(await ingest(corpus, Upload("1.png", RED)), "1.png") == [DURABLE, SEARCHABLE]
        assert (await the_chunk(journal, "1.png")).picture.labels == ()
        assert (await world.graph.load("t")).mentions == ()


async def test_text_in_a_picture_is_read_where_that_is_asked_for(world: World) -> None:
    pytest.importorskip("rapidocr_onnxruntime")
    world.settings = CorpusSettings(ocr=True)
    async with world.open() as (corpus, journal):
        await ingest(corpus, Upload("a.png", lettered("PRESS NINE")))
        assert "NINE" in (await the_chunk(journal, "a.png")).text


async def test_lines_are_kept_with_their_place_in_the_picture_as_it_is_shown(world: World) -> None:
    pytest.importorskip("rapidocr_onnxruntime")
    world.settings = CorpusSettings(ocr=True)
    image = Image.new("RGB", (600, 400), "white")
    for place, text in (((20, 300), "PRESS NINE"), ((300, 40), "SEAL KIT")):
        ImageDraw.Draw(image).text(place, text, "black", ImageFont.load_default(48))
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    shown, turned = io.BytesIO(), io.BytesIO()
    image.save(shown, "PNG")
    image.rotate(90, expand=True).save(turned, "PNG", exif=exif)
    async with world.open() as (corpus, journal):
        await ingest(corpus, Upload("shown.png", shown.getvalue()), Upload("turned.png", turned.getvalue()))
        await ingest(corpus, Upload("shown.png", shown.getvalue()), tenant="u")
    async with world.open() as (corpus, journal):
        for name in ("shown.png", "turned.png"):
            chunk = await the_chunk(journal, name)
            first, second = (await journal.picture_regions("t", [chunk.id]))[chunk.id]
            assert (first.text.replace(" ", ""), second.text.replace(" ", "")) == ("SEALKIT", "PRESSNINE")
            assert f"{first.text}\n{second.text}" in chunk.text
            assert (first.left, first.top) == pytest.approx((300 / 600, 45 / 400), abs=0.03)
            assert (second.left, second.top) == pytest.approx((20 / 600, 310 / 400), abs=0.03)
            for region in (first, second):
                assert 0.3 < region.width < 0.55
                assert 0.05 < region.height < 0.2
                assert 0.6 <= region.confidence <= 1
        [chunk] = await journal.document_chunks("u", [document_id("u", "shown.png")])
        assert len((await journal.picture_regions("u", [chunk.id]))[chunk.id]) == 2
        picture, _ = await corpus.picture("u", sha(shown.getvalue()))
        assert len(picture.regions) == 2


async def test_pictures_that_were_read_without_their_lines_are_read_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rapidocr_onnxruntime")
    world.settings = CorpusSettings(ocr=True)
    async with world.open() as (corpus, _):
        with monkeypatch.context() as earlier:
            earlier.setattr("router.corpus.service.OCR_VERSION", True)  # its fingerprint held the setting alone
            await ingest(corpus, Upload("a.png", lettered("PRESS NINE")))
        assert states(await ingest(corpus, Upload("a.png", lettered("PRESS NINE"))), "a.png") == [DURABLE, SEARCHABLE]
        assert states(await ingest(corpus, Upload("a.png", lettered("PRESS NINE"))), "a.png") == [UNCHANGED]


async def test_text_in_a_frame_is_of_that_frame_only(world: World) -> None:
    pytest.importorskip("rapidocr_onnxruntime")
    world.settings = CorpusSettings(ocr=True)
    first, second = (Image.open(io.BytesIO(lettered(text))) for text in ("PRESS NINE", "VALVE FOUR"))
    made = io.BytesIO()
    first.save(made, "PNG", save_all=True, append_images=[ImageOps.invert(second)], duration=2000)
    async with world.open() as (corpus, journal):
        await ingest(corpus, Upload("hall.png", made.getvalue()))
        chunks = await journal.document_chunks("t", [document_id("t", "hall.png")])
        _, text = await corpus.get("t", chunks[0].document_id)
        regions = await journal.picture_regions("t", [chunk.id for chunk in chunks])
    assert [("NINE" in chunk.text, "FOUR" in chunk.text) for chunk in chunks] == [(True, False), (False, True)]
    assert all(region.text in chunk.text for chunk in chunks for region in regions[chunk.id])
    assert all(chunk.text.startswith("hall\n") and text[chunk.span.start : chunk.span.end] == chunk.text for chunk in chunks)


def lettered(text: str) -> bytes:
    image = Image.new("RGB", (480, 120), "white")
    ImageDraw.Draw(image).text((20, 30), text, "black", ImageFont.load_default(48))
    made = io.BytesIO()
    image.save(made, "PNG")
    return made.getvalue()
