"""One connection to Milvus: Lite or a server, calls in threads, errors mapped."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import grpc
from pymilvus import MilvusClient
from pymilvus.exceptions import MilvusException

from router.errors import ConfigurationError, RouterError, StoreUnavailable
from router.settings import MilvusSettings
from router.stores.milvus import lite
from router.stores.milvus.errors import is_not_loaded, router_error

LITE_FILE = "milvus.db"
OLDEST = (2, 3)
LOAD_TIMEOUT_S = 120.0
"""A server reads a collection from its disks before it can be searched."""
_THREADS = 8
_CHANNEL = {"grpc.initial_reconnect_backoff_ms": 100, "grpc.max_reconnect_backoff_ms": 1000}
"""gRPC waits up to two minutes before it tries a dead address again; a server that is back should be found within a second."""
_OWN_SERVER = {"grpc.keepalive_time_ms": 2**31 - 1}
"""Lite hangs up on a client that is heard to be alive every ten seconds, as pymilvus's is, and asks nothing in between."""

Result = TypeVar("Result")
Around = Callable[[Callable[[], Any]], Any]

# pymilvus logs every error with its traceback before it raises it; who catches the error decides what is logged.
logging.getLogger("pymilvus").setLevel(logging.CRITICAL)


class MilvusConnection:
    """Use `open`.

    The synchronous client in threads of its own, since AsyncMilvusClient (pymilvus 3.0.2, "experimental") cannot create an index on
    Milvus Lite (it asks for AllocTimestamp) and builds its messages on the event loop.
    """

    def __init__(self, client: MilvusClient, version: str, threads: ThreadPoolExecutor, lite_file: Path | None, timeout_s: float) -> None:
        self.lite_file = lite_file
        """The Milvus Lite file that this process serves; None where a server is asked."""
        self._client = client
        self._threads = threads
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="milvus-write") if version.startswith("milvus_lite") else threads
        self._timeout_s = timeout_s
        self._closed = False
        self.is_lite = version.startswith("milvus_lite")
        """Also true for a Lite file that `milvus-lite server` serves."""
        self.version = server_version(version)
        """(2, 3) for 2.3.5; (0, 0) where the server does not say."""

    @classmethod
    async def open(cls, settings: MilvusSettings, data_dir: Path) -> MilvusConnection:
        """Connect, and start Milvus Lite where no server is named.

        Raises:
            ConfigurationError: A wrong `milvus.uri`, `milvus.token` or `milvus.database`, or a server that is too old.
            Conflict: Another process holds the Lite file.
            StoreUnavailable: Nothing answers at `milvus.uri`.
        """
        threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="milvus")
        lite_file = None if settings.uri else data_dir / LITE_FILE
        loop = asyncio.get_running_loop()
        try:
            client, version = await loop.run_in_executor(threads, _connect, settings, lite_file)
        except BaseException:
            threads.shutdown(wait=False)
            raise
        connection = cls(client, version, threads, lite_file, settings.timeout_s)
        if not connection.is_lite and (0, 0) < connection.version < OLDEST:
            await connection.aclose()
            raise ConfigurationError(f"milvus.uri: the server is Milvus {version}; 2.3 or newer is needed", field="milvus.uri")
        return connection

    async def call(self, method: str, collection: str, **arguments: Any) -> Any:
        """One method of the client on one collection. Raises only errors of ours; a caller that is cancelled does not wait."""
        return await self._call(self._threads, method, collection, arguments)

    async def write(self, method: str, collection: str, *, around: Around | None = None, **arguments: Any) -> Any:
        """As `call`, for what changes rows: Milvus Lite takes one writer per collection (milvus_lite/adapter/grpc/server.py) but does not
        see to it, and leaves its log open when an insert and a flush meet. A thread keeps its turn even when the caller has left.

        Args:
            method: Of the client.
            collection: Its first argument.
            around: Does the write that it is given, and what belongs to it, in the same turn.
            arguments: The method's others.
        """
        return await self._call(self._writer, method, collection, arguments, around)

    async def _call(
        self, threads: ThreadPoolExecutor, method: str, collection: str, arguments: dict[str, Any], around: Around | None = None
    ) -> Any:
        work: Callable[[], Any] = partial(getattr(self._client, method), collection, timeout=self._timeout_s, **arguments)
        if around is not None:
            work = partial(around, work)
        try:
            return await self._run(work, threads)
        except MilvusException as error:
            if not is_not_loaded(error):
                raise router_error(error) from error
        except grpc.RpcError as error:
            raise router_error(error) from error
        # The server was restarted and has not loaded the collection: load it, then ask once more.
        await self.load(collection)
        return await self.run(work, threads)

    async def load(self, collection: str) -> None:
        await self.run(partial(self._client.load_collection, collection, timeout=max(LOAD_TIMEOUT_S, self._timeout_s)))

    async def ping(self) -> None:
        try:
            await self.run(partial(self._client.get_server_version, timeout=self._timeout_s))
        except StoreUnavailable:
            raise
        except RouterError as error:
            raise StoreUnavailable(f"Milvus does not answer: {error}") from error

    async def run(self, work: Callable[[], Result], threads: ThreadPoolExecutor | None = None) -> Result:
        """Blocking work with the client, in a thread, its errors mapped."""
        try:
            return await self._run(work, threads or self._threads)
        except (MilvusException, grpc.RpcError) as error:
            raise router_error(error) from error

    async def _run(self, work: Callable[[], Result], threads: ThreadPoolExecutor) -> Result:
        if self._closed:
            raise StoreUnavailable("the Milvus store is closed")
        return await asyncio.get_running_loop().run_in_executor(threads, work)

    @property
    def client(self) -> MilvusClient:
        """For work given to `run`."""
        return self._client

    async def aclose(self) -> None:
        if self._closed:
            return
        self._closed = True
        # In the writer's thread, so that a write that is under way ends first.
        await asyncio.get_running_loop().run_in_executor(self._writer, _disconnect, self._client, self.lite_file)
        self._writer.shutdown(wait=False)
        self._threads.shutdown(wait=False)


