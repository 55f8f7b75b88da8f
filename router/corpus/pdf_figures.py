"""Figures on the pages of a PDF: which pictures are drawn, where, and the caption beside each.

A PDF says nothing of captions, so one is told by how it begins ("Figure 3", "Fig. 3") and by where it stands: right below its picture, or
right above. The places come with the text, as pypdf goes through the page's operations; nothing is decoded here.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from router.corpus.figures import check_size
from router.corpus.text import CAPTION, FoundFigure, normalise, rejected
from router.types import Span

if TYPE_CHECKING:
    from pypdf import PageObject

Matrix = Sequence[float]
"""Of PDF: a point (x, y) is put to (a x + c y + e, b x + d y + f)."""

REACH = 90.0
"""A caption stands at most so far from its picture, in points (72 an inch)."""
PREFERENCE = 15.0
"""Below is likelier than above by so much, in points."""
LEADING = 1.4
"""Lines of one caption are at most so far apart, in sizes of its letters."""
MAX_CAPTION_LINES = 8
MAX_ON_PAGE = 256
"""Pictures and captions that are looked at on one page: each is compared with each."""
WHOLE_PAGE = 0.85
"""A picture of this share of a page that has text is its background, or the scan that the text was read from."""
IDENTITY: Matrix = (1.0, 0.0, 0.0, 1.0, 0.0, 0.0)
MAX_PARENTS = 64
"""Of a page; a file may make them a ring."""
WIDTH_OF_A_LETTER = 0.5
"""Of its height, about."""


@dataclass(frozen=True, slots=True)
class _Line:
    text: str
    """White space squeezed."""
    x: float
    y: float
    size: float

    @property
    def right(self) -> float:
        return self.x + len(self.text) * self.size * WIDTH_OF_A_LETTER


@dataclass(frozen=True, slots=True)
class _Box:
    left: float
    bottom: float
    right: float
    top: float


class PageTrace:
    """Follows one page's operations; its methods are what `extract_text` of pypdf calls."""

    def __init__(self, page: PageObject) -> None:
        self._page = page
        self._drawn: list[tuple[Any, _Box]] = []
        self._broken = self._more = 0
        self._inside: list[tuple[Any, Matrix]] = [(_resources_of(page), IDENTITY)]
        """Resources and coordinates of the page and of the forms that are being drawn."""
        self._entering: tuple[Any, Matrix] | None = None
        self._pieces: list[tuple[str, float, float, float]] = []

    def before(self, operator: bytes, operands: Any, cm: Matrix, tm: Matrix) -> None:
        if self._entering is not None:  # the first operation of a form; only now, since the text before it was still to come
            self._inside.append(self._entering)
            self._entering = None
        if operator != b"Do":
            return
        resources, base = self._inside[-1]
        matrix = _product(cm, base)
        inner, own = resources, IDENTITY
        try:
            drawn = resources["/XObject"][operands[0]].get_object()
            if drawn["/Subtype"] == "/Image":
                self._drawn.append((drawn, _box(matrix)))
                self._more += len(self._drawn) > MAX_ON_PAGE
                del self._drawn[MAX_ON_PAGE:]
            inner = _resources_of(drawn) or resources
            own = tuple(float(number) for number in drawn.get("/Matrix", IDENTITY))[:6]
        except Exception:  # noqa: BLE001 - anything may stand in a crafted file; the text does not depend on this
            self._broken += 1
        self._entering = inner, _product(own, matrix) if len(own) == 6 else matrix

    def after(self, operator: bytes, operands: Any, cm: Matrix, tm: Matrix) -> None:
        if operator != b"Do":
            return
        if self._entering is None:
            self._inside.pop()
        self._entering = None

    def on_text(self, text: str, cm: Matrix, tm: Matrix, font: Any, size: float) -> None:
        if text:
            matrix = _product(_product(tm, cm), self._inside[-1][1])
            height = float(size) * (matrix[2] ** 2 + matrix[3] ** 2) ** 0.5
            self._pieces.append((text, matrix[4], matrix[5], height))

    def figures(self, text: str, start: int, number: int, drawn: set[object]) -> Iterator[FoundFigure]:
        """What is drawn on the page.

        Args:
            text: The page's part of the stored text.
            start: Where it begins there.
            number: Of the page, from 1.
            drawn: Pictures of earlier pages, and of this one afterwards.
        """
        lines = list(self._lines())
        some = islice(_captions(lines), MAX_ON_PAGE) if self._drawn else ()
        captions = [(caption, span) for caption in some if (span := _span_of(caption, text)) is not None]
        beside = _beside([box for _, box in self._drawn], captions)
        area = abs(float(self._page.mediabox.width) * float(self._page.mediabox.height))
        for (picture, box), caption in zip(self._drawn, beside, strict=True):
            identity = getattr(picture.indirect_reference, "idnum", id(picture))
            read = partial(_left_out, "REPEATED") if identity in drawn else partial(_decoded, picture)
            if lines and (box.right - box.left) * (box.top - box.bottom) > WHOLE_PAGE * area:
                read = partial(_left_out, "WHOLE_PAGE")
            drawn.add(identity)
            place = caption or _end_above(box, lines, text)
            yield FoundFigure(read, Span(start + place.start, start + place.end), page=number)
        for reason, count in (("BROKEN", self._broken), ("TOO_MANY", self._more)):
            yield from [FoundFigure(partial(_left_out, reason), Span(start, start))] * count

    def _lines(self) -> Iterator[_Line]:
        words, place = "", (0.0, 0.0, 0.0)
        for text, *where in (*self._pieces, ("\n", 0.0, 0.0, 0.0)):
            for part in re.split(r"(\n)", normalise(text)):
                if part == "\n":
                    if words.strip():
                        yield _Line(" ".join(words.split()), *place)
                    words = ""
                elif part:
                    place = place if words.strip() else (where[0], where[1], where[2])
                    words += part


