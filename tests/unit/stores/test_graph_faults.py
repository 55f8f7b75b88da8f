"""The embedded graph server when it is killed, stopped, started twice, or cannot start."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from router.child_process import SupervisedChild, free_port
from router.errors import ConfigurationError, RouterError, StoreUnavailable, Unavailable
from router.settings import ArcadeSettings, GraphSettings
from router.stores.base import GraphBatch
from router.stores.graph import BoltGraphStore, GraphMonitor, open_embedded, open_graph_store
from router.types import Entity, Fact
from tests.unit.faults import halt, kill

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    # The driver leaves the socket of a connection that is cancelled while it is made to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

PATIENCE_S = 30.0
"""Far above any expected wait; it only keeps a hang from hanging the suite."""


def batch(number: int) -> GraphBatch:
    ends = Entity(f"s{number}", "Subject", "TERM"), Entity("hub", "Hub", "TERM")
    return GraphBatch(entities=ends, facts=(Fact(f"f{number}", f"s{number}", "feeds", "hub", f"d{number}"),))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("arcadedb")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def store(folder: Path) -> AsyncIterator[BoltGraphStore]:
    store = await open_embedded(GraphSettings(timeout_s=2.0), folder)
    yield store
    await store.aclose()
    gc.collect()  # here, where the warning about sockets is expected, and not in another module


@pytest.fixture
def child(store: BoltGraphStore) -> SupervisedChild:
    assert store.child is not None
    return store.child


async def until_it_answers(store: BoltGraphStore) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                await store.ping()
            except StoreUnavailable:
                await asyncio.sleep(0.1)
            else:
                return


async def test_killed_during_writes_it_comes_back_with_all_that_it_acknowledged(store: BoltGraphStore, child: SupervisedChild) -> None:
    acknowledged: list[int] = []
    refused: list[RouterError] = []
    enough = asyncio.Event()

    async def write() -> None:
        for number in range(10_000):
            if enough.is_set():
                return
            try:
                await store.upsert("killed", batch(number))
            except RouterError as error:
                refused.append(error)
                return
            acknowledged.append(number)

    writing = asyncio.create_task(write())
    async with asyncio.timeout(PATIENCE_S):
        while len(acknowledged) < 20:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    kill(child.pid)
    await until_it_answers(store)
    enough.set()
    async with asyncio.timeout(PATIENCE_S):
        await writing
    # A quick restart can be bridged by the driver's own repeats; then nothing was refused.
    assert {type(error) for error in refused} <= {StoreUnavailable}
    assert child.restarts == 1
    content = await store.load("killed")
    assert {f"f{number}" for number in acknowledged} <= {fact.id for fact in content.facts}
    await store.upsert("killed", batch(len(acknowledged)))  # what was refused is completed by a repeat
    assert len((await store.load("killed")).facts) == len(acknowledged) + 1


async def test_a_call_while_it_is_down_fails_at_once_and_typed(tmp_path: Path) -> None:
    store = await open_embedded(GraphSettings(timeout_s=2.0), tmp_path)
    assert store.child is not None
    await store.upsert("down", batch(1))
    kill(store.child.pid)
    await store.child.aclose()  # nobody starts it again: the driver's own repeats would bridge a quick start
    for call in (store.load("down"), store.upsert("down", batch(2)), store.ping(), store.neighbours("down", ["hub"], 5)):
        async with asyncio.timeout(PATIENCE_S):
            with pytest.raises(StoreUnavailable) as failed:
                await call
        assert failed.value.retry_after_s
    await store.aclose()


async def test_stopped_it_is_given_up_after_the_timeout_and_works_when_it_goes_on(store: BoltGraphStore, child: SupervisedChild) -> None:
    await store.upsert("stopped", batch(1))
    restarts = child.restarts
    monitor = GraphMonitor(store, 0.1)
    await monitor.start()
    halt(child.pid)
    try:
        async with asyncio.timeout(PATIENCE_S):
            for call in (store.load("stopped"), store.upsert("stopped", batch(2)), store.ping(), store.neighbours("stopped", ["hub"], 5)):
                with pytest.raises(StoreUnavailable):
                    await call
            while monitor.is_up:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    finally:
        os.kill(child.pid, signal.SIGCONT)
    await until_it_answers(store)
    await store.upsert("stopped", batch(2))
    assert [fact.id for fact in (await store.load("stopped")).facts] == ["f1", "f2"]
    async with asyncio.timeout(PATIENCE_S):
        while not monitor.is_up:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    await monitor.aclose()
    assert child.restarts == restarts


async def test_a_caller_that_goes_away_leaves_a_store_that_works(store: BoltGraphStore) -> None:
    await store.upsert("cancelled", batch(1))
    for delay_s in (0.0, 0.001, 0.005, 0.02):
        calls = [asyncio.create_task(store.upsert("cancelled", batch(2))), asyncio.create_task(store.load("cancelled"))]
        await asyncio.sleep(delay_s)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
    await store.upsert("cancelled", batch(2))
    assert len((await store.load("cancelled")).facts) == 2


async def test_its_password_is_for_us_alone(folder: Path, store: BoltGraphStore, child: SupervisedChild) -> None:
    path = folder / "arcadedb" / "password"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() not in arguments(child.pid)
    assert path.read_text() not in (folder / "logs" / "arcadedb.log").read_text()


def arguments(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


async def test_it_listens_on_loopback_only(store: BoltGraphStore, child: SupervisedChild) -> None:
    addresses = listening(child.pid)
    assert child.port in {port for _, port in addresses}
    assert {address for address, _ in addresses} <= {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


def listening(pid: int) -> set[tuple[str, int]]:
    """Local address (hexadecimal, as the kernel prints it) and port of every listening socket of a process."""
    inodes = {os.readlink(link).removeprefix("socket:[").rstrip("]") for link in Path(f"/proc/{pid}/fd").iterdir()}
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                address, port = fields[1].split(":")
                found.add((address, int(port, 16)))
    return found


async def test_a_wrong_password_is_an_error_of_the_settings(store: BoltGraphStore, child: SupervisedChild) -> None:
    uri = f"bolt://127.0.0.1:{child.port}"
    stranger = await open_graph_store(GraphSettings(uri=uri, dialect="arcadedb", user="root", password="wrong", database="graph"), Path())
    with pytest.raises(ConfigurationError, match=r"graph\.password"):
        await stranger.ping()
    await stranger.aclose()


async def test_a_server_of_arcadedb_by_its_address(folder: Path, store: BoltGraphStore, child: SupervisedChild) -> None:
    await store.upsert("by address", batch(1))
    password = (folder / "arcadedb" / "password").read_text()
    settings = GraphSettings(uri=f"bolt://127.0.0.1:{child.port}", dialect="arcadedb", user="root", password=password, database="graph")
    other = await open_graph_store(settings, Path())
    assert await other.load("by address") == await store.load("by address")
    await other.upsert("by address", batch(1))
    assert (await store.counts("by address"))["facts"] == 1
    await other.aclose()
    await store.ping()


async def test_a_second_service_on_the_same_folder_is_refused_with_the_reason(folder: Path, store: BoltGraphStore) -> None:
    with pytest.raises(Unavailable, match=r"(?s)ArcadeDB .*arcadedb\.log.*lock"):
        await open_embedded(GraphSettings(embedded=ArcadeSettings(start_timeout_s=20)), folder)
    await store.ping()


async def test_opened_again_it_has_what_was_written(tmp_path: Path) -> None:
    first = await open_embedded(GraphSettings(), tmp_path)
    await first.upsert("t", batch(1))
    content = await first.load("t")
    await first.aclose()
    assert first.child is not None
    assert not first.child.running
    second = await open_embedded(GraphSettings(), tmp_path)
    assert await second.load("t") == content
    await second.aclose()


async def test_a_start_that_fails_is_an_error_at_open(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"(?s)ArcadeDB did not serve within 0\.2 s.*arcadedb\.log"):
        await open_embedded(GraphSettings(embedded=ArcadeSettings(start_timeout_s=0.2)), tmp_path)


async def test_a_database_that_is_down_does_not_hinder_opening() -> None:
    settings = GraphSettings(uri=f"bolt://127.0.0.1:{free_port()}", password="any password", timeout_s=2)
    store = await open_graph_store(settings, Path())
    with pytest.raises(StoreUnavailable):
        await store.ping()
    with pytest.raises(StoreUnavailable):
        await store.upsert("t", batch(1))
    await store.aclose()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"uri": "http://127.0.0.1"}, "graph.uri"),
        ({"uri": "nonsense"}, "graph.uri"),
        ({"uri": "bolt://127.0.0.1", "password": None}, "graph.password"),
    ],
)
async def test_settings_that_cannot_work_are_refused_at_open(changes: dict[str, str], field: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        await open_graph_store(GraphSettings(**{"password": "any password", **changes}), Path())
    assert refused.value.field == field
