"""Figures inside PDF, DOCX and HTML: found, captioned, placed in the stored text, and pictures of the corpus like any other."""

from __future__ import annotations

import asyncio
import base64
import io
import sys
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import docx
import pypdf
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pypdf.generic import NameObject, NumberObject
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen import canvas
from structlog.testing import capture_logs

from router.corpus.base import Upload
from router.corpus.chunk import document_id
from router.corpus.figures import with_figure_words
from router.corpus.load import format_of
from router.corpus.parsing import Parser
from router.corpus.text import Figure, Heading, LoadedDocument, LoadedPicture
from router.errors import NotFound
from router.settings import CorpusSettings
from router.testing.fakes import ColourEncoder
from router.types import Chunk, Span
from tests.unit.corpus.test_pictures import files as kept_files
from tests.unit.corpus.test_pictures import lettered, sha
from tests.unit.corpus.test_service import DURABLE, SEARCHABLE, UNCHANGED, World, ingest, states
from tests.unit.pictures import SVG, drawn, png_that_says

RED, GREEN, BLUE = (drawn(colour, (80, 60)) for colour in ("red", "green", "blue"))
TINY = drawn("black", (400, 20))
PATIENCE_S = 100
"""For a child that starts on a busy machine."""
PDF, DOCX, HTML = (format_of(name, "") for name in ("a.pdf", "a.docx", "a.html"))


# --- the files ------------------------------------------------------------------------------------------------------


def html(*parts: str) -> bytes:
    return f"<html><head><title>Pumps</title></head><body>{''.join(parts)}</body></html>".encode()


def img(content: bytes, alt: str = "", mime_type: str = "image/png") -> str:
    return f'<img alt="{alt}" src="data:{mime_type};base64,{base64.b64encode(content).decode()}">'


def word(*parts: tuple[str, str | bytes], title: str = "Pumps") -> bytes:
    """A .docx of (style, text) paragraphs and (description, picture) paragraphs."""
    document = docx.Document()
    document.core_properties.title = title
    for style, part in parts:
        if isinstance(part, bytes):
            document.add_picture(io.BytesIO(part))
            document.inline_shapes[-1]._inline.docPr.set("descr", style)
        else:
            document.add_paragraph(part, style=style or None)
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


def pdf(*pages: list[tuple[object, ...]], title: str = "Pumps") -> bytes:
    """Pages of (text, x, y[, size]) and (picture, x, y, width, height), from the lower left corner in points."""
    buffer = io.BytesIO()
    sheet = canvas.Canvas(buffer)
    sheet.setTitle(title)
    for page in pages:
        for what, *where in page:
            if isinstance(what, bytes):
                sheet.drawImage(ImageReader(io.BytesIO(what)), *where)
            else:
                x, y, size = (*where, 12)[:3]
                sheet.setFont("Helvetica", size)
                sheet.drawString(x, y, what)
        sheet.showPage()
    sheet.save()
    return buffer.getvalue()


def pixels_of(content: bytes) -> tuple[tuple[int, int], tuple[int, ...]]:
    image = Image.open(io.BytesIO(content)).convert("RGB")
    return image.size, image.getpixel((0, 0))


# --- reading --------------------------------------------------------------------------------------------------------


@pytest.fixture
async def parser() -> AsyncIterator[Parser]:
    parser = Parser(max_chars=10_000, timeout_s=PATIENCE_S, max_figures=8)
    yield parser
    await parser.aclose()


def told(document: LoadedDocument) -> list[tuple[str, int]]:
    """The words of each figure, by its exact place, and its page."""
    document = with_figure_words(document)
    return [(document.text[figure.place.start : figure.place.end], figure.page) for figure in document.figures]


async def test_html_figures_have_their_caption_or_alt(parser: Parser) -> None:
    page = html(
        "<h1>Otter Pump</h1><p>It lifts water.</p>",
        f"<figure>{img(RED, 'A red machine')}<figcaption>Figure 1: The <b>Otter Pump</b></figcaption></figure>",
        f"<p>Below {img(GREEN, 'The intake')} the line.</p><table><tr><td>{img(BLUE)}</td><td>valve</td></tr></table>",
    )
    document = await parser.load(page, HTML)
    assert [figure.content for figure in document.figures] == [RED, GREEN, BLUE]
    assert told(document) == [("Figure 1: The Otter Pump\nA red machine", 0), ("The intake", 0), ("Figure", 0)]
    assert with_figure_words(document).text == (
        "Otter Pump\n\nIt lifts water.\nFigure 1: The Otter Pump\nA red machine\nBelow the line.\nThe intake\n| valve\nFigure"
    )


