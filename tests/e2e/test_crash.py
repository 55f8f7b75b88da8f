"""A service killed with -9 loses no document and no feedback that it acknowledged, and leaves no child behind."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from router.corpus.base import DocumentState, Upload
from router.errors import RouterError
from tests.e2e.service import Service, alive, eventually

DOCUMENTS = 60
KILL_AFTER = 25
"""Durable acknowledgements that are waited for."""


async def endless() -> AsyncIterator[Upload]:
    for number in range(DOCUMENTS):
        text = f"# Note {number}\n\nNote {number} says that pump {number} stands in hall {number % 7} and was checked by Jonas Weld."
        yield Upload(f"note-{number}.md", text.encode())


@pytest.mark.timeout(240)
async def test_what_was_acknowledged_is_there_after_a_kill_and_a_restart(tmp_path) -> None:
    service = Service(tmp_path)
    await service.start()
    graph = service.children()["java"]
    acknowledged: set[str] = set()
    with pytest.raises(RouterError):
        async with service.client() as client:
            greeting = await client.answer("Hello!")
            async for reply in client.ingest(endless()):
                if reply.state is DocumentState.DURABLE:
                    acknowledged.add(reply.name)
                if len(acknowledged) == KILL_AFTER:
                    await client.record_feedback(greeting.request_id, helpful=True)
                    await service.kill()
    assert len(acknowledged) >= KILL_AFTER
    await eventually(lambda: not alive(graph), within_s=10)

    await service.start()
    try:
        async with service.client() as client:

            async def all_searchable() -> bool:
                states = {document.name: document.state async for document in client.list_documents()}
                assert acknowledged <= states.keys(), "an acknowledged document is lost"
                return set(states.values()) == {DocumentState.SEARCHABLE}

            await eventually(all_searchable, within_s=120)
            stats = await client.corpus_stats()
            assert stats.vector_count == stats.chunk_count == stats.graph["chunks"] == sum(stats.documents.values())
            decisions = [decision async for decision in client.list_decisions()]
            number = max(acknowledged).removeprefix("note-").removesuffix(".md")
            found = await client.retrieve(f"Where does pump {number} stand?", sources=["vector", "graph"])
            assert f"note-{number}.md" in [item.uri for item in found.evidence][:3]
    finally:
        status = await service.stop()
    assert status == 0
    assert [(decision.request_id, decision.policy, decision.chosen, decision.reward) for decision in decisions] == [
        (greeting.request_id, "learned", (), 1.0)
    ]
