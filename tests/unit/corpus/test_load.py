"""Every format to its text, and every bad file to its reason."""

from __future__ import annotations

import codecs

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.corpus import formats
from router.corpus.base import Triple
from router.corpus.load import format_of, load
from router.corpus.text import LoadedDocument, normalise
from router.errors import DocumentRejected
from tests.unit.corpus import files


def read(content: bytes, name: str, max_chars: int = 100_000) -> LoadedDocument:
    return load(content, format_of(name, ""), max_chars)


def headings_in(document: LoadedDocument) -> list[tuple[int, str]]:
    """Level and words, read back from the places in the text."""
    for heading in document.headings:
        stored = document.text[heading.span.start : heading.span.end]
        assert "".join(heading.text.split()) in "".join(stored.replace("*", "").replace("`", "").split())
    return [(heading.level, heading.text) for heading in document.headings]


# --- text -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("Zoë".encode(), "Zoë"),
        (codecs.BOM_UTF8 + "Zoë".encode(), "Zoë"),
        ("Zoë".encode("utf-16"), "Zoë"),
        (codecs.BOM_UTF16_BE + "Zoë".encode("utf-16-be"), "Zoë"),
        ("Zoë".encode("utf-32"), "Zoë"),
        ("café déjà vu".encode("latin-1"), "café déjà vu"),
        ("It\u2019s \u201cquoted\u201d".encode("cp1252"), "It\u2019s \u201cquoted\u201d"),
        ("Привет, как дела? Это проверка кодировки.".encode("cp1251"), "Привет, как дела? Это проверка кодировки."),
        (b"one\r\ntwo\rthree\nfour", "one\ntwo\nthree\nfour"),
        ("Zoe\u0308".encode(), "Zoë"),
        (b"the first page\x0cthe second page\x07", "the first page\nthe second page "),
        (b"\x1b[31mred\x1b[0m\r\n", " [31mred [0m\n"),
    ],
)
def test_text_is_decoded_and_normalised(content: bytes, text: str) -> None:
    assert read(content, "a.txt").text == text


