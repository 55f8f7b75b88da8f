"""Means over clusters, against what is known of them."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.experiments.clustered_mean import clustered_mean, half_width

values = st.floats(-100, 100)


@given(st.lists(values, min_size=2, max_size=30))
def test_where_each_value_is_its_own_cluster_it_is_the_ordinary_mean(numbers: list[float]) -> None:
    found = clustered_mean(numbers, range(len(numbers)))
    assert found is not None
    assert found.value == pytest.approx(statistics.fmean(numbers), abs=1e-9)
    assert found.standard_error == pytest.approx(statistics.stdev(numbers) / math.sqrt(len(numbers)), abs=1e-9)
    assert (found.degrees_of_freedom, found.clusters) == (pytest.approx(len(numbers) - 1), len(numbers))
    assert found.heaviest == pytest.approx(1 / len(numbers))


@given(st.lists(values, min_size=2, max_size=30), st.integers(2, 5))
def test_a_value_told_several_times_in_its_cluster_says_no_more(numbers: list[float], times: int) -> None:
    once, often = clustered_mean(numbers, range(len(numbers))), clustered_mean(numbers * times, [*range(len(numbers))] * times)
    assert once is not None
    assert often is not None
    assert (often.value, often.standard_error) == (pytest.approx(once.value, abs=1e-9), pytest.approx(once.standard_error, abs=1e-9))
    assert often.degrees_of_freedom == pytest.approx(once.degrees_of_freedom)


def test_it_is_the_jackknife_over_clusters_of_any_size() -> None:
    random = np.random.default_rng(3)
    clusters = random.integers(0, 6, 60) ** 2
    numbers = random.random(60) + clusters
    left = [float(numbers[clusters != one].mean()) for one in np.unique(clusters)]
    found = clustered_mean(numbers.tolist(), clusters.tolist())
    assert found is not None
    expected = math.sqrt((len(left) - 1) / len(left) * sum((mean - numbers.mean()) ** 2 for mean in left))
    assert found.standard_error == pytest.approx(expected)
    sizes = np.unique(clusters, return_counts=True)[1]
    assert found.heaviest == sizes.max() / 60
    assert found.degrees_of_freedom == pytest.approx(3600 / (sizes**2).sum() - 1)


@pytest.mark.parametrize("clusters", [[], [7], [7, 7, 7]])
def test_fewer_than_two_clusters_have_no_spread(clusters: list[int]) -> None:
    assert clustered_mean([1.0] * len(clusters), clusters) is None


def test_the_interval_is_students_with_the_fewest_freedoms() -> None:
    few, many = clustered_mean([0.0, 1.0, 2.0], range(3)), clustered_mean(list(range(50)), range(50))
    assert few is not None
    assert many is not None
    assert half_width(few) == pytest.approx(4.302653 * few.standard_error)
    assert half_width(many, few) == pytest.approx(4.302653 * math.hypot(few.standard_error, many.standard_error))
    assert half_width(few, confidence=0.99) == pytest.approx(9.924843 * few.standard_error)