async def test_what_is_not_inside_the_page_is_not_fetched(parser: Parser) -> None:
    document = await parser.load(html('<p>Words</p><img src="https://example.org/a.png"><img src="a.png"><img>', img(RED)), HTML)
    assert [figure.content for figure in document.figures] == [RED]
    assert document.left_out == {"ELSEWHERE": 3}


async def test_docx_figures_have_the_caption_below_or_above_and_the_description(parser: Parser) -> None:
    made = word(
        ("Heading 1", "Otter Pump"),
        ("", "It lifts water."),
        ("A red machine", RED),
        ("Caption", "Figure 1: The Otter Pump"),
        ("", "The intake is shown next."),
        ("", GREEN),
        ("Heading 1", "Valves"),
        ("", "Fig. 3 The Bittern Valve"),
        ("", BLUE),
        ("", "The end."),
    )
    document = await parser.load(made, DOCX)
    assert [figure.content for figure in document.figures] == [RED, GREEN, BLUE]
    assert told(document) == [("Figure 1: The Otter Pump\nA red machine", 0), ("Figure", 0), ("Fig. 3 The Bittern Valve", 0)]
    placed = with_figure_words(document)
    assert [heading.text for heading in placed.headings] == ["Otter Pump", "Valves"]
    assert all(placed.text[heading.span.start : heading.span.end] == heading.text for heading in placed.headings)
    assert "shown next.\nFigure\n\nValves" in placed.text


async def test_the_caption_of_a_table_is_no_figures(parser: Parser) -> None:
    document = await parser.load(word(("", "Words."), ("", RED), ("Caption", "Table 1: Prices")), DOCX)
    assert told(document) == [("Figure", 0)]


async def test_pdf_figures_have_the_caption_beside_them_and_their_page(parser: Parser) -> None:
    made = pdf(
        [("Only words stand here.", 72, 700)],
        [
            ("It lifts water.", 72, 740),
            (RED, 72, 600, 200, 120),
            ("Figure 1: The Otter Pump,", 72, 585, 9),
            ("seen from the north", 72, 574, 9),
            ("The text goes on.", 72, 540),
            ("Fig. 2 The Bittern Valve", 72, 420, 9),
            (GREEN, 72, 300, 160, 110),
            ("See Figure 1 above.", 72, 100),
        ],
        [("The last page.", 72, 740), (BLUE, 72, 300, 160, 110), ("Figure 9 is far away.", 72, 60)],
    )
    document = await parser.load(made, PDF)
    assert [pixels_of(figure.content) for figure in document.figures] == [pixels_of(content) for content in (RED, GREEN, BLUE)]
    assert told(document) == [
        ("Figure 1: The Otter Pump,\nseen from the north", 2),
        ("Fig. 2 The Bittern Valve", 2),
        ("Figure on page 3", 3),
    ]
    assert "The last page.\nFigure on page 3\nFigure 9 is far" in with_figure_words(document).text


async def test_columns_keep_their_captions_apart(parser: Parser) -> None:
    made = pdf(
        [
            (RED, 60, 500, 180, 120),
            (GREEN, 330, 500, 180, 120),
            ("Figure 1 Left", 60, 480, 9),
            ("Figure 2 Right", 330, 488, 9),
            ("Two parts share one caption below.", 60, 440),
            (BLUE, 60, 300, 100, 80),
            (drawn("white", (80, 60)), 170, 300, 100, 80),
            ("Figure 3 Both of them, in one wide line", 60, 285, 9),
            (drawn("yellow", (80, 60)), 60, 180, 100, 80),
        ]
    )
    document = await parser.load(made, PDF)
    shared = "Figure 3 Both of them, in one wide line"
    assert [words for words, _ in told(document)] == ["Figure 1 Left", "Figure 2 Right", shared, shared, "Figure on page 1"]


