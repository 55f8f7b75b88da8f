"""The worker behind the journal: makes durable documents searchable and finishes deletions, several documents at a time.

What is to be done stands in the journal, so nothing is lost with this process; the queue here only says in which order. While a store is
down the worker tries again with growing pauses, and whoever waits is told after a while that the document is durable and will follow.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_exponential_jitter

from router.corpus.base import DocumentState, Failure, Triple
from router.corpus.formats import parse_facts
from router.corpus.load import FACTS_MIME_TYPE, OPENIE_MIME_TYPE
from router.corpus.openie_import import Rows, documents_named, parse_openie
from router.corpus.writing import StoreWriter
from router.errors import InternalError, RouterError
from router.stores.documents import Standing
from router.stores.journal import Journal

T = TypeVar("T")
PATIENCE_S = 10.0
"""How long a caller waits while a store is down before it is told."""
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 15.0
_GRACE_S = 10.0
"""How long a write that is under way may take when the service stops; a restart finishes what it did not."""
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    state: DocumentState | None
    """Where the document stands now; None: it is gone."""
    chunk_count: int = 0
    failure: Failure | None = None
    """Also with DURABLE: why it is not searchable yet."""


@dataclass(frozen=True, slots=True)
class _Job:
    tenant: str
    document_id: str
    chunk_count: int
    done: asyncio.Future[Outcome] = field(compare=False)


_STOPPED = Failure("STOPPED", "the service stopped; the document is durable and will be indexed at the next start", retryable=True)


class Indexer:
    """See the module. One per process; `start` takes up what an earlier process left."""

    def __init__(self, journal: Journal, writer: StoreWriter, batch_chunks: int, patience_s: float = PATIENCE_S) -> None:
        self._journal = journal
        self._writer = writer
        self._batch_chunks = batch_chunks
        self._patience_s = patience_s
        self._queue: deque[_Job] = deque()
        self._waiting: set[asyncio.Future[Outcome]] = set()
        self._news = asyncio.Event()
        self._stopping = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None
        self._outage: Failure | None = None
        self._patience_ends: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        for tenant in await self._journal.tenants():
            for document_id, chunk_count in (await self._journal.unfinished(tenant)).items():
                self.submit(tenant, document_id, chunk_count)
        self._worker = asyncio.create_task(self._work(), name="indexer")

    async def aclose(self) -> None:
        """Stop after the write that is under way; the journal keeps the rest for the next start."""
        self._stopping.set()
        self._news.set()
        if self._worker is not None:
            await asyncio.wait({self._worker}, timeout=_GRACE_S)
            self._worker.cancel()
            with suppress(asyncio.CancelledError):
                await self._worker
        self._tell_waiting(_STOPPED)

    def submit(self, tenant: str, document_id: str, chunk_count: int, *, first: bool = False) -> asyncio.Future[Outcome]:
        """Ask for a document to be brought to where the journal wants it. The future always gets a result, never an exception."""
        done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        job = _Job(tenant, document_id, chunk_count, done)
        self._queue.appendleft(job) if first else self._queue.append(job)
        self._news.set()
        known_failure = _STOPPED if self._stopping.is_set() else self._outage
        if known_failure is None:
            self._waiting.add(done)
            done.add_done_callback(self._waiting.discard)
        else:
            done.set_result(Outcome(DocumentState.DURABLE, chunk_count, known_failure))
        return done

    # --- the worker -------------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        while not self._stopping.is_set():
            if not (jobs := self._next_jobs()):
                self._news.clear()
                await self._news.wait()
                continue
            try:
                with typed_errors():
                    await self._finish(jobs)
            except RouterError as error:  # the journal itself; what it holds is taken up again at the next start
                if not self._stopping.is_set():
                    _log.error("journal_failed", tenant=jobs[0].tenant, reason=error.reason, error=error.message)
                    failure = Failure(error.reason, error.message, error.retryable)
                    _settle(jobs, dict.fromkeys((job.document_id for job in jobs), Outcome(DocumentState.DURABLE, 0, failure)))

    def _next_jobs(self) -> list[_Job]:
        """The next documents of one tenant, together about one batch."""
        jobs: list[_Job] = []
        passages = 0
        while self._queue and passages < self._batch_chunks and (not jobs or self._queue[0].tenant == jobs[0].tenant):
            jobs.append(self._queue.popleft())
            passages += max(1, jobs[-1].chunk_count)
        return jobs

    async def _finish(self, jobs: Sequence[_Job]) -> None:
        tenant = jobs[0].tenant
        standings = await self._persist(self._journal.standings, tenant, [job.document_id for job in jobs])
        outcomes = {job.document_id: Outcome(None) for job in jobs}
        try:
            with typed_errors():
                outcomes |= await self._bring_forward(tenant, standings)
        except RouterError as error:
            if self._stopping.is_set():
                return  # aclose tells those who wait
            ids = [job.document_id for job in jobs]
            _log.warning("not_indexed", tenant=tenant, documents=ids, reason=error.reason, error=error.message)
            if len(jobs) > 1:
                for job in jobs:  # one of them is at fault: the others must not suffer
                    await self._finish([job])
                return
            failure = Failure(error.reason, f"it could not be indexed: {error.message}", error.retryable)
            for document_id, standing in standings.items():
                await self._persist(self._journal.mark_failed, tenant, document_id, standing.revision, failure)
                outcomes[document_id] = Outcome(DocumentState.FAILED, 0, failure)
        _settle(jobs, outcomes)

    async def _bring_forward(self, tenant: str, standings: Mapping[str, Standing]) -> dict[str, Outcome]:
        outcomes: dict[str, Outcome] = {}
        to_index: dict[str, Standing] = {}
        for document_id, standing in standings.items():
            if standing.state is None:
                await self._writer.remove(tenant, document_id, self._persist)
                await self._state_of_passages(tenant, document_id, {})
                await self._persist(self._journal.finish_delete, tenant, document_id, standing.revision)
            elif standing.state is DocumentState.DURABLE:
                to_index[document_id] = standing
                outcomes[document_id] = Outcome(DocumentState.SEARCHABLE, standing.chunk_count)
            else:
                outcomes[document_id] = Outcome(standing.state, standing.chunk_count, standing.failure)
        if to_index:
            await self._index(tenant, to_index)
        return outcomes

    async def _index(self, tenant: str, documents: Mapping[str, Standing]) -> None:
        for document_id, standing in documents.items():
            if standing.stale:
                await self._writer.remove(tenant, document_id, self._persist)
            if standing.mime_type == OPENIE_MIME_TYPE:
                _, text = await self._persist(self._journal.get, tenant, document_id)
                await self._state_of_passages(tenant, document_id, await asyncio.to_thread(parse_openie, text))
        chunks = await self._persist(self._journal.document_chunks, tenant, list(documents))
        facts = {key: await self._facts(tenant, key) for key, standing in documents.items() if standing.mime_type == FACTS_MIME_TYPE}
        await self._writer.write(tenant, chunks, facts, self._persist)
        revisions = {document_id: standing.revision for document_id, standing in documents.items()}
        await self._persist(self._journal.mark_searchable, tenant, revisions)

    async def _facts(self, tenant: str, document_id: str) -> tuple[Triple, ...]:
        _, text = await self._persist(self._journal.get, tenant, document_id)
        return await asyncio.to_thread(parse_facts, text)

    async def _state_of_passages(self, tenant: str, document_id: str, rows: Rows) -> None:
        """Keep what an imported file states about passages (nothing: it is gone), and have their documents written again after this."""
        documents = await documents_named(tenant, rows, self._journal) if rows else {}
        opened = await self._persist(self._journal.statements.replace_import, tenant, document_id, rows, documents)
        for opened_id, chunk_count in opened.items():
            self.submit(tenant, opened_id, chunk_count)
        if rows or opened:
            _log.info("facts_imported", tenant=tenant, rows=len(rows), unmatched=len(rows.keys() - documents.keys()), documents=len(opened))

    # --- outages ----------------------------------------------------------------------------------------------------

    async def _persist(self, operation: Callable[..., Awaitable[T]], *arguments: Any) -> T:
        """Call until it succeeds, or fails in a way that another try would not change, or the service stops."""
        attempts = AsyncRetrying(
            retry=retry_if_exception(lambda error: isinstance(error, RouterError) and error.retryable),
            wait=wait_exponential_jitter(multiplier=FIRST_PAUSE_S, max=LONGEST_PAUSE_S, jitter=FIRST_PAUSE_S),
            stop=lambda _: self._stopping.is_set(),
            before_sleep=self._note_outage,
            sleep=self._pause,
            reraise=True,
        )
        result: T = await attempts(operation, *arguments)
        self._end_outage()
        return result

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    def _note_outage(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome is not None else None
        assert isinstance(error, RouterError)
        _log.warning("indexing_waits", reason=error.reason, error=error.message, attempt=state.attempt_number)
        if self._patience_ends is None:
            message = f"it is durable and will follow when this is mended: {error.message}"
            failure = Failure(error.reason, message, retryable=True)
            self._patience_ends = asyncio.get_running_loop().call_later(self._patience_s, self._tell_of_outage, failure)

    def _tell_of_outage(self, failure: Failure) -> None:
        self._outage = failure
        self._tell_waiting(failure)

    def _end_outage(self) -> None:
        if self._patience_ends is not None:
            self._patience_ends.cancel()
        self._patience_ends = self._outage = None

    def _tell_waiting(self, failure: Failure) -> None:
        for done in tuple(self._waiting):
            if not done.done():
                done.set_result(Outcome(DocumentState.DURABLE, 0, failure))


def _settle(jobs: Sequence[_Job], outcomes: Mapping[str, Outcome]) -> None:
    for job in jobs:
        if not job.done.done():  # its caller was told of an outage, or left
            job.done.set_result(outcomes[job.document_id])


@contextmanager
def typed_errors() -> Iterator[None]:
    """A bug in one document's way must not end the worker for all."""
    try:
        yield
    except RouterError:
        raise
    except Exception as exc:
        raise InternalError(f"{type(exc).__name__}: {exc}") from exc
