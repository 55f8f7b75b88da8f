"""The decision log: notes what calls decide beside them, and takes the feedback on it.

What is noted waits in memory, a fraction of a second, for one background task that writes it. A call is never slowed down or failed by its
log: when the database cannot follow, further decisions are dropped, counted and told in the service's log. A crash loses what waited;
what was written is as durable as a document. Feedback is written before it is acknowledged.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import structlog

from router import __version__
from router.errors import InvalidInput, RouterError, StoreUnavailable
from router.settings import LearningSettings
from router.stores.decisions import DecisionStore, Entry
from router.types import Answer, Caller, DecisionPage, Feedback, LoggedDecision, Outcome, Query, Retrieval, RouteDecision

MAX_WAITING = 10_000
"""Decisions in memory; some 1 KB each."""
MAX_CORRECTED_CHARACTERS = 32_000
MAX_CLICKED = 100
_LINGER_S = 0.2
"""How long a decision waits for its outcome and for others: a commit costs an fsync however much is in it."""
_RETRY_S = 5.0
_ENTRIES_PER_COMMIT = 500
_CLEANING_INTERVAL_S = 3600.0

_log = structlog.get_logger(__name__)


class DecisionLog:
    """See the module. It is a DecisionObserver.

    Args:
        store: Where it is kept.
        settings: What is kept, and how long.
        max_waiting: Decisions in memory at most.
        now: The time, in UTC.
    """

    def __init__(
        self,
        store: DecisionStore,
        settings: LearningSettings,
        *,
        max_waiting: int = MAX_WAITING,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._settings = settings
        self._max_waiting = max_waiting
        self._now = now
        self._waiting: dict[tuple[str, str], Entry] = {}
        self._something_waits = asyncio.Event()
        self._closing = asyncio.Event()
        self._one_writer = asyncio.Lock()
        self._writer: asyncio.Task[None] | None = None
        self._untold = 0
        self.dropped = 0
        """Entries that were lost since the start: no room for them, or the database refused them."""

    async def start(self) -> None:
        """Delete what has expired, then write what comes.

        Raises:
            StoreUnavailable: The database does not answer.
        """
        await self.forget_expired()
        self._writer = asyncio.create_task(self._write_what_comes(), name="decision log")

    async def aclose(self) -> None:
        """Write what waits and stop. What cannot be written is counted as dropped."""
        self._closing.set()
        self._something_waits.set()
        if self._writer is not None:
            await self._writer
        try:
            await self.flush()
        except RouterError as error:
            _log.warning("decision_log_unavailable", reason=error.reason, message=error.message)
            self._drop(len(self._waiting))
            self._waiting.clear()
        self._tell_dropped()

    # --- what calls do ----------------------------------------------------------------------------------------------

    def on_decided(self, query: Query, caller: Caller, decision: RouteDecision) -> None:
        self._note(query, caller, decision, None, is_new=True)

    def on_retrieved(self, query: Query, caller: Caller, retrieval: Retrieval) -> None:
        self._note(query, caller, retrieval.decision, _outcome(retrieval, retrieval.timings.total_s))

    def on_answered(self, query: Query, caller: Caller, answer: Answer) -> None:
        outcome = _outcome(answer.retrieval, answer.timings.total_s, found=answer.found)
        self._note(query, caller, answer.retrieval.decision, outcome)

    def _note(self, query: Query, caller: Caller, decision: RouteDecision, outcome: Outcome | None, *, is_new: bool = False) -> None:
        if not self._settings.log_decisions:
            return
        key = (caller.tenant, caller.request_id)
        before = self._waiting.get(key)
        if before is None and len(self._waiting) >= self._max_waiting:
            self._drop(1)
            return
        question = query.wording if self._settings.log_questions else ""
        logged = _logged(caller, decision, self._now(), outcome, question)
        if before is not None and not is_new:
            logged = replace(logged, decided_at=before.decision.decided_at)
            is_new = before.is_new
        self._waiting[key] = Entry(caller.tenant, logged, is_new)
        self._something_waits.set()

    def _drop(self, count: int) -> None:
        self.dropped += count
        self._untold += count

    # --- what people think of it ------------------------------------------------------------------------------------

    async def record_feedback(self, tenant: str, request_id: str, feedback: Feedback) -> None:
        """Keep what a person thought of an answer, in place of what was said before.

        Raises:
            InvalidInput: The feedback says nothing, or too much; or a marker is none of the answer's.
            NotFound: This tenant has no such decision (`UNKNOWN_REQUEST`).
            StoreUnavailable: The database does not answer; nothing is kept.
        """
        _check(feedback)
        await self.flush()  # the person may be quicker than the writer
        outcome = (await self._store.get(tenant, request_id)).outcome
        shown = outcome.evidence_count if outcome else 0
        for number, marker in enumerate(feedback.clicked_citations):
            if not 1 <= marker <= shown:
                message = f"the answer has no citation [{marker}]: it had {shown} pieces of evidence"
                raise InvalidInput(message, field=f"clicked_citations[{number}]")
        await self._store.put_feedback(tenant, request_id, feedback)

    async def page(self, tenant: str, *, page_size: int = 100, page_token: str = "") -> DecisionPage:
        """The tenant's decisions with their feedback, the oldest first; those that ended before the call are among them.

        Raises:
            InvalidInput: The page size is out of range, or the token belongs to another list.
            StoreUnavailable: The database does not answer.
        """
        await self.flush()
        return await self._store.page(tenant, page_size=page_size, page_token=page_token)

    # --- writing ----------------------------------------------------------------------------------------------------

    async def flush(self) -> None:
        """Write what waits.

        Raises:
            StoreUnavailable: The database does not answer; what is not written waits on.
        """
        async with self._one_writer:
            waiting = list(self._waiting.items())
            for start in range(0, len(waiting), _ENTRIES_PER_COMMIT):
                some = waiting[start : start + _ENTRIES_PER_COMMIT]
                await self._put([entry for _, entry in some])
                for key, entry in some:
                    if self._waiting.get(key) is entry:  # else more became known of it meanwhile
                        del self._waiting[key]

    async def _put(self, entries: Sequence[Entry]) -> None:
        try:
            await self._store.put(entries)
        except StoreUnavailable:
            raise
        except RouterError as error:
            # Something that the database does not take (a policy's number that is none) must not keep all others waiting.
            if half := len(entries) // 2:
                await self._put(entries[:half])
                await self._put(entries[half:])
            else:
                _log.error("decision_refused", reason=error.reason, message=error.message)
                self._drop(1)

    async def forget_expired(self) -> None:
        """Delete every tenant's decisions that are older than the retention, with their feedback."""
        oldest = self._now() - timedelta(days=self._settings.retention_days)
        for tenant in await self._store.tenants():
            if count := await self._store.forget_before(tenant, oldest):
                _log.info("decisions_expired", tenant=tenant, count=count)

    async def _write_what_comes(self) -> None:
        cleaned = time.monotonic()
        while not self._closing.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, cleaned + _CLEANING_INTERVAL_S - time.monotonic())):
                    await self._something_waits.wait()
            await self._closed_within(_LINGER_S)
            self._something_waits.clear()
            try:
                await self.flush()
                if time.monotonic() - cleaned >= _CLEANING_INTERVAL_S:
                    await self.forget_expired()
                    cleaned = time.monotonic()
            except RouterError as error:
                _log.warning("decision_log_unavailable", reason=error.reason, message=error.message, waiting=len(self._waiting))
                self._something_waits.set()
                await self._closed_within(_RETRY_S)
            self._tell_dropped()

    async def _closed_within(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closing.wait()

    def _tell_dropped(self) -> None:
        if self._untold:
            _log.warning("decisions_dropped", count=self._untold, in_all=self.dropped)
            self._untold = 0


def _logged(caller: Caller, decision: RouteDecision, at: datetime, outcome: Outcome | None, question: str) -> LoggedDecision:
    return LoggedDecision(
        request_id=caller.request_id,
        decided_at=at,
        policy=decision.policy,
        version=decision.version or __version__,
        as_asked=decision.as_asked,
        chosen=decision.selected,
        # A policy may compute in numpy, whose numbers are no JSON.
        probabilities={route.source: float(route.probability) for route in decision.routes},
        propensity=float(decision.propensity),
        features={name: float(value) for name, value in decision.features.items()},
        cost=decision.cost,
        outcome=outcome,
        question=question,
        experiment=decision.experiment,
        arm=decision.arm,
        bucket=decision.bucket,
        shadows=decision.shadows,
    )


def _outcome(retrieval: Retrieval, latency_s: float, found: bool | None = None) -> Outcome:
    codes = {report.source: report.code for report in retrieval.sources}
    return Outcome(len(retrieval.evidence), codes, latency_s, found)


def _check(feedback: Feedback) -> None:
    if not feedback:
        message = "the feedback says nothing: set verdict, corrected_answer, clicked_citations or correct_sources"
        raise InvalidInput(message, field="verdict")
    if len(feedback.corrected_answer) > MAX_CORRECTED_CHARACTERS:
        message = f"the answer has {len(feedback.corrected_answer)} characters; {MAX_CORRECTED_CHARACTERS} are allowed"
        raise InvalidInput(message, field="corrected_answer")
    if len(feedback.clicked_citations) > MAX_CLICKED:
        message = f"{len(feedback.clicked_citations)} citations are named; {MAX_CLICKED} are allowed"
        raise InvalidInput(message, field="clicked_citations")
    for number, marker in enumerate(feedback.clicked_citations):
        if marker < 1:
            raise InvalidInput(f"the marker is {marker}; the first citation is [1]", field=f"clicked_citations[{number}]")
