"""The monitor follows a store down and up again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from router.errors import StoreUnavailable
from router.stores.graph import GraphMonitor
from router.testing.fakes import InMemoryGraphStore


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the monitor has no one to tell
            await asyncio.sleep(0.005)


@pytest.fixture
def store() -> InMemoryGraphStore:
    return InMemoryGraphStore()


@pytest.fixture
async def monitor(store: InMemoryGraphStore) -> AsyncIterator[GraphMonitor]:
    monitor = GraphMonitor(store, 0.005)
    yield monitor
    await monitor.aclose()


async def test_it_knows_nothing_before_it_starts(monitor: GraphMonitor) -> None:
    assert not monitor.is_up
    assert monitor.last_seen is None
    assert monitor.last_error


async def test_it_knows_as_soon_as_it_has_started(monitor: GraphMonitor) -> None:
    await monitor.start()
    assert monitor.is_up
    assert monitor.last_seen is not None
    assert monitor.last_error == ""


async def test_a_store_that_was_never_up(monitor: GraphMonitor, store: InMemoryGraphStore) -> None:
    store.down = True
    await monitor.start()
    assert not monitor.is_up
    assert monitor.last_seen is None
    assert monitor.last_error == "the store is down"


async def test_down_and_up_again(monitor: GraphMonitor, store: InMemoryGraphStore) -> None:
    await monitor.start()
    store.down = True
    await until(lambda: not monitor.is_up)
    seen = monitor.last_seen
    assert monitor.last_error == "the store is down"
    await asyncio.sleep(0.02)
    assert monitor.last_seen == seen
    store.down = False
    await until(lambda: monitor.is_up)
    assert monitor.last_seen is not None
    assert seen is not None
    assert monitor.last_seen > seen


class Broken(InMemoryGraphStore):
    broken = False

    async def ping(self) -> None:
        if self.broken:
            raise KeyError("a mistake")
        if self.down:
            raise StoreUnavailable("down")


async def test_a_monitor_that_ends_does_not_go_on_saying_up() -> None:
    store = Broken()
    monitor = GraphMonitor(store, 0.005)
    await monitor.start()
    store.broken = True
    await until(lambda: not monitor.is_up)
    await monitor.aclose()


async def test_closed_it_claims_nothing(monitor: GraphMonitor) -> None:
    await monitor.start()
    await monitor.aclose()
    assert not monitor.is_up
