"""A failed call as one of `router.errors`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import grpc
from google.rpc import status_pb2  # type: ignore[import-untyped]

from router.api.status import DETAILS_KEY, error_of
from router.errors import Unavailable

UNREACHABLE = "SERVICE_UNREACHABLE"
"""Reason of the error when no service answers at the address."""
STREAM_BROKEN = "STREAM_BROKEN"
"""Reason of the error when the service ended a stream of documents while one was being sent."""
_FORGOTTEN = "Internal error from Core"


@contextmanager
def typed_errors(target: str) -> Iterator[None]:
    """Raise the RouterError that the service raised: its class, reason, field, `retry_after_s`, and a note with the request id."""
    try:
        yield
    except grpc.RpcError as exc:
        call = cast(Any, exc)  # gRPC's errors are calls; their common base says nothing about it
        code, message = call.code(), call.details() or ""
        details = dict(call.trailing_metadata() or ()).get(DETAILS_KEY)
        if code is grpc.StatusCode.UNAVAILABLE and details is None:
            raise Unavailable(f"no service answers at {target}: {message}", reason=UNREACHABLE) from exc
        if code is grpc.StatusCode.INTERNAL and message == _FORGOTTEN:
            # grpc.aio reports a send that met the end of its call in these words and forgets the status that ended it.
            what = "the service ended the stream while a document was being sent; what it acknowledged is kept, and its log has the cause"
            raise Unavailable(what, reason=STREAM_BROKEN) from exc
        raise error_of(code, message, status_pb2.Status.FromString(details) if details else None) from exc
