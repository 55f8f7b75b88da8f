"""What the language model was asked while something was measured, as LlamaIndex reports it and the endpoint counts it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers.base import BaseEventHandler
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.instrumentation.events.llm import LLMChatEndEvent


@dataclass(slots=True)
class LLMUsage:
    calls: int = 0
    prompt_tokens: int = 0
    """0 when the endpoint does not count."""
    completion_tokens: int = 0


class _Counter(BaseEventHandler):  # type: ignore[misc]
    usage: Any

    def handle(self, event: BaseEvent, **kwargs: Any) -> None:
        if not isinstance(event, LLMChatEndEvent):
            return
        counted = getattr(event.response.raw if event.response else None, "usage", None)
        self.usage.calls += 1
        self.usage.prompt_tokens += getattr(counted, "prompt_tokens", 0)
        self.usage.completion_tokens += getattr(counted, "completion_tokens", 0)


@contextmanager
def counted_llm_usage() -> Iterator[LLMUsage]:
    """Counts every whole reply of any language model of this process until the end of the block."""
    usage, root = LLMUsage(), get_dispatcher()
    counter = _Counter(usage=usage)
    root.add_event_handler(counter)
    try:
        yield usage
    finally:
        root.event_handlers.remove(counter)
