"""A language model behind any OpenAI-compatible endpoint, through LlamaIndex's LLM interface."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
import openai
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, ImageBlock, TextBlock
from llama_index.llms.openai_like import OpenAILike

from router.errors import ModelUnavailable
from router.models.base import Message
from router.models.usage import note_reply

REMEDIES: Mapping[type[Exception], str] = {
    openai.APITimeoutError: "it did not answer in time (models.llm.timeout_s)",
    openai.APIConnectionError: "it cannot be reached: check models.llm.base_url and whether the server runs",
    openai.OAuthError: "it refused the credential: check models.llm.api_key",
    openai.AuthenticationError: "it refused the credential: check models.llm.api_key",
    openai.PermissionDeniedError: "the credential may not use this model: check models.llm.api_key and models.llm.model",
    openai.NotFoundError: "it does not know the model or the address: check models.llm.model and that models.llm.base_url ends in /v1",
    openai.RateLimitError: "it has too many calls or the quota is used up",
    openai.BadRequestError: "it refused the request (a prompt longer than its context, or an option that it does not know)",
    openai.UnprocessableEntityError: "it refused the request (an option that it does not know)",
    openai.ConflictError: "it is busy with something else",
    openai.InternalServerError: "it failed",
    openai.APIStatusError: "it answered with an unexpected status",
    openai.APIResponseValidationError: "its reply is not understood: is it an OpenAI-compatible server?",
    openai.APIError: "it failed in the middle of a reply",
    openai.OpenAIError: "it failed",
    httpx.TimeoutException: "it did not answer in time (models.llm.timeout_s)",
    httpx.HTTPError: "the connection broke in the middle of a reply",
    TimeoutError: "it did not answer in time (models.llm.timeout_s)",
    # What LlamaIndex does on a reply without choices, or the JSON parser on a reply that is something else.
    IndexError: "its reply is not understood: is it an OpenAI-compatible server?",
    TypeError: "its reply is not understood: is it an OpenAI-compatible server?",
    ValueError: "its reply is not understood: is it an OpenAI-compatible server?",
}
"""What each failure of the driver means, by the nearest class."""
REFUSES_PICTURES = frozenset({400, 413, 415, 422, 500})
"""With what endpoints answer that take no pictures, or not these: llama.cpp's server with 500, most others with 400."""
NO_PICTURES = (
    "it refused a request with pictures: if it takes none, set models.llm.vision to false or models.llm.model to one that sees; "
    "if they are too many, lower generation.max_pictures"
)


def inward(
    name: str, exc: Exception, remedies: Mapping[type[Exception], str] = REMEDIES, *, with_pictures: bool = False
) -> ModelUnavailable:
    """The one map of the driver's errors. All of them mean that there is no reply; the message says why and what to do."""
    remedy = next(remedies[cls] for cls in type(exc).__mro__ if cls in remedies)
    if with_pictures and isinstance(exc, openai.APIStatusError) and exc.status_code in REFUSES_PICTURES:
        remedy = NO_PICTURES
    detail = " ".join(str(exc).split())
    retry_after_s: float | None = None
    if isinstance(exc, openai.APIStatusError):
        header = exc.response.headers.get("retry-after", "")
        retry_after_s = float(header) if header.isdecimal() else None
    return ModelUnavailable(f"The language model {name}: {remedy}{f' ({detail})' if detail else ''}", retry_after_s=retry_after_s)


