"""A permit before any work: calls beyond the limit are refused at once instead of being made to wait."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from router.errors import Overloaded


class Admission:
    """Counts the calls under way."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @contextmanager
    def permit(self) -> Iterator[None]:
        """Raises Overloaded when as many calls as allowed are under way."""
        if self._running >= self._limit:
            raise Overloaded(f"{self._limit} calls are under way, which is the most that this service takes; try again shortly")
        self._running += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._running -= 1
            if not self._running:
                self._idle.set()

    async def wait_idle(self) -> None:
        """Until no call is under way."""
        await self._idle.wait()
