"""Whether the graph database lives, found out in the background."""

from __future__ import annotations

import asyncio
import time

import structlog

from router.errors import RouterError
from router.stores.base import GraphStore

log = structlog.get_logger()


class GraphMonitor:
    """Asks the database again and again whether it lives, so that no question has to wait to find out.

    Args:
        store: What is asked.
        interval_s: Pause between an answer and the next question.
    """

    def __init__(self, store: GraphStore, interval_s: float) -> None:
        self._store = store
        self._interval_s = interval_s
        self._task: asyncio.Task[None] | None = None
        self.is_up = False
        self.last_seen: float | None = None
        """time.monotonic() of its last answer."""
        self.last_error = "not asked yet"

    async def start(self) -> None:
        """Ask once, then keep asking in the background."""
        await self._ask()
        self._task = asyncio.create_task(self._keep_asking(), name="graph monitor")
        self._task.add_done_callback(self._on_end)

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _keep_asking(self) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            await self._ask()

    def _on_end(self, task: asyncio.Task[None]) -> None:
        # Whatever ended it: nobody knows any more.
        self.is_up, self.last_error = False, "not asked any more"
        if not task.cancelled() and (mistake := task.exception()) is not None:
            log.error("the graph monitor has ended", exc_info=mistake)

    async def _ask(self) -> None:
        try:
            await self._store.ping()
        except RouterError as error:
            if self.is_up or self.last_seen is None:
                log.warning("the graph database does not answer", reason=error.message)
            self.is_up, self.last_error = False, error.message
        else:
            if not self.is_up and self.last_seen is not None:
                log.info("the graph database answers again")
            self.is_up, self.last_seen, self.last_error = True, time.monotonic(), ""