class OpenAILanguageModel:
    """A LanguageModel.

    Args:
        name: Sent with each call.
        base_url: Asked before each call: a child process that was started anew may listen elsewhere.
        api_key: Bearer token.
        timeout_s: Longest wait for a whole reply, and for each piece of a streamed one.
        context_tokens: Context window.
        remedies: What each failure means here.
        trust_env: Whether the proxy settings of the environment are followed.
    """

    def __init__(
        self,
        *,
        name: str,
        base_url: Callable[[], str],
        api_key: str,
        timeout_s: float,
        context_tokens: int,
        remedies: Mapping[type[Exception], str] = REMEDIES,
        trust_env: bool = True,
    ) -> None:
        self.name = name
        self.context_tokens = context_tokens
        self._base_url = base_url
        self._api_key = api_key
        self._timeout_s = timeout_s
        self._remedies = remedies
        self._trust_env = trust_env
        self._tls = httpx.create_ssl_context(trust_env=trust_env)
        self._client = self._new_client()
        self._refused_schemas: set[str] = set()

    async def complete(self, messages: Sequence[Message], *, max_tokens: int, schema: Mapping[str, Any] | None = None) -> str:
        with self._errors_mapped(messages):
            async with asyncio.timeout(self._timeout_s):
                if schema is None:
                    return await self._chat(messages, max_tokens=max_tokens)
                return await self._complete_json(messages, max_tokens, schema)

    async def stream(self, messages: Sequence[Message], *, max_tokens: int) -> AsyncIterator[str]:
        # A connection of its own, which ends with it: LlamaIndex leaves a reply open when its iterator is left, and the model would
        # write on for nobody (test_leaving_a_stream_closes_the_connection).
        with self._errors_mapped(messages):
            async with self._new_client() as client:
                replies = await self._llm(client).astream_chat(_chat_messages(messages), max_tokens=max_tokens)
                while True:
                    async with asyncio.timeout(self._timeout_s):
                        reply: ChatResponse | None = await anext(replies, None)
                    if reply is None:
                        return
                    if reply.delta:
                        yield reply.delta

    async def ping(self) -> None:
        with self._errors_mapped():
            try:
                await self._client.with_options(base_url=self._base_url()).models.list()
            except openai.NotFoundError:
                return  # it answers; not every endpoint lists its models

    async def aclose(self) -> None:
        await self._client.close()

    async def _complete_json(self, messages: Sequence[Message], max_tokens: int, schema: Mapping[str, Any]) -> str:
        """Constrained where the endpoint can, else asked for in words; a schema that was refused once is not sent again."""
        written = json.dumps(schema)
        if written not in self._refused_schemas:
            response_format = {"type": "json_schema", "json_schema": {"name": "reply", "strict": True, "schema": dict(schema)}}
            try:
                return await self._chat(messages, max_tokens=max_tokens, response_format=response_format)
            except (openai.BadRequestError, openai.UnprocessableEntityError):
                pass  # either the endpoint takes no such schema, or the request is wrong in another way and fails again below
        asked = f"Reply with one JSON object and nothing else. It must follow this JSON schema:\n{written}"
        reply = await self._chat([*messages, Message("system", asked)], max_tokens=max_tokens)
        self._refused_schemas.add(written)
        # Many models put a fence or a sentence around the object.
        return reply[reply.find("{") : reply.rfind("}") + 1] or reply

    async def _chat(self, messages: Sequence[Message], **options: Any) -> str:
        response = await self._llm(self._client).achat(_chat_messages(messages), **options)
        counted = getattr(response.raw, "usage", None)
        note_reply(getattr(counted, "prompt_tokens", 0) or 0, getattr(counted, "completion_tokens", 0) or 0)
        return response.message.content or ""

    def _llm(self, client: openai.AsyncOpenAI) -> OpenAILike:
        # No retries: a caller has a deadline and a next best thing to do, and a second long wait helps neither.
        return OpenAILike(
            model=self.name,
            api_base=self._base_url(),
            api_key=self._api_key,
            context_window=self.context_tokens,
            is_chat_model=True,
            temperature=0.0,
            max_retries=0,
            timeout=self._timeout_s,
            async_openai_client=client.with_options(base_url=self._base_url()),
        )

    def _new_client(self) -> openai.AsyncOpenAI:
        http = openai.DefaultAsyncHttpxClient(verify=self._tls, trust_env=self._trust_env)
        return openai.AsyncOpenAI(
            base_url=self._base_url(), api_key=self._api_key, timeout=self._timeout_s, max_retries=0, http_client=http
        )

    @contextmanager
    def _errors_mapped(self, messages: Sequence[Message] = ()) -> Iterator[None]:
        try:
            yield
        except (openai.OpenAIError, httpx.HTTPError, TimeoutError, IndexError, TypeError, ValueError) as exc:
            raise inward(self.name, exc, self._remedies, with_pictures=any(message.parts for message in messages)) from exc


def _chat_messages(messages: Sequence[Message]) -> list[ChatMessage]:
    return [ChatMessage(role=message.role, content=_content(message)) for message in messages]


def _content(message: Message) -> str | list[TextBlock | ImageBlock]:
    if not message.parts:
        return message.text
    return [
        TextBlock(text=part) if isinstance(part, str) else ImageBlock(image=part, image_mimetype="image/jpeg") for part in message.parts
    ]
