"""What language models cost whoever asks them: calls and tokens, as the endpoint counts them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(slots=True)
class Usage:
    calls: int = 0
    prompt_tokens: int = 0
    """0 when the endpoint does not count."""
    completion_tokens: int = 0


_METERS: ContextVar[tuple[Usage, ...]] = ContextVar("meters", default=())


@contextmanager
def metered() -> Iterator[Usage]:
    """Counts the whole replies that are asked for inside the block, in this task and those that it starts."""
    usage = Usage()
    token = _METERS.set((*_METERS.get(), usage))
    try:
        yield usage
    finally:
        _METERS.reset(token)


def note_reply(prompt_tokens: int, completion_tokens: int) -> None:
    """Called by a language model for each whole reply."""
    for usage in _METERS.get():
        usage.calls += 1
        usage.prompt_tokens += prompt_tokens
        usage.completion_tokens += completion_tokens
