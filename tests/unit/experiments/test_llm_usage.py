"""Calls and tokens of the real client, against an endpoint on loopback that counts."""

from __future__ import annotations

import asyncio
import json

from router.experiments.llm_usage import counted_llm_usage
from router.models.base import Message
from router.models.language import open_language_model
from router.settings import OpenAILLM
from tests.unit.models.test_llm import Endpoint, completion


def counting(prompt: int, completed: int):
    status, headers, content = completion("hi")
    usage = {"prompt_tokens": prompt, "completion_tokens": completed, "total_tokens": prompt + completed}
    return status, headers, json.dumps({**json.loads(content), "usage": usage}).encode()


async def test_calls_and_tokens_are_counted_inside_the_block_only(tmp_path) -> None:
    endpoint = Endpoint()
    replies = [counting(7, 3), completion("no count"), counting(5, 1), counting(1000, 1000)]
    endpoint.answer = lambda request: replies[len(endpoint.requests) - 1]
    async with await asyncio.start_server(endpoint.handle, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        settings = OpenAILLM(kind="openai", base_url=f"http://127.0.0.1:{port}/v1", model="m")
        model = await open_language_model(settings, tmp_path, tmp_path)
        with counted_llm_usage() as usage:
            for _ in range(3):
                await model.complete([Message("user", "Hello?")], max_tokens=5)
        await model.complete([Message("user", "Hello?")], max_tokens=5)
        await model.aclose()
    assert (usage.calls, usage.prompt_tokens, usage.completion_tokens) == (3, 12, 4)
