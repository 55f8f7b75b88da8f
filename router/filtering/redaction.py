"""Redacts answers by the rules of the policy file."""

from __future__ import annotations

from collections.abc import Sequence

from router.filtering.base import Finding
from router.filtering.patterns import SpanPattern
from router.filtering.policy_file import RedactRule


class RedactionRules:
    """The leftmost match of any rule; of equals the rule that stands first."""

    def __init__(self, rules: Sequence[RedactRule]) -> None:
        self._patterns = tuple((rule, SpanPattern(expression)) for rule in rules for expression in rule.patterns)

    async def first(self, text: str, start: int) -> Finding | None:
        best: Finding | None = None
        for rule, pattern in self._patterns:
            span = pattern.first(text, start)
            if span is not None and (best is None or span.start < best.span.start):
                best = Finding(rule.name, span, rule.replacement, rule.stop)
        return best
