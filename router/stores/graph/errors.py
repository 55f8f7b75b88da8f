"""The one map from the Bolt driver's errors to ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from neo4j import exceptions

from router.errors import ConfigurationError, Conflict, InternalError, RouterError, StoreUnavailable

RETRY_AFTER_S = 1.0
MAX_CAUSE_CHARS = 300

ERRORS: Mapping[type[Exception], type[RouterError]] = {
    # Passing trouble: asking again may help.
    exceptions.TransientError: StoreUnavailable,
    exceptions.DatabaseUnavailable: StoreUnavailable,
    exceptions.NotALeader: StoreUnavailable,
    exceptions.ForbiddenOnReadOnlyDatabase: StoreUnavailable,
    exceptions.ServiceUnavailable: StoreUnavailable,
    exceptions.RoutingServiceUnavailable: StoreUnavailable,
    exceptions.WriteServiceUnavailable: StoreUnavailable,
    exceptions.ReadServiceUnavailable: StoreUnavailable,
    exceptions.IncompleteCommit: StoreUnavailable,
    exceptions.SessionExpired: StoreUnavailable,
    exceptions.ConnectionPoolError: StoreUnavailable,
    exceptions.ConnectionAcquisitionTimeoutError: StoreUnavailable,
    exceptions.TransactionError: StoreUnavailable,  # what a commit on a connection that died raises
    exceptions.ResultFailedError: StoreUnavailable,
    # Wrong settings: asking again does not help.
    exceptions.AuthError: ConfigurationError,
    exceptions.TokenExpired: ConfigurationError,
    exceptions.Forbidden: ConfigurationError,
    exceptions.ConfigurationError: ConfigurationError,
    exceptions.AuthConfigurationError: ConfigurationError,
    exceptions.CertificateConfigurationError: ConfigurationError,
    exceptions.UnsupportedServerProduct: ConfigurationError,
    # Another writer was there first.
    exceptions.ConstraintError: Conflict,
    # Our own mistakes, and replies that we do not understand.
    exceptions.GqlError: InternalError,
    exceptions.Neo4jError: InternalError,
    exceptions.ClientError: InternalError,
    exceptions.CypherSyntaxError: InternalError,
    exceptions.CypherTypeError: InternalError,
    exceptions.DatabaseError: InternalError,
    exceptions.DriverError: InternalError,
    exceptions.SessionError: InternalError,
    exceptions.TransactionNestingError: InternalError,
    exceptions.ResultError: InternalError,
    exceptions.ResultConsumedError: InternalError,
    exceptions.ResultNotSingleError: InternalError,
    exceptions.BrokenRecordError: InternalError,
}
PASSING_CODES = ("TransactionTimedOut", "AuthenticationRateLimit", "DatabaseUnavailable", "DatabaseNotFound")
"""Codes that both servers send as a plain ClientError. A database is also not found while the server is still starting."""

STORIES: Mapping[type[RouterError], str] = {
    StoreUnavailable: "the graph database cannot serve now (does it run, is graph.uri right, is there a database graph.database?)",
    ConfigurationError: "the graph database refuses the connection: check graph.uri, graph.user and graph.password",
    Conflict: "another writer changed the graph at the same time",
    InternalError: "the graph database refuses a statement",
}


@contextmanager
def bolt_errors() -> Iterator[None]:
    """Raise ours for every error of the driver and of the network below it."""
    try:
        yield
    except TimeoutError as error:
        raise StoreUnavailable("the graph database did not answer in time", retry_after_s=RETRY_AFTER_S) from error
    except OSError as error:
        raise _ours(StoreUnavailable, error) from error
    except exceptions.GqlError as error:
        raise _ours(_kind(error), error) from error


def _kind(error: exceptions.GqlError) -> type[RouterError]:
    code = error.code if isinstance(error, exceptions.Neo4jError) else None
    if code is not None and any(passing in code for passing in PASSING_CODES):
        return StoreUnavailable
    return next(ERRORS[kind] for kind in type(error).__mro__ if kind in ERRORS)


def _ours(kind: type[RouterError], error: Exception) -> RouterError:
    cause = str(error).strip().split("\n", maxsplit=1)[0][:MAX_CAUSE_CHARS]
    return kind(
        f"{STORIES[kind]}: {cause}",
        field="graph" if kind is ConfigurationError else None,
        retry_after_s=RETRY_AFTER_S if kind is StoreUnavailable else None,
    )
