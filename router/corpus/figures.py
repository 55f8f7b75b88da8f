"""Pictures inside documents: which are taken, and what is said of them in the stored text."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from router.corpus.picture_file import still, with_regions, words_of_regions, written_in
from router.corpus.text import Figure, FoundFigure, LoadedDocument, rejected
from router.errors import DocumentRejected
from router.types import Span

LEAST_SIDE = 32
"""Smaller ones are icons, bullets and rules, in pixels."""
MAX_FIGURE_BYTES = 64 * 1024 * 1024
"""All figures of one document together."""


def taken(found: Sequence[FoundFigure], most: int, max_pixels: int, left_out: Counter[str], *, ocr: bool) -> Iterator[Figure]:
    """Decode figures one by one; each file once, and no bad one. Blocking.

    Args:
        found: In the order of the document.
        most: So many are taken.
        max_pixels: Larger ones are left out.
        left_out: Counts those that are not taken, by reason.
        ocr: Whether what is written in them is read.
    """
    seen: set[str] = set()
    count = size = 0
    for figure in found:
        if count == most:
            left_out["TOO_MANY"] += 1
            continue
        try:
            content = figure.read(max_pixels)
            if len(content) > MAX_FIGURE_BYTES - size:
                raise rejected("TOO_LARGE", "the figures are too large together")
            read = _taken(figure, content, max_pixels, seen, ocr=ocr)
        except DocumentRejected as error:
            left_out[error.reason] += 1
        except MemoryError:
            left_out["TOO_LARGE"] += 1
        except Exception:  # noqa: BLE001 - decoders of foreign formats raise anything; it is counted, and the document is none the worse
            left_out["BROKEN"] += 1
        else:
            count, size = count + 1, size + len(content)
            yield read


def _taken(figure: FoundFigure, content: bytes, max_pixels: int, seen: set[str], *, ocr: bool) -> Figure:
    digest = hashlib.sha256(content).hexdigest()
    if digest in seen:
        raise rejected("REPEATED", "the document has it already")
    seen.add(digest)
    picture = still(content, max_pixels)
    check_size(picture.width, picture.height, max_pixels)
    regions = written_in(content) if ocr else ()
    words = [figure.alt, words_of_regions(regions)]
    return Figure(content, with_regions(picture, regions), figure.place, "\n".join(dict.fromkeys(filter(None, words))), figure.page)


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Refuse what is no figure.

    Raises:
        DocumentRejected: TINY or TOO_LARGE.
    """
    if min(width, height) < LEAST_SIDE:
        raise rejected("TINY", f"it has less than {LEAST_SIDE} pixels a side")
    if width * height > max_pixels:
        raise rejected("TOO_LARGE", f"it has more than {max_pixels:,} pixels")


def with_figure_words(document: LoadedDocument) -> LoadedDocument:
    """The document with what is said of its figures in the stored text; the place of each is then its words.

    A caption that stands there already stays where it is, and what else is said follows it. Other words get a line of their own where the
    figure stands, and so does a figure of which nothing is said.
    """
    text = document.text
    solid = [*(heading.span for heading in document.headings), *(figure.place for figure in document.figures)]
    followed: set[Span] = set()
    additions: list[_Addition] = []
    for number, figure in enumerate(document.figures):
        place, caption = figure.place, text[figure.place.start : figure.place.end]
        if caption and place not in followed:
            followed.add(place)
            additions.append(_Addition(place.end, False, number, f"\n{figure.words}" if figure.words else "", place.start))
        elif caption and not figure.words:  # several figures above one caption
            additions.append(_Addition(place.end, False, number, "", place.start))
        else:
            words = "\n".join(filter(None, (caption, figure.words))) or " on ".join(("Figure", *figure.where))
            at = max((span.end for span in solid if span.start < place.end < span.end), default=place.end)
            additions.append(_Addition(at, True, number, f"\n{words}" if at else f"{words}\n"))
    additions.sort()
    return _with(document, additions)


@dataclass(frozen=True, slots=True, order=True)
class _Addition:
    """What is added to the stored text for a figure, in its order there: what follows a caption comes right after it."""

    at: int
    stands_alone: bool
    number: int
    """Of the figure."""
    text: str
    caption_start: int = 0


def _with(document: LoadedDocument, additions: Sequence[_Addition]) -> LoadedDocument:
    places = [addition.at for addition in additions]
    lengths = list(accumulate((len(addition.text) for addition in additions), initial=0))

    def moved(place: int) -> int:
        """Where what begins at a place begins now: what is added there is added before it."""
        return place + lengths[bisect_right(places, place)]

    parts: list[str] = []
    figures = list(document.figures)
    end = 0
    for before, addition in zip(lengths, additions, strict=False):
        parts += (document.text[end : addition.at], addition.text)
        end = addition.at
        if addition.stands_alone:
            start = addition.at + before + (addition.text[0] == "\n")
            span = Span(start, start + len(addition.text) - 1)
        else:
            start = moved(addition.caption_start)
            span = Span(start, start + addition.at - addition.caption_start + len(addition.text))
        figures[addition.number] = replace(figures[addition.number], place=span)
    headings = tuple(
        replace(heading, span=Span(moved(heading.span.start), moved(heading.span.start) + heading.span.end - heading.span.start))
        for heading in document.headings
    )
    return replace(document, text="".join((*parts, document.text[end:])), headings=headings, figures=tuple(figures))
