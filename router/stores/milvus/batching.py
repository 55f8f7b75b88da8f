"""Concurrent searches of one shape become one call with several vectors."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from router.stores.base import Scored
from router.types import Vector

MAX_VECTORS = 16


@dataclass(frozen=True, slots=True)
class SearchShape:
    """What two searches must have in common to share a call.

    The expression, not the filter it was made from: as Python values `equals=1` and `equals=True` are the same key.
    """

    expression: str
    limit: int


SearchMany = Callable[[SearchShape, list[Vector]], Awaitable[list[list[Scored]]]]
Call = asyncio.Task[list[list[Scored]]]


class SearchBatcher:
    """A search leaves at once; those of its shape that come while it runs leave together when it is back. Nobody waits on a clock."""

    def __init__(self, search_many: SearchMany) -> None:
        self._search_many = search_many
        self._waiting: dict[SearchShape, tuple[list[Vector], Call]] = {}
        self._latest: dict[SearchShape, Call] = {}

    async def search(self, shape: SearchShape, vector: Vector) -> list[Scored]:
        vectors, call = self._waiting.get(shape) or self._open_batch(shape)
        if len(vectors) >= MAX_VECTORS:
            vectors, call = self._open_batch(shape)
        position = len(vectors)
        vectors.append(vector)
        # Shielded: the call belongs to all who wait for it, and one who leaves must not take it from the others.
        return (await asyncio.shield(call))[position]

    def _open_batch(self, shape: SearchShape) -> tuple[list[Vector], Call]:
        vectors: list[Vector] = []
        call = asyncio.create_task(self._send(shape, vectors, self._latest.get(shape)))
        call.add_done_callback(_retrieve)
        self._latest[shape] = call
        self._waiting[shape] = vectors, call
        return vectors, call

    async def _send(self, shape: SearchShape, vectors: list[Vector], before: Call | None) -> list[list[Scored]]:
        if before is not None:
            await asyncio.wait([before])
        if shape in self._waiting and self._waiting[shape][0] is vectors:
            del self._waiting[shape]  # closed to newcomers
        try:
            return await self._search_many(shape, vectors)
        finally:
            if self._latest[shape] is asyncio.current_task():
                del self._latest[shape]


def _retrieve(call: Call) -> None:
    """An error whose callers have all left is not worth asyncio's complaint that nobody looked at it."""
    if not call.cancelled():
        call.exception()
