"""The stored text of a document: what every reader hands over, decoded and normalised once, so that all spans count in it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import charset_normalizer

from router.corpus.base import Triple
from router.errors import DocumentRejected
from router.types import Span, TextRegion

BETWEEN_CELLS = " | "
"""Between the cells of a table's row in the stored text."""
CAPTION = re.compile(r"(?:figure|fig\.?|abbildung|abb\.)\s*\d", re.IGNORECASE)
"""How the caption of a figure begins."""
MAX_ALT_CHARS = 1000
_PLACE = re.compile(r"page \d+|at \d+\.\d s")
_NOWHERE = Span(0, 0)


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading of the document; `span` covers its line (or lines) in the stored text. Level 1 is the highest."""

    level: int
    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class LoadedPicture:
    mime_type: str
    """What it is, whatever its name says."""
    width: int
    height: int
    thumbnail: bytes
    regions: tuple[TextRegion, ...] = ()
    """Lines of text that were read in it."""


@dataclass(frozen=True, slots=True)
class FoundFigure:
    """A figure that a reader came upon and has not decoded."""

    read: Callable[[int], bytes]
    """Its file; takes the most pixels that it may have. Raises anything on a bad one, DocumentRejected where the reason is known."""
    place: Span
    """Of its caption in the stored text; empty, at the end of a line, where it has none there."""
    alt: str = ""
    """What is said of it but stands nowhere in the text."""
    page: int = 0
    """From 1; 0 where there are no pages."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture inside a document, or a frame: what a video or an animated picture shows at some time."""

    content: bytes = field(repr=False)
    """Of a frame a JPEG."""
    picture: LoadedPicture
    place: Span = _NOWHERE
    """As of what was found; of all its words once they stand in the text."""
    words: str = ""
    """What is said of it, or written in it, besides the caption at its place."""
    page: int = 0
    time_s: float | None = None
    """Of a frame."""

    @property
    def where(self) -> tuple[str, ...]:
        """The last level of its heading path: its time, or its page; empty where it has neither."""
        if self.time_s is not None:
            return (f"at {self.time_s:.1f} s",)
        return (f"page {self.page}",) if self.page else ()


@dataclass(frozen=True, slots=True)
class LoadedDocument:
    text: str
    title: str = ""
    """The document's own title; empty when it has none."""
    headings: tuple[Heading, ...] = ()
    """In the order of the text."""
    triples: tuple[Triple, ...] = ()
    """The facts of a structured file, or of one that tells of other documents' passages; such a document has no passages itself."""
    picture: LoadedPicture | None = None
    """Of a picture, whose `text` is what is written in it, if that was read."""
    found: tuple[FoundFigure, ...] = field(default=(), compare=False, repr=False)
    """Figures as the reader leaves them, for the process that it runs in."""
    figures: tuple[Figure, ...] = ()
    """Each becomes a passage. Frames, of a video or of an animated picture that lasts longer than a moment, are all that there is of it."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Figures that are not taken, by reason."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure in a block, before the stored text is put together."""

    read: Callable[[int], bytes]
    alt: str = ""
    caption: str = ""
    """The whole text of the block that is its caption, white space squeezed."""


@dataclass(frozen=True, slots=True)
class Block:
    """A paragraph, list item, table row or heading, before the stored text is put together."""

    text: str
    heading_level: int = 0
    """0 for what is not a heading."""
    drawings: tuple[Drawing, ...] = ()
    is_caption: bool = False


def is_place(heading: str) -> bool:
    """Whether a heading is of `Figure.where`: it tells a place and names nothing."""
    return _PLACE.fullmatch(heading) is not None


def rejected(reason: str, message: str) -> DocumentRejected:
    return DocumentRejected(message, reason=reason, field="content")


def check_length(text: str, max_chars: int) -> None:
    """Refuse a text that is too long.

    Raises:
        DocumentRejected: TOO_LARGE.
    """
    if len(text) > max_chars:
        raise rejected("TOO_LARGE", f"its text has {len(text):,} characters; at most {max_chars:,} are taken: split it into several files")


