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
        raise error_of(code, message, status_pb2.Status.FromString(details) if details else None) from exc
