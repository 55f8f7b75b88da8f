"""Names as text: when two are the same, and where a known name stands in a text."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import NamedTuple

from router.types import Span

ALIAS = "also called"
"""Relation of a fact that a text states: from the short or other name to the full one."""
_PARENTHESES = re.compile(r"\s*\([^()]*\)\s*$")
_ARTICLE = re.compile(r"^(?:the|an?)\s+(?=\S)", re.IGNORECASE)
_BETWEEN_WORDS = re.compile(r"[-_.\s]+")
_WORDS_OF_A_FILE = re.compile(r"[^\W\d_]{3,}")
_EDGES = " \t\n\r\"'“”‘’.,;:!?"
_MIN_ONE_WORD = 4
_MIN_ACRONYM = 3


def bare_name(name: str) -> str:
    """The name without what only tells it apart (`Mercury (planet)` -> `Mercury`), trimmed, white space collapsed."""
    text = " ".join(unicodedata.normalize("NFC", name).split())
    return (_PARENTHESES.sub("", text) or text).strip(_EDGES)


def readable_name(file_name: str) -> str:
    """What somebody called a file, in words (`maintenance-plan.md` -> `maintenance plan`); empty for a number or a code."""
    name = _BETWEEN_WORDS.sub(" ", PurePosixPath(file_name).stem).strip()
    return name if len(_WORDS_OF_A_FILE.findall(name)) > 1 else ""


def name_key(name: str) -> str:
    """Equal for names that are the same name: case, accents, leading article and parenthesis do not count."""
    return folded(without_article(bare_name(name))).casefold()


def without_article(name: str) -> str:
    return _ARTICLE.sub("", name) or name


def folded(text: str) -> str:
    """The text without accents and with plain quotes and hyphens, letter for letter: spans stay true."""
    return text.translate(_FOLDED)


class _Folded(dict[int, int]):
    """Code point -> the one it is read as, worked out when it is first met."""

    def __missing__(self, code: int) -> int:
        parts = unicodedata.normalize("NFD", chr(code))
        is_letter_with_marks = parts[0].isalpha() and all(map(unicodedata.combining, parts[1:]))
        self[code] = ord(parts[0]) if is_letter_with_marks else code
        return self[code]


_FOLDED = _Folded({ord(one): ord(other) for one, other in zip("‘’‛“”‟‐‑‒–—", "'''\"\"\"-----", strict=True)})


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


Holds = Callable[[str, str], bool]
"""Whether the entity of that id has that name (now, or in the version of the graph that is read)."""


class NameFinder:
    """Finds known names in texts in one pass over their words, at word boundaries.

    Names of several words are found whatever their case; names of one word only as written, since `May` is not `may`.

    Every name is kept with each of its beginnings that ends where a token does, so that from every token of a text one follows the
    names as in a trie. That finds what Aho and Corasick's automaton finds (CACM 1975), for a name can only begin and end with a token;
    but a name is added at the cost of its own length, where the automaton has to be made anew. Names are not taken out: whoever
    looks says which of them hold.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names: dict[str, tuple[_Name, ...]] = {}
        for name in names:
            self.add(name)

    def add(self, name: str, identity: str | None = None) -> None:
        """Add a name of an entity (by default the entity that the name itself makes). Adding it again changes nothing."""
        bare = bare_name(name)
        if not is_findable(bare):
            return
        lowered = _lower(bare)
        known = self._names.get(lowered, ())
        added = _Name(identity or entity_id(bare), name, bare)
        if added not in known:
            for _, end in _tokens(lowered):
                self._names.setdefault(lowered[:end], ())
            self._names[lowered] = (*known, added)

    def hits(self, text: str, holds: Holds | None = None) -> list[Found]:
        """Every name that stands in the text, also one inside another."""
        lowered = _lower(text)
        tokens = _tokens(lowered)
        hits: list[Found] = []
        for first, (start, first_end) in enumerate(tokens):
            last, end = first, first_end
            while (names := self._names.get(lowered[start:end])) is not None:
                if names:
                    surface = text[start:end]
                    hits += [Found(name.entity_id, Span(start, end)) for name in names if name.is_written(surface) and name.holds(holds)]
                last += 1
                # Within a name words stand one blank apart: after any other white space no name goes on.
                if last == len(tokens) or lowered[end : tokens[last][0]] not in _GAPS:
                    break
                end = tokens[last][1]
        return hits

    def find(self, text: str, holds: Holds | None = None) -> list[Found]:
        """The names that stand in the text, in its order; no two overlap, and the longest wins."""
        return longest(self.hits(text, holds))


def longest(hits: Iterable[Found]) -> list[Found]:
    """Those hits that overlap none that is longer (of two as long: that begins earlier), in the order of the text."""
    taken: list[Found] = []
    covered: set[int] = set()
    for found in sorted(hits, key=lambda hit: (hit.span.start - hit.span.end, hit.span.start, hit.entity_id)):
        places = range(found.span.start, found.span.end)
        if covered.isdisjoint(places):
            covered.update(places)
            taken.append(found)
    return sorted(taken, key=lambda found: found.span.start)


def words_of(text: str) -> list[str]:
    """The words of a text (or name) in small letters: whatever text has a name in it has the name's words."""
    return _WORD.findall(_lower(text))


class _Name(NamedTuple):
    entity_id: str
    name: str
    bare: str

    def is_written(self, surface: str) -> bool:
        return " " in surface or folded(surface) == folded(self.bare)

    def holds(self, holds: Holds | None) -> bool:
        return holds is None or holds(self.entity_id, self.name)


_WORD = re.compile(r"[^\W_]+")
_TOKEN = re.compile(r"[^\W_]+|\S")
"""A run of letters and digits, or any other visible character by itself: names begin and end where tokens do."""
_GAPS = ("", " ")


def _tokens(text: str) -> list[tuple[int, int]]:
    """Start and end of every token."""
    return [match.span() for match in _TOKEN.finditer(text)]


def _lower(text: str) -> str:
    text = folded(text)
    # Spans must hold in the original, so a letter whose lower case is longer (such as U+0130) stays as it is.
    lowered = text.lower()
    return lowered if len(lowered) == len(text) else "".join(c.lower() if len(c.lower()) == 1 else c for c in text)