# NUL is no text in SQLite and PostgreSQL; the other control characters are left-overs of layout (form feeds) or of broken fonts.
_CONTROL = re.compile(r"[\x01-\x08\x0b-\x1f\x7f]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def normalise(text: str) -> str:
    """One form for all stored text: NFC, line ends as newlines, no control characters, no surrogates (UTF-8 cannot hold them)."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\x0c", "\n").replace("\x00", "")
    if _SURROGATE.search(text):
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return unicodedata.normalize("NFC", _CONTROL.sub(" ", text))


def joined(blocks: Iterable[Block]) -> tuple[str, tuple[Heading, ...], tuple[FoundFigure, ...]]:
    """Blocks as one stored text, an empty line around each heading, with the places of headings and figures in it."""
    parts: list[str] = []
    headings: list[Heading] = []
    drawn: list[tuple[Drawing, int]] = []
    captions: dict[str, list[Span]] = {}
    length = 0
    for block in blocks:
        text = normalise(block.text).strip()
        if not text:
            drawn += [(drawing, length) for drawing in block.drawings]
            continue
        separator = "" if not parts else "\n\n" if block.heading_level or (headings and headings[-1].span.end == length) else "\n"
        start = length + len(separator)
        parts += (separator, text)
        length = start + len(text)
        if block.heading_level:
            headings.append(Heading(block.heading_level, " ".join(text.split()), Span(start, length)))
        drawn += [(drawing, length) for drawing in block.drawings]
        if block.is_caption:
            captions.setdefault(" ".join(text.split()), []).append(Span(start, length))
    return "".join(parts), tuple(headings), tuple(_found(drawing, place, captions) for drawing, place in drawn)


def _found(drawing: Drawing, place: int, captions: Mapping[str, list[Span]]) -> FoundFigure:
    caption, alt = (" ".join(normalise(words).split())[:MAX_ALT_CHARS] for words in (drawing.caption, drawing.alt))
    if spans := captions.get(" ".join(normalise(drawing.caption).split())):
        nearest = min(spans, key=lambda span: abs(span.start - place))
        return FoundFigure(drawing.read, nearest, "" if alt == caption else alt)
    return FoundFigure(drawing.read, Span(place, place), "\n".join(dict.fromkeys(filter(None, (caption, alt)))))


_BYTE_ORDER_MARKS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\x00\x00", "utf-32"),  # before UTF-16, whose mark it begins with
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_BINARY = re.compile(r"[\x01-\x08\x0e-\x1a\x1c-\x1f\x7f]")  # not the white space of old files, nor ESC, which colours logs
_BINARY_SHARE = 0.05


def decode(content: bytes) -> str:
    """The characters of a text file: by its byte order mark, else UTF-8, else the likeliest older encoding.

    Raises:
        DocumentRejected: BINARY, when this is no text in any encoding.
    """
    for mark, encoding in _BYTE_ORDER_MARKS:
        if content.startswith(mark):
            return _decode_marked(content, encoding)
    if b"\x00" in content:
        raise rejected("BINARY", "it holds zero bytes, so it is not a text file; if it is UTF-16, save it with a byte order mark")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = _decode_guessed(content)
    beginning = text[:100_000]
    if len(_BINARY.findall(beginning)) > _BINARY_SHARE * len(beginning):
        raise rejected("BINARY", "it is full of control characters, so it is not a text file")
    return text


def _decode_marked(content: bytes, encoding: str) -> str:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as exc:
        raise rejected("BINARY", f"its first bytes say {encoding}, but the rest is not: {exc.reason}") from exc


def _decode_guessed(content: bytes) -> str:
    matches = charset_normalizer.from_bytes(content)
    # Western European files are by far the most frequent, and short ones score alike in a dozen related encodings.
    western = next((match for match in matches if match.encoding in ("cp1252", "latin_1")), None)
    match = western or matches.best()
    if match is None:
        raise rejected("BINARY", "it is not text in any known encoding; save it as UTF-8")
    return str(match)
