"""A language model that is gone: rules route and say so, the answer is extractive and says so."""

from __future__ import annotations

import pytest

from router.child_process import free_port
from router.corpus.base import Upload
from tests.e2e.service import running


@pytest.mark.timeout(200)
async def test_without_its_model_the_service_routes_and_answers_all_the_same(tmp_path) -> None:
    llm = {"kind": "openai", "base_url": f"http://127.0.0.1:{free_port()}/v1", "model": "gone", "timeout_s": 5}
    async with running(tmp_path, models={"llm": llm}) as service, service.client() as client:

        async def uploads():
            yield Upload("canteen.md", b"# Canteen\n\nThe canteen closes at three.")

        assert [reply.name async for reply in client.ingest(uploads())]
        answer = await client.answer("When does the canteen close?")
        decision = answer.retrieval.decision
        assert decision.policy == "learned"
        assert "llm could not decide" in decision.reason
        assert answer.generator == "extractive"
        assert "three" in answer.text
        assert "LLM_UNAVAILABLE" in {notice.reason for notice in answer.notices}
        health = await client.health()
        assert health
