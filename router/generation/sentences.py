"""Evidence as sentences that can stand in an answer."""

from __future__ import annotations

import re
from functools import cache

from router.generation.citations import without_citations
from router.spacy import Language, blank
from router.types import Evidence, EvidenceKind

LEAST_WORDS = 4
MAX_HEADING_WORDS = 8
MAX_SENTENCE_CHARS = 400

_BREAK = re.compile(r"\n\s*\n|\n(?=\s*(?:[-*•#|>]|\d+[.)])\s)")
_MARKUP = re.compile(r"^[\s>|#*•_=-]+|[\s|*_=]+$")
_ENDS = re.compile(r"[.!?…:;][\"'”’)\]]*$")


def sentences(item: Evidence) -> list[str]:
    """The sentences of a piece of evidence in its order, without headings, markup, and marks that look like our citations."""
    if item.kind is EvidenceKind.FACT:
        return [_fact(item)]
    headings = {_plain(heading) for heading in (item.title, *item.headings)}
    found: list[str] = []
    for block in _BREAK.split(item.text):
        # A single line break inside a paragraph is only where the line was full, except after a heading.
        # Footnote marks go first: a full stop with a mark behind it ends no sentence for the splitter.
        text = without_citations(" ".join(_MARKUP.sub("", line) for line in _without_heading(block, headings)))
        if text and not _is_heading(text, headings):
            found += [cleaned for sentence in _splitter()(text).sents if (cleaned := _clean(sentence.text))]
    return found


def split_sentences(text: str) -> list[str]:
    """The sentences of a plain text."""
    return [sentence.text.strip() for sentence in _splitter()(text).sents if sentence.text.strip()]


def _fact(item: Evidence) -> str:
    """A single relation as `Subject relation Object.`; a longer path as the graph source worded it."""
    path = item.provenance[0].path if item.provenance else ()
    if len(path) == 1 and _names_its_end(item, path[0].subject, path[0].object):
        return f"{path[0].subject} {path[0].relation.replace('_', ' ')} {path[0].object}."
    return without_citations(item.text)


def _names_its_end(item: Evidence, subject: str, object_: str) -> bool:
    # A path with many ends says `3 entities` where one end would stand; its text lists them.
    return subject in item.text and object_ in item.text


def _without_heading(block: str, headings: set[str]) -> list[str]:
    lines = [line.strip() for line in block.strip().splitlines()]
    if len(lines) > 1 and (lines[0].startswith("#") or _plain(lines[0]) in headings):
        return lines[1:]
    return lines


def _is_heading(text: str, headings: set[str]) -> bool:
    if _plain(text) in headings:
        return True
    return len(text.split()) <= MAX_HEADING_WORDS and not _ENDS.search(text) and not any(sign.isdigit() or sign == ":" for sign in text)


def _clean(sentence: str) -> str:
    text = " ".join(sentence.split())
    if len(text.split()) < LEAST_WORDS:
        return ""
    if len(text) > MAX_SENTENCE_CHARS:
        return text[:MAX_SENTENCE_CHARS].rsplit(" ", 1)[0] + " …"
    return text if _ENDS.search(text) else f"{text}."


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


@cache
def _splitter() -> Language:
    # Rules only: no model is loaded, and it is safe to call from several threads.
    splitter = blank("en")
    splitter.add_pipe("sentencizer")
    return splitter
