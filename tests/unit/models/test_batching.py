"""The scheduler: who waits for whom, what is refused, and that every entry settles exactly once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.errors import InvalidInput, ModelUnavailable, Overloaded
from router.models.batching import MicroBatcher


class Recorder:
    """A model that doubles numbers; a number is as many tokens as it says. It works only while its gate is open."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.fail_on: dict[int, Exception] = {}

    def __call__(self, items: Sequence[int]) -> list[int]:
        self.batches.append(list(items))
        assert self.gate.wait(10)
        for item in items:
            if item in self.fail_on:
                raise self.fail_on[item]
        return [2 * item for item in items]


def batcher(model: Recorder, max_batch_tokens: int = 100, max_queue: int = 1000) -> MicroBatcher[int, int]:
    return MicroBatcher("doubler", model, lambda item: item, max_batch_tokens=max_batch_tokens, max_queue=max_queue)


async def running(model: Recorder, count: int) -> None:
    """Wait until the model has begun `count` batches."""
    while len(model.batches) < count:  # noqa: ASYNC110 - the model runs in a thread
        await asyncio.sleep(0.001)


async def test_results_keep_the_order_of_the_call_and_batches_keep_the_budget():
    model = Recorder()
    queue = batcher(model, max_batch_tokens=30)
    items = [7, 1, 30, 2, 9, 5, 5, 5, 5, 5, 5, 5]
    assert await queue.submit(items) == [2 * item for item in items]
    assert [len(batch) * max(batch) <= 30 for batch in model.batches] == [True] * len(model.batches)
    assert model.batches == [sorted(batch) for batch in model.batches]
    assert len(model.batches) < len(items)
    await queue.aclose()


async def test_an_entry_above_the_budget_goes_alone_and_blocks_nobody():
    model = Recorder()
    queue = batcher(model, max_batch_tokens=10)
    assert await queue.submit([1, 50, 2]) == [2, 100, 4]
    assert [50] in model.batches
    await queue.aclose()


async def test_a_question_behind_a_bulk_call_is_in_the_next_batch():
    model = Recorder()
    model.gate.clear()
    queue = batcher(model, max_batch_tokens=4)
    bulk = asyncio.create_task(queue.submit([1] * 100))
    await running(model, 1)
    question = asyncio.create_task(queue.submit([2]))
    other = asyncio.create_task(queue.submit([2]))
    await asyncio.sleep(0)
    model.gate.set()
    assert await question == [4]
    assert await other == [4]
    await bulk
    assert [index for index, batch in enumerate(model.batches) if 2 in batch] == [1, 2]
    await queue.aclose()


async def test_a_full_queue_refuses_and_says_when_to_come_back():
    model = Recorder()
    model.gate.clear()
    queue = batcher(model, max_batch_tokens=1, max_queue=3)
    first = asyncio.create_task(queue.submit([1, 1, 1, 1]))  # one runs, three wait
    await running(model, 1)
    with pytest.raises(Overloaded) as refused:
        await queue.submit([1])
    assert refused.value.retry_after_s is not None
    assert refused.value.retry_after_s > 0
    model.gate.set()
    assert await first == [2, 2, 2, 2]
    assert await queue.submit([1] * 10) == [2] * 10  # larger than the whole queue, but nothing waits
    assert queue.waiting == 0
    await queue.aclose()


async def test_entries_whose_caller_has_gone_are_skipped_and_counted():
    model = Recorder()
    model.gate.clear()
    queue = batcher(model, max_batch_tokens=10)
    first = asyncio.create_task(queue.submit([10]))
    await running(model, 1)
    gone = asyncio.create_task(queue.submit([3, 3, 3]))
    stays = asyncio.create_task(queue.submit([4]))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    model.gate.set()
    assert (await first, await stays) == ([20], [8])
    assert model.batches == [[10], [4]]
    assert (queue.dropped, queue.waiting) == (3, 0)
    await queue.aclose()


async def test_a_failure_reaches_the_callers_of_its_batch_and_nobody_else():
    model = Recorder()
    model.fail_on = {6: RuntimeError("out of memory"), 7: InvalidInput("seven")}
    queue = batcher(model, max_batch_tokens=8)
    with pytest.raises(ModelUnavailable, match="doubler failed: out of memory") as failure:
        await queue.submit([6, 8])
    assert isinstance(failure.value.__cause__, RuntimeError)
    with pytest.raises(InvalidInput):
        await queue.submit([7])
    assert await queue.submit([8]) == [16]
    await queue.aclose()


async def test_closing_settles_every_entry():
    model = Recorder()
    model.gate.clear()
    queue = batcher(model, max_batch_tokens=5)
    runs = asyncio.create_task(queue.submit([5]))
    await running(model, 1)
    waits = asyncio.create_task(queue.submit([1, 2]))
    await asyncio.sleep(0)
    closing = asyncio.create_task(queue.aclose())
    await asyncio.sleep(0)
    model.gate.set()
    await closing
    assert await runs == [10]
    with pytest.raises(ModelUnavailable):
        await waits
    with pytest.raises(ModelUnavailable, match="closed"):
        await queue.submit([1])


@settings(max_examples=60, deadline=None)
@given(
    calls=st.lists(st.tuples(st.lists(st.integers(1, 12), max_size=6), st.integers(0, 4), st.booleans()), min_size=1, max_size=12),
    budget=st.integers(1, 24),
    closes=st.booleans(),
)
def test_under_random_cancels_every_call_settles_once_and_batches_equal_singles(calls, budget, closes):
    """Each call is (items, event-loop turns before it starts, whether it is cancelled a turn later)."""

    async def scenario() -> None:
        model = Recorder()
        queue = batcher(model, max_batch_tokens=budget, max_queue=10_000)

        async def start(items: list[int], turns: int, cancels: bool) -> list[int]:
            for _ in range(turns):
                await asyncio.sleep(0)
            task = asyncio.create_task(queue.submit(items))
            if cancels:
                await asyncio.sleep(0)
                task.cancel()
            return await task

        tasks = [asyncio.create_task(start(*call)) for call in calls]
        if closes:
            await asyncio.sleep(0)
            await queue.aclose()
        outcomes = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 20)
        await queue.aclose()
        for (items, _, cancels), outcome in zip(calls, outcomes, strict=True):
            if isinstance(outcome, asyncio.CancelledError):
                assert cancels
            elif isinstance(outcome, ModelUnavailable):
                assert closes
            else:
                assert outcome == [2 * item for item in items]
        computed = sum(map(len, model.batches))
        assert queue.waiting == 0
        assert computed + queue.dropped <= sum(len(items) for items, _, _ in calls)
        if not closes and not any(cancels for _, _, cancels in calls):
            assert computed == sum(len(items) for items, _, _ in calls)

    asyncio.run(scenario())
