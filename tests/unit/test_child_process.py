"""Supervised children, with real processes: a small HTTP server of the standard library stands in for a database."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import textwrap
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest

from router.child_process import LONGEST_PAUSE_S, MAX_LOG_BYTES, SupervisedChild, _pause_s, free_port, new_password
from router.errors import StoreUnavailable, Unavailable

SERVER = """
import http.server, sys
print("serving", flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.BaseHTTPRequestHandler).serve_forever()
"""
DEAF_TO_SIGTERM = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)" + SERVER


def python(program: str) -> Callable[[int], Sequence[str]]:
    return lambda port: (sys.executable, "-c", program, str(port))


async def accepts(port: int) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()
    await writer.wait_closed()


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def arguments(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - the state of another process tells nobody
            await asyncio.sleep(0.02)


def new_child(folder: Path, program: str = SERVER, *, start_timeout_s: float = 30.0, **changes) -> SupervisedChild:
    log_path = folder / "logs" / "child.log"
    return SupervisedChild(
        "stand-in", python(program), **{"log_path": log_path, "ready": accepts, "start_timeout_s": start_timeout_s, **changes}
    )


@pytest.fixture
async def child(tmp_path: Path) -> AsyncIterator[SupervisedChild]:
    child = new_child(tmp_path)
    await child.start()
    yield child
    await child.aclose()


async def test_it_serves_on_loopback_and_logs(child: SupervisedChild, tmp_path: Path) -> None:
    await accepts(child.port)
    assert child.running
    assert alive(child.pid)
    assert child.restarts == 0
    assert "serving" in (tmp_path / "logs" / "child.log").read_text()


async def test_it_has_a_process_group_of_its_own(child: SupervisedChild) -> None:
    # So that Ctrl-C at the terminal ends the service in its own order, not the database first.
    assert os.getpgid(child.pid) == child.pid != os.getpgid(0)


async def test_a_killed_child_comes_back_on_the_same_port(child: SupervisedChild) -> None:
    port, first = child.port, child.pid
    for restarts in (1, 2):
        os.kill(child.pid, signal.SIGKILL)
        await until(lambda expected=restarts: child.restarts >= expected and child.running)
        await until(lambda: alive(child.pid))
    assert child.pid != first
    assert child.port == port
    async with asyncio.timeout(30):
        while True:
            try:
                await accepts(port)
                break
            except OSError:
                await asyncio.sleep(0.02)


async def test_closing_leaves_nothing(tmp_path: Path) -> None:
    child = new_child(tmp_path)
    await child.start()
    pid = child.pid
    await child.aclose()
    assert not alive(pid)
    assert not child.running
    assert child.pid == 0
    await child.aclose()  # a second time is fine


async def test_a_child_deaf_to_sigterm_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("router.child_process.STOP_S", 0.3)
    child = new_child(tmp_path, DEAF_TO_SIGTERM)
    await child.start()
    pid = child.pid
    await child.aclose()
    assert not alive(pid)


async def test_closing_ends_the_wait_for_a_restart(tmp_path: Path) -> None:
    child = new_child(tmp_path)
    await child.start()
    os.kill(child.pid, signal.SIGKILL)
    await until(lambda: not child.running)
    await child.aclose()
    assert not child.running
    with pytest.raises(OSError):
        await accepts(child.port)


async def test_a_child_that_ends_at_once_is_reported_with_its_log(tmp_path: Path) -> None:
    child = new_child(tmp_path, "import sys; sys.exit('the disk is on fire')")
    with pytest.raises(Unavailable, match=r"(?s)stand-in ended with code 1 .*child\.log.*the disk is on fire"):
        await child.start()
    assert not child.running


async def test_a_child_that_never_serves_is_reported_and_ended(tmp_path: Path) -> None:
    async def never(port: int) -> None:
        raise StoreUnavailable(f"nothing on {port}")

    child = new_child(tmp_path, "print('warming up', flush=True); import time; time.sleep(600)", ready=never, start_timeout_s=2.0)
    with pytest.raises(Unavailable, match=r"(?s)did not serve within 2 s \(nothing on \d+\).*warming up"):
        await child.start()
    assert not child.running


async def test_a_probe_that_hangs_does_not_outlast_the_timeout(tmp_path: Path) -> None:
    async def hangs(port: int) -> None:
        await asyncio.Event().wait()

    with pytest.raises(Unavailable, match="did not serve within 1 s"):
        await new_child(tmp_path, ready=hangs, start_timeout_s=1.0).start()


async def test_a_hanging_probe_does_not_hide_the_end_of_the_child(tmp_path: Path) -> None:
    async def hangs(port: int) -> None:
        await asyncio.Event().wait()

    with pytest.raises(Unavailable, match="ended with code 3"):
        await new_child(tmp_path, "import sys; sys.exit(3)", ready=hangs).start()


async def test_a_mistake_in_the_probe_is_not_retried(tmp_path: Path) -> None:
    async def wrong(port: int) -> None:
        raise KeyError(port)

    child = new_child(tmp_path, ready=wrong)
    with pytest.raises(KeyError):
        await child.start()
    assert not child.running


async def test_a_grown_log_is_started_anew(tmp_path: Path) -> None:
    log_path = tmp_path / "logs" / "child.log"
    log_path.parent.mkdir()
    log_path.write_bytes(b"x" * (MAX_LOG_BYTES + 1))
    child = new_child(tmp_path)
    await child.start()
    await until(lambda: log_path.read_text() == "serving\n")
    await child.aclose()


async def test_the_environment_is_the_given_one(tmp_path: Path) -> None:
    program = f"import os; print(sorted(os.environ.items()), flush=True){SERVER}"
    child = new_child(tmp_path, program, env={"SECRET": "by-environment"})
    await child.start()
    text = (tmp_path / "logs" / "child.log").read_text()
    command_line = arguments(child.pid)
    await child.aclose()
    assert "by-environment" in text
    assert "HOME" not in text
    assert "by-environment" not in command_line


async def test_what_it_writes_where_it_stands_lies_beside_its_log(tmp_path: Path) -> None:
    child = new_child(tmp_path, f"open('dropped', 'w').close(){SERVER}")
    await child.start()
    await child.aclose()
    assert (tmp_path / "logs" / "dropped").exists()


PARENT = """
    import asyncio, sys
    from pathlib import Path
    from tests.unit.test_child_process import new_child

    async def main():
        child = new_child(Path(sys.argv[1]))
        await child.start()
        print(child.pid, flush=True)
        await asyncio.Event().wait()

    asyncio.run(main())
"""


async def test_the_child_dies_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", textwrap.dedent(PARENT), str(tmp_path), stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert parent.stdout is not None
    lines = [(await parent.stdout.readline()).decode().strip() for _ in range(2)]  # the log line, then the process id
    pid = next(int(line) for line in lines if line.isdecimal())
    assert alive(pid)
    parent.kill()
    await parent.wait()
    await until(lambda: not alive(pid))


async def test_the_launcher_starts_nothing_for_a_parent_that_is_gone(tmp_path: Path) -> None:
    mark = tmp_path / "started"
    launcher = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "router.child_process", "1", "--", sys.executable, "-c", f"open({str(mark)!r}, 'w')"
    )
    assert await launcher.wait() == 1
    assert not mark.exists()


def test_pauses_grow_up_to_a_cap() -> None:
    assert max(_pause_s(0) for _ in range(50)) <= 0.2
    assert min(_pause_s(3) for _ in range(50)) >= 0.8
    assert max(_pause_s(1_000_000) for _ in range(50)) <= LONGEST_PAUSE_S


def test_passwords_and_ports_differ() -> None:
    assert len({new_password() for _ in range(50)}) == 50
    assert min(len(new_password()) for _ in range(50)) >= 32
    assert free_port() > 1023
