"""The real service as a user starts it: `graphrag-router serve` in a process of its own, with embedded stores and real models."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import yaml

from router.client import AsyncRouterClient

PROGRAM = Path(sys.executable).with_name("graphrag-router")
START_S = 100.0
READY = re.compile(r'"event": "ready"')


class Service:
    """Starts, kills and restarts one service over one data folder."""

    def __init__(self, home: Path, **settings: object) -> None:
        self.home = home
        self.config = home / "config.yaml"
        self.log = home / "service.log"
        tree = {"data_dir": str(home / "data"), "server": {"port": 0}, "log": {"format": "json"}, **settings}
        self.config.write_text(yaml.safe_dump(tree))
        self._process: asyncio.subprocess.Process | None = None
        self.port = 0

    async def start(self) -> None:
        self.log.write_bytes(b"")
        with self.log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                str(PROGRAM), "serve", "--config", str(self.config), stdout=output, stderr=output
            )
        async with asyncio.timeout(START_S):
            while not self.port_in_log():
                assert self._process.returncode is None, self.log.read_text()
                await asyncio.sleep(0.1)

    def port_in_log(self) -> int:
        for line in self.log.read_text().splitlines():
            if READY.search(line):
                self.port = int(json.loads(line)["port"])
                return self.port
        return 0

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    def client(self) -> AsyncRouterClient:
        return AsyncRouterClient(self.target, timeout_s=60.0)

    def children(self) -> dict[str, int]:
        """Our processes below the service: program -> process id."""
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    parent = int(re.search(r"PPid:\t(\d+)", (entry / "status").read_text()).group(1))  # type: ignore[union-attr]
                    if parent == self.pid:
                        found[(entry / "cmdline").read_bytes().split(b"\0")[0].decode().rsplit("/")[-1]] = int(entry.name)
        return found

    async def kill(self) -> None:
        """kill -9, as a crash would."""
        assert self._process is not None
        self._process.kill()
        await self._process.wait()

    async def stop(self) -> int:
        """SIGTERM and wait; the exit status."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
        return await self._process.wait()


@contextlib.asynccontextmanager
async def running(home: Path, **settings: object) -> AsyncIterator[Service]:
    service = Service(home, **settings)
    await service.start()
    try:
        yield service
    finally:
        await service.stop()


async def eventually(holds: Callable[[], object], within_s: float = 45.0) -> None:
    """Wait until something holds, asking again and again; it may be a coroutine function."""
    async with asyncio.timeout(within_s):
        while True:
            result = holds()
            if asyncio.iscoroutine(result):
                result = await result
            if result:
                return
            await asyncio.sleep(0.2)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A zombie is dead, but not yet fetched by its parent.
    return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
