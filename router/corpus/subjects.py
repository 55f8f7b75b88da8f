"""What each passage is about: names that play the title's part in the graph, with the probability that they are right.

A title is certain. A passage without one is about what its grammar says (`Recognised.subjects`), what its document's first passage is
about, and what its file is called. Headings and defined terms count beside a title too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from router.corpus.text import BETWEEN_CELLS, is_place
from router.models.base import Recognised
from router.names import bare_name, name_key, readable_name
from router.types import Chunk

TITLE = 1.0
HEADING = 0.5
DEFINED = 0.6
FILE_NAME = 0.4
OF_THE_DOCUMENT = 0.5
"""How much of its confidence a subject of the first passage keeps for the later passages."""
MIN_CHARS = 2
MAX_CHARS = 200

_DEFINED = re.compile(r"[“\"]([^”\"\n]{2,60})[”\"]\s+(?:means|shall mean|refers to|denotes|stands for|is defined as)\b")

Subjects = Mapping[str, float]
"""Name -> confidence."""
NO_SUBJECTS: Subjects = {}


def is_name(text: str) -> bool:
    return MIN_CHARS <= len(name_key(text)) <= MAX_CHARS


def subjects_of(chunk: Chunk, recognised: Recognised, opening: Subjects) -> Subjects:
    """A passage's subjects.

    Args:
        chunk: The passage.
        recognised: What its grammar says.
        opening: Subjects of the first passage of its document; empty for that passage itself.
    """
    found: dict[str, tuple[str, float]] = {}
    for name, confidence in (*_stated(chunk), *(() if is_name(chunk.title) else _guessed(chunk, recognised, opening))):
        if is_name(name) and confidence > found.get(name_key(name), ("", 0.0))[1]:
            found[name_key(name)] = (bare_name(name), confidence)
    return dict(found.values())


def _stated(chunk: Chunk) -> Iterator[tuple[str, float]]:
    yield chunk.title, TITLE
    # One word alone (Introduction, Scope) heads too many sections to name one of them.
    heading = next((heading for heading in reversed(chunk.headings) if BETWEEN_CELLS not in heading and not is_place(heading)), "")
    if len(heading.split()) > 1:
        yield heading, HEADING
    for match in _DEFINED.finditer(chunk.text):
        yield match.group(1), DEFINED


def _guessed(chunk: Chunk, recognised: Recognised, opening: Subjects) -> Iterator[tuple[str, float]]:
    yield from ((subject.text, subject.confidence) for subject in recognised.subjects)
    yield from ((name, OF_THE_DOCUMENT * confidence) for name, confidence in opening.items())
    yield readable_name(chunk.document_name), FILE_NAME
