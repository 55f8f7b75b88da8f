"""What happens around every call of ours: request id, credential, permit, deadline, and errors made into status.

Health and reflection pass untouched: a probe has no credential and must be answered under load too.
"""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any, TypeAlias

import grpc
import grpc.aio
import structlog
from google.protobuf.message import DecodeError

from router.api.admission import Admission
from router.api.credentials import Tenants
from router.api.status import DETAILS_KEY, INTERNAL_MESSAGE, code_of, status_of
from router.api.streams import write_all
from router.errors import DeadlineExceeded, InternalError, InvalidInput, RouterError
from router.types import Caller, Deadline

OURS = "/graphrag.router.v1."
REQUEST_ID_KEY = "x-request-id"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/-]{1,128}")
_NO_LIMIT_S = 10 * 365 * 24 * 3600.0

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

_log = structlog.get_logger(__name__)
_caller: ContextVar[Caller] = ContextVar("caller")


def current_caller() -> Caller:
    """Who made the call that this task works on, and until when."""
    return _caller.get()


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps the handlers of our services.

    Args:
        tenants: Tells the tenant from the credential.
        admission: Gives permits.
        default_deadline_s: For calls whose caller gave no deadline. A stream of documents without one may take as long as it likes.
    """

    def __init__(self, tenants: Tenants, admission: Admission, default_deadline_s: float) -> None:
        self._tenants = tenants
        self._admission = admission
        self._default_deadline_s = default_deadline_s

    async def intercept_service(
        self, continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]], handler_call_details: grpc.HandlerCallDetails
    ) -> Any:
        handler = await continuation(handler_call_details)
        if handler is None or not handler_call_details.method.startswith(OURS):
            return handler
        return self._wrapped(handler, handler_call_details.method.removeprefix(OURS))

    def _wrapped(self, handler: Any, method: str) -> Any:
        # Requests are parsed here and not by gRPC, which would answer UNKNOWN to bytes that are no message.
        def parse(data: bytes) -> Any:
            try:
                return handler.request_deserializer(data)
            except DecodeError as exc:
                message = f"the bytes are no request of {method}; texts must be UTF-8 and the client's protos those of this service"
                raise InvalidInput(message, reason="MALFORMED_MESSAGE") from exc

        async def unary(data: bytes, context: Context) -> Any:
            async with self._call(method, context, self._default_deadline_s):
                return await handler.unary_unary(parse(data), context)

        async def server_stream(data: bytes, context: Context) -> None:
            async with self._call(method, context, self._default_deadline_s):
                await write_all(handler.unary_stream(parse(data), context), context)

        async def both_streams(requests: AsyncIterable[bytes], context: Context) -> None:
            async with self._call(method, context, _NO_LIMIT_S):
                await write_all(handler.stream_stream((parse(data) async for data in requests), context), context)

        if handler.request_streaming:
            return grpc.stream_stream_rpc_method_handler(both_streams, None, handler.response_serializer)
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(server_stream, None, handler.response_serializer)
        return grpc.unary_unary_rpc_method_handler(unary, None, handler.response_serializer)

    @asynccontextmanager
    async def _call(self, method: str, context: Context, default_deadline_s: float) -> AsyncIterator[None]:
        started = time.monotonic()
        metadata = tuple(context.invocation_metadata() or ())
        request_id = _request_id(metadata)
        # gRPC works on each call in a task of its own, so what is bound here is seen by this call only.
        structlog.contextvars.bind_contextvars(request_id=request_id, method=method)
        try:
            tenant = self._tenants.of(metadata)
            given_s = context.time_remaining()
            allowed_s = default_deadline_s if given_s is None else given_s
            with self._admission.permit():
                _caller.set(Caller(tenant, request_id, Deadline.after(allowed_s)))
                # Tells the sender of a stream that it is let in; a refusal comes without. See the client's `ingest`.
                await context.send_initial_metadata(((REQUEST_ID_KEY, request_id),))
                async with _time_limit(allowed_s):
                    yield
        except asyncio.CancelledError:
            if _is_cancelled():
                _log.info("call_cancelled", duration_ms=_since(started))
                raise
            # Something inside was cancelled, not this call. Raised on, it would leave the client waiting for ever (grpc#29248).
            error: RouterError = InternalError("a part of the call was cancelled from inside", reason="CANCELLED_INSIDE")
        except grpc.aio.BaseError:
            raise  # the connection is gone, or the server is stopping: there is nobody to tell
        except Exception as exc:  # noqa: BLE001 - the edge of the service: whatever it is becomes a status
            error = _as_router_error(exc)
        else:
            _log.info("call", code="OK", duration_ms=_since(started))
            return
        code = code_of(error)
        # A refusal's message may quote the request, and requests are not logged.
        said = {} if error.severity == "info" else {"message": error.message}
        getattr(_log, error.severity)("call", code=code.name, reason=error.reason, field=error.field, duration_ms=_since(started), **said)
        status = status_of(error, request_id)
        await context.abort(code, status.message, ((REQUEST_ID_KEY, request_id), (DETAILS_KEY, status.SerializeToString())))


@asynccontextmanager
async def _time_limit(seconds: float) -> AsyncIterator[None]:
    scope = asyncio.timeout(seconds)
    try:
        async with scope:
            yield
    except TimeoutError as exc:
        if not scope.expired():
            raise
        raise DeadlineExceeded(f"the call did not end within its {seconds:.3g} s") from exc


def _as_router_error(exc: Exception) -> RouterError:
    if isinstance(exc, RouterError):
        return exc
    if isinstance(exc, ExceptionGroup):  # of a TaskGroup: told as one error when all of them are ours
        told = [_as_router_error(inner) for inner in exc.exceptions if isinstance(inner, RouterError | ExceptionGroup)]
        if len(told) == len(exc.exceptions):
            return told[0]
    _log.error("unexpected_error", exc_info=exc)
    return InternalError(INTERNAL_MESSAGE)


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _request_id(metadata: Iterable[tuple[str, str | bytes]]) -> str:
    for name, value in metadata:
        if name == REQUEST_ID_KEY and isinstance(value, str) and _REQUEST_ID.fullmatch(value):
            return value
    return uuid.uuid4().hex


def _since(started: float) -> float:
    return round((time.monotonic() - started) * 1000, 1)
