"""Evidence that holds an answer's words, for a model that wrote an answer and forgot to cite it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from router.generation.prompt import says_not_found
from router.generation.sentences import split_sentences
from router.spacy import STOP_WORDS
from router.types import Evidence

LEAST_HELD = 0.8
"""Share of a sentence's words, without the small ones, that one piece of evidence must hold."""
LEAST_WORDS = 3
"""A sentence of fewer words is held by too many pieces to mean anything."""

_WORD = re.compile(r"\w+")


def evidence_of_wording(text: str, evidence: Sequence[Evidence]) -> list[int]:
    """Numbers (from 1) of the evidence that holds the sentences of a text, in their order.

    This compares words, not meanings: it finds what was copied or nearly so. Empty unless every sentence is held, since numbers at
    the end of a text stand for all of it.
    """
    held = [_words(f"{item.title} {item.text}") for item in evidence]
    numbers: list[int] = []
    for sentence in split_sentences(text):
        if says_not_found(sentence):
            continue
        words = _words(sentence)
        shares = [len(words & known) / max(1, len(words)) for known in held]
        best = max(range(len(shares)), key=lambda number: (shares[number], -number), default=None)
        if best is None or len(words) < LEAST_WORDS or shares[best] < LEAST_HELD:
            return []
        numbers.append(best + 1)
    return list(dict.fromkeys(numbers))


def _words(text: str) -> set[str]:
    return {word for word in _WORD.findall(text.casefold()) if word not in STOP_WORDS}
