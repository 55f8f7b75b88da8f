"""Concurrent searches of one shape share a call, and nobody gets another's answer, error or cancellation."""

import asyncio

import numpy as np
import pytest

from router.errors import StoreUnavailable
from router.stores.base import Scored
from router.stores.milvus.batching import MAX_VECTORS, SearchBatcher, SearchShape

ONE = SearchShape("one", 5)
TWO = SearchShape("two", 5)


class Backend:
    """Answers each vector with its own first number, once `gate` is open."""

    def __init__(self):
        self.calls = []
        self.gate = asyncio.Event()
        self.error = None

    async def __call__(self, shape, vectors):
        self.calls.append((shape, len(vectors)))
        await self.gate.wait()
        if self.error:
            raise self.error
        return [[Scored(shape.expression, float(vector[0]))] for vector in vectors]


def vector(number):
    return np.array([number], dtype=np.float32)


async def start(batcher, shape, numbers):
    tasks = [asyncio.create_task(batcher.search(shape, vector(number))) for number in numbers]
    for _ in range(5):
        await asyncio.sleep(0)
    return tasks


async def test_those_that_come_meanwhile_leave_together_and_each_gets_its_own():
    backend = Backend()
    batcher = SearchBatcher(backend)
    tasks = await start(batcher, ONE, [0])
    tasks += await start(batcher, ONE, range(1, 2 * MAX_VECTORS))
    tasks += await start(batcher, TWO, [99])
    backend.gate.set()
    found = await asyncio.gather(*tasks)
    assert [hits[0].score for hits in found] == [*range(2 * MAX_VECTORS), 99]
    assert [hits[0].chunk_id for hits in found] == ["one"] * 2 * MAX_VECTORS + ["two"]
    assert backend.calls == [(ONE, 1), (TWO, 1), (ONE, MAX_VECTORS), (ONE, MAX_VECTORS - 1)]


async def test_many_at_once_are_split():
    backend = Backend()
    backend.gate.set()
    batcher = SearchBatcher(backend)
    found = await asyncio.gather(*(batcher.search(ONE, vector(number)) for number in range(50)))
    assert [hits[0].score for hits in found] == list(range(50))
    assert [count for _, count in backend.calls] == [16, 16, 16, 2]
    assert await batcher.search(ONE, vector(7)) == [Scored("one", 7.0)]


async def test_one_who_leaves_takes_nothing_from_the_others():
    backend = Backend()
    batcher = SearchBatcher(backend)
    first, second = await start(batcher, ONE, [1, 2])
    first.cancel()
    backend.gate.set()
    assert (await second)[0].score == 2
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_an_error_reaches_all_of_its_call_and_no_other():
    backend = Backend()
    backend.error = StoreUnavailable("down")
    batcher = SearchBatcher(backend)
    tasks = await start(batcher, ONE, [1, 2])
    backend.gate.set()
    assert [type(error) for error in await asyncio.gather(*tasks, return_exceptions=True)] == [StoreUnavailable] * 2
    backend.error = None
    assert (await batcher.search(ONE, vector(3)))[0].score == 3
