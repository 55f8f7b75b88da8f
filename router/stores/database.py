"""SQL databases through SQLAlchemy: opening an engine, and the one map of its errors to ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event, exc
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from router.errors import ConfigurationError, Conflict, InternalError, RouterError, StoreUnavailable

DIALECTS = ("sqlite", "postgresql")
_BUSY_TIMEOUT_MS = 10_000


def make_engine(url: str, field: str) -> AsyncEngine:
    """An engine that has not connected yet; SQLite is set up for durability with each connection.

    Args:
        url: With an async driver. It may hold a password, so no error repeats it.
        field: Path of the setting that it comes from.

    Raises:
        ConfigurationError: The URL is wrong, its driver is missing, or its database is not supported.
    """
    try:
        # A database that is a server may have gone and come back while a connection lay in the pool.
        engine = create_async_engine(url, pool_pre_ping=not url.startswith("sqlite"))
    except (exc.ArgumentError, exc.InvalidRequestError, ImportError) as error:
        raise ConfigurationError(
            f"{field} cannot be used ({type(error).__name__}): give sqlite+aiosqlite:///FILE or "
            "postgresql+asyncpg://USER:PASSWORD@HOST/NAME with the extra 'postgres' installed",
            field=field,
        ) from error
    if engine.dialect.name not in DIALECTS:
        raise ConfigurationError(f"{field}: {engine.dialect.name} is not supported; use SQLite or PostgreSQL", field=field)
    if engine.dialect.name == "sqlite":
        event.listen(engine.sync_engine, "connect", _set_up_sqlite)
    return engine


def _set_up_sqlite(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")  # with NORMAL, a commit in WAL mode may return before it is on the disk
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


ERROR_MAP: Mapping[type[BaseException], type[RouterError]] = {
    exc.OperationalError: StoreUnavailable,  # locked, disk full, connection refused or lost
    exc.InterfaceError: StoreUnavailable,
    exc.TimeoutError: StoreUnavailable,  # no free connection in the pool
    exc.DisconnectionError: StoreUnavailable,
    OSError: StoreUnavailable,  # asyncpg does not wrap a refused connection
    exc.IntegrityError: Conflict,
    exc.DatabaseError: Conflict,  # by itself: SQLite's "file is not a database" and "disk image is malformed"
    exc.DataError: InternalError,
    exc.InternalError: InternalError,
    exc.NotSupportedError: InternalError,
    exc.ProgrammingError: InternalError,
    exc.SQLAlchemyError: InternalError,  # the rest is wrong use, so a bug of ours
}
"""The most specific class wins."""

SQLSTATES: Mapping[str, type[RouterError]] = {
    "08": StoreUnavailable,  # the connection broke
    "28": ConfigurationError,  # wrong user or password
    "3D": ConfigurationError,  # no such database
    "40": StoreUnavailable,  # rolled back for another's sake
    "53": StoreUnavailable,  # no more connections, memory or room on the disk
    "57": StoreUnavailable,  # shutting down, starting, or cancelled by an operator
    "58": StoreUnavailable,  # its system failed it
}
"""By class (two letters); goes before the map of kinds, since asyncpg's errors are mostly of none of those."""


def translated(kind: type[BaseException]) -> type[RouterError]:
    return next(ERROR_MAP[ancestor] for ancestor in kind.__mro__ if ancestor in ERROR_MAP)


def _meaning_of(error: BaseException) -> type[RouterError]:
    if isinstance(error, exc.DBAPIError):
        if error.connection_invalidated:
            return StoreUnavailable
        if (state := str(getattr(error.orig, "sqlstate", None) or "")[:2]) in SQLSTATES:
            return SQLSTATES[state]
    return translated(type(error))


@contextmanager
def database_errors(what: str, field: str = "") -> Iterator[None]:
    """SQLAlchemy's errors as ours; `what` begins the message, `field` is the setting that the connection comes from."""
    try:
        yield
    except (exc.SQLAlchemyError, OSError) as error:
        # A DBAPIError's own text repeats the statement and its values, which are somebody's documents.
        detail = error.orig if isinstance(error, exc.DBAPIError) else error
        kind = _meaning_of(error)
        message = f"{what} failed: {type(error).__name__}: {detail}"
        raise (kind(message, field=field) if kind is ConfigurationError else kind(message)) from error
