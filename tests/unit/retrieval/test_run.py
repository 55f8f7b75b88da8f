from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import numpy as np
import pytest
from structlog.testing import capture_logs

from router.errors import DeadlineExceeded, InternalError, InvalidInput, ModelUnavailable, RouterError, StoreUnavailable, WebUnavailable
from router.retrieval.base import Probe, RetrievalRequest, Retrieved
from router.retrieval.run import run_source
from router.types import Caller, Deadline, Evidence, EvidenceKind, Provenance, Query, SourceCode, TextPart


def request(deadline_s: float = 60.0) -> RetrievalRequest:
    return RetrievalRequest(
        query=Query((TextPart("who built the crane"),)),
        probe=Probe(np.zeros(4, dtype=np.float32), nearest=(), linked=(), is_recent=False),
        caller=Caller("default", "request-1", Deadline.after(deadline_s)),
        limit=5,
    )


FOUND = Retrieved((Evidence("e1", EvidenceKind.PASSAGE, "Crane", "Lindqvist built it.", (Provenance("vector", 1, 0.9, "cosine"),)),))


@dataclass
class Answers:
    retrieved: Retrieved = FOUND
    seen: list[RetrievalRequest] = field(default_factory=list)

    async def search(self, request: RetrievalRequest) -> Retrieved:
        self.seen.append(request)
        await asyncio.sleep(0)
        return self.retrieved


@dataclass
class Fails:
    error: BaseException

    async def search(self, request: RetrievalRequest) -> Retrieved:
        await asyncio.sleep(0)
        raise self.error


@dataclass
class Hangs:
    cancelled: bool = False
    started: asyncio.Event = field(default_factory=asyncio.Event)

    async def search(self, request: RetrievalRequest) -> Retrieved:
        self.started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return FOUND


async def test_what_was_found_is_reported() -> None:
    retrieved, report = await run_source("vector", Answers(), request(), timeout_s=10)
    assert retrieved is FOUND
    assert (report.source, report.code, report.count, report.message) == ("vector", SourceCode.OK, 1, "")
    assert report.latency_s >= 0


async def test_nothing_found_is_fine() -> None:
    retrieved, report = await run_source("vector", Answers(Retrieved(())), request(), timeout_s=10)
    assert retrieved == Retrieved(())
    assert (report.code, report.count) == (SourceCode.OK, 0)


async def test_degraded_evidence_is_kept_and_explained() -> None:
    old = Retrieved(FOUND.evidence, degraded="the snapshot is 12 s old")
    retrieved, report = await run_source("graph", Answers(old), request(), timeout_s=10)
    assert retrieved is old
    assert (report.code, report.count, report.message) == (SourceCode.DEGRADED, 1, "the snapshot is 12 s old")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StoreUnavailable("Milvus does not answer"), SourceCode.UNAVAILABLE),
        (WebUnavailable("the web search failed"), SourceCode.UNAVAILABLE),
        (ModelUnavailable("the model is loading"), SourceCode.UNAVAILABLE),
        (DeadlineExceeded("Milvus ran out of time"), SourceCode.DEADLINE_EXCEEDED),
        (InvalidInput("the filter names no field"), SourceCode.FAILED),
        (InternalError("a reply that is not understood"), SourceCode.FAILED),
    ],
)
async def test_typed_errors_are_told(error: RouterError, code: SourceCode) -> None:
    with capture_logs() as logs:
        retrieved, report = await run_source("vector", Fails(error), request(), timeout_s=10)
    assert retrieved is None
    assert (report.code, report.count, report.message) == (code, 0, error.message)
    assert not logs


@pytest.mark.parametrize(
    "error", [KeyError("secret"), ExceptionGroup("several", [ValueError("secret")]), TimeoutError("secret of its own")]
)
async def test_a_bug_is_logged_and_not_shown_to_the_caller(error: Exception) -> None:
    with capture_logs() as logs:
        retrieved, report = await run_source("vector", Fails(error), request(), timeout_s=10)
    assert retrieved is None
    assert (report.code, report.count) == (SourceCode.FAILED, 0)
    assert type(error).__name__ in report.message
    assert "secret" not in report.message
    (entry,) = logs
    assert (entry["event"], entry["source"], entry["request_id"], entry["exc_info"]) == ("source_failed", "vector", "request-1", True)


@pytest.mark.parametrize(("timeout_s", "deadline_s"), [(0.05, 60.0), (60.0, 0.05), (60.0, -1.0)])
async def test_a_late_source_is_stopped(timeout_s: float, deadline_s: float) -> None:
    source = Hangs()
    retrieved, report = await run_source("graph", source, request(deadline_s), timeout_s)
    assert retrieved is None
    assert (report.code, report.count) == (SourceCode.DEADLINE_EXCEEDED, 0)
    assert report.message
    assert source.cancelled


@pytest.mark.parametrize(("timeout_s", "deadline_s", "at_most"), [(5.0, 60.0, 5.0), (60.0, 5.0, 5.0)])
async def test_the_source_is_told_of_the_nearer_end(timeout_s: float, deadline_s: float, at_most: float) -> None:
    source = Answers()
    await run_source("graph", source, request(deadline_s), timeout_s)
    assert 0 < source.seen[0].caller.deadline.remaining_s() <= at_most
    assert source.seen[0].caller.tenant == "default"


async def test_cancellation_reaches_the_source_and_the_caller() -> None:
    source = Hangs()
    task = asyncio.create_task(run_source("graph", source, request(), timeout_s=10))
    await source.started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert source.cancelled


async def test_one_source_does_not_disturb_another() -> None:
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(run_source(name, source, request(), timeout_s=0.05))
            for name, source in (("vector", Answers()), ("graph", Hangs()), ("web", Fails(KeyError("x"))))
        ]
    assert [task.result()[1].code for task in tasks] == [SourceCode.OK, SourceCode.DEADLINE_EXCEEDED, SourceCode.FAILED]
