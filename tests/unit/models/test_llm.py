"""The client of OpenAI-compatible endpoints, against a small HTTP server that behaves as it is told."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest

from router.errors import ModelUnavailable
from router.models import llm
from router.models.base import Message
from router.models.language import open_language_model
from router.settings import OpenAILLM
from tests.unit.endpoint import Endpoint, completion, failure, piece, serving

QUESTION = [Message("system", "Be short."), Message("user", "Hello?")]
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    async with serving() as endpoint:
        yield endpoint


@pytest.fixture
async def model(endpoint, tmp_path):
    settings = OpenAILLM(kind="openai", base_url=f"http://127.0.0.1:{endpoint.port}/v1", model="m", api_key="sekret", timeout_s=20.0)
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


async def test_pictures_are_sent_as_parts_of_the_content(model, endpoint):
    await model.complete([Message("user", "Look:\nWhat?", ("Look:", b"\xff\xd8 a JPEG", "What?"))], max_tokens=7)
    (request,) = endpoint.requests
    assert request["messages"] == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Look:"},
                {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,/9ggYSBKUEVH"}},
                {"type": "text", "text": "What?"},
            ],
        }
    ]


@pytest.mark.parametrize(("status", "is_of_the_pictures"), [(400, True), (422, True), (500, True), (401, False), (429, False)])
async def test_who_refuses_pictures_is_told_which_setting_to_change(model, endpoint, status: int, is_of_the_pictures: bool):
    endpoint.answer = lambda request: failure(status, "image_url is not supported")
    seen = [Message("user", "What?", ("What?", b"\xff\xd8"))]
    for call in (model.complete(seen, max_tokens=7), anext(model.stream(seen, max_tokens=7))):
        with pytest.raises(ModelUnavailable, match="image_url is not supported") as refused:
            await call
        assert ("set models.llm.vision to false" in refused.value.message) == is_of_the_pictures
    with pytest.raises(ModelUnavailable) as refused:
        await model.complete(QUESTION, max_tokens=7)
    assert "models.llm.vision" not in refused.value.message


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
