"""The layout of a stored text that a cut must respect: tables with their rows, list items, fenced code, paragraphs.

It is read from the lines themselves, so it is the same for every format: Markdown keeps its tables, and the rows of HTML and Word tables
are stored as cells with ` | ` between them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

from router.types import Span

MAX_HEADER_CHARS = 200


class Layout(Enum):
    PROSE = "prose"
    TABLE = "table"
    ITEM = "item"
    CODE = "code"


@dataclass(frozen=True, slots=True)
class Block:
    """A paragraph, a whole table, one list item or one fenced listing, with the empty lines that follow it."""

    layout: Layout
    span: Span


_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_ROW = re.compile(r"[ \t]*\|.*\S.*|.*\S[ \t]+\|(?:[ \t].*)?")
_RULE = re.compile(r"[ \t|:-]*-[ \t|:-]*")
_ITEM = re.compile(r"[ \t]*(?:[-*+•‣]|\(?\d{1,3}[.)])[ \t]+\S")
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"'”’)\]]*\s+|(?<=[。！？])\s*")


def blocks(text: str) -> Iterator[Block]:
    """Blocks that together are the text again, in its order. White space before the first one belongs to it."""
    layout, start, fence = Layout.PROSE, 0, ""
    was_empty = has_words = False
    for line, at in _lines(text):
        words = line.strip()
        if fence:
            # A listing ends with a line of nothing but its own sign.
            fence = "" if words.startswith(fence) and not words.strip(fence[0]) else fence
            was_empty = not fence
            continue
        if not words:
            was_empty = has_words
            continue
        opening = _FENCE.match(line)
        if opening is not None:
            kind = Layout.CODE
        elif _ROW.fullmatch(line.rstrip("\n")):
            kind = Layout.TABLE
        elif _ITEM.match(line):
            kind = Layout.ITEM
        else:
            kind = Layout.PROSE
        goes_on = not was_empty and kind is Layout.PROSE and layout in (Layout.PROSE, Layout.ITEM)
        goes_on = goes_on or (not was_empty and kind is layout is Layout.TABLE)
        if has_words and not goes_on:
            yield Block(layout, Span(start, at))
            start = at
        if not goes_on:
            layout = kind
        has_words, was_empty = True, False
        fence = opening[1] if opening is not None else ""
    if text:
        yield Block(layout, Span(start, len(text)))


def divided(text: str) -> list[str]:
    """The coarsest division of a text that is too long: into blocks, a table into rows, a listing into lines, prose into sentences.

    The parts joined are the text again. One part means that words are all there is. A table's header stays with its first row.
    """
    found = list(blocks(text))
    if len(found) > 1:
        return [text[block.span.start : block.span.end] for block in found]
    if not found:
        return [text]
    match found[0].layout:
        case Layout.TABLE:
            lines = [line for line, _ in _lines(text)]
            head = _header_lines(lines)
            first = head + 1 if len(lines) > head + 1 else head
            return ["".join(lines[:first]), *lines[first:]]
        case Layout.CODE:
            return [line for line, _ in _lines(text)]
        case _:
            parts = sentences(text)
            return parts if len(parts) > 1 else [line for line, _ in _lines(text)]


def sentences(text: str) -> list[str]:
    """Parts that joined are the text again; each but the last ends where a sentence does."""
    cuts = [0, *(match.end() for match in _SENTENCE_END.finditer(text)), len(text)]
    return [text[start:end] for start, end in pairwise(cuts) if start < end]


def last_sentences(text: str) -> list[str]:
    """The sentences of the prose that a text ends with; none where it ends with a row, an item or a listing."""
    found: list[str] = []
    for block in reversed(list(blocks(text))):
        if block.layout is not Layout.PROSE:
            break
        found = [*sentences(text[block.span.start : block.span.end]), *found]
    return found


def header_of(table: str) -> str:
    """The first row of a table, without its outer bars; empty when there is no other row, or when it is too long to be a header."""
    first, _, rest = table.strip().partition("\n")
    cells = " ".join(first.strip().strip("|").split())
    return cells if rest and len(cells) <= MAX_HEADER_CHARS else ""


def _header_lines(lines: list[str]) -> int:
    return 2 if len(lines) > 1 and _RULE.fullmatch(lines[1].strip()) else 1


def _lines(text: str) -> Iterator[tuple[str, int]]:
    """Lines with their ends, and where they begin."""
    start = 0
    for line in text.split("\n"):
        end = min(start + len(line) + 1, len(text))
        if end > start:
            yield text[start:end], start
        start = end
