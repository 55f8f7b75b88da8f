"""Reliability in bins of equal mass, and risk against coverage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.experiments.calibration import BINS, reliability, risk_coverage

pairs = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=80)


def test_known_bins() -> None:
    found = reliability([0.1] * 10 + [0.8] * 10, [True] + [False] * 9 + [True] * 6 + [False] * 4)
    assert found is not None
    assert [(one.count, round(one.observed, 3)) for one in found.bins] == [(10, 0.1), (10, 0.6)]
    assert found.ece == pytest.approx(0.1)
    assert found.brier == pytest.approx(np.mean([0.9**2] + [0.1**2] * 9 + [0.2**2] * 6 + [0.8**2] * 4))
    assert reliability([], []) is None


def test_different_probabilities_fill_ten_equal_bins() -> None:
    found = reliability([place / 100 for place in range(100)], [False] * 100)
    assert found is not None
    assert [one.count for one in found.bins] == [10] * BINS


@given(pairs)
def test_bins_hold_everything_once_and_tear_no_ties_apart(predictions: list[tuple[float, bool]]) -> None:
    found = reliability(*zip(*predictions, strict=True))  # type: ignore[arg-type]
    assert found is not None
    assert sum(one.count for one in found.bins) == len(predictions)
    assert len(found.bins) <= BINS
    assert all(before.high < after.low for before, after in zip(found.bins, found.bins[1:], strict=False))
    assert 0 <= found.ece <= 1
    assert 0 <= found.brier <= 1


@given(pairs)
def test_the_order_of_the_questions_does_not_matter(predictions: list[tuple[float, bool]]) -> None:
    confidences, wrong = zip(*predictions, strict=True)
    there, back = risk_coverage(confidences, wrong), risk_coverage(confidences[::-1], wrong[::-1])
    assert there is not None
    assert back is not None
    assert there.area == pytest.approx(back.area)
    assert there.points[-1] == (1.0, pytest.approx(np.mean(wrong)))


def test_good_confidence_has_a_smaller_area_than_none() -> None:
    risks = [0.0] * 5 + [1.0] * 5
    good = risk_coverage([0.9] * 5 + [0.1] * 5, risks)
    none = risk_coverage([0.5] * 10, risks)
    assert good is not None
    assert none is not None
    assert good.points[0] == (0.1, 0.0)
    assert (none.area, good.area < none.area) == (0.5, True)
    assert risk_coverage([], []) is None
