"""Names as text: when two are the same, and where a known name stands in a text."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

import ahocorasick

from router.types import Span

_PARENTHESES = re.compile(r"\s*\([^()]*\)\s*$")
_ARTICLE = re.compile(r"^(?:the|an?)\s+(?=\S)", re.IGNORECASE)
_EDGES = " \t\n\r\"'“”‘’.,;:!?"
_MIN_ONE_WORD = 4
_MIN_ACRONYM = 3


def bare_name(name: str) -> str:
    """The name without what only tells it apart (`Mercury (planet)` -> `Mercury`), trimmed, white space collapsed."""
    text = " ".join(unicodedata.normalize("NFC", name).split())
    return (_PARENTHESES.sub("", text) or text).strip(_EDGES)


def name_key(name: str) -> str:
    """Equal for names that are the same name: case, leading article and parenthesis do not count."""
    bare = bare_name(name)
    return (_ARTICLE.sub("", bare) or bare).casefold()


def entity_id(name: str) -> str:
    """Identity of the entity of that name within a tenant: 32 hex characters."""
    return hashlib.sha256(b"entity\x00" + name_key(name).encode()).hexdigest()[:32]


def is_findable(name: str) -> bool:
    """Whether the bare letters of the name are enough to recognise it in a text.

    A name of several words is; one word must have four characters, or three when it is written in capitals (an acronym).
    """
    bare = bare_name(name)
    if " " in bare:
        return True
    return len(bare) >= (_MIN_ACRONYM if bare.isupper() else _MIN_ONE_WORD)


@dataclass(frozen=True, slots=True)
class Found:
    """That a known name stands in a text; `span` counts characters of that text."""

    entity_id: str
    span: Span


class NameFinder:
    """Finds known names in texts in one pass (Aho and Corasick, CACM 1975), longest first, at word boundaries.

    Names of several words are found whatever their case; names of one word only as written, since `May` is not `may`.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._automaton = ahocorasick.Automaton()
        patterns: dict[str, set[str]] = {}
        for name in names:
            bare = bare_name(name)
            if is_findable(bare):
                patterns.setdefault(_lower(bare), set()).add(bare)
        for lowered, spellings in patterns.items():
            self._automaton.add_word(lowered, (len(lowered), frozenset(spellings)))
        self._is_empty = not patterns
        if patterns:
            self._automaton.make_automaton()

    def find(self, text: str) -> list[Found]:
        """The names that stand in the text, in its order; no two overlap."""
        if self._is_empty:
            return []
        lowered = _lower(text)
        hits: list[tuple[int, int, str]] = []
        for last, (length, spellings) in self._automaton.iter(lowered):
            start, end = last + 1 - length, last + 1
            if not _at_boundaries(lowered, start, end):
                continue
            surface = text[start:end]
            if " " in surface or surface in spellings:
                hits.append((start, end, surface))
        hits.sort(key=lambda hit: (hit[0] - hit[1], hit[0]))
        taken: list[Found] = []
        covered = bytearray(len(text))
        for start, end, surface in hits:
            if not any(covered[start:end]):
                covered[start:end] = b"\x01" * (end - start)
                taken.append(Found(entity_id(surface), Span(start, end)))
        taken.sort(key=lambda found: found.span.start)
        return taken


def _lower(text: str) -> str:
    # Spans must hold in the original, so a letter whose lower case is longer (such as U+0130) stays as it is.
    lowered = text.lower()
    return lowered if len(lowered) == len(text) else "".join(c.lower() if len(c.lower()) == 1 else c for c in text)


def _at_boundaries(text: str, start: int, end: int) -> bool:
    before_ok = start == 0 or not (text[start - 1].isalnum() and text[start].isalnum())
    after_ok = end == len(text) or not (text[end].isalnum() and text[end - 1].isalnum())
    return before_ok and after_ok
