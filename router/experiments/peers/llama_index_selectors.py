"""LlamaIndex's selectors: a language model, or an embedding, that reads the sources' descriptions.

They choose without a probability, so a chosen source counts as certain and any other as impossible; their calibration says what that
is worth. They run on the service's own models.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pydantic
from llama_index.core.base.base_selector import BaseSelector
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.base.llms.types import CompletionResponse, CompletionResponseGen, LLMMetadata
from llama_index.core.llms.custom import CustomLLM
from llama_index.core.output_parsers.base import OutputParserException
from llama_index.core.schema import QueryBundle
from llama_index.core.selectors import EmbeddingSingleSelector, LLMMultiSelector, LLMSingleSelector
from llama_index.core.tools.types import ToolMetadata

from router.errors import ConfigurationError, InternalError
from router.models.base import Embedder, LanguageModel, Message
from router.retrieval.base import Probe
from router.routing.base import SourceProfile
from router.types import Caller, Query, Route, RouteDecision

MAX_REPLY_TOKENS = 300


class SelectorPolicy:
    """A selector of LlamaIndex.

    Args:
        name: As which it is reported.
        selector: Gets one choice for each source, with its description.
    """

    def __init__(self, name: str, selector: BaseSelector) -> None:
        self.name = name
        self._selector = selector

    async def decide(self, query: Query, probe: Probe, sources: tuple[SourceProfile, ...], caller: Caller) -> RouteDecision:
        """Raises:
        ModelUnavailable: The model is gone.
        InternalError: Its reply is not understood, or names a choice that there is not (reason SELECTION_MALFORMED).
        """
        choices = [ToolMetadata(name=source.name, description=source.description) for source in sources]
        try:
            result = await self._selector.aselect(choices, QueryBundle(query.text))
            reasons = {sources[_place(one.index, len(sources))].name: str(one.reason) for one in result.selections}
        # What the library raises on a reply that is not of its form depends on how far its parser came.
        except (OutputParserException, ValueError, KeyError, TypeError, AttributeError) as exc:
            detail = " ".join(str(exc).split())[:200]
            raise InternalError(f"{self.name} did not understand the model's reply: {detail}", reason="SELECTION_MALFORMED") from exc
        routes = tuple(
            Route(
                source.name,
                source.name in reasons,
                float(source.name in reasons),
                reasons.get(source.name, "not selected"),
                cost=source.cost,
            )
            for source in sources
        )
        return RouteDecision(self.name, routes, "; ".join(reasons.values()) or "nothing was selected")


def llm_single_selector(model: LanguageModel | None) -> SelectorPolicy:
    """Raises ConfigurationError without a language model."""
    name = "llama-index-single"
    return SelectorPolicy(name, LLMSingleSelector.from_defaults(llm=_ServiceLLM(model=_needed(model, name))))


def llm_multi_selector(model: LanguageModel | None) -> SelectorPolicy:
    """Raises ConfigurationError without a language model."""
    name = "llama-index-multi"
    return SelectorPolicy(name, LLMMultiSelector.from_defaults(llm=_ServiceLLM(model=_needed(model, name))))


def embedding_selector(embedder: Embedder) -> SelectorPolicy:
    return SelectorPolicy("llama-index-embedding", EmbeddingSingleSelector(_ServiceEmbedding(embedder=embedder)))


def _needed(model: LanguageModel | None, peer: str) -> LanguageModel:
    if model is None:
        raise ConfigurationError(f"the peer {peer} needs a language model, and none is configured", field="models.llm")
    return model


def _place(index: int, count: int) -> int:
    # The selectors subtract one from what the model says, so a reply of 0 would silently mean the last choice.
    if not 0 <= index < count:
        raise ValueError(f"choice {index + 1} of {count}")
    return index


class _ServiceLLM(CustomLLM):  # type: ignore[misc]
    """The service's language model behind LlamaIndex's interface; only what the selectors await."""

    model: Any = pydantic.Field(exclude=True)

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(model_name=self.model.name, context_window=self.model.context_tokens, is_chat_model=False)

    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        return CompletionResponse(text=await self.model.complete([Message("user", prompt)], max_tokens=MAX_REPLY_TOKENS))

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        raise InternalError("the service's language model is awaited, not called")

    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        raise InternalError("the service's language model is awaited, not called")


class _ServiceEmbedding(BaseEmbedding):  # type: ignore[misc]
    """The service's embedder behind LlamaIndex's interface; only what the selector awaits. Descriptions are embedded once."""

    embedder: Any = pydantic.Field(exclude=True)
    _descriptions: dict[str, list[float]] = pydantic.PrivateAttr(default_factory=dict)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return await self._embedded(query)

    async def _aget_text_embedding(self, text: str) -> list[float]:
        if text not in self._descriptions:
            self._descriptions[text] = await self._embedded(text)
        return self._descriptions[text]

    def _get_query_embedding(self, query: str) -> list[float]:
        raise InternalError("the service's embedder is awaited, not called")

    def _get_text_embedding(self, text: str) -> list[float]:
        raise InternalError("the service's embedder is awaited, not called")

    async def _embedded(self, text: str) -> list[float]:
        texts: Sequence[str] = [text]
        return [float(value) for value in (await self.embedder.embed(texts))[0]]