async def test_a_jpeg_comes_out_of_a_pdf_as_it_is_and_a_mask_is_applied(parser: Parser, tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(drawn("red", (80, 60), form="JPEG"))
    clear = drawn((255, 0, 0, 0), (80, 60), mode="RGBA")
    buffer = io.BytesIO()
    sheet = canvas.Canvas(buffer)
    sheet.drawString(72, 760, "Two pictures")
    sheet.drawImage(str(photo), 72, 600, 100, 80)
    sheet.drawImage(ImageReader(io.BytesIO(clear)), 72, 400, 100, 80, mask="auto")
    sheet.save()
    first, second = (await parser.load(buffer.getvalue(), PDF)).figures
    assert first.content == photo.read_bytes()
    assert second.picture.mime_type == "image/png"
    assert Image.open(io.BytesIO(second.content)).convert("RGBA").getpixel((0, 0))[3] == 0


@pytest.mark.parametrize("form", [PDF, DOCX, HTML])
async def test_bad_repeated_and_tiny_figures_are_left_out_and_counted(parser: Parser, form) -> None:
    if form is PDF:
        made = broken_pdf()
        expected = {"TINY": 1, "REPEATED": 1, "BROKEN": 1, "WHOLE_PAGE": 1, "TOO_LARGE": 1}
    elif form is DOCX:
        made = broken_word()
        expected = {"TINY": 1, "REPEATED": 1, "BROKEN": 1}
    else:
        bad = (TINY, RED, BLUE[:60], SVG, png_that_says(100_000, 100_000))
        made = html("<p>Good words.</p>", img(RED), *(img(content) for content in bad), '<img src="data:image/png;base64,A">')
        expected = {"TINY": 1, "REPEATED": 1, "BROKEN": 2, "UNSUPPORTED_TYPE": 1, "TOO_LARGE": 1}
    document = await parser.load(made, form)
    assert "Good words." in document.text
    assert [pixels_of(figure.content) for figure in document.figures] == [pixels_of(RED)]
    assert document.left_out == expected


def broken_pdf() -> bytes:
    made = pdf(
        [
            ("Good words.", 72, 700),
            (RED, 72, 500, 80, 60),
            (TINY, 72, 400, 80, 4),
            (RED, 300, 500, 80, 60),
            (drawn("yellow", (90, 90)), 0, 0, 595, 842),
            (GREEN, 72, 300, 80, 60),
            (BLUE, 72, 200, 80, 60),
        ]
    )
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(made))
    pictures = {pixels_of(image.data)[1]: image.indirect_reference.get_object() for image in writer.pages[0].images}
    pictures[0, 128, 0]._data = b"these are no pixels"
    pictures[0, 0, 255][NameObject("/Width")] = NumberObject(1_000_000)
    buffer = io.BytesIO()
    writer.write(buffer)
    return buffer.getvalue()


def broken_word() -> bytes:
    buffer = io.BytesIO()
    made = word(("", "Good words."), ("", RED), ("", TINY), ("", RED), ("", GREEN))
    with zipfile.ZipFile(io.BytesIO(made)) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, content[:60] if content == GREEN else content)
    return buffer.getvalue()


async def test_no_more_are_taken_than_allowed() -> None:
    page = html("<p>Words</p>", *(img(drawn((shade, 0, 0))) for shade in range(6)))
    few, none = Parser(10_000, PATIENCE_S, max_figures=4), Parser(10_000, PATIENCE_S, max_figures=0)
    document = await few.load(page, HTML)
    assert (len(document.figures), document.left_out) == (4, {"TOO_MANY": 2})
    document = await none.load(page, HTML)
    assert (document.figures, document.left_out) == ((), {})
    await few.aclose()
    await none.aclose()


async def test_figures_are_bounded_together(monkeypatch: pytest.MonkeyPatch, parser: Parser) -> None:
    document = await parser.load(html("<p>Words</p>", img(RED), img(GREEN)), HTML)
    assert len(document.figures) == 2
    # A child that sends more than it may counts as dead.
    monkeypatch.setattr("router.corpus.parsing.MAX_FIGURE_BYTES", len(RED) + len(GREEN) - 1)
    document = await parser.load(html("<p>Words</p>", img(RED), img(GREEN)), HTML)
    assert [figure.content for figure in document.figures] == [RED]
    assert document.left_out == {"UNREAD": 1}
    assert parser.child_pid is None


