"""Paired differences against counts made by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.experiments.comparison import paired_difference


def test_a_difference_by_hand() -> None:
    found = paired_difference({"a": 1.0, "b": 0.5, "c": 0.0, "d": 1.0, "only here": 1.0}, {"a": 0.0, "b": 0.5, "c": 1.0, "d": 0.5})
    assert found.mean == pytest.approx(0.125)
    assert (found.wins, found.losses, found.questions) == (2, 1, 4)
    assert found.low < found.mean < found.high


def test_pairing_sees_what_two_intervals_would_not() -> None:
    # Hard and easy questions differ by much more than the two runs do, but one run is better on every question.
    against = {str(number): number / 100 for number in range(100)}
    better = {question: value + 0.01 for question, value in against.items()}
    found = paired_difference(better, against)
    assert found.low == pytest.approx(0.01)
    assert (found.wins, found.losses) == (100, 0)


@given(st.dictionaries(st.text(max_size=3), st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=12))
def test_the_same_values_give_the_same_interval_and_it_holds_the_mean(values: dict[str, tuple[float, float]]) -> None:
    one, other = ({key: pair[place] for key, pair in values.items()} for place in (0, 1))
    found = paired_difference(one, other)
    assert found == paired_difference(one, other)
    assert found.low - 1e-9 <= found.mean <= found.high + 1e-9
    assert found.wins + found.losses <= found.questions == len(values)


def test_nothing_in_common_is_no_difference() -> None:
    assert paired_difference({"a": 1.0}, {"b": 1.0}).questions == 0
