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
        engine = create_async_engine(url)
    except (exc.ArgumentError, exc.InvalidRequestError, ImportError) as error:
        raise ConfigurationError(
            f"{field} cannot be used ({type(error).__name__}): give sqlite+aiosqlite:///FILE or "
            "postgresql+asyncpg://USER:PASSWORD@HOST/NAME, with that driver installed",
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


def translated(kind: type[BaseException]) -> type[RouterError]:
    return next(ERROR_MAP[ancestor] for ancestor in kind.__mro__ if ancestor in ERROR_MAP)


@contextmanager
def database_errors(what: str) -> Iterator[None]:
    """SQLAlchemy's errors as ours; `what` begins the message."""
    try:
        yield
    except (exc.SQLAlchemyError, OSError) as error:
        # A DBAPIError's own text repeats the statement and its values, which are somebody's documents.
        detail = error.orig if isinstance(error, exc.DBAPIError) else error
        raise translated(type(error))(f"{what} failed: {type(error).__name__}: {detail}") from error