CHILD = """
import base64, json, struct, sys, time

def told(head):
    encoded = json.dumps(head).encode()
    return struct.pack(">Q", len(encoded)) + encoded

[length] = struct.unpack(">Q", sys.stdin.buffer.read(8))
sys.stdin.buffer.read(json.loads(sys.stdin.buffer.read(length))["size"])
picture = {"mime_type": "image/png", "width": 80, "height": 60, "thumbnail": "", "regions": []}
# In one write: who has read the text has read the figure too, however slow the machine is.
sys.stdout.buffer.write(
    told({"text": "Words", "title": "", "headings": [], "picture": None, "found": 3})
    + told({"size": 4, "picture": picture, "place": [5, 5], "words": "", "page": 0, "time_s": None})
    + b"file"
    + struct.pack(">Q", 100)
)
sys.stdout.buffer.flush()
time.sleep(float(sys.argv[-1]))
"""


@pytest.mark.parametrize("sleeps_s", [0, 600])
async def test_a_figure_that_kills_or_blocks_the_child_costs_only_the_figures_from_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sleeps_s: int
) -> None:
    child = tmp_path / "child.py"
    child.write_text(CHILD)
    script = tmp_path / "python"
    script.write_text(f"#!/bin/sh\nexec {sys.executable} {child} {sleeps_s}\n")
    script.chmod(0o755)
    parser = Parser(10_000, PATIENCE_S, max_figures=8)
    with monkeypatch.context() as patch:
        patch.setattr("sys.executable", str(script))
        loading = asyncio.create_task(parser.load(html("<p>Words</p>"), HTML))
        while parser.child_pid is None:  # noqa: ASYNC110 - only the child's start is awaited
            await asyncio.sleep(0.01)
        parser.timeout_s = 0.5  # for the figures; the time for the text runs already
        document = await loading
    assert document.text == "Words"
    assert [figure.content for figure in document.figures] == [b"file"]
    assert document.left_out == {"UNREAD": 2}
    assert parser.child_pid is None
    parser.timeout_s = PATIENCE_S
    assert [figure.content for figure in (await parser.load(html("<p>Words</p>", img(RED)), HTML)).figures] == [RED]
    await parser.aclose()


async def test_a_page_of_very_many_pictures_is_read_all_the_same(parser: Parser) -> None:
    made = pdf([("Good words.", 72, 700), *((RED, 72, 500, 80, 60) for _ in range(300))])
    document = await parser.load(made, PDF)
    assert len(document.figures) == 1
    assert document.left_out == {"REPEATED": 255, "TOO_MANY": 44}


async def test_a_figure_in_a_form_of_the_page_has_its_place_there(parser: Parser) -> None:
    buffer = io.BytesIO()
    sheet = canvas.Canvas(buffer)
    sheet.beginForm("plate")
    sheet.drawImage(ImageReader(io.BytesIO(RED)), 0, 0, 100, 80)
    sheet.drawString(0, -15, "Figure 1: In the form")
    sheet.endForm()
    sheet.drawString(72, 760, "Words above.")
    sheet.saveState()
    sheet.translate(72, 500)
    sheet.doForm("plate")
    sheet.restoreState()
    sheet.drawString(72, 250, "Figure 2: Of the page")
    sheet.drawImage(ImageReader(io.BytesIO(GREEN)), 72, 270, 100, 80)
    sheet.save()
    document = await parser.load(buffer.getvalue(), PDF)
    assert told(document) == [("Figure 1: In the form", 1), ("Figure 2: Of the page", 1)]


# --- the stored text ------------------------------------------------------------------------------------------------


