"""Milvus Lite inside this process: one server per file on a free loopback port, shared by every store that opens the file."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from milvus_lite.adapter.grpc.server import start_server_in_thread  # type: ignore[import-untyped]
from milvus_lite.exceptions import DataDirLockedError, MilvusLiteError  # type: ignore[import-untyped]

from router.errors import ConfigurationError, Conflict, InternalError
from router.stores.milvus.rows import ExactRows


@dataclass(slots=True)
class _Served:
    server: Any
    database: Any
    uri: str
    users: int
    rows: dict[tuple[str, str], ExactRows]
    """By database and collection; shared by every store that opens the file, since each of them writes."""


# pymilvus would start the same server for a `.db` path, but it reports a locked file as "open failed" and stops it at exit only.
_served: dict[Path, _Served] = {}
_lock = threading.Lock()


def acquire(path: Path) -> str:
    """Serve the file, or join whoever does in this process; the address. Blocks. Pair it with `release`.

    Raises:
        Conflict: Another process holds the file.
        ConfigurationError: The folder cannot be made or written.
        InternalError: The file is damaged.
    """
    path = path.resolve()
    with _lock:
        if path not in _served:
            _served[path] = _start(path)
        _served[path].users += 1
        return _served[path].uri


def release(path: Path) -> None:
    """The last user stops the server, which writes what is in memory to the file. Blocks."""
    path = path.resolve()
    with _lock:
        served = _served[path]
        served.users -= 1
        if served.users:
            return
        del _served[path]
        served.server.stop(grace=2).wait()
        served.database.close()


def rows_of(path: Path, database: str, collection: str) -> ExactRows | None:
    """What is kept of a collection that is served here and still exists; None where nothing is."""
    served = _served.get(path.resolve())
    rows = served.rows.get((database, collection)) if served is not None else None
    return rows if rows is not None and served.database.has_collection(collection, database) else None  # type: ignore[union-attr]


def keep_rows(path: Path, database: str, collection: str, rows: ExactRows) -> None:
    """For a collection that is served here; the first rows stay."""
    _served[path.resolve()].rows.setdefault((database, collection), rows)


def _start(path: Path) -> _Served:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        server, database, port = start_server_in_thread(str(path), host="127.0.0.1", port=0)
    except DataDirLockedError as error:
        raise Conflict(
            f"the Milvus Lite file {path} is open in another process: stop that process, choose another data_dir, "
            "or serve the file with `milvus-lite server` and set milvus.uri in both",
            reason="STORE_LOCKED",
            field="data_dir",
        ) from error
    except OSError as error:
        raise ConfigurationError(f"the Milvus Lite file {path} cannot be opened: {error}", field="data_dir") from error
    except MilvusLiteError as error:
        raise InternalError(f"the Milvus Lite file {path} is damaged ({error}): move it away, and the corpus is indexed again") from error
    return _Served(server, database, f"http://127.0.0.1:{port}", users=0, rows={})
