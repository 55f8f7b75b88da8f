"""Where the time of one call went."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from router.types import Timings


class Stopwatch:
    """Starts when made. Stages are summed by name; `mark` notes once how long after the start something happened."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self.stages_s: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.stages_s[name] = self.stages_s.get(name, 0.0) + time.perf_counter() - begin

    def mark(self, name: str) -> None:
        self.stages_s.setdefault(name, time.perf_counter() - self._start)

    def timings(self) -> Timings:
        return Timings(dict(self.stages_s), time.perf_counter() - self._start)
