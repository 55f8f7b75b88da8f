"""The one table from our errors to gRPC status, and the way back for the client."""

from __future__ import annotations

from typing import TypeVar

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

from router.errors import (
    AllSourcesUnavailable,
    ConfigurationError,
    Conflict,
    DeadlineExceeded,
    DocumentRejected,
    InternalError,
    InvalidInput,
    MissingExtra,
    ModelUnavailable,
    NotFound,
    NotImplementedYet,
    Overloaded,
    PermissionDenied,
    PictureRejected,
    QueryRefused,
    RouterError,
    SoundRejected,
    StoreUnavailable,
    Unauthenticated,
    Unavailable,
    WebUnavailable,
)

M = TypeVar("M", bound=Message)

DOMAIN = "graphrag-router"
KIND = "kind"
"""ErrorInfo metadata: the class of the error, as its default reason; `reason` may be more precise."""
REQUEST_ID = "request_id"
"""ErrorInfo metadata: identity of the call, also in the logs."""
RULE = "rule"
"""ErrorInfo metadata of a refused question: the operator's rule."""
DETAILS_KEY = "grpc-status-details-bin"
INTERNAL_MESSAGE = "an internal error; the service's log has more under this request id"

DEFAULT_RETRY_S = 1.0
# Status travels in HTTP/2 trailers, of which gRPC refuses more than 8 KiB. A message is there three times, once percent-encoded.
MAX_MESSAGE_BYTES = 800
MAX_FIELD_BYTES = 200

CODES: dict[type[RouterError], grpc.StatusCode] = {
    RouterError: grpc.StatusCode.INTERNAL,
    InvalidInput: grpc.StatusCode.INVALID_ARGUMENT,
    DocumentRejected: grpc.StatusCode.INVALID_ARGUMENT,
    PictureRejected: grpc.StatusCode.INVALID_ARGUMENT,
    SoundRejected: grpc.StatusCode.INVALID_ARGUMENT,
    NotFound: grpc.StatusCode.NOT_FOUND,
    Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    QueryRefused: grpc.StatusCode.PERMISSION_DENIED,
    Conflict: grpc.StatusCode.FAILED_PRECONDITION,
    Overloaded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    Unavailable: grpc.StatusCode.UNAVAILABLE,
    StoreUnavailable: grpc.StatusCode.UNAVAILABLE,
    ModelUnavailable: grpc.StatusCode.UNAVAILABLE,
    WebUnavailable: grpc.StatusCode.UNAVAILABLE,
    AllSourcesUnavailable: grpc.StatusCode.UNAVAILABLE,
    NotImplementedYet: grpc.StatusCode.UNIMPLEMENTED,
    ConfigurationError: grpc.StatusCode.FAILED_PRECONDITION,
    MissingExtra: grpc.StatusCode.FAILED_PRECONDITION,
    InternalError: grpc.StatusCode.INTERNAL,
}
"""Every class of `router.errors`; a test fails when one is missing."""

# Errors without our details come from gRPC itself, a proxy, or another version of the service.
_CLASS_BY_CODE: dict[grpc.StatusCode, type[RouterError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidInput,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
    grpc.StatusCode.FAILED_PRECONDITION: Conflict,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Overloaded,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.CANCELLED: Unavailable,
    grpc.StatusCode.UNIMPLEMENTED: NotImplementedYet,
}
# MissingExtra makes its message from its arguments, so it comes back as what it is to a caller: a wrongly set up service.
_CLASS_BY_KIND = {error.default_reason: error for error in CODES if error not in {RouterError, MissingExtra}}


def code_of(error: RouterError) -> grpc.StatusCode:
    """The canonical code; the nearest class of the table decides."""
    return next(CODES[kind] for kind in type(error).__mro__ if kind in CODES)


def status_of(error: RouterError, request_id: str) -> status_pb2.Status:
    """The google.rpc.Status of an error: ErrorInfo always, BadRequest with a field, RetryInfo where a retry makes sense."""
    message = shortened(error.message, MAX_MESSAGE_BYTES)
    metadata = {KIND: type(error).default_reason, REQUEST_ID: request_id}
    if isinstance(error, QueryRefused):
        metadata[RULE] = shortened(error.rule, MAX_FIELD_BYTES)
    details: list[Message] = [error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata)]
    if error.field:
        violation = error_details_pb2.BadRequest.FieldViolation(field=shortened(error.field, MAX_FIELD_BYTES), description=message)
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if error.retryable or error.retry_after_s is not None:
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(round(1000 * (DEFAULT_RETRY_S if error.retry_after_s is None else error.retry_after_s)))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    if isinstance(error, Overloaded):
        failure = error_details_pb2.QuotaFailure.Violation(subject=error.reason, description=message)
        details.append(error_details_pb2.QuotaFailure(violations=[failure]))
    return status_pb2.Status(code=code_of(error).value[0], message=message, details=[_packed(detail) for detail in details])


def error_of(code: grpc.StatusCode, message: str, status: status_pb2.Status | None) -> RouterError:
    """The error that a status tells of: `status_of` read backwards; without details the code decides."""
    info = _detail(status, error_details_pb2.ErrorInfo())
    if info is None or info.domain != DOMAIN:
        return _CLASS_BY_CODE.get(code, InternalError)(message or code.name, reason=code.name)
    request = _detail(status, error_details_pb2.BadRequest())
    retry = _detail(status, error_details_pb2.RetryInfo())
    kind = _CLASS_BY_KIND.get(info.metadata[KIND]) or _CLASS_BY_CODE.get(code, InternalError)
    error = kind(
        message,
        reason=info.reason,
        field=request.field_violations[0].field if request else None,
        retry_after_s=retry.retry_delay.ToMilliseconds() / 1000 if retry else None,
    )
    if isinstance(error, QueryRefused):
        error.rule = info.metadata[RULE]
    error.add_note(f"request id {info.metadata[REQUEST_ID]}")
    return error


def shortened(text: str, limit: int) -> str:
    """At most `limit` bytes of UTF-8. What cannot be encoded (half of a surrogate pair) is replaced."""
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= limit:
        return encoded.decode()
    return encoded[: limit - 3].decode("utf-8", "ignore") + "..."


def _packed(detail: Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(detail)
    return packed


def _detail(status: status_pb2.Status | None, empty: M) -> M | None:
    for packed in status.details if status else ():
        if packed.Unpack(empty):
            return empty
    return None
