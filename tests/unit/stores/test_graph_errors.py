"""Every error of the driver becomes one of ours."""

from __future__ import annotations

import inspect

import pytest
from neo4j import exceptions

from router.errors import ConfigurationError, Conflict, InternalError, RouterError, StoreUnavailable
from router.stores.graph.errors import ERRORS, bolt_errors

CLASSES = [kind for _, kind in inspect.getmembers(exceptions, inspect.isclass) if issubclass(kind, Exception)]


def ours(error: Exception) -> RouterError:
    with pytest.raises(RouterError) as raised, bolt_errors():
        raise error
    assert raised.value.__cause__ is error
    return raised.value


def from_server(code: str) -> Exception:
    return exceptions.Neo4jError._hydrate_neo4j(code=code, message="what the server says\nand more")


def test_the_table_knows_every_class_of_the_driver() -> None:
    assert set(CLASSES) == set(ERRORS)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_class_is_raised_as_the_table_says(kind: type[Exception]) -> None:
    has_origin = issubclass(kind, (exceptions.ResultError, exceptions.TransactionError, exceptions.SessionError))
    assert type(ours(kind(None, "cause") if has_origin else kind("cause"))) is ERRORS[kind]


def test_a_class_that_a_later_driver_adds_is_what_its_parent_is() -> None:
    class TooManyCooks(exceptions.TransientError):
        pass

    assert type(ours(TooManyCooks("cause"))) is StoreUnavailable


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("Neo.ClientError.Transaction.TransactionTimedOutClientConfiguration", StoreUnavailable),
        ("Neo.ClientError.Transaction.TransactionTimedOut", StoreUnavailable),
        ("Neo.ClientError.Security.AuthenticationRateLimit", StoreUnavailable),
        ("Neo.ClientError.Database.DatabaseNotFound", StoreUnavailable),
        ("Neo.TransientError.Transaction.DeadlockDetected", StoreUnavailable),
        ("Neo.TransientError.General.MemoryPoolOutOfMemoryError", StoreUnavailable),
        ("Neo.ClientError.Cluster.NotALeader", StoreUnavailable),
        ("Neo.ClientError.Security.Unauthorized", ConfigurationError),
        ("Neo.ClientError.Security.Forbidden", ConfigurationError),
        ("Neo.ClientError.Schema.ConstraintValidationFailed", Conflict),
        ("Neo.ClientError.Statement.SyntaxError", InternalError),
        ("Neo.DatabaseError.General.UnknownError", InternalError),
        ("Some.Thing.New.Entirely", InternalError),
    ],
)
def test_codes_of_the_server(code: str, kind: type[RouterError]) -> None:
    error = ours(from_server(code))
    assert type(error) is kind
    assert "what the server says" in error.message
    assert "\n" not in error.message


@pytest.mark.parametrize("error", [TimeoutError(), ConnectionRefusedError("no"), OSError("no route")])
def test_trouble_below_the_driver(error: OSError) -> None:
    assert type(ours(error)) is StoreUnavailable


def test_only_passing_trouble_says_when_to_ask_again() -> None:
    assert ours(exceptions.ServiceUnavailable("gone")).retry_after_s == 1.0
    assert ours(exceptions.AuthError("no")).retry_after_s is None


def test_other_errors_pass_through() -> None:
    with pytest.raises(KeyError), bolt_errors():
        raise KeyError("a mistake of ours stays one")
