"""Refuses questions by the rules of the policy file: patterns on their words, examples on their meaning."""

from __future__ import annotations

import asyncio
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from router.errors import QueryRefused
from router.filtering.patterns import Pattern
from router.filtering.policy_file import FilterPolicy, RefuseRule
from router.models.base import Embedder
from router.types import Caller, Matrix, Query, Vector

_INVISIBLE = re.compile("[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\U000e0000-\U000e007f]")


@dataclass(frozen=True, slots=True)
class _Rule:
    rule: RefuseRule
    patterns: tuple[Pattern, ...]
    examples: Matrix
    middle: Matrix
    """One row, or none where there are no examples."""


class RefusalRules:
    """The first rule that a question breaks refuses it.

    * Patterns look at the question, at its instruction, at both together, at every turn of its history (the caller writes all of it,
      whatever role he gives it) and at the standalone question. Compatibility forms, invisible characters and runs of white space are
      undone before.
    * Examples look at the embedding that the question gets anyway, and at those of what is said with an instruction. Refused is what is as
      like the rule's examples as its threshold says (the mean of the cosines to the nearest one and to the middle of all: the nearest
      alone follows names and topics that happen to stand in it), and nearer to one of them, by the margin, than to every allowed example.
    """

    def __init__(self, rules: Iterable[tuple[RefuseRule, Matrix]], allowed: Matrix, margin: float) -> None:
        self._rules = tuple(_Rule(rule, tuple(map(Pattern, rule.patterns)), examples, _middle(examples)) for rule, examples in rules)
        self._allowed = allowed
        self._margin = margin

    @classmethod
    async def open(cls, policy: FilterPolicy, embedder: Embedder) -> RefusalRules:
        """Embeds the examples. Raises ModelUnavailable."""
        rules = [(rule, await _embedded(embedder, rule.examples)) for rule in policy.refuse]
        return cls(rules, await _embedded(embedder, policy.allowed), policy.margin)

    async def check(self, query: Query, vector: Vector | None, caller: Caller) -> None:
        """Raises QueryRefused."""
        if vector is None:
            # In a thread: a history may have two million characters.
            said = dict.fromkeys((query.text, query.instruction, query.wording))
            await asyncio.to_thread(self._check_words, [*said, *(turn.text for turn in query.history)])
        else:
            self._check_meaning(vector)

    def _check_words(self, texts: Sequence[str]) -> None:
        plain = [_plain(text) for text in texts]
        for rule in self._rules:
            if any(pattern.matches(text) for pattern in rule.patterns for text in plain):
                raise QueryRefused(rule.rule.message, rule=rule.rule.name)

    def _check_meaning(self, vector: Vector) -> None:
        allowed = _nearest(self._allowed, vector)
        for rule in self._rules:
            refused = _nearest(rule.examples, vector)
            likeness = (refused + _nearest(rule.middle, vector)) / 2
            if likeness >= rule.rule.threshold and refused > allowed + self._margin:
                raise QueryRefused(rule.rule.message, rule=rule.rule.name)


async def _embedded(embedder: Embedder, texts: Sequence[str]) -> Matrix:
    return await embedder.embed(texts) if texts else np.zeros((0, embedder.dimension), np.float32)


def _middle(examples: Matrix) -> Matrix:
    if not len(examples):
        return examples
    middle = examples.mean(axis=0, keepdims=True)
    return np.asarray(middle / max(float(np.linalg.norm(middle)), 1e-9), np.float32)


def _nearest(examples: Matrix, vector: Vector) -> float:
    return float((examples @ vector).max()) if len(examples) else -1.0


def _plain(text: str) -> str:
    return " ".join(_INVISIBLE.sub("", unicodedata.normalize("NFKC", text)).split())
