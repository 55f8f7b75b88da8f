"""Passages: exact spans, whole sections, stable ids."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.corpus.chunk import Chunker, Passage, document_id, embedded_text, to_chunks
from router.corpus.load import format_of, load
from router.corpus.text import Heading, LoadedDocument
from router.types import Chunk, Span
from tests.unit.corpus import files

PIECES = ("Ada", "wrote", "notes", "a", "a", "the engine.", "Really?", "日本語。", "x" * 40, ",", "\n", "\n\n", "  ", "\n# ", "...")
WORDS = st.sampled_from(PIECES)
TEXTS = st.lists(WORDS, max_size=300).map(" ".join) | st.text(max_size=400)


@st.composite
def documents(draw: st.DrawFn) -> LoadedDocument:
    """Texts in which some lines are headings, of any levels in any order."""
    text = draw(TEXTS)
    headings = []
    start = 0
    for line in text.split("\n"):
        if line.strip() and draw(st.booleans()):
            headings.append(Heading(draw(st.integers(1, 4)), line.strip(), Span(start, start + len(line))))
        start += len(line) + 1
    return LoadedDocument(text, headings=tuple(headings))


def markdown(text: str) -> LoadedDocument:
    return load(text.encode(), format_of("a.md", ""), 1_000_000)


def texts(document: LoadedDocument, passages: list[Passage]) -> list[str]:
    return [document.text[passage.span.start : passage.span.end] for passage in passages]


def chunks_of(document: LoadedDocument, max_words: int = 32, overlap: int = 6, name: str = "a.md", title: str = "T") -> tuple[Chunk, ...]:
    passages = Chunker(max_words, overlap).passages(document)
    identity = document_id("t", name)
    return to_chunks(document.text, passages, document_id=identity, document_name=name, collection="main", title=title, metadata={})


@settings(deadline=None)
@given(documents(), st.integers(32, 64), st.integers(0, 16))
def test_spans_are_exact_and_cover_everything(document: LoadedDocument, max_words: int, overlap: int) -> None:
    chunks = chunks_of(document, max_words, overlap)
    covered = set()
    for chunk in chunks:
        assert document.text[chunk.span.start : chunk.span.end] == chunk.text
        assert chunk.text == chunk.text.strip() != ""
        covered.update(range(chunk.span.start, chunk.span.end))
    assert all(character.isspace() for place, character in enumerate(document.text) if place not in covered)
    assert len({chunk.id for chunk in chunks}) == len(chunks)
    assert [chunk.ordinal for chunk in chunks] == list(range(len(chunks)))
    starts = [chunk.span.start for chunk in chunks]
    assert starts == sorted(starts)


@settings(deadline=None)
@given(st.lists(st.sampled_from(["one", "two", "three."]), max_size=200).map(" ".join), st.integers(0, 16))
def test_no_passage_is_longer_than_allowed(text: str, overlap: int) -> None:
    assert all(len(chunk.text.split()) <= 32 for chunk in chunks_of(LoadedDocument(text), 32, overlap))


# --- layout ---------------------------------------------------------------------------------------------------------

CELLS = st.lists(st.sampled_from(["pump", "12 crowns", "Port Ammel", "yes", "made of cast iron"]), min_size=2, max_size=4)
ROWS = CELLS.map(lambda cells: "| " + " | ".join(cells) + " |") | CELLS.map(" | ".join)
TABLES = st.lists(ROWS, min_size=2, max_size=40).map("\n".join)
ITEM_WORDS = st.lists(st.sampled_from(["grease", "the bearing", "now.", "Then", "wait"]), min_size=1, max_size=8).map(" ".join)
ITEMS = st.tuples(st.sampled_from(["- ", "* ", "1. ", "12) "]), ITEM_WORDS).map("".join)
LISTS = st.lists(ITEMS, min_size=1, max_size=20).map("\n".join)
LISTINGS = st.lists(st.sampled_from(["x = 1.", "# not a heading", "", "a | b"]), max_size=6).map(
    lambda lines: "\n".join(["```", *lines, "```"])
)
PROSE = st.lists(st.sampled_from(["It runs.", "Ada wrote that.", "why"]), min_size=1, max_size=30).map(" ".join)
LAID_OUT = st.lists(TABLES | LISTS | LISTINGS | PROSE, min_size=1, max_size=6)


def indivisible(parts: Sequence[str]) -> Iterator[Span]:
    """Where the rows, items and listings of parts stand that are joined by empty lines."""
    start = 0
    for part in parts:
        is_listing = part.startswith("```")
        place = start
        for piece in [part] if is_listing else part.split("\n") if "|" in part or part[0] in "-*1" else []:
            yield Span(place, place + len(piece))
            place += len(piece) + 1
        start += len(part) + 2


@settings(deadline=None)
@given(LAID_OUT, st.integers(0, 16))
def test_no_row_item_or_listing_is_cut_that_fits(parts: list[str], overlap: int) -> None:
    document = LoadedDocument("\n\n".join(parts))
    chunks = chunks_of(document, 48, overlap)
    cuts = {chunk.span.start for chunk in chunks} | {chunk.span.end for chunk in chunks}
    for span in indivisible(parts):
        words = document.text[span.start : span.end]
        if len(words.split()) <= 48 - overlap:
            assert not cuts & set(range(span.start + 1, span.end)), words


@settings(deadline=None)
@given(LAID_OUT, st.integers(0, 16))
def test_a_row_stands_in_one_passage_only(parts: list[str], overlap: int) -> None:
    document = LoadedDocument("\n\n".join(parts))
    chunks = chunks_of(document, 48, overlap)
    for before, after in pairwise(chunks):
        shared = document.text[after.span.start : before.span.end]
        assert "|" not in shared
        assert "```" not in shared


def test_a_table_that_fits_stays_whole() -> None:
    table = "| Part | Price |\n|---|---|\n" + "\n".join(f"| bolt {number} | {number} |" for number in range(6))
    chunks = chunks_of(markdown("Some words come first. " * 8 + "\n\n" + table + "\n\n" + "And more after it. " * 8), 64, 8)
    assert sum(table in chunk.text for chunk in chunks) == 1


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.md", "## Prices\n\n| Part | Price |\n|:---|---:|\n" + "\n".join(f"| bolt {n} | {n} crowns |" for n in range(60))),
        ("a.html", "<h2>Prices</h2><table><tr><th>Part</th><th>Price</th></tr>"
         + "".join(f"<tr><td>bolt {n}</td><td>{n} crowns</td></tr>" for n in range(60)) + "</table>"),
    ],
)  # fmt: skip
def test_every_piece_of_a_long_table_carries_its_header(name: str, content: str) -> None:
    document = load(content.encode(), format_of(name, ""), 1_000_000)
    first, *others = chunks_of(document, 64, 16)
    assert len(others) > 2
    assert first.headings == ("Prices",)
    for chunk in others:
        assert chunk.headings == ("Prices", "Part | Price")
        assert "Part | Price" not in chunk.text
        assert embedded_text(chunk) == f"T. Prices. Part | Price. {chunk.text}"
    rows = [line for chunk in (first, *others) for line in chunk.text.split("\n") if "bolt" in line]
    assert [line.split("crowns")[0].split()[-1] for line in rows] == [str(number) for number in range(60)]


def test_word_tables_carry_their_header_too() -> None:
    rows = (("Part", "Price"), *((f"bolt {number}", f"{number} crowns") for number in range(40)))
    document = load(files.word(("Heading 1", "Prices"), rows=rows), format_of("a.docx", ""), 1_000_000)
    _, *others = chunks_of(document, 64, 16)
    assert {chunk.headings for chunk in others} == {("Prices", "Part | Price")}


def test_a_header_goes_with_its_first_row_and_prose_after_the_table_has_none() -> None:
    text = "Words before it. " * 14 + "\n\nPart | Price\nbolt | 1 crown\nnut | 2 crowns\n\n" + "Words after it. " * 30
    chunks = chunks_of(LoadedDocument(text), 48, 0)
    holders = [chunk for chunk in chunks if "Part | Price" in chunk.text]
    assert len(holders) == 1
    assert "bolt | 1 crown" in holders[0].text
    assert all(chunk.headings == () for chunk in chunks)


def test_a_long_row_is_cut_by_words_and_names_no_header() -> None:
    text = "name | " + "word " * 100
    chunks = chunks_of(LoadedDocument(text), 32, 0)
    assert len(chunks) > 3
    assert all(chunk.headings == () for chunk in chunks)


def test_small_sections_stay_together_under_the_heading_above_them() -> None:
    text = "# Guide\n\n" + "\n\n".join(f"## Part {name}\n\nabout {name} only" for name in "ABCDEFGHIJKLMNOP")
    chunks = chunks_of(markdown(text), 32, 0)
    assert [chunk.headings for chunk in chunks] == [("Guide",)] * 3 + [("Guide", "Part P")] * (len(chunks) - 3)
    assert all(len(chunk.text.split()) > 20 for chunk in chunks[:3])


@settings(deadline=None)
@given(documents())
def test_chunking_is_deterministic(document: LoadedDocument) -> None:
    assert chunks_of(document) == chunks_of(document)


def test_what_fits_stays_whole() -> None:
    text = "# One\n\nSome words, here; and there.\n\n## Two\n\n" + "word, " * 190
    (chunk,) = chunks_of(markdown(text), 220, 24)
    assert chunk.text == text.strip()
    assert chunk.headings == ()


def test_sections_are_cut_at_headings_and_small_ones_stay_whole() -> None:
    setup = "## Setup\n\n### First\n\n" + "alpha " * 20 + "\n\n### Second\n\n" + "beta " * 20
    text = f"# Guide\n\nIntro words.\n\n{setup}\n\n## Use\n\ngamma\n\n### Daily\n\ndelta"
    chunks = chunks_of(markdown(text), 32, 6)
    assert [chunk.headings for chunk in chunks] == [
        ("Guide",),
        ("Guide", "Setup", "First"),
        ("Guide", "Setup", "Second"),
        ("Guide", "Use"),
    ]
    assert chunks[0].text == "# Guide\n\nIntro words."
    assert chunks[1].text.startswith("## Setup\n\n### First\n\nalpha")  # a bare heading goes with its first part
    assert chunks[3].text == "## Use\n\ngamma\n\n### Daily\n\ndelta"


def test_neighbours_share_whole_sentences() -> None:
    sentences = [f"Sentence number {number} is this." for number in range(20)]
    chunks = chunks_of(LoadedDocument(" ".join(sentences)), 32, 10)
    assert len(chunks) > 2
    for before, after in pairwise(chunks):
        assert after.span.start < before.span.end < after.span.end
        shared = before.text[after.span.start - before.span.start :]
        assert shared in {" ".join(sentences[start : start + 2]) for start in range(20)}


def test_a_text_that_repeats_itself_keeps_its_places() -> None:
    document = LoadedDocument("Same words again. " * 100)
    chunks = chunks_of(document, 32, 0)
    assert [chunk.span.start for chunk in chunks] == [sum(len(c.text) + 1 for c in chunks[:number]) for number in range(len(chunks))]


def test_ids_depend_on_document_headings_and_words_only() -> None:
    long = "\n\n## B\n\n" + "beta words here. " * 8
    first = chunks_of(markdown("# A\n\n" + "alpha words here. " * 8 + long))
    second = chunks_of(markdown("# A\n\nNew and longer text. " + "alpha words here. " * 8 + long))
    other = chunks_of(markdown("# A\n\n" + "alpha words here. " * 8 + long), name="b.md")
    assert first[-1].id == second[-1].id
    assert first[-1].span != second[-1].span
    assert not {chunk.id for chunk in first} & {chunk.id for chunk in other}
    assert all(len(chunk.id) == 32 for chunk in first)


def test_document_ids_keep_tenant_and_name_apart() -> None:
    assert document_id("a", "bc") != document_id("ab", "c")
    assert len(document_id("a", "b")) == 32


@pytest.mark.parametrize(
    ("headings", "text", "embedded"),
    [
        ((), "Words.", "T. Words."),
        (("T", "Setup"), "Words.", "T. Setup. Words."),
        (("T", "Setup"), "## Setup\n\nWords.", "T. ## Setup\n\nWords."),
    ],
)
def test_title_and_unseen_headings_are_embedded(headings: tuple[str, ...], text: str, embedded: str) -> None:
    chunk = Chunk("c", "d", "main", 0, "T", headings, text, Span(0, len(text)))
    assert embedded_text(chunk) == embedded
