from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.filtering.patterns import Pattern, SpanPattern
from router.types import Span

# In these the engines agree: no Unicode classes, leftmost-first alternatives.
EXPRESSIONS = ("ab", "a+b?", "(?:ab|a)c", "[^a]b", r"\bab", r"b\b", "(?i)AB|Ω", "c$", "(?s:a.c)")


@given(st.sampled_from(EXPRESSIONS), st.text("abAc Ω\n", max_size=30), st.integers(0, 30))
def test_matches_are_where_another_engine_finds_them(expression: str, text: str, start: int) -> None:
    start = min(start, len(text))
    expected = re.compile(expression.replace("$", r"\Z"), re.ASCII).search(text, start)
    found = SpanPattern(expression).first(text, start)
    assert found == (Span(*expected.span()) if expected else None)
    assert Pattern(expression).matches(text[start:]) == (re.search(expression.replace("$", r"\Z"), text[start:], re.ASCII) is not None)


def test_an_empty_match_is_passed_over() -> None:
    assert SpanPattern(r"\b|b").first("ab c", 0) == Span(1, 2)


def test_half_of_a_surrogate_pair_is_matched_around() -> None:
    assert SpanPattern("b+").first("a\ud800bb", 0) == Span(2, 4)


@pytest.mark.parametrize("expression", [r"(?:a+)+$", r"(?:a|a)*b", r"(?:\w+\s?)*!"])
def test_what_makes_other_engines_hang_is_matched_at_once(expression: str) -> None:
    # With an engine that backtracks this test would not end.
    assert not Pattern(expression).matches("a" * 8_000 + "?")
