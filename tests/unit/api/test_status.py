from __future__ import annotations

import inspect

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from router import errors
from router.api.status import CODES, DETAILS_KEY, MAX_MESSAGE_BYTES, code_of, error_of, shortened, status_of
from router.errors import InternalError, InvalidInput, MissingExtra, Overloaded, QueryRefused, RouterError, StoreUnavailable, Unavailable

ALL = [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, RouterError)]


def _made(kind: type[RouterError]) -> RouterError:
    if kind is MissingExtra:
        return MissingExtra("torch", "this model")
    return kind("what happened, and what to do", reason="SOME_REASON", field="query.parts", retry_after_s=2.5)


def _detail(status: status_pb2.Status, kind: type[Message]) -> Message | None:
    for packed in status.details:
        found = kind()
        if packed.Unpack(found):
            return found
    return None


@pytest.mark.parametrize("kind", ALL)
def test_every_error_has_a_row(kind: type[RouterError]) -> None:
    assert kind in CODES
    assert code_of(_made(kind)) is CODES[kind]


def test_every_row_is_an_error() -> None:
    assert set(CODES) == set(ALL)


def test_an_error_of_a_plug_in_has_the_code_of_its_parent() -> None:
    class Lost(StoreUnavailable):
        pass

    assert code_of(Lost("gone")) is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("kind", [kind for kind in ALL if kind not in {RouterError, MissingExtra}])
def test_an_error_comes_back_as_it_was(kind: type[RouterError]) -> None:
    error = _made(kind)
    status = status_of(error, "request-1")
    back = error_of(code_of(error), status.message, status)
    assert type(back) is kind
    assert (back.message, back.reason, back.field, back.retry_after_s) == (error.message, error.reason, error.field, error.retry_after_s)
    assert back.__notes__ == ["request id request-1"]


def test_a_missing_extra_comes_back_as_a_conflict_with_its_reason() -> None:
    error = MissingExtra("torch", "this model")
    status = status_of(error, "r")
    back = error_of(code_of(error), status.message, status)
    assert (type(back), back.reason, back.message) == (errors.Conflict, "MISSING_EXTRA", error.message)


def test_a_refusal_names_its_rule() -> None:
    status = status_of(QueryRefused("Ask the office.", rule="salaries"), "r1")
    info = _detail(status, error_details_pb2.ErrorInfo)
    assert (info.reason, info.metadata["rule"]) == ("QUERY_REFUSED", "salaries")
    back = error_of(code_of(QueryRefused("")), status.message, status)
    assert isinstance(back, QueryRefused)
    assert (back.rule, back.message) == ("salaries", "Ask the office.")


def test_details_are_what_clients_of_any_language_look_for() -> None:
    status = status_of(InvalidInput("no such field", reason="UNKNOWN", field="options.limit"), "r1")
    info = _detail(status, error_details_pb2.ErrorInfo)
    assert (info.reason, info.domain, info.metadata["request_id"]) == ("UNKNOWN", "graphrag-router", "r1")
    violation = _detail(status, error_details_pb2.BadRequest).field_violations[0]
    assert (violation.field, violation.description) == ("options.limit", "no such field")
    assert _detail(status, error_details_pb2.RetryInfo) is None


def test_a_retry_is_suggested_where_it_helps() -> None:
    assert _detail(status_of(Unavailable("down"), "r"), error_details_pb2.RetryInfo).retry_delay.ToMilliseconds() == 1000
    assert _detail(status_of(Unavailable("down", retry_after_s=0.25), "r"), error_details_pb2.RetryInfo).retry_delay.ToMilliseconds() == 250
    assert _detail(status_of(InternalError("bug"), "r"), error_details_pb2.RetryInfo) is None
    assert _detail(status_of(Overloaded("full"), "r"), error_details_pb2.QuotaFailure).violations[0].description == "full"


@pytest.mark.parametrize("code", list(grpc.StatusCode))
def test_a_status_without_our_details_becomes_the_error_of_its_code(code: grpc.StatusCode) -> None:
    back = error_of(code, "said gRPC itself", None)
    assert back.reason == code.name
    assert code_of(back) in {code, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE}


@pytest.mark.parametrize("text", ["x" * 100_000, "Ω" * 100_000, "\ud800" * 100_000, "\U0001f600" * 100_000])
def test_a_status_fits_into_the_trailers(text: str) -> None:
    status = status_of(InvalidInput(text, field=f"metadata.{text}"), "r" * 128)
    percent_encoded = 3 * len(status.message.encode())
    assert len(status.message.encode()) <= MAX_MESSAGE_BYTES
    assert percent_encoded + len(status.SerializeToString()) * 4 / 3 + len(DETAILS_KEY) < 7000


def test_shortening_keeps_whole_characters() -> None:
    assert shortened("kurz", 10) == "kurz"
    assert shortened("ΩΩΩΩΩΩ", 10) == "ΩΩΩ..."
