"""Running one source: deadline, timing, and whatever goes wrong told in a report."""

from __future__ import annotations

import asyncio
import dataclasses
import time

import structlog

from router.errors import DeadlineExceeded, RouterError, Unavailable
from router.retrieval.base import RetrievalRequest, Retrieved, Retriever
from router.types import Deadline, SourceCode, SourceReport

_log = structlog.get_logger(__name__)


async def run_source(name: str, retriever: Retriever, request: RetrievalRequest, timeout_s: float) -> tuple[Retrieved | None, SourceReport]:
    """Ask a source, for at most `timeout_s` seconds and not beyond the caller's deadline.

    Never raises but for cancellation: a source that failed stands beside others that did not.

    Returns:
        What was found, or None where the source failed, and how it fared.
    """
    started = time.monotonic()
    # The source is told of the nearer end, so that it can hand over what it has in time.
    end = min(Deadline.after(timeout_s), request.caller.deadline, key=lambda deadline: deadline.at)
    request = dataclasses.replace(request, caller=dataclasses.replace(request.caller, deadline=end))

    def report(code: SourceCode, message: str = "", count: int = 0) -> SourceReport:
        return SourceReport(name, code, time.monotonic() - started, count, message)

    allowed_s = end.remaining_s()
    scope = asyncio.timeout(allowed_s)
    try:
        async with scope:
            retrieved = await retriever.search(request)
    except Unavailable as exc:
        return None, report(SourceCode.UNAVAILABLE, exc.message)
    except DeadlineExceeded as exc:
        return None, report(SourceCode.DEADLINE_EXCEEDED, exc.message)
    except RouterError as exc:
        return None, report(SourceCode.FAILED, exc.message)
    except Exception as exc:  # noqa: BLE001 - a bug in one source must not take the others' evidence with it; the log has its traceback
        if isinstance(exc, TimeoutError) and scope.expired():
            return None, report(SourceCode.DEADLINE_EXCEEDED, f"no answer within {allowed_s:.2f} s")
        _log.exception("source_failed", source=name, request_id=request.caller.request_id)
        return None, report(SourceCode.FAILED, f"internal error ({type(exc).__name__}); the log has more")
    code = SourceCode.DEGRADED if retrieved.degraded else SourceCode.OK
    return retrieved, report(code, retrieved.degraded, len(retrieved.evidence))
