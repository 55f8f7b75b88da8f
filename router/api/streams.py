"""Streams that end with their call."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any, TypeVar, cast

import grpc.aio

T = TypeVar("T")


def closing(stream: AsyncIterator[T]) -> AbstractAsyncContextManager[AsyncIterator[T]]:
    """Close a stream in the task that reads it, and at once, so that the work behind it ends when its reader leaves.

    Left to itself an async generator is closed some time later, in another task. Our seams promise iterators; all of them are generators.
    """
    return aclosing(cast("AsyncGenerator[T, None]", stream))


async def write_all(responses: AsyncIterator[Any], context: grpc.aio.ServicerContext[Any, Any]) -> None:
    async with closing(responses):
        async for response in responses:
            await context.write(response)
