"""A real Neo4j for tests, made from Maven Central artifacts and run as a supervised child process."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import secrets
import shutil
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from neo4j import AsyncGraphDatabase

from router.child_process import SupervisedChild, new_password
from router.stores.graph import bolt_errors

HASH_ROUNDS = 1024
FETCH_S = 900
START_S = 120.0
OPENED = ("java.nio", "java.io", "sun.nio.ch", "java.util.concurrent")


@dataclass(frozen=True, slots=True)
class Neo4jServer:
    uri: str
    user: str
    password: str
    child: SupervisedChild


def missing_tools() -> str:
    """What is not on PATH, for a skip's reason; empty when all is there."""
    return ", ".join(tool for tool in ("java", "mvn") if shutil.which(tool) is None)


async def fetch_jars(pom: Path, cache: Path) -> Path:
    """The server's jars, fetched once per version of the pom (about 125 MB)."""
    stamp = hashlib.sha256(await asyncio.to_thread(pom.read_bytes)).hexdigest()[:16]
    lib = cache / stamp / "lib"
    complete = cache / stamp / "complete"
    await asyncio.to_thread(cache.mkdir, parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        # Tests run in several processes, and one of them fetches.
        await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
        if not await asyncio.to_thread(complete.exists):
            await asyncio.to_thread(subprocess.run, _fetch(pom, lib), check=True, timeout=FETCH_S)
            await asyncio.to_thread(complete.touch)
    return lib


def _fetch(pom: Path, lib: Path) -> Sequence[str]:
    return ("mvn", "-B", "-q", "-f", str(pom), "dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={lib}")


@asynccontextmanager
async def run_neo4j(lib: Path, home: Path) -> AsyncIterator[Neo4jServer]:
    """Run a server on a free loopback port, with a random password, in an empty home folder."""
    password = new_password()
    auth = home / "data" / "dbms" / "auth.ini"
    auth.parent.mkdir(parents=True)
    auth.write_text(_auth_line("neo4j", password))
    (home / "conf").mkdir()

    def command(port: int) -> Sequence[str]:
        (home / "conf" / "neo4j.conf").write_text(_configuration(home, port))
        return _command(lib, home)

    async def ready(port: int) -> None:
        with bolt_errors():
            driver = AsyncGraphDatabase.driver(f"bolt://127.0.0.1:{port}", auth=("neo4j", password), connection_timeout=1.0)
            async with driver, driver.session() as session:
                await (await session.run("RETURN 1")).consume()

    child = SupervisedChild("Neo4j", command, log_path=home / "server.log", ready=ready, start_timeout_s=START_S)
    await child.start()
    try:
        yield Neo4jServer(f"bolt://127.0.0.1:{child.port}", "neo4j", password, child)
    finally:
        await asyncio.shield(child.aclose())


def _command(lib: Path, home: Path) -> Sequence[str]:
    java = shutil.which("java")
    assert java is not None, "missing_tools() is asked first"
    return (
        java,
        "-Xms512m",
        "-Xmx512m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        *(f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in OPENED),
        "-cp",
        f"{lib}{os.sep}*",
        "org.neo4j.server.CommunityEntryPoint",
        f"--home-dir={home}",
        f"--config-dir={home / 'conf'}",
        "--console-mode",
    )


def _configuration(home: Path, port: int) -> str:
    settings = {
        "server.config.strict_validation.enabled": "true",
        "server.default_listen_address": "127.0.0.1",
        "server.bolt.enabled": "true",
        "server.bolt.listen_address": f"127.0.0.1:{port}",
        "server.bolt.advertised_address": f"127.0.0.1:{port}",
        "server.bolt.tls_level": "DISABLED",
        "server.http.enabled": "false",
        "server.https.enabled": "false",
        "server.memory.pagecache.size": "128m",
        "dbms.security.auth_enabled": "true",
        "dbms.usage_report.enabled": "false",
        "db.tx_log.preallocate": "false",
        "db.tx_log.rotation.size": "16m",
        "dbms.memory.transaction.total.max": "256m",
        "db.transaction.monitor.check.interval": "200ms",
        "db.shutdown_transaction_end_timeout": "1s",
        "internal.dbms.bolt.netty_server_shutdown_quiet_period": "0",
        **{f"server.directories.{name}": str(home / name) for name in ("data", "logs", "plugins", "import", "run", "licenses", "lib")},
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def _auth_line(user: str, password: str) -> str:
    # The form of `neo4j-admin dbms set-initial-password`, which would need a Java of its own.
    salt = secrets.token_bytes(32)
    digest = hashlib.sha256(salt + password.encode()).digest()
    for _ in range(HASH_ROUNDS - 1):
        digest = hashlib.sha256(digest).digest()
    return f"{user}:SHA-256,{digest.hex()},{salt.hex()},{HASH_ROUNDS}:\n"
