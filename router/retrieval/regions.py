"""Lines that are written in pictures of the evidence, beside the question."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from router.names import folded
from router.retrieval.linker import FUNCTION_WORDS
from router.stems import stem
from router.types import TextRegion

GLUED_CHARS = 4
"""From so many characters a word of the question may begin or end a longer one in the picture: the reader often drops the spaces of a line
("SEALKIT"). Shorter ones begin or end too much else."""
_WORD = re.compile(r"[^\W_]+")


def marked(regions: Sequence[TextRegion], question: str) -> tuple[TextRegion, ...]:
    """The lines, with those marked that share a content word (its English stem) with the question."""
    wanted = _content_words(question)
    stems = _stems(wanted)
    ends = tuple(word for word in wanted if len(word) >= GLUED_CHARS)

    def matches(line: str) -> bool:
        words = _content_words(line)
        return not stems.isdisjoint(_stems(words)) or any(word.startswith(ends) or word.endswith(ends) for word in words)

    return tuple(replace(region, matches=matches(region.text)) for region in regions)


def _content_words(text: str) -> set[str]:
    return {word for word in _WORD.findall(folded(text).casefold()) if word not in FUNCTION_WORDS}


def _stems(words: Iterable[str]) -> set[str]:
    return {stem(word) for word in words}