@st.composite
def illustrated(draw: st.DrawFn) -> LoadedDocument:
    lines = draw(st.lists(st.text("ab ", min_size=1, max_size=6).filter(str.strip), min_size=1, max_size=8))
    text, spans = "", []
    for line in lines:
        text += "\n" if text else ""
        spans.append(Span(len(text), len(text) + len(line)))
        text += line
    headings = tuple(Heading(1, text[span.start : span.end], span) for span in draw(st.lists(st.sampled_from(spans), unique=True)))
    captions = [span for span in spans if span not in {heading.span for heading in headings}]
    empty = [Span(0, 0), *(Span(span.end, span.end) for span in spans)]
    figures = [
        Figure(b"", LoadedPicture("image/png", 1, 1, b""), place, draw(st.sampled_from(["", "alt", "alt\nwritten"])), page)
        for place, page in draw(st.lists(st.tuples(st.sampled_from([*captions, *empty]), st.integers(0, 3)), max_size=6))
    ]
    return LoadedDocument(text, headings=tuple(sorted(headings, key=lambda heading: heading.span.start)), figures=tuple(figures))


@given(illustrated())
def test_the_words_of_every_figure_stand_where_it_says_and_no_other_word_is_lost(document: LoadedDocument) -> None:
    placed = with_figure_words(document)
    for before, after in zip(document.figures, placed.figures, strict=True):
        caption = document.text[before.place.start : before.place.end]
        nameless = f"Figure on page {before.page}" if before.page else "Figure"
        words = "\n".join(filter(None, (caption, before.words))) or nameless
        assert placed.text[after.place.start : after.place.end] == words
    for before, after in zip(document.headings, placed.headings, strict=True):
        assert placed.text[after.span.start : after.span.end] == before.text
    added = {"alt", "written", "Figure", *(f"Figure on page {page}" for page in range(4))}
    lines = iter(placed.text.split("\n"))
    assert all(line in lines for line in document.text.split("\n"))
    assert set(placed.text.split("\n")) <= added | set(document.text.split("\n"))


# --- in the corpus --------------------------------------------------------------------------------------------------


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def chunks_of(journal, name: str, tenant: str = "t") -> list[Chunk]:
    return await journal.document_chunks(tenant, [document_id(tenant, name)])


PUMP = word(
    ("Heading 1", "Otter Pump"),
    ("", "It was built by Ada Lovelace in Millpond. " * 8),
    ("Heading 1", "Views"),
    ("", "The pump stands in the hall."),
    ("", RED),
    ("Caption", "Figure 1: The pump of Ada Lovelace"),
    ("", GREEN),
    ("", "The end."),
    title="The Otter Pump",
)


async def test_a_figure_is_a_passage_of_its_document_that_has_a_picture(world: World) -> None:
    async with world.open() as (corpus, journal):
        assert states(await ingest(corpus, Upload("pump.docx", PUMP, metadata={"year": 2025})), "pump.docx") == [DURABLE, SEARCHABLE]
        chunks = await chunks_of(journal, "pump.docx")
        figures = [chunk for chunk in chunks if chunk.picture is not None]
        assert [chunk.ordinal for chunk in chunks] == list(range(len(chunks)))
        assert chunks[-2:] == figures
        first, second = figures
        assert (first.text, second.text) == ("Figure 1: The pump of Ada Lovelace", "Figure")
        assert first.headings == ("Views",)
        assert first.title == "The Otter Pump"
        assert first.metadata == {"year": 2025}
        assert first.picture is not None
        assert (first.picture.id, first.picture.width) == (sha(RED), 80)
        _, text = await corpus.get("t", first.document_id)
        assert all(text[chunk.span.start : chunk.span.end] == chunk.text for chunk in chunks)
        # The passage that it stands in is found by its place.
        assert any(chunk.span.start <= first.span.start and first.span.end <= chunk.span.end for chunk in chunks[:-2])
        assert kept_files(world) == sorted([sha(RED), sha(GREEN)])
        picture, content = await corpus.picture("t", sha(RED))
        assert content == RED
        assert picture.thumbnail.startswith(b"\xff\xd8")
        assert await world.picture_vectors.count("t") == 2
        graph = await world.graph.load("t")
        names = {entity.id: entity.name for entity in graph.entities}
        assert "Ada Lovelace" in {names[mention.entity_id] for mention in graph.mentions if mention.chunk_id == first.id}
        assert {names[about.entity_id] for about in graph.subjects if about.chunk_id == first.id} == {"The Otter Pump"}