def server_version(text: str) -> tuple[int, int]:
    found = re.search(r"(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _connect(settings: MilvusSettings, lite_file: Path | None) -> tuple[MilvusClient, str]:
    uri = lite.acquire(lite_file) if lite_file is not None else _address(str(settings.uri))
    client = None
    try:
        client = MilvusClient(
            uri=uri,
            token=settings.token.get_secret_value() if settings.token else "",
            db_name=settings.database,
            timeout=settings.timeout_s,
            dedicated=True,
            grpc_options=_CHANNEL if lite_file is None else _CHANNEL | _OWN_SERVER,
        )
        if settings.database != "default" and settings.database not in (names := client.list_databases(timeout=settings.timeout_s)):
            raise ConfigurationError(
                f"milvus.database: there is no database {settings.database!r}; there are {sorted(names)}", field="milvus.database"
            )
        return client, client.get_server_version(timeout=settings.timeout_s)
    except BaseException as error:
        _disconnect(client, lite_file)
        if isinstance(error, MilvusException | grpc.RpcError):
            raise router_error(error) from error
        raise


def _address(uri: str) -> str:
    # pymilvus would take a path that ends in .db for a Lite file and open it outside the data folder.
    if not re.match(r"(https?|tcp)://", uri) or uri.endswith(".db"):
        raise ConfigurationError(
            f"milvus.uri: {uri!r} is not an address; give http(s)://host:port, or leave it out for a Milvus Lite file in the data folder",
            field="milvus.uri",
        )
    return uri


def _disconnect(client: MilvusClient | None, lite_file: Path | None) -> None:
    if client is not None:
        client.close()
    if lite_file is not None:
        lite.release(lite_file)
