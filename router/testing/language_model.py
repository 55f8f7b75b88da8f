"""A language model that says what it was told to say."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from router.errors import ModelUnavailable
from router.models.base import Message
from router.models.usage import note_reply

Reply = str | Exception | Sequence[str | Exception]


class ScriptedLanguageModel:
    """Gives one scripted reply per call, in order, and keeps what it was asked in `calls`.

    Args:
        replies: A text; or pieces, which `stream` yields as they are (a text is streamed whole); or an exception, which is raised.
            Pieces may end in an exception: the model goes away in the middle of its reply. A script that is used up raises
            ModelUnavailable.
        name: As whom it answers.
        context_tokens: Its context window.
    """

    def __init__(self, replies: Sequence[Reply], *, name: str = "scripted", context_tokens: int = 4096) -> None:
        self._replies = list(replies)
        self._name = name
        self._context_tokens = context_tokens
        self.calls: list[tuple[Message, ...]] = []
        self.schemas: list[Mapping[str, Any] | None] = []
        self.left_early = 0
        """Streams that their reader left before the end."""

    @property
    def name(self) -> str:
        return self._name

    @property
    def context_tokens(self) -> int:
        return self._context_tokens

    async def complete(self, messages: Sequence[Message], *, max_tokens: int, schema: Mapping[str, Any] | None = None) -> str:
        pieces = self._next(messages, schema)
        for piece in pieces:
            if isinstance(piece, Exception):
                raise piece
        reply = "".join(str(piece) for piece in pieces)
        note_reply(sum(len(message.text.split()) for message in messages), len(reply.split()))  # a word is a token here
        return reply

    async def stream(self, messages: Sequence[Message], *, max_tokens: int) -> AsyncIterator[str]:
        finished = False
        try:
            for piece in self._next(messages, None):
                if isinstance(piece, Exception):
                    finished = True
                    raise piece
                yield piece
            finished = True
        finally:
            self.left_early += not finished

    async def ping(self) -> None:
        """Raise ModelUnavailable when the script is used up."""
        if not self._replies:
            raise ModelUnavailable("the script is used up")

    async def aclose(self) -> None:
        """Nothing to close."""

    def _next(self, messages: Sequence[Message], schema: Mapping[str, Any] | None) -> Sequence[str | Exception]:
        self.calls.append(tuple(messages))
        self.schemas.append(schema)
        if not self._replies:
            return [ModelUnavailable("the script is used up")]
        reply = self._replies.pop(0)
        return [reply] if isinstance(reply, str | Exception) else reply
