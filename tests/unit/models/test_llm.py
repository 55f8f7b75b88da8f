"""The client of OpenAI-compatible endpoints, against a small HTTP server that behaves as it is told."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import openai
import pytest

from router.errors import ModelUnavailable
from router.models import llm
from router.models.base import Message
from router.models.language import open_language_model
from router.settings import OpenAILLM

QUESTION = [Message("system", "Be short."), Message("user", "Hello?")]
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}

Reply = tuple[int, dict[str, str], bytes]


class Endpoint:
    """HTTP/1.1 on loopback: records the requests, answers what `answer` says. `pieces` are sent one by one as a stream."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.answer: Callable[[dict[str, Any]], Reply] = lambda request: completion("hi")
        self.pieces: list[bytes] | None = None
        self.delay_s = 0.0
        self.gone = asyncio.Event()
        """The caller closed the connection in the middle of a stream."""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head.split("\r\n")[1:] if line)}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            self.requests.append(
                {"path": head.split()[1], "authorization": headers.get("authorization")} | (json.loads(body) if body else {})
            )
            await asyncio.sleep(self.delay_s)
            if self.pieces is None:
                status, more, content = self.answer(self.requests[-1])
                extra = "".join(f"{name}: {value}\r\n" for name, value in more.items())
                writer.write(f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{extra}content-length: {len(content)}\r\n".encode())
                writer.write(b"connection: close\r\n\r\n" + content)
            else:
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\ncontent-length: 1000000\r\n\r\n")
                for piece in self.pieces:
                    writer.write(piece)
                    await writer.drain()
                if await reader.read() == b"":
                    self.gone.set()
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            self.gone.set()
        finally:
            writer.close()


def completion(text: str | None) -> Reply:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    content = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    return 200, {}, json.dumps(content).encode()


def failure(status: int, message: str = "no", **headers: str) -> Reply:
    return status, headers, json.dumps({"error": {"message": message}}).encode()


def piece(text: str) -> bytes:
    chunk = {
        "id": "1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "delta": {"content": text}}],
    }
    return f"data: {json.dumps(chunk)}\n\n".encode()


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    endpoint = Endpoint()
    server = await asyncio.start_server(endpoint.handle, "127.0.0.1", 0)
    endpoint.port = server.sockets[0].getsockname()[1]
    yield endpoint
    server.close()
    await server.wait_closed()


@pytest.fixture
async def model(endpoint, tmp_path):
    settings = OpenAILLM(kind="openai", base_url=f"http://127.0.0.1:{endpoint.port}/v1", model="m", api_key="sekret", timeout_s=2.0)
    model = await open_language_model(settings, tmp_path, tmp_path)
    yield model
    await model.aclose()


async def test_a_reply(model, endpoint):
    assert await model.complete(QUESTION, max_tokens=7) == "hi"
    (request,) = endpoint.requests
    assert request["path"] == "/v1/chat/completions"
    assert request["authorization"] == "Bearer sekret"
    assert (request["model"], request["max_tokens"], request["temperature"]) == ("m", 7, 0.0)
    assert request["messages"] == [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Hello?"}]
    assert "response_format" not in request


async def test_a_stream_piece_by_piece(model, endpoint):
    endpoint.pieces = [piece("Hel"), piece(""), piece("lo"), b"data: [DONE]\n\n"]
    assert [text async for text in model.stream(QUESTION, max_tokens=7)] == ["Hel", "lo"]


async def test_leaving_a_stream_closes_the_connection(model, endpoint):
    endpoint.pieces = [piece("one"), piece("two")]  # and then nothing: the server would go on for ever
    stream = model.stream(QUESTION, max_tokens=7)
    assert await anext(stream) == "one"
    await stream.aclose()
    await asyncio.wait_for(endpoint.gone.wait(), 5)


async def test_a_schema_is_sent_as_a_constraint(model, endpoint):
    endpoint.answer = lambda request: completion('{"a": 1}')
    assert await model.complete(QUESTION, max_tokens=7, schema=SCHEMA) == '{"a": 1}'
    sent = endpoint.requests[0]["response_format"]
    assert sent == {"type": "json_schema", "json_schema": {"name": "reply", "strict": True, "schema": SCHEMA}}


async def test_an_endpoint_without_schemas_is_asked_in_words_and_only_once_with_the_schema(model, endpoint):
    endpoint.answer = lambda request: failure(400) if "response_format" in request else completion('Sure!\n```json\n{"a": 2}\n```')
    assert await model.complete(QUESTION, max_tokens=7, schema=SCHEMA) == '{"a": 2}'
    assert await model.complete(QUESTION, max_tokens=7, schema=SCHEMA) == '{"a": 2}'
    assert ["response_format" in request for request in endpoint.requests] == [True, False, False]
    assert json.dumps(SCHEMA) in endpoint.requests[-1]["messages"][-1]["content"]


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (failure(400), "longer than its context"),
        (failure(401), "models.llm.api_key"),
        (failure(403), "may not use this model"),
        (failure(404), "models.llm.base_url ends in /v1"),
        (failure(409), "busy"),
        (failure(418), "unexpected status"),
        (failure(422), "refused the request"),
        (failure(429), "too many calls"),
        (failure(503, "loading"), "loading"),
        ((200, {}, b"<html>not json"), "not understood"),
        ((200, {}, b"{}"), "not understood"),
        ((200, {}, b'{"choices": []}'), "not understood"),
    ],
)
async def test_every_refusal_is_a_model_that_is_unavailable_and_says_why(model, endpoint, reply, says):
    endpoint.answer = lambda request: reply
    with pytest.raises(ModelUnavailable, match=says):
        await model.complete(QUESTION, max_tokens=7)
    with pytest.raises(ModelUnavailable, match=says):
        await model.complete(QUESTION, max_tokens=7, schema=SCHEMA)


