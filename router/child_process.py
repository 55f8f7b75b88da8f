"""Child processes of the service: a free loopback port, a log file, restart with back-off, and death together with the parent.

As a program (`python -m router.child_process PARENT_PID -- ARGUMENTS`) this is the launcher that ties a child's life to its parent's.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import random
import secrets
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import structlog

from router.errors import RouterError, Unavailable

log = structlog.get_logger()

PR_SET_PDEATHSIG = 1
MAX_LOG_BYTES = 4 * 1024 * 1024
TAIL_LINES = 12
TAIL_BYTES = 16 * 1024
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 30.0
STABLE_S = 30.0
"""A child that ran this long before it died is started again after the first, shortest pause."""
POLL_S = 0.1
STOP_S = 10.0


def new_password() -> str:
    """A random password, for one installation."""
    return secrets.token_urlsafe(24)


def free_port() -> int:
    """A port of the loopback address that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class SupervisedChild:
    """Runs one server as a child process and keeps it running.

    Args:
        name: For logs and messages.
        command: Port -> the command line, with absolute paths. Secrets do not belong there: every user of the machine can read it.
        log_path: Where its output goes; started anew when it has grown past 4 MiB. The child runs in that folder.
        ready: Port -> returns when the server serves, raises a RouterError or OSError while it does not.
        start_timeout_s: How long a start may take.
        env: Environment of the child; None: ours.
    """

    def __init__(
        self,
        name: str,
        command: Callable[[int], Sequence[str]],
        *,
        log_path: Path,
        ready: Callable[[int], Awaitable[None]],
        start_timeout_s: float,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._name = name
        self._command = command
        self._log_path = log_path
        self._ready = ready
        self._start_timeout_s = start_timeout_s
        self._env = env
        self._process: asyncio.subprocess.Process | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._not_ready = ""
        self.port = 0
        self.restarts = 0

    @property
    def pid(self) -> int:
        """Process id of the running child; 0 when none runs."""
        return self._process.pid if self._process is not None and self.running else 0

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start it and wait until it serves.

        Raises:
            Unavailable: It ended or did not serve in time; the message has the end of its log.
        """
        self.port = free_port()
        try:
            await self._launch()
        except BaseException:
            await self._stop()
            raise
        self._watcher = asyncio.create_task(self._watch(), name=f"watch {self._name}")

    async def aclose(self) -> None:
        """End it: SIGTERM, and after 10 s SIGKILL."""
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)
        await self._stop()

    async def _launch(self) -> None:
        with await asyncio.to_thread(self._open_log) as output:
            # Launched from the event loop's thread: the death signal is sent when the starting *thread* ends, and this one lives as
            # long as the service.
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # the folder we happen to stand in may hold another `router`
                "-m",
                "router.child_process",
                str(os.getpid()),
                "--",
                *self._command(self.port),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=dict(self._env) if self._env is not None else None,
                # Some servers write beside where they were started.
                cwd=self._log_path.parent,
                start_new_session=True,
            )
        await self._wait_until_ready(self._process)
        log.info("child process serves", child=self._name, pid=self._process.pid, port=self.port)

    async def _wait_until_ready(self, process: asyncio.subprocess.Process) -> None:
        probing = asyncio.create_task(self._probe(), name=f"probe {self._name}")
        ended = asyncio.create_task(process.wait(), name=f"end of {self._name}")
        try:
            # A probe may hang (a port that accepts and says nothing): neither the child's end nor that of our patience waits for it.
            await asyncio.wait({probing, ended}, timeout=self._start_timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                tail = await asyncio.to_thread(self._log_tail)
                raise Unavailable(f"{self._name} ended with code {process.returncode} while starting; {tail}")
            if not probing.done():
                tail = await asyncio.to_thread(self._log_tail)
                raise Unavailable(f"{self._name} did not serve within {self._start_timeout_s:g} s ({self._not_ready}); {tail}")
            await probing
        finally:
            probing.cancel()
            ended.cancel()
            await asyncio.gather(probing, ended, return_exceptions=True)

    async def _probe(self) -> None:
        self._not_ready = "no answer"
        while True:
            try:
                await self._ready(self.port)
            except (RouterError, OSError) as error:
                self._not_ready = str(error)
                await asyncio.sleep(POLL_S)
            else:
                return

    async def _watch(self) -> None:
        failures = 0
        while True:
            started = time.monotonic()
            if self._process is not None:
                code = await self._process.wait()
                log.warning("child process ended", child=self._name, code=code)
            failures = 0 if time.monotonic() - started > STABLE_S else failures + 1
            await asyncio.sleep(_pause_s(failures))
            self.restarts += 1
            try:
                await self._launch()
            except (RouterError, OSError) as error:
                log.warning("child process did not restart", child=self._name, reason=str(error))
                await self._stop()

    async def _stop(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(STOP_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    def _open_log(self) -> BinaryIO:
        self._log_path.parent.mkdir(parents=True, exist_ok=True)
        grown = self._log_path.exists() and self._log_path.stat().st_size > MAX_LOG_BYTES
        return self._log_path.open("wb" if grown else "ab")

    def _log_tail(self) -> str:
        with self._log_path.open("rb") as file:
            file.seek(max(0, self._log_path.stat().st_size - TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()[-TAIL_LINES:]
        return f"the end of {self._log_path}:\n" + "\n".join(lines)


def _pause_s(failures: int) -> float:
    """Exponential back-off; the jitter keeps several children that died together from starting together."""
    longest = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(failures, 16))
    return random.uniform(longest / 2, longest)  # noqa: S311 - no secret


def _launch_tied(parent: int, arguments: Sequence[str]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:
        # The parent died before the signal was asked for.
        sys.exit(1)
    os.execv(arguments[0], list(arguments))  # noqa: S606 - there is no shell; the arguments come from our own code


if __name__ == "__main__":
    _launch_tied(int(sys.argv[1]), sys.argv[3:])
