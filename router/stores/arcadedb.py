"""The embedded graph server: ArcadeDB from its package (it carries its own Java), as a supervised child that speaks Bolt."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import importlib.util
import json
import os
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from router.child_process import SupervisedChild, free_port, new_password
from router.errors import ConfigurationError
from router.settings import ArcadeSettings

DATABASE = "graph"
USER = "root"
READER = "reader"
"""A user that may read records and do nothing else: for queries that a model has written."""
PACKAGE = "arcadedb_embedded"
PASSWORD = "password"  # noqa: S105 - the name of the file
LOGGING = "logging.properties"
LOGGING_PROPERTIES = """\
# To standard output only, which is the log file of the child process; by default there are up to 1 GB of files besides.
handlers = java.util.logging.ConsoleHandler
java.util.logging.ConsoleHandler.formatter = com.arcadedb.log.LogFormatter
.level = WARNING
com.arcadedb.level = INFO
"""
HASH_ROUNDS = 65_536
GROUPS_VERSION = 2


@dataclass(frozen=True, slots=True)
class EmbeddedGraph:
    """A running ArcadeDB and how to reach it: over Bolt as USER, over HTTP as READER."""

    child: SupervisedChild
    uri: str
    password: str
    http_url: str
    reader_password: str


async def open_arcadedb(settings: ArcadeSettings, data_dir: Path, ready: Callable[[str, str], Awaitable[None]]) -> EmbeddedGraph:
    """Start the server on a free loopback port.

    Args:
        settings: Heap and patience.
        data_dir: The service's data folder; the server's lies below it, its log in `logs`.
        ready: Address and password -> returns when the database answers, raises while it does not (the port opens before that).

    Raises:
        ConfigurationError: The package is not installed.
        Unavailable: The server did not start; the message has the end of its log.
    """
    # Absolute, since the child runs in another folder.
    home = (await asyncio.to_thread(data_dir.resolve)) / "arcadedb"
    password, reader_password = await asyncio.to_thread(_prepare, home)
    package = _package_folder()
    http_port = free_port()
    child = SupervisedChild(
        "ArcadeDB",
        lambda port: _command(package, home, port, http_port, settings),
        log_path=data_dir / "logs" / "arcadedb.log",
        ready=lambda port: ready(_uri(port), password),
        start_timeout_s=settings.start_timeout_s,
    )
    await child.start()
    return EmbeddedGraph(child, _uri(child.port), password, f"http://127.0.0.1:{http_port}", reader_password)


def _uri(port: int) -> str:
    return f"bolt://127.0.0.1:{port}"


def _package_folder() -> Path:
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ConfigurationError(
            "the embedded graph needs the package arcadedb-embedded: install it, or set graph.uri to a Neo4j server", field="graph.uri"
        )
    return Path(spec.origin).parent


def _prepare(home: Path) -> tuple[str, str]:
    """Make the server's folder, its logging and its users; the passwords of the root user and of the reader.

    The root user's password counts from the first start on, so it is kept. The reader gets a new one with every start.
    """
    home.mkdir(parents=True, exist_ok=True)
    (home / LOGGING).write_text(LOGGING_PROPERTIES)
    path = home / PASSWORD
    if not path.exists():
        _replace(path, new_password())
    password, reader_password = path.read_text(), new_password()
    _write_users(home / "config", password, reader_password)
    return password, reader_password


def _write_users(config: Path, password: str, reader_password: str) -> None:
    """The users' and groups' files as the server itself keeps them; it reads them when it starts."""
    config.mkdir(exist_ok=True)
    users, groups = config / "server-users.jsonl", config / "server-groups.json"
    lines = users.read_text().splitlines() if users.exists() else []
    kept = [line for line in lines if line.strip() and json.loads(line)["name"] != READER]
    root = {"name": USER, "databases": {"*": ["admin"]}, "password": _hashed(password)}
    reader = {"name": READER, "databases": {DATABASE: [READER]}, "password": _hashed(reader_password)}
    _replace(users, "".join(f"{line}\n" for line in (*(kept or [json.dumps(root)]), json.dumps(reader))))
    there: dict[str, Any] = (
        json.loads(groups.read_text()) if groups.exists() else {"databases": {"*": {"groups": _GROUPS}}, "version": GROUPS_VERSION}
    )
    # No cap on rows here: it would cut scans short without a word, and so falsify answers.
    rights = {"resultSetLimit": -1, "readTimeout": -1, "access": [], "types": {"*": {"access": ["readRecord"]}}}
    there["databases"].setdefault(DATABASE, {"groups": {}})["groups"][READER] = rights
    _replace(groups, json.dumps(there, indent=2))


_RECORDS = ["createRecord", "readRecord", "updateRecord", "deleteRecord"]
_SERVER = ["updateSecurity", "updateSchema", "updateDatabaseSettings"]
_GROUPS = {
    "admin": {"resultSetLimit": -1, "readTimeout": -1, "access": _SERVER, "types": {"*": {"access": _RECORDS}}},
    "*": {"resultSetLimit": -1, "readTimeout": -1, "access": [], "types": {"*": {"access": []}}},
}
"""What the server makes of its own at a first start."""


def _hashed(password: str) -> str:
    salt = base64.b64encode(secrets.token_bytes(32)).decode()
    digest = hashlib.pbkdf2_hmac("sha256", password.encode(), salt.encode(), HASH_ROUNDS)
    return f"PBKDF2WithHmacSHA256${HASH_ROUNDS}${salt}${base64.b64encode(digest).decode()}"


def _replace(path: Path, text: str) -> None:
    partial = path.with_name(f"{path.name}.partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    partial.replace(path)


def _command(package: Path, home: Path, port: int, http_port: int, settings: ArcadeSettings) -> Sequence[str]:
    options = {
        "arcadedb.server.rootPath": home,
        # By file: a password among the arguments could be read by every user of the machine.
        "arcadedb.server.rootPasswordPath": home / PASSWORD,
        "arcadedb.server.logsDirectory": home / "log",
        "arcadedb.server.mode": "production",
        "arcadedb.server.httpIncomingHost": "127.0.0.1",
        "arcadedb.server.httpIncomingPort": http_port,
        "arcadedb.bolt.host": "127.0.0.1",
        "arcadedb.bolt.port": port,
        "arcadedb.bolt.defaultDatabase": DATABASE,
        "arcadedb.server.defaultDatabases": f"{DATABASE}[]",
        "arcadedb.server.plugins": "Bolt:com.arcadedb.bolt.BoltProtocolPlugin",
        # A commit is on the disk when it is acknowledged, also when the machine loses power.
        "arcadedb.txWalFlush": 1,
        "java.util.logging.config.file": home / LOGGING,
    }
    return (
        str(package / "jre" / "bin" / "java"),
        "-Xms128m",
        f"-Xmx{settings.max_heap_mb}m",
        "-XX:+UseSerialGC",
        # Better ended and started again than half alive.
        "-XX:+ExitOnOutOfMemoryError",
        "-Djava.awt.headless=true",
        "--enable-native-access=ALL-UNNAMED",
        "--add-modules",
        "jdk.incubator.vector",
        *(f"-D{name}={value}" for name, value in options.items()),
        "-cp",
        str(package / "jars" / "*"),
        "com.arcadedb.server.ArcadeDBServer",
    )
