"""What a question says about the chain of relations it asks for: its words, where the name stands among them, what kind of answer it wants.

English only: questions in other languages have no asked kind and no repetition words, and are read by their words alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from bm25s.stopwords import STOPWORDS_EN

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_AUXILIARIES = _set("is are was were be been being do does did has have had can could will would")
_FUNCTION_WORDS = (
    frozenset(STOPWORDS_EN)
    | _AUXILIARIES
    | _set("what which who whom whose how many much from under along its his her your our you me please give tell list name")
)
_DETERMINERS = _set("the a an some few all main primary different various")
_PERSONS = _set("person persons people someone somebody anyone")
_AGAIN = _set("same share shares shared sharing also other others another together both common co fellow alongside else too")
"""Words that say that a relation is followed there and back: another one with the same supplier."""


class AnswerKind(Enum):
    """What can be told of an answer from the question word alone."""

    PERSON = "person"
    TIME = "time"


@dataclass(frozen=True, slots=True)
class Word:
    text: str
    """In small letters."""
    place: int
    """Among all words of the question; the name counts as one."""


@dataclass(frozen=True, slots=True)
class AskedChain:
    """A question, seen from one name in it."""

    words: tuple[Word, ...]
    """Those that may name a relation."""
    name_place: int
    question_place: int
    """Of the question word; where there is none, the first word."""
    kind: AnswerKind | None
    noun: str
    """What `which ...` asks for; empty when it says nothing, or when `kind` says it."""
    says_again: bool


def asked_chain(question: str, surface: str) -> AskedChain:
    """The question without the name from which the chain starts (its first occurrence)."""
    begin = max(question.find(surface), 0)
    before = [match.group().casefold() for match in _WORD.finditer(question[:begin])]
    after = [match.group().casefold() for match in _WORD.finditer(question[begin + len(surface) :])]
    words = [*before, "", *after]
    place, kind, noun = _asked(words)
    content = tuple(Word(word, at) for at, word in enumerate(words) if word and word not in _FUNCTION_WORDS and word not in _AGAIN)
    return AskedChain(content, len(before), place, kind, noun, any(word in _AGAIN for word in words))


def _asked(words: list[str]) -> tuple[int, AnswerKind | None, str]:
    """Place of the question word, and what it asks for."""
    for place, word in enumerate(words):
        if word in ("who", "whom"):
            return place, AnswerKind.PERSON, ""
        if word == "when":
            return place, AnswerKind.TIME, ""
        if word in ("what", "which", "this"):
            noun = _noun_after(words, place)
            if noun in _PERSONS:
                return place, AnswerKind.PERSON, ""
            if noun or word != "this":
                return place, None, noun
    return 0, None, ""


def _noun_after(words: list[str], place: int) -> str:
    """`which films did`, `what is the language of`, `what product line is`: films, language, line."""
    rest = words[place + 1 :]
    if rest and rest[0] in _AUXILIARIES:
        if rest[0] not in ("is", "are", "was", "were"):
            return ""
        rest = rest[1:]
    while rest and rest[0] in _DETERMINERS:
        rest = rest[1:]
    run = []
    for word in rest:
        if not word or word in _FUNCTION_WORDS:
            break
        run.append(word)
    if not run:
        return ""
    is_compound = len(run) > 1 and len(rest) > len(run) and rest[len(run)] in _AUXILIARIES
    return run[-1] if is_compound else run[0]