def _captions(lines: Sequence[_Line]) -> Iterator[list[_Line]]:
    for number, first in enumerate(lines):
        if CAPTION.match(first.text):
            caption = [first]
            for line in lines[number + 1 : number + MAX_CAPTION_LINES]:
                is_close = 0 < caption[-1].y - line.y <= LEADING * first.size and abs(line.size - first.size) < 0.5
                if not is_close or CAPTION.match(line.text):
                    break
                caption.append(line)
            yield caption


def _span_of(lines: Sequence[_Line], text: str) -> Span | None:
    words = [re.escape(word) for line in lines for word in line.text.split()]
    match = re.search(r"^[ \t]*(" + r"\s+".join(words) + r")[ \t]*$", text, re.MULTILINE)
    return None if match is None else Span(*match.span(1))


def _beside(boxes: Sequence[_Box], captions: Sequence[tuple[Sequence[_Line], Span]]) -> list[Span | None]:
    """The nearest caption of each picture; one above it only where that is not the caption below another."""
    near = [sorted(_distance(lines, box, span) for lines, span in captions) for box in boxes]
    below = {place for some in near for distance, is_above, place in some[:1] if distance < REACH and not is_above}
    return [
        next((Span(*place) for distance, is_above, place in some if distance < REACH and not (is_above and place in below)), None)
        for some in near
    ]


def _distance(caption: Sequence[_Line], box: _Box, span: Span) -> tuple[float, bool, tuple[int, int]]:
    """How far a caption is from a picture, whether it stands above it, and where it is in the text."""
    first, last = caption[0], caption[-1]
    below, above = box.bottom - (first.y + first.size), last.y - box.top
    is_above = below < -first.size
    distance = PREFERENCE + max(0.0, above) if is_above else max(0.0, below)
    if first.x > box.right or max(line.right for line in caption) < box.left or (is_above and above < -first.size):
        distance = REACH
    return distance, is_above, (span.start, span.end)


def _end_above(box: _Box, lines: Sequence[_Line], text: str) -> Span:
    """Where the line above the picture ends, in the stored text; the end of the page where none does."""
    above = sorted((line for line in lines if line.y >= box.top - line.size and line.x <= box.right), key=lambda line: line.y)
    found = next((span for line in above[:1] if (span := _span_of([line], text)) is not None), None)
    end = len(text.rstrip()) if found is None else found.end
    return Span(end, end)


def _decoded(picture: Any, max_pixels: int) -> bytes:
    """The file of a picture: a JPEG as it stands in the PDF, everything else as PNG."""
    check_size(int(picture["/Width"]), int(picture["/Height"]), max_pixels)
    filters = picture.get("/Filter")
    last = filters[-1] if isinstance(filters, list) and filters else filters
    mask = picture.get("/SMask")
    try:
        if last == "/DCTDecode" and mask is None and "/Decode" not in picture:
            content: bytes = picture.get_data()
            return content
        image = picture.decode_as_image()
        if image is None:
            raise rejected("BROKEN", "it holds no picture")
        made = io.BytesIO()
        (image if image.mode in {"1", "L", "LA", "P", "RGB", "RGBA", "I;16"} else image.convert("RGB")).save(made, "PNG")
        return made.getvalue()
    finally:
        for stream in (picture, *([mask.get_object()] if mask is not None else [])):
            stream.decoded_self = None  # pypdf would keep the pixels of every picture as long as the document


def _left_out(reason: str, max_pixels: int) -> bytes:
    raise rejected(reason, "it is not taken")


def _resources_of(drawn: Any) -> Any:
    for _ in range(MAX_PARENTS):
        if "/Resources" in drawn:
            return drawn["/Resources"].get_object()
        if "/Parent" not in drawn:
            break
        drawn = drawn["/Parent"].get_object()
    return {}


def _box(matrix: Matrix) -> _Box:
    """Of the unit square, which pictures are drawn on."""
    a, b, c, d, e, f = matrix
    xs, ys = (e, e + a, e + c, e + a + c), (f, f + b, f + d, f + b + d)
    return _Box(min(xs), min(ys), max(xs), max(ys))


def _product(first: Matrix, second: Matrix) -> Matrix:
    a, b, c, d, e, f = first
    g, h, i, j, k, m = second
    return a * g + b * i, a * h + b * j, c * g + d * i, c * h + d * j, e * g + f * i + k, e * h + f * j + m
