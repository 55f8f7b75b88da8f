"""What is expected of a source after the calls that were seen."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.routing.latency import LEAST_CALLS, MAX_AGE_S, WINDOW, ExpectedLatency, Latencies
from router.types import SourceCode, SourceReport


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def took(seconds: float, code: SourceCode = SourceCode.OK, source: str = "web") -> SourceReport:
    return SourceReport(source, code, seconds, 1)


def after(*reports: SourceReport) -> Latencies:
    latencies = Latencies(Clock())
    for report in reports:
        latencies.record(report)
    return latencies


def test_nothing_is_expected_until_a_few_calls_were_seen() -> None:
    latencies = after(*[took(0.1)] * (LEAST_CALLS - 1))
    assert latencies.expected("web") is None
    latencies.record(took(0.1))
    assert latencies.expected("web") == ExpectedLatency(0.1, 0.1)
    assert latencies.expected("vector") is None


@given(st.lists(st.floats(0, 100), min_size=LEAST_CALLS, max_size=WINDOW))
def test_half_of_the_calls_and_nine_of_ten_took_at_most_so_long(seconds: list[float]) -> None:
    expected = after(*map(took, seconds)).expected("web")
    assert expected is not None
    for value, share in ((expected.median_s, 0.5), (expected.p90_s, 0.9)):
        assert sum(one <= value for one in seconds) >= math.ceil(share * len(seconds))
        assert sum(one < value for one in seconds) < math.ceil(share * len(seconds))


def test_only_the_last_calls_count() -> None:
    assert after(*[took(9.0)] * WINDOW, *[took(0.1)] * WINDOW).expected("web") == ExpectedLatency(0.1, 0.1)


def test_old_calls_are_forgotten() -> None:
    clock = Clock()
    latencies = Latencies(clock)
    for _ in range(LEAST_CALLS):
        latencies.record(took(9.0))
    clock.seconds = MAX_AGE_S
    assert latencies.expected("web") is not None
    clock.seconds = MAX_AGE_S + 1.0
    assert latencies.expected("web") is None


@pytest.mark.parametrize(
    ("code", "counts"),
    [
        (SourceCode.OK, True),
        (SourceCode.DEGRADED, True),
        (SourceCode.DEADLINE_EXCEEDED, True),
        (SourceCode.UNAVAILABLE, False),
        (SourceCode.FAILED, False),
    ],
)
def test_what_fails_at_once_says_nothing(code: SourceCode, counts: bool) -> None:
    assert (after(*[took(1.0, code)] * LEAST_CALLS).expected("web") is not None) == counts


def test_a_caller_in_a_hurry_does_not_make_a_source_quick() -> None:
    usual = [took(2.0)] * LEAST_CALLS
    assert after(*usual, *[took(0.01, SourceCode.DEADLINE_EXCEEDED)] * 50).expected("web") == ExpectedLatency(2.0, 2.0)
    assert after(*usual, *[took(10.0, SourceCode.DEADLINE_EXCEEDED)] * 50).expected("web") == ExpectedLatency(10.0, 10.0)
