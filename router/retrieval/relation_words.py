"""Which relation a word of a question names: likeness in the embedding space, a common stem, a common concept."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import takewhile

import numpy as np
from numpy.typing import NDArray

from router.stems import stem
from router.types import Vector

SHARPNESS = 18.0
"""How much a difference in likeness counts; 0.1 makes one relation six times as probable as another."""
SAME_STEM = 0.2
"""Likeness that a common stem or concept adds."""
_BOUNDARY = re.compile(r"[\W_]+|(?<=[a-z])(?=[A-Z])")
_LIGHT = frozenset(
    ("a", "an", "the", "is", "are", "was", "were", "has", "have", "had", "of", "in", "on", "at", "by", "for", "to", "from", "with")
)
_LEAST_STEM, _LONGEST_ENDING = 4, 3
_COMMON_LETTERS = 0.8
"""Of the shorter of two stems, the share of letters that both begin with."""
_CONCEPTS = tuple(
    frozenset(words.split())
    for words in (
        "kind kinds sort sorts type types category categories class classes genre genres style styles",
        "about describe described describes describing description characteristic characteristics keyword keywords label labels "
        "subject subjects tag tags term terms theme themes topic topics word words",
        "when date dates day days time times year years since until",
        "where address city country location located place places region site",
    )
)
"""Names that tables give to the same thing, and how people ask for it."""


def spoken(relation: str) -> str:
    """A relation's name in words: `hasBrand`, `has_brand` and `HAS_BRAND` are all `has brand`."""
    return " ".join(part for part in _BOUNDARY.split(relation) if part).lower()


def texts_of(relation: str) -> tuple[str, str]:
    """What is embedded of a relation: its name, and the words of it that carry meaning."""
    return spoken(relation), " ".join(_telling(relation))


def relation_probabilities(words: Sequence[str], relations: Sequence[str], vectors: Mapping[str, Vector]) -> NDArray[np.float64]:
    """Of each word, how probably it names each relation, or none (the last column): shape (words, relations + 1), rows sum to 1.

    A word that is more like the relations taken together than like any of them speaks of what the graph is about and names none: in
    a graph of products, `product`. That likeness is what a relation has to beat.

    Args:
        words: In small letters.
        relations: Distinct names.
        vectors: Unit vectors of the words and of `texts_of` each relation.
    """
    named = np.array([[vectors[text] for text in texts_of(relation)] for relation in relations])
    spelt = np.array([vectors[word] for word in words])
    together = named[:, 0].mean(axis=0)
    none = spelt @ (together / np.linalg.norm(together))
    likeness = (named @ spelt.T).max(axis=1).T
    likeness += SAME_STEM * np.array([[is_akin(word, relation) for relation in relations] for word in words])
    odds = np.exp(SHARPNESS * np.column_stack([likeness, none]))
    probabilities: NDArray[np.float64] = odds / odds.sum(axis=1, keepdims=True)
    return probabilities


def _telling(relation: str) -> list[str]:
    words = spoken(relation).split()
    return [word for word in words if word not in _LIGHT] or words


def is_akin(word: str, relation: str) -> bool:
    """Whether a word shares a stem or a concept with a word of the relation."""
    return any(share_stem(word, part) or any(word in concept and part in concept for concept in _CONCEPTS) for part in _telling(relation))


def share_stem(word: str, part: str) -> bool:
    """`director` and `directed`, `acted` and `actors`, `screenwriter` and `written`."""
    inner = part[: max(_LEAST_STEM, len(part) - _LONGEST_ENDING)]
    if len(inner) >= _LEAST_STEM and inner in word:
        return True
    one, other = stem(word), stem(part)
    common = sum(1 for _ in takewhile(lambda letters: letters[0] == letters[1], zip(one, other, strict=False)))
    return common >= max(3, _COMMON_LETTERS * min(len(one), len(other)))
