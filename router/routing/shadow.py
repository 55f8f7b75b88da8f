"""Shadow policies: they decide on what the live policy saw, after it, and nothing follows from it but a line in the decision log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace

import structlog

from router.errors import RouterError
from router.retrieval.base import Probe
from router.routing.base import RoutingPolicy, SourceProfile
from router.routing.budget import within_budget
from router.types import Caller, Deadline, Query, ShadowDecision

MAX_PENDING = 8
"""Calls whose shadows have not decided yet; of further ones nothing is decided."""
LONGEST_S = 10.0
"""A shadow that has not decided by then has not."""

Tell = Callable[[tuple[ShadowDecision, ...]], None]

_log = structlog.get_logger(__name__)


class Shadows:
    """Lets policies decide when a call is done with, so that no caller waits for them or hears of their failures.

    Args:
        policies: By the name that the log gives them.
        max_pending: See `MAX_PENDING`.
        longest_s: See `LONGEST_S`.
    """

    def __init__(self, policies: Mapping[str, RoutingPolicy], *, max_pending: int = MAX_PENDING, longest_s: float = LONGEST_S) -> None:
        self._policies = policies
        self._max_pending = max_pending
        self._longest_s = longest_s
        self._pending: set[asyncio.Task[None]] = set()
        self._untold = 0
        self.dropped = 0
        """Calls since the start that had no shadows because too many were pending."""

    def follow(self, query: Query, probe: Probe, sources: tuple[SourceProfile, ...], caller: Caller, tell: Tell) -> None:
        """Decide in the background and tell what came of it; returns at once and raises nothing."""
        if not self._policies:
            return
        if len(self._pending) >= self._max_pending:
            self.dropped += 1
            self._untold += 1
            return
        self._tell_dropped()
        task = asyncio.create_task(self._decide(query, probe, sources, caller, tell), name="shadow policies")
        self._pending.add(task)
        task.add_done_callback(self._ended)

    async def settle(self) -> None:
        """Wait for what is pending."""
        while self._pending:
            await asyncio.wait(self._pending)

    async def aclose(self) -> None:
        """Give up what is pending."""
        for task in self._pending:
            task.cancel()
        await self.settle()
        self._tell_dropped()

    async def _decide(self, query: Query, probe: Probe, sources: tuple[SourceProfile, ...], caller: Caller, tell: Tell) -> None:
        # The caller's own time may be up by now, and is none of theirs.
        caller = replace(caller, deadline=Deadline.after(self._longest_s))
        decided: list[ShadowDecision] = []
        for name, policy in self._policies.items():
            try:
                async with asyncio.timeout(self._longest_s):
                    decision = within_budget(await policy.decide(query, probe, sources, caller), sources, caller)
            except RouterError as error:
                _log.warning("shadow could not decide", policy=name, reason=error.reason, message=error.message)
            except TimeoutError:
                _log.warning("shadow could not decide", policy=name, reason="DEADLINE_EXCEEDED", message=f"not within {self._longest_s} s")
            else:
                decided.append(ShadowDecision(name, decision.version, decision.selected))
        if decided:
            tell(tuple(decided))

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._pending.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("shadow failed", exc_info=error)

    def _tell_dropped(self) -> None:
        if self._untold:
            _log.warning("shadows_dropped", count=self._untold, in_all=self.dropped)
            self._untold = 0
