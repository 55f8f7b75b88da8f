"""A real PostgreSQL for tests, in an empty folder of its own, run as a supervised child process."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from router.child_process import SupervisedChild, new_password

USER = "router"
START_S = 60.0
UNPRIVILEGED = "nobody"
"""Who runs it where we are root, which the server refuses to be."""


@dataclass(frozen=True, slots=True)
class PostgresServer:
    password: str
    child: SupervisedChild
    bin: Path

    def create_database(self, name: str) -> str:
        """An empty database; its URL for `journal.url`."""
        command = (str(self.bin / "createdb"), "--host=127.0.0.1", f"--port={self.child.port}", f"--username={USER}", name)
        subprocess.run(command, check=True, env={**os.environ, "PGPASSWORD": self.password}, timeout=START_S)  # noqa: S603 - our own words
        return f"postgresql+asyncpg://{USER}:{self.password}@127.0.0.1:{self.child.port}/{name}"


def find_programs() -> Path | None:
    """The folder of the server's programs: of those on PATH, else the newest where Debian puts them."""
    found = [Path(initdb).resolve().parent for initdb in [shutil.which("initdb")] if initdb]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name), reverse=True)
    return next((folder for folder in found if all((folder / name).exists() for name in ("initdb", "postgres", "createdb"))), None)


@asynccontextmanager
async def run_postgres(programs: Path) -> AsyncIterator[PostgresServer]:
    """Run a server on a free loopback port, with a random password."""
    password = new_password()
    # Not in pytest's folders: those of root are closed to the one who runs it.
    with tempfile.TemporaryDirectory(prefix="postgres-") as folder:
        home = Path(folder)
        data, secret = home / "data", home / "password"
        secret.write_text(password)
        if os.geteuid() == 0:
            account = pwd.getpwnam(UNPRIVILEGED)
            for path in (home, secret):
                os.chown(path, account.pw_uid, account.pw_gid)
        made = (*_as_nobody(), str(programs / "initdb"), f"--pgdata={data}", f"--username={USER}", f"--pwfile={secret}")
        options = ("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync")
        await asyncio.to_thread(subprocess.run, (*made, *options), check=True, capture_output=True, cwd=home, timeout=START_S)

        def command(port: int) -> Sequence[str]:
            # Of a hundred databases that live for a moment; a test ends the server, not the machine.
            settings = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": "", "fsync": "off"}
            return (*_as_nobody(), str(programs / "postgres"), "-D", str(data), *(f"--{key}={value}" for key, value in settings.items()))

        async def ready(port: int) -> None:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            check = (str(programs / "pg_isready"), "--host=127.0.0.1", f"--port={port}", "--quiet")
            if await (await asyncio.create_subprocess_exec(*check)).wait():
                raise OSError("it does not accept connections yet")

        child = SupervisedChild("PostgreSQL", command, log_path=home / "server.log", ready=ready, start_timeout_s=START_S)
        await child.start()
        try:
            yield PostgresServer(password, child, programs)
        finally:
            await asyncio.shield(child.aclose())


def _as_nobody() -> Sequence[str]:
    if os.geteuid() != 0:
        return ()
    setpriv = shutil.which("setpriv")
    assert setpriv is not None, "setpriv is part of util-linux"
    # Changing the user would take back that it dies with us.
    return (setpriv, f"--reuid={UNPRIVILEGED}", f"--regid={pwd.getpwnam(UNPRIVILEGED).pw_gid}", "--clear-groups", "--pdeathsig=KILL", "--")