async def test_when_to_come_back_is_passed_on(model, endpoint):
    endpoint.answer = lambda request: failure(429, **{"retry-after": "17"})
    with pytest.raises(ModelUnavailable) as refused:
        await model.complete(QUESTION, max_tokens=7)
    assert refused.value.retry_after_s == 17
    assert len(endpoint.requests) == 1  # no retry behind the caller's back


async def test_a_late_reply_and_a_stalled_stream(endpoint, tmp_path):
    settings = OpenAILLM(kind="openai", base_url=f"http://127.0.0.1:{endpoint.port}/v1", model="m", timeout_s=0.2)
    model = await open_language_model(settings, tmp_path, tmp_path)
    endpoint.pieces = [piece("one")]
    with pytest.raises(ModelUnavailable, match="timeout_s"):
        [text async for text in model.stream(QUESTION, max_tokens=7)]
    endpoint.pieces, endpoint.delay_s = None, 1.0
    with pytest.raises(ModelUnavailable, match="timeout_s"):
        await model.complete(QUESTION, max_tokens=7)
    await model.aclose()


async def test_an_error_event_and_a_broken_stream(model, endpoint):
    endpoint.pieces = [piece("one"), b'data: {"error": {"message": "out of memory"}}\n\n']
    with pytest.raises(ModelUnavailable, match="out of memory"):
        [text async for text in model.stream(QUESTION, max_tokens=7)]
    endpoint.pieces = [piece("one"), b"data: {broken\n\n"]
    with pytest.raises(ModelUnavailable, match="not understood"):
        [text async for text in model.stream(QUESTION, max_tokens=7)]


async def test_ping(model, endpoint):
    endpoint.answer = lambda request: (200, {}, b'{"object": "list", "data": []}')
    await model.ping()
    endpoint.answer = lambda request: failure(404)
    await model.ping()  # not every endpoint lists models; it answers
    endpoint.answer = lambda request: failure(401)
    with pytest.raises(ModelUnavailable, match="credential"):
        await model.ping()


async def test_nobody_listens(tmp_path):
    settings = OpenAILLM(kind="openai", base_url="http://127.0.0.1:1/v1", model="m")
    model = await open_language_model(settings, tmp_path, tmp_path)
    for call in (model.ping(), model.complete(QUESTION, max_tokens=1), anext(model.stream(QUESTION, max_tokens=1))):
        with pytest.raises(ModelUnavailable, match="cannot be reached"):
            await call
    await model.aclose()


def exceptions_of(module: Any) -> list[type[Exception]]:
    return [kind for _, kind in inspect.getmembers(module, inspect.isclass) if issubclass(kind, Exception)]


def test_every_exception_of_the_drivers_is_in_the_map():
    """A new class of a later release fails here: it shall get its own line."""
    api_errors = [kind for kind in exceptions_of(openai) if issubclass(kind, openai.APIError)]
    assert len(api_errors) > 10
    assert [kind.__name__ for kind in api_errors if kind not in llm.REMEDIES] == []
    request = httpx.Request("GET", "http://x")
    for kind in [*exceptions_of(openai), *exceptions_of(httpx)]:
        if not issubclass(kind, (openai.OpenAIError, httpx.HTTPError)):
            continue
        exc = kind.__new__(kind)
        if isinstance(exc, openai.APIStatusError):
            exc.response = httpx.Response(500, request=request)
        assert isinstance(llm.inward("m", exc), ModelUnavailable), kind
