"""The seams of filtering: what looks at a question before it is routed, and at an answer before it is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from router.types import Caller, Query, Span, Vector


class QueryFilter(Protocol):
    async def check(self, query: Query, vector: Vector | None, caller: Caller) -> None:
        """Let the question pass, or refuse it.

        Called with the question and its history as they came, before anything reads them; again when the question was made standalone;
        and once more when it is embedded, before it is routed: with an instruction for each embedding of what is said (the text, the
        instruction, both together).

        Args:
            query: The question; on the last call the standalone one.
            vector: An embedding of it, on the last calls only; None before.
            caller: Who asks.

        Raises:
            QueryRefused: The question must not be answered.
        """


@dataclass(frozen=True, slots=True)
class Finding:
    """A stretch of an answer that must not be told."""

    rule: str
    """Who found it; told to the caller."""
    span: Span
    """In the text that was looked at; not empty."""
    replacement: str = ""
    """What is told instead."""
    stop: bool = False
    """End the answer before the stretch instead."""


class OutputFilter(Protocol):
    async def first(self, text: str, start: int) -> Finding | None:
        """The first stretch that must not be told and begins at `start` or later; what stands before is there for context.

        `text` is a window of an answer that is still being written (`stream.py`). A stretch that reaches its end is asked for again, in a
        longer window, before it is believed.
        """
