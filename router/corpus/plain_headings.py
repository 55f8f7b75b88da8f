"""Headings of a plain text, where they are safe to tell: a short line by itself that no sentence runs through, above a paragraph.

A wrong heading costs more than a missed one (its passages carry its words), so verse, lists, addresses, the beginnings of wrapped
paragraphs and the first line of a text are none. Below a line that stands between empty ones its paragraph is not sure to belong to it
(it may be a byline or a caption): such lines count where they are numbered or written as titles, and where the text has several of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import takewhile

from router.corpus.text import Heading
from router.types import Span

MAX_CHARS = 70
MAX_WORDS = 10
MAX_STACKED = 3
"""Headings with nothing between them; more short lines in a row are a list."""
SHORTER = 0.7
"""Of the line below: the first line of a wrapped paragraph is about as long as the next."""
LEAST_PARAGRAPH = 60
"""Characters of the line below a heading."""
LEAST_ALIKE = 3
"""Lines between empty ones that look like headings, in one text."""
_NUMBER = re.compile(r"(\d{1,2}(?:\.\d{1,2})*)\.?\s+(?=\S)")
_MARKER = re.compile(r"[-*+•‣|>#=_~<]|\(?\d{1,3}\)|https?:")
_ENDS = tuple(".!?:;,…-–—|")
_CONTAINS = re.compile(r"\t|\s\|\s|[.!?]\s+[a-z]|[@{}]")


def plain_headings(text: str) -> tuple[Heading, ...]:
    """In the order of the text. Numbered ones are as deep as their number (`2.1` is of level 2), all others of level 1."""
    lines = list(_lines(text))
    found: list[tuple[Heading, bool]] = []
    position = next((number for number, line in enumerate(lines) if text[line.start : line.end].strip()), len(lines)) + 1
    while position < len(lines):
        stack = _stack(text, lines, position)
        if stack:
            words = [" ".join(text[line.start : line.end].split()) for line in stack]
            heading = Heading(_level(words[0]), ": ".join(words), Span(stack[0].start, stack[-1].end))
            found.append((heading, _is_empty(text, lines, position + len(stack))))
        position += max(1, len(stack))
    alone = sum(is_alone for _, is_alone in found)
    return tuple(heading for heading, is_alone in found if not is_alone or alone >= LEAST_ALIKE)


def _stack(text: str, lines: Sequence[Span], position: int) -> list[Span]:
    """The heading lines that begin here, below an empty line and above a paragraph; mostly one."""
    if not _is_empty(text, lines, position - 1):
        return []
    stack = list(takewhile(lambda line: _is_heading(text[line.start : line.end]), lines[position : position + MAX_STACKED + 1]))
    if not 1 <= len(stack) <= MAX_STACKED:
        return []
    last, below = text[stack[-1].start : stack[-1].end].strip(), position + len(stack)
    if _is_empty(text, lines, below):
        if len(stack) > 1 or not (_NUMBER.match(last) or _is_title_case(last)):
            return []
        below += 1
    paragraph = text[lines[below].start : lines[below].end].strip() if below < len(lines) else ""
    return stack if len(paragraph) >= LEAST_PARAGRAPH and len(last) <= SHORTER * len(paragraph) else []


def _is_empty(text: str, lines: Sequence[Span], position: int) -> bool:
    return position < len(lines) and not text[lines[position].start : lines[position].end].strip()


def _is_heading(line: str) -> bool:
    words = line.strip()
    if not words or len(words) > MAX_CHARS or len(words.split()) > MAX_WORDS or line[0].isspace():
        return False
    if words.endswith(_ENDS) or _MARKER.match(words) or _CONTAINS.search(words):
        return False
    first = next((character for character in words if character.isalnum()), "")
    return bool(first) and not first.islower() and any(character.isalpha() for character in words)


def _is_title_case(words: str) -> bool:
    """`Terms of Use`: two words at least, capitalised but for the small ones."""
    # Imported here: the command line looks at formats too, and must not wait for spaCy.
    from router.spacy import STOP_WORDS

    rest = [word for word in words.split() if word.casefold() not in STOP_WORDS]
    return len(rest) > 1 and all(word[0].isupper() or word[0].isdigit() or not word[0].isalnum() for word in rest)


def _level(words: str) -> int:
    match = _NUMBER.match(words)
    return match[1].count(".") + 1 if match else 1


def _lines(text: str) -> Iterator[Span]:
    start = 0
    for line in text.split("\n"):
        yield Span(start, start + len(line))
        start += len(line) + 1
