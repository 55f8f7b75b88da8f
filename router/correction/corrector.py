"""Bounded correction: as long as the evidence may not carry the answer, look up something that was not looked up yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import structlog

from router.correction.base import Change, Judge, Remedy, State, Verdict
from router.errors import RouterError
from router.retrieval.base import Probe
from router.types import Evidence, Notice, Query

_log = structlog.get_logger(__name__)


class Corrector:
    """At most `turns` times, the first remedy that has something new to offer.

    Args:
        judge: Looks at the evidence before each turn.
        remedies: In the order in which they are tried.
        turns: 0 leaves the evidence as it was found.
    """

    def __init__(self, judge: Judge, remedies: Sequence[Remedy], turns: int) -> None:
        self._judge = judge
        self._remedies = tuple(remedies)
        self.turns = turns

    def judge(self, query: Query, probe: Probe, evidence: Sequence[Evidence]) -> Verdict:
        return self._judge.judge(query, probe, evidence)

    async def propose(self, state: State) -> tuple[Change | None, tuple[Notice, ...]]:
        """The next lookups, all of them new; and what went wrong with remedies that failed."""
        notices: list[Notice] = []
        for remedy in self._remedies:
            try:
                change = await remedy.propose(state)
            except RouterError as error:
                _log.warning("no remedy", remedy=type(remedy).__name__, reason=error.reason, message=error.message)
                notices.append(Notice("NO_REMEDY", f"the evidence may be incomplete: {error.message}"))
                continue
            new = tuple(lookup for lookup in dict.fromkeys(change.lookups) if lookup not in state.made) if change is not None else ()
            if change is not None and new:
                return replace(change, lookups=new), tuple(notices)
        return None, tuple(notices)
