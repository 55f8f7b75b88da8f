"""The whole service over gRPC: real journal, Milvus Lite, ArcadeDB, MiniLM and spaCy; the web is a recording."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from router.corpus.base import DocumentState, Upload
from router.errors import AllSourcesUnavailable
from router.types import Answer, Citation, Condition, EvidenceKind, Filter, Query, Retrieval, RouteDecision, SourceCode, TextPart, Token
from tests.e2e.service import Service, eventually, running

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

DOCUMENTS = {
    "incident-12.md": "# Incident 12\n\nOn 3 May the cooling pump of Line Four failed. The pump had been delivered by Aster Foundry.",
    "aster.md": "# Aster Foundry\n\nAster Foundry casts pump housings. The account is held by Jonas Weld.",
    "weld.md": "# Jonas Weld\n\nJonas Weld works in the Harbour Office and leads the purchasing team.",
    "canteen.md": "# Canteen\n\nThe canteen serves lentil soup on Mondays and closes at three.",
}
FACTS = "Line Four\tmaintained by\tTeam Blue\nTeam Blue\tled by\tMara Holt\n"
NEWS = {
    "query": "What is today's news about casting prices?",
    "results": [
        {
            "url": "https://example.com/prices",
            "title": "Casting prices",
            "published": "2026-11-01",
            "text": "Casting prices rose by nine percent this week.",
        }
    ],
}
MULTI_HOP = "Who holds the account of the supplier that delivered the pump in Incident 12?"


async def uploads(documents: dict[str, str]) -> AsyncIterator[Upload]:
    for name, text in documents.items():
        yield Upload(name, text.encode(), metadata={"kind": "fact" if name.endswith(".tsv") else "page", "year": 2024})


async def ingest(service: Service, documents: dict[str, str]) -> dict[str, DocumentState]:
    """The last state of each document."""
    async with service.client() as client:
        replies = [reply async for reply in client.ingest(uploads(documents))]
    return {reply.name: reply.state for reply in replies}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory):
    home = tmp_path_factory.mktemp("service")
    (home / "web.jsonl").write_text(json.dumps(NEWS) + "\n")
    web = {"kind": "web", "search": {"provider": "replay", "path": str(home / "web.jsonl")}}
    sources = {"vector": {"kind": "vector"}, "graph": {"kind": "graph"}, "web": web, "live": {"kind": "web", "timeout_s": 5}}
    # Looked after more often than a quick restart of the graph takes, so that its outage is seen.
    async with running(home, sources=sources, graph={"probe_interval_s": 0.1}) as started:
        states = await ingest(started, {**DOCUMENTS, "facts.tsv": FACTS})
        assert set(states.values()) == {DocumentState.SEARCHABLE}
        yield started


async def test_a_question_streams_decision_evidence_tokens_citations_and_the_answer(service: Service) -> None:
    async with service.client() as client:
        events = [event async for event in client.stream_answer("When does the canteen close?")]
    decision, retrieval, *middle, answer = events
    assert isinstance(decision, RouteDecision)
    assert isinstance(retrieval, Retrieval)
    assert isinstance(answer, Answer)
    assert "vector" in decision.selected
    assert all(route.reason for route in decision.routes)
    assert answer.found
    assert "three" in answer.text
    assert "".join(event.text for event in middle if isinstance(event, Token)) == answer.text
    citations = [event for event in middle if isinstance(event, Citation)]
    assert citations == list(answer.citations)
    cited = answer.retrieval.evidence[citations[0].marker - 1]
    assert cited.uri == "canteen.md"
    assert answer.text[citations[0].span.start : citations[0].span.end] == f"[{citations[0].marker}]"


async def test_the_graph_finds_the_second_hop_with_its_path(service: Service) -> None:
    async with service.client() as client:
        retrieval = await client.retrieve(MULTI_HOP, sources=["graph"])
    by_name = {item.uri: item for item in retrieval.evidence}
    assert set(list(by_name)[:2]) == {"incident-12.md", "aster.md"}
    assert [step.object for step in by_name["weld.md"].provenance[0].path] == ["Incident 12", "Aster Foundry", "Jonas Weld"]


async def test_facts_answer_questions(service: Service) -> None:
    async with service.client() as client:
        retrieval = await client.retrieve("Who leads the team that maintains Line Four?", sources=["graph"])
    fact = next(item for item in retrieval.evidence if item.kind is EvidenceKind.FACT and "Mara Holt" in item.text)
    assert fact.provenance[0].path


async def test_a_question_about_the_whole_is_answered_from_summaries(service: Service) -> None:
    async with service.client() as client:
        answer = await client.answer("What are these documents about?")
        known = {document.id async for document in client.list_documents()}
    assert answer.retrieval.decision.selected == ("graph",)
    assert answer.found
    assert answer.retrieval.evidence
    for item in answer.retrieval.evidence:
        assert item.kind is EvidenceKind.SUMMARY
        assert set(item.metadata["document_ids"]) <= known
    assert {citation.evidence_id for citation in answer.citations} == {item.id for item in answer.retrieval.evidence}


async def test_two_sources_are_fused_into_one_list(service: Service) -> None:
    async with service.client() as client:
        retrieval = await client.retrieve(MULTI_HOP, sources=["vector", "graph"])
    assert {report.source: report.code for report in retrieval.sources} == {"vector": SourceCode.OK, "graph": SourceCode.OK}
    assert len({item.id for item in retrieval.evidence}) == len(retrieval.evidence)
    assert any(set(item.sources) == {"vector", "graph"} for item in retrieval.evidence)


async def test_the_web_is_chosen_for_news_and_labelled_as_recorded(service: Service) -> None:
    async with service.client() as client:
        answer = await client.answer(NEWS["query"], policy="rules")
    assert "web" in answer.retrieval.decision.selected
    page = next(item for item in answer.retrieval.evidence if item.kind is EvidenceKind.WEB_PAGE)
    assert page.recorded
    assert "nine percent" in answer.text


async def test_a_greeting_needs_no_source(service: Service) -> None:
    async with service.client() as client:
        answer = await client.answer("Hello!")
    assert answer.retrieval.decision.selected == ()
    assert answer.retrieval.evidence == ()


async def test_a_filter_holds_in_every_source(service: Service) -> None:
    async with service.client() as client:
        query = Query((TextPart(MULTI_HOP),), filter=Filter(must=(Condition("year", equals=2023),)))
        retrieval = await client.retrieve(query, sources=["vector", "graph"])
    assert retrieval.evidence == ()


async def test_an_unreachable_web_is_a_report_beside_an_answer(service: Service) -> None:
    async with service.client() as client:
        retrieval = await client.retrieve("When does the canteen close?", sources=["vector", "live"])
    codes = {report.source: report.code for report in retrieval.sources}
    assert codes["vector"] is SourceCode.OK
    assert codes["live"] in {SourceCode.UNAVAILABLE, SourceCode.DEADLINE_EXCEEDED, SourceCode.OK}
    if codes["live"] is not SourceCode.OK:  # a machine with a way out gets pages
        async with service.client() as client:
            with pytest.raises(AllSourcesUnavailable) as raised:
                await client.retrieve("When does the canteen close?", sources=["live"])
        assert raised.value.retry_after_s


async def test_unchanged_documents_cost_nothing_and_a_bad_one_does_not_stop_the_others(service: Service) -> None:
    states = await ingest(
        service, {"canteen.md": DOCUMENTS["canteen.md"], "broken.pdf": "not a pdf", "empty.txt": " ", "new.txt": "A new note."}
    )
    assert states == {
        "canteen.md": DocumentState.UNCHANGED,
        "broken.pdf": DocumentState.FAILED,
        "empty.txt": DocumentState.FAILED,
        "new.txt": DocumentState.SEARCHABLE,
    }


async def test_a_killed_graph_degrades_and_comes_back_by_itself(service: Service) -> None:
    os.kill(service.children()["java"], signal.SIGKILL)

    async def graph_report():
        async with service.client() as client:
            retrieval = await client.retrieve(MULTI_HOP, sources=["vector", "graph"])
        assert "aster.md" in {item.uri for item in retrieval.evidence}, "answers stay"
        return {report.source: report for report in retrieval.sources}["graph"]

    async def is_degraded() -> bool:
        report = await graph_report()
        return report.code is SourceCode.DEGRADED and " s old" in report.message

    async def is_well() -> bool:
        return (await graph_report()).code is SourceCode.OK

    await eventually(is_degraded)
    await eventually(is_well, within_s=90)
    states = await ingest(service, {"after.md": "# After\n\nWritten after the graph came back, about Aster Foundry."})
    assert states == {"after.md": DocumentState.SEARCHABLE}