@settings(deadline=None)
@given(st.text(st.characters(), max_size=200))
def test_normalising_is_stable_and_storable(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once
    assert "\r" not in once
    assert "\x00" not in once
    once.encode("utf-8")


@settings(deadline=None)
@given(st.binary(max_size=300), st.sampled_from([".txt", ".md", ".tsv", ".html", ".pdf", ".docx"]))
def test_any_bytes_are_read_or_rejected(content: bytes, ending: str) -> None:
    try:
        outcome = "READ" if read(content, f"a{ending}").text.strip() else "BLANK"
    except DocumentRejected as error:
        outcome = error.reason
    assert outcome in {"READ", "EMPTY", "ENCRYPTED", "BROKEN", "BINARY"}


# --- Markdown -------------------------------------------------------------------------------------------------------


def test_markdown_keeps_its_text_and_knows_its_headings() -> None:
    source = "# Guide to **Ada**\n\nIntro.\n\n```sh\n# a comment\n```\n\nSetup\n-----\n\n    # code too\n\n## `run` it\n\nText.\n"
    document = read(source.encode(), "a.md")
    assert document.text == source
    assert document.title == "Guide to Ada"
    assert headings_in(document) == [(1, "Guide to Ada"), (2, "Setup"), (2, "run it")]


def test_markdown_front_matter_gives_the_title_and_goes() -> None:
    document = read(b"---\ntitle: Ada's notes\ntags: [a, b]\n---\n# First\nText.", "a.md")
    assert document.title == "Ada's notes"
    assert document.text == "# First\nText."
    assert headings_in(document) == [(1, "First")]


def test_rules_around_words_are_no_front_matter() -> None:
    assert read(b"---\njust words\n---\nmore", "a.md").text == "---\njust words\n---\nmore"


# --- HTML -----------------------------------------------------------------------------------------------------------


def test_html_gives_what_a_reader_sees() -> None:
    page = """<html><head><title>Ada &amp; co</title><style>p {}</style></head><body><nav>Home</nav><!-- hidden -->
    <h1>Ada</h1><p>She <b>met</b>\n Babbage<br>in 1833.</p><script>alert(1)</script><div>Loose <span>words</span><h2>Table</h2>
    <table><tr><th>Year</th><th>Event</th></tr><tr><td>1843</td><td><p>Notes</p></td></tr></table></div>
    <ul><li>one</li><li>two</li></ul><pre>a\n  b</pre></body></html>"""
    document = read(page.encode(), "a.html")
    assert document.title == "Ada & co"
    assert document.text == ("Ada\n\nShe met Babbage\nin 1833.\nLoose words\n\nTable\n\nYear | Event\n1843 | Notes\none\ntwo\na\n  b")
    assert headings_in(document) == [(1, "Ada"), (2, "Table")]


def test_html_says_its_encoding_itself() -> None:
    page = '<html><head><meta charset="iso-8859-1"></head><body><p>caf\xe9</p></body></html>'.encode("latin-1")
    assert read(page, "a.html").text == "café"


def test_html_fragment_without_body() -> None:
    assert read(b"just <i>some</i> words", "a.html").text == "just some words"


# --- PDF ------------------------------------------------------------------------------------------------------------


def test_pdf_gives_pages_title_and_outline() -> None:
    document = read(files.pdf("First part\nAda wrote notes.", "Second part\nBabbage built.", title="The engine", outline=True), "a.pdf")
    assert document.title == "The engine"
    assert document.text.split("\n\n")[0] == "First part\nAda wrote notes."
    assert headings_in(document) == [(1, "First part"), (1, "Second part")]


@pytest.mark.parametrize("title", ["untitled", "Microsoft Word - draft", "report_final.docx"])
def test_pdf_titles_made_by_programs_do_not_count(title: str) -> None:
    assert read(files.pdf("Words", title=title), "a.pdf").title == ""


def test_pdf_protected_against_changes_only_is_read() -> None:
    assert "Secret words" in read(files.encrypted_pdf(""), "a.pdf").text


# --- DOCX -----------------------------------------------------------------------------------------------------------


def test_docx_gives_paragraphs_headings_and_tables() -> None:
    content = files.word(
        ("Title", "The engine"),
        ("", "Ada wrote."),
        ("Heading 1", "Parts"),
        ("Heading 2", "Mill"),
        ("List Bullet", "one"),
        rows=(("Year", "Event"), ("1843", "Notes")),
    )
    document = read(content, "a.docx")
    assert document.title == "The engine"
    assert document.text == "The engine\n\nAda wrote.\n\nParts\n\nMill\n\none\nYear | Event\n1843 | Notes"
    assert headings_in(document) == [(1, "The engine"), (1, "Parts"), (2, "Mill")]


def test_docx_title_of_its_properties_goes_first() -> None:
    assert read(files.word(("Heading 1", "Parts"), title="Engines"), "a.docx").title == "Engines"


# --- facts ----------------------------------------------------------------------------------------------------------


def test_facts_are_triples_once_each() -> None:
    document = read(b"Ada\twrote\tNotes\n\n Ada \twrote\tNotes\nBabbage\tbuilt\tthe  engine\r\n", "a.tsv")
    assert document.triples == (Triple("Ada", "wrote", "Notes"), Triple("Babbage", "built", "the engine"))
    assert formats.parse_facts(document.text) == document.triples


def test_a_bad_fact_is_named_by_its_line() -> None:
    with pytest.raises(DocumentRejected, match="line 2") as caught:
        read(b"a\tb\tc\na\tb\n", "a.tsv")
    assert caught.value.reason == "BROKEN"


# --- bad files ------------------------------------------------------------------------------------------------------

GOOD_PDF = files.pdf("Some words", "More words")
GOOD_DOCX = files.word(("", "Some words"))


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.txt", b"", "EMPTY"),
        ("a.txt", b" \n\t\n", "EMPTY"),
        ("a.md", b"---\ntitle: x\n---\n", "EMPTY"),
        ("a.html", b"<html><body><script>1</script></body></html>", "EMPTY"),
        ("a.pdf", files.pdf(""), "EMPTY"),
        ("a.docx", files.word(), "EMPTY"),
        ("a.txt", files.PNG, "BINARY"),
        ("a.md", bytes(range(1, 256)) * 20, "BINARY"),
        ("a.html", files.PNG, "BINARY"),
        ("a.txt", codecs.BOM_UTF16_LE + b"\x00\xd8\x00", "BINARY"),
        ("a.pdf", files.PNG, "BROKEN"),
        ("a.pdf", GOOD_PDF[: len(GOOD_PDF) // 2], "BROKEN"),
        ("a.pdf", GOOD_PDF[:-20], "BROKEN"),
        ("a.docx", GOOD_DOCX[: len(GOOD_DOCX) // 2], "BROKEN"),
        ("a.docx", b"PK\x03\x04 nothing", "BROKEN"),
        ("a.docx", files.zip_bomb(10), "BROKEN"),
        ("a.pdf", files.encrypted_pdf("secret"), "ENCRYPTED"),
        ("a.docx", files.ENCRYPTED_DOCX, "ENCRYPTED"),
        ("a.docx", files.OLD_DOC, "UNSUPPORTED_TYPE"),
        ("a.txt", b"word " * 300, "TOO_LARGE"),
        ("a.pdf", files.pdf(*["a page of words"] * 100), "TOO_LARGE"),
        ("a.docx", files.word(*[("", "a paragraph of words")] * 60), "TOO_LARGE"),
    ],
)
def test_a_bad_file_is_named_with_its_reason(name: str, content: bytes, reason: str) -> None:
    with pytest.raises(DocumentRejected) as caught:
        read(content, name, max_chars=1000)
    assert caught.value.reason == reason


def test_a_docx_that_unpacks_to_too_much_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "MAX_UNPACKED_BYTES", 1_000_000)
    with pytest.raises(DocumentRejected, match="unpacks") as caught:
        read(files.zip_bomb(1_000_001), "a.docx")
    assert caught.value.reason == "TOO_LARGE"


# --- formats --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "mime_type", "ending"),
    [
        ("notes/a.TXT", "", ".txt"),
        ("a.markdown", "application/octet-stream", ".md"),
        ("a", "text/html; charset=utf-8", ".html"),
        ("a.txt", "application/pdf", ".pdf"),
    ],
)
def test_the_media_type_decides_then_the_ending(name: str, mime_type: str, ending: str) -> None:
    assert format_of(name, mime_type).ending == ending


@pytest.mark.parametrize(("name", "mime_type"), [("a.svg", ""), ("noending", ""), ("a.txt", "image/svg+xml")])
def test_an_unknown_type_is_told_what_is_allowed(name: str, mime_type: str) -> None:
    with pytest.raises(DocumentRejected, match=r"\.txt \.md \.html \.pdf \.docx \.tsv") as caught:
        format_of(name, mime_type)
    assert caught.value.reason == "UNSUPPORTED_TYPE"


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("Jonas Weld\n\nHe leads purchasing.", "Jonas Weld"),
        ("It rained.\n\nThen it stopped.", ""),
        ("One line only", ""),
        ("first line\nsecond line\n\nthird", ""),
        ("x" * 81 + "\n\ntext", ""),
    ],
)
def test_the_title_of_a_plain_text_is_its_first_line_when_that_stands_alone(text: str, title: str) -> None:
    assert read(text.encode(), "a.txt").title == title
