"""The micro-batching scheduler that serves every model: calls of many callers become few forward passes on one thread."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from router.errors import ModelUnavailable, Overloaded, RouterError

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(slots=True, eq=False)
class _Entry(Generic[Item, Result]):
    item: Item
    tokens: int
    reply: asyncio.Future[Result]


class MicroBatcher(Generic[Item, Result]):
    """One queue, one worker task and one thread for one model.

    Calls wait in one deque, in order of arrival, and give entries in turn, one each, until the padded tokens of the batch (longest entry
    times number of entries) reach the budget. So a question that arrives behind a bulk call of thousands of texts is in the very next
    batch, and waits for at most the batch that is running and its own. Entries are sorted by length only inside a batch: a length-sorted
    queue would starve long texts. An entry above the budget goes alone.

    Args:
        name: The model, for messages.
        run: Called in the thread with the items of one batch, shortest first; one result for each, in order.
        tokens: Length of an item, in tokens.
        max_batch_tokens: Padded tokens of one batch.
        max_queue: Entries that may wait.
    """

    def __init__(
        self,
        name: str,
        run: Callable[[Sequence[Item]], Sequence[Result]],
        tokens: Callable[[Item], int],
        *,
        max_batch_tokens: int,
        max_queue: int,
    ) -> None:
        self._name = name
        self._run = run
        self._tokens = tokens
        self._max_batch_tokens = max_batch_tokens
        self._max_queue = max_queue
        self._calls: deque[deque[_Entry[Item, Result]]] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._worker: asyncio.Task[None] | None = None
        self._seconds_per_entry = 0.05
        self._closed = False
        self.waiting = 0
        """Entries in the queue, those of callers that have gone included until a batch is made."""
        self.dropped = 0
        """Entries that were skipped because their caller had gone before their batch was made."""

    async def submit(self, items: Sequence[Item]) -> list[Result]:
        """Results of the items, in their order. Cancelling the call takes its waiting entries out of the queue.

        Raises:
            Overloaded: The queue has no room for the items. (A call larger than the whole queue is taken when nothing waits.)
            ModelUnavailable: The model failed or is closed.
        """
        if not items:
            return []
        if self._closed:
            raise ModelUnavailable(f"{self._name} is closed")
        if self.waiting and self.waiting + len(items) > self._max_queue:
            raise Overloaded(
                f"{self._name}: {self.waiting} entries wait and at most {self._max_queue} may; try again later",
                retry_after_s=max(0.1, self.waiting * self._seconds_per_entry),
            )
        loop = asyncio.get_running_loop()
        entries: list[_Entry[Item, Result]] = [_Entry(item, self._tokens(item), loop.create_future()) for item in items]
        self._calls.append(deque(entries))
        self.waiting += len(entries)
        if self._worker is None or self._worker.done():
            self._worker = loop.create_task(self._work(), name=f"batches of {self._name}")
        try:
            return await asyncio.gather(*(entry.reply for entry in entries))
        finally:
            # Does nothing after a success. When one entry failed or the caller has gone, the others are not computed in vain.
            for entry in entries:
                entry.reply.cancel()

    async def aclose(self) -> None:
        """Refuse what waits, let the running batch end, stop the thread. Every entry is settled afterwards."""
        self._closed = True
        for entry in (entry for call in self._calls for entry in call if not entry.reply.done()):
            entry.reply.set_exception(ModelUnavailable(f"{self._name} is closing"))
        if self._worker is not None:
            await self._worker
        await asyncio.to_thread(self._thread.shutdown)

    async def _work(self) -> None:
        """Runs while there is work; `submit` starts it again."""
        loop = asyncio.get_running_loop()
        while batch := self._next_batch():
            started = time.monotonic()
            try:
                # The thread cannot be cancelled: the next batch waits for its return, whoever has gone meanwhile.
                results = await loop.run_in_executor(self._thread, self._run, [entry.item for entry in batch])
            except Exception as exc:  # noqa: BLE001 - reaches every caller of the batch, as a typed error
                for entry in batch:
                    _fail(entry, self._name, exc)
            else:
                for entry, result in zip(batch, results, strict=True):
                    if not entry.reply.done():
                        entry.reply.set_result(result)
            self._seconds_per_entry = (time.monotonic() - started) / len(batch)

    def _next_batch(self) -> list[_Entry[Item, Result]]:
        batch: list[_Entry[Item, Result]] = []
        longest = 0
        while self._calls:
            call = self._calls[0]
            while call and call[0].reply.done():
                call.popleft()
                self.waiting -= 1
                self.dropped += 1
            if not call:
                self._calls.popleft()
                continue
            longest = max(longest, call[0].tokens)
            if batch and longest * (len(batch) + 1) > self._max_batch_tokens:
                break
            batch.append(call.popleft())
            self.waiting -= 1
            self._calls.rotate(-1)
        return sorted(batch, key=lambda entry: entry.tokens)


def _fail(entry: _Entry[Item, Result], name: str, exc: Exception) -> None:
    if entry.reply.done():
        return
    if isinstance(exc, RouterError):
        entry.reply.set_exception(exc)
        return
    error = ModelUnavailable(f"{name} failed: {exc}")
    error.__cause__ = exc
    entry.reply.set_exception(error)