async def test_the_page_of_a_figure_is_the_end_of_its_headings_and_no_subject(world: World) -> None:
    made = pdf([("Words.", 72, 700)], [("More words.", 72, 700), (RED, 72, 500, 100, 80), ("Figure 1: A pump", 72, 485)], title="")
    async with world.open() as (corpus, journal):
        await ingest(corpus, Upload("pump.pdf", made))
        *_, figure = await chunks_of(journal, "pump.pdf")
        assert (figure.text, figure.headings) == ("Figure 1: A pump", ("page 2",))
        graph = await world.graph.load("t")
        assert "page 2" not in {entity.name for entity in graph.entities}


async def test_again_is_unchanged_and_another_encoder_embeds_anew(world: World) -> None:
    async with world.open() as (corpus, _):
        await ingest(corpus, Upload("pump.docx", PUMP))
        assert states(await ingest(corpus, Upload("pump.docx", PUMP)), "pump.docx") == [UNCHANGED]
    world.encoder, world.version = ColourEncoder(), "2"
    async with world.open() as (corpus, _):
        assert states(await ingest(corpus, Upload("pump.docx", PUMP)), "pump.docx") == [DURABLE, SEARCHABLE]
    assert world.encoder.embedded == 2


async def test_figures_that_are_gone_take_their_files_with_them(world: World) -> None:
    async with world.open() as (corpus, journal):
        await ingest(corpus, Upload("a.html", html("<p>Words</p>", img(RED, "A pump"), img(GREEN, "A valve"))))
        await ingest(corpus, Upload("a.html", html("<p>Other words</p>", img(GREEN, "A valve"), img(BLUE, "A gate"))))
        assert kept_files(world) == sorted([sha(GREEN), sha(BLUE)])
        assert await world.picture_vectors.count("t") == 2
        await ingest(corpus, Upload("a.html", html("<p>Other words</p>")))
        assert kept_files(world) == []
        assert await world.picture_vectors.count("t") == 0
        with pytest.raises(NotFound):
            await corpus.picture("t", sha(GREEN))
        assert [chunk.picture for chunk in await chunks_of(journal, "a.html")] == [None]


async def test_a_deleted_document_leaves_no_figure_unless_another_has_it(world: World) -> None:
    async with world.open() as (corpus, _):
        await ingest(corpus, Upload("a.html", html("<p>Words</p>", img(RED), img(GREEN))), Upload("red.png", RED))
        await ingest(corpus, Upload("a.html", html("<p>Words</p>", img(RED))), tenant="u")
        await corpus.delete("t", document_id("t", "a.html"))
        assert kept_files(world) == [sha(RED)]
        assert await world.picture_vectors.count("t") == 1
        await corpus.delete("t", document_id("t", "red.png"))
        assert kept_files(world) == []
        assert (await corpus.picture("u", sha(RED)))[1] == RED


async def test_a_document_whose_figures_are_all_bad_is_none_the_worse(world: World) -> None:
    async with world.open() as (corpus, journal):
        with capture_logs() as logs:
            told = await ingest(corpus, Upload("a.html", html("<p>Words</p>", img(RED[:50]), img(TINY))))
        assert states(told, "a.html") == [DURABLE, SEARCHABLE]
        assert [chunk.text for chunk in await chunks_of(journal, "a.html")] == ["Words"]
    [line] = [line for line in logs if line["event"] == "figures_left_out"]
    assert (line["taken"], line["BROKEN"], line["TINY"]) == (0, 1, 1)


async def test_text_in_a_figure_is_read_where_that_is_asked_for(world: World) -> None:
    pytest.importorskip("rapidocr_onnxruntime")
    world.settings = CorpusSettings(ocr=True)
    async with world.open() as (corpus, journal):
        await ingest(corpus, Upload("a.html", html("<p>Words</p>", img(lettered("PRESS NINE"), "A sign"))))
        *_, figure = await chunks_of(journal, "a.html")
        assert figure.text.startswith("A sign\n")
        assert "NINE" in figure.text
        [region] = (await journal.picture_regions("t", [figure.id]))[figure.id]
        assert figure.text == f"A sign\n{region.text}"
