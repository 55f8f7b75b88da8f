"""How long the sources take, learned from use: what a decision expects, and what a cap on latency is compared with."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from router.types import SourceCode, SourceReport

WINDOW = 200
"""Calls of a source that are remembered."""
LEAST_CALLS = 5
"""Fewer say nothing yet."""
MAX_AGE_S = 900.0
"""Older calls are forgotten, so that a source that a cap leaves out gets another chance to show how long it takes."""
_TOOK_ITS_TIME = {SourceCode.OK, SourceCode.DEGRADED, SourceCode.DEADLINE_EXCEEDED}
"""A source that is down fails at once, which says nothing of how long it takes."""


@dataclass(frozen=True, slots=True)
class ExpectedLatency:
    median_s: float
    p90_s: float
    """Nine calls of ten took at most so long. A call that timed out counts as if it had ended then, so it may be an underestimate."""


class Latencies:
    """What the calls of this process took, by source.

    Args:
        now: Seconds on a clock that only goes forward.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._calls: dict[str, deque[tuple[float, float]]] = {}
        """(when, how long) by source, oldest first."""

    def record(self, report: SourceReport) -> None:
        """Note a call that ended or timed out; a time-out sooner than the median says only that its caller was in a hurry."""
        if report.code not in _TOOK_ITS_TIME:
            return
        if report.code is SourceCode.DEADLINE_EXCEEDED:
            known = self.expected(report.source)
            if known is not None and report.latency_s < known.median_s:
                return
        self._calls.setdefault(report.source, deque(maxlen=WINDOW)).append((self._now(), report.latency_s))

    def expected(self, source: str) -> ExpectedLatency | None:
        """None until a few calls were seen lately."""
        calls = self._calls.get(source, deque())
        while calls and calls[0][0] < self._now() - MAX_AGE_S:
            calls.popleft()
        if len(calls) < LEAST_CALLS:
            return None
        took = sorted(seconds for _, seconds in calls)
        return ExpectedLatency(_quantile(took, 0.5), _quantile(took, 0.9))


def is_quick(p90_s: float | None, max_latency_s: float | None) -> bool:
    """Whether a source may be asked under a cap; one of which nothing is known may."""
    return max_latency_s is None or p90_s is None or p90_s <= max_latency_s


def told_as_slow(sources: Iterable[str], max_latency_s: float) -> str:
    return f"left out as slower than {max_latency_s * 1000:g} ms: {', '.join(sources)}"


def _quantile(ordered: list[float], share: float) -> float:
    """The least value that at least this share does not exceed."""
    return ordered[math.ceil(share * len(ordered)) - 1]
