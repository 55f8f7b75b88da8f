"""Both clients against a real server."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any, TypeVar

import grpc
import grpc.aio
import pytest

import router.client
from router.client import STREAM_BROKEN, UNREACHABLE, AsyncRouterClient, Policy, RouterClient
from router.corpus.base import DocumentState, Upload
from router.errors import AllSourcesUnavailable, InvalidInput, NotFound, StoreUnavailable, Unauthenticated, Unavailable
from router.testing.corpus import InMemoryCorpus
from router.testing.engine import ListRetriever, StuckRetriever, TablePolicy, small_engine
from router.types import (
    Answer,
    Citation,
    Condition,
    Feedback,
    Filter,
    Notice,
    Query,
    Retrieval,
    RouteDecision,
    SourceCode,
    Span,
    TextPart,
    Token,
)
from tests.integration.grpc_service import PASSAGE, SmallApp, running

ROOT = Path(__file__).parents[3]
QUESTION = "Who keeps the lantern?"
T = TypeVar("T")


async def _sync(target: str, work: Callable[[RouterClient], T], **arguments: Any) -> T:
    """Run blocking code beside the server's event loop."""

    def run() -> T:
        with RouterClient(target, **arguments) as client:
            return work(client)

    return await asyncio.to_thread(run)


def test_the_public_names() -> None:
    public = {name for name in vars(router.client) if not name.startswith("_")}
    modules = {"async_client", "sync_client", "channel", "errors", "policies"}
    assert public - modules == set(router.client.__all__)


def test_the_twin_is_what_the_script_makes() -> None:
    subprocess.run([sys.executable, "scripts/sync_client", "--check"], check=True, cwd=ROOT)


def test_importing_the_client_loads_no_store_and_no_model() -> None:
    heavy = ("numpy", "pymilvus", "neo4j", "spacy", "llama_index", "onnxruntime", "sqlalchemy", "pydantic", "router.engine", "router.app")
    code = f"import sys, router.client; print([name for name in {heavy} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert loaded.stdout.strip() == "[]"


async def test_every_question_takes_an_instruction() -> None:
    class Noting:
        seen: list[str] = []  # noqa: RUF012

        async def check(self, query: Query, vector: object, caller: object) -> None:
            self.seen.append(query.instruction)

    app = SmallApp(engine=small_engine({"vector": ListRetriever([PASSAGE])}, query_filters=[Noting()]))
    async with running(app) as service, AsyncRouterClient(service.target) as client:
        own = Query((TextPart(QUESTION),), instruction="its own")
        calls = (client.route, client.route_all, client.retrieve, client.answer)
        for call in calls:
            await call(QUESTION, instruction="told")
            await call(own)
            await call(own, instruction="told")
        async for _ in client.stream_answer(QUESTION, instruction="told"):
            pass
        assert list(dict.fromkeys(Noting.seen)) == ["told", "its own"]
        assert Noting.seen.count("told") > Noting.seen.count("its own")
        with pytest.raises(InvalidInput) as refused:
            await client.route(Query((), instruction="only drawings"))
        assert refused.value.field == "query.instruction"


async def test_results_are_our_types() -> None:
    policies = [TablePolicy("all", {"vector": 1.0}), TablePolicy("none", {})]
    app = SmallApp(engine=small_engine({"vector": ListRetriever([PASSAGE])}, policies=policies))
    async with running(app) as service, AsyncRouterClient(service.target) as client:
        decision = await client.route(QUESTION)
        assert (decision.policy, decision.selected, decision.trust) == ("all", ("vector",), {"vector": 1.0})
        assert (await client.route(QUESTION, policy="none")).selected == ()
        chosen, alternatives, notices = await client.route_all(QUESTION)
        assert (chosen.policy, [other.policy for other in alternatives], notices) == ("all", ["all", "none"], ())
        retrieval = await client.retrieve(Query((TextPart(QUESTION),)), sources=["vector"], limit=1, fusion="rrf")
        assert [report.code for report in retrieval.sources] == [SourceCode.OK]
        (item,) = retrieval.evidence
        assert (item.metadata, item.span, item.provenance[0].path) == (PASSAGE.metadata, PASSAGE.span, PASSAGE.provenance[0].path)
        answer = await client.answer(QUESTION)
        assert (answer.text, answer.found, answer.citations) == (
            "Ada keeps the lantern lit. [1]",
            True,
            (Citation(1, "chunk-1", Span(27, 30)),),
        )
        assert answer.notices == (Notice("QUOTED", "the answer is a quotation"),)
        assert {"embed", "route", "retrieve", "fuse", "generate", "first_token"} <= answer.timings.stages_s.keys()
        known = await client.list_policies()
        assert (known.policies[0], known.sources) == (Policy("rules", "By rules.", 2), ("vector",))
        async with asyncio.timeout(10):
            while not (await client.health())[""]:  # noqa: ASYNC110 - polled over gRPC
                await asyncio.sleep(0.01)


async def test_a_streamed_answer_is_the_answer_in_pieces() -> None:
    async with running() as service, AsyncRouterClient(service.target) as client:
        events = [event async for event in client.stream_answer(QUESTION)]
    assert [type(event) for event in events] == [RouteDecision, Retrieval, *[Token] * 6, Citation, Notice, Answer]
    answer = events[-1]
    assert isinstance(answer, Answer)
    assert "".join(event.text for event in events if isinstance(event, Token)) == answer.text
    assert isinstance(events[1], Retrieval)
    assert events[1].evidence == answer.retrieval.evidence
    assert events[1].decision == events[0]


async def test_answers_are_named_judged_and_listed() -> None:
    async with running() as service, AsyncRouterClient(service.target) as client:
        answer = await client.answer(QUESTION)
        events = [event async for event in client.stream_answer(QUESTION)]
        assert isinstance(events[-1], Answer)
        assert isinstance(events[1], Retrieval)
        assert events[1].request_id == events[-1].request_id
        retrieval = await client.retrieve(QUESTION)
        await client.answer(QUESTION, no_log=True)
        await client.record_feedback(answer.request_id, helpful=True, clicked_citations=[1])
        await _sync(service.target, lambda blocking: blocking.record_feedback(retrieval.request_id, correct_sources=["vector"]))
        decisions = [decision async for decision in client.list_decisions(page_size=2)]
        assert await _sync(service.target, lambda blocking: list(blocking.list_decisions())) == decisions
        with pytest.raises(NotFound) as missing:
            await client.record_feedback("no-such", helpful=True)
        assert missing.value.reason == "UNKNOWN_REQUEST"
        with pytest.raises(InvalidInput):
            await client.record_feedback(answer.request_id, clicked_citations=[2**40])
    assert [decision.request_id for decision in decisions] == [answer.request_id, events[-1].request_id, retrieval.request_id]
    assert [decision.feedback for decision in decisions] == [
        Feedback(True, clicked_citations=(1,)),
        None,
        Feedback(correct_sources=("vector",)),
    ]
    assert [decision.reward for decision in decisions] == [1.0, None, None]


async def test_leaving_a_stream_cancels_its_call() -> None:
    stuck = StuckRetriever()
    async with running(SmallApp(engine=small_engine({"vector": stuck}))) as service, AsyncRouterClient(service.target) as client:
        async with aclosing(client.stream_answer(QUESTION)) as events:  # type: ignore[type-var]
            assert isinstance(await anext(events), RouteDecision)
            await stuck.asked.wait()
        async with asyncio.timeout(10):
            await stuck.cancelled.wait()
        stuck.cancelled.clear()

        def leave(blocking: RouterClient) -> None:
            events = blocking.stream_answer(QUESTION)
            assert isinstance(next(events), RouteDecision)
            events.close()  # type: ignore[attr-defined]

        await _sync(service.target, leave)
        async with asyncio.timeout(10):
            await stuck.cancelled.wait()


async def test_errors_are_our_errors() -> None:
    down = ListRetriever(error=StoreUnavailable("the store is down"))
    async with running(SmallApp(engine=small_engine({"vector": down}))) as service, AsyncRouterClient(service.target) as client:
        with pytest.raises(InvalidInput) as refused:
            await client.retrieve(QUESTION, limit=101)
        assert (refused.value.reason, refused.value.field) == ("INVALID_INPUT", "options.limit")
        assert refused.value.__notes__[0].startswith("request id ")
        with pytest.raises(AllSourcesUnavailable) as failed:
            [event async for event in client.stream_answer(QUESTION)]
        assert failed.value.retry_after_s == 1.0
        with pytest.raises(NotFound) as missing:
            await client.get_document("no such")
        assert missing.value.field == "document_id"
        with pytest.raises(InvalidInput) as unsendable:
            await client.route(Query((TextPart("a"),), filter=Filter(must=(Condition("year", equals=2**70),))))
        assert unsendable.value.field == "query"
        with pytest.raises(AllSourcesUnavailable):
            await _sync(service.target, lambda blocking: list(blocking.stream_answer(QUESTION)))


async def test_no_service_is_told_as_that() -> None:
    async with running() as service:
        target = service.target
    async with AsyncRouterClient(target) as client:
        with pytest.raises(Unavailable) as absent:
            await client.route(QUESTION)
        assert (absent.value.reason, target in absent.value.message) == (UNREACHABLE, True)
        with pytest.raises(Unavailable) as unsent:
            [reply async for reply in client.ingest(_uploads("a"))]
        assert unsent.value.reason == UNREACHABLE
    with pytest.raises(Unavailable):
        await _sync(target, lambda client: client.health())


async def _uploads(*names: str, error: Exception | None = None) -> AsyncIterator[Upload]:
    for name in names:
        yield Upload(name, f"text of {name}".encode(), metadata={"tags": ("a", "b"), "year": 2024})
    if error is not None:
        raise error


def _blocking_uploads(*names: str, error: Exception | None = None) -> Iterator[Upload]:
    for name in names:
        yield Upload(name, f"text of {name}".encode())
    if error is not None:
        raise error


async def test_documents_live_and_die() -> None:
    names = tuple(f"{number:02}.txt" for number in range(7))
    async with running() as service, AsyncRouterClient(service.target) as client:
        replies = [reply async for reply in client.ingest(_uploads(*names))]
        assert [reply.state for reply in replies] == [DocumentState.DURABLE, DocumentState.SEARCHABLE] * 7
        assert [record.name async for record in client.list_documents(page_size=3)] == list(names)
        record, text = await client.get_document(replies[0].document_id)
        assert (record.metadata, text) == ({"tags": ("a", "b"), "year": 2024}, "text of 00.txt")
        assert await client.delete_document(record.id) == 1
        assert (await client.corpus_stats()).documents == {"searchable": 6}

        def blocking(client: RouterClient) -> tuple[list[DocumentState], list[str]]:
            states = [reply.state for reply in client.ingest(_blocking_uploads("00.txt"))]
            return states, [record.name for record in client.list_documents(page_size=2)]

        assert await _sync(service.target, blocking) == ([DocumentState.DURABLE, DocumentState.SEARCHABLE], list(names))


async def test_an_error_of_the_uploads_comes_out_after_what_was_taken() -> None:
    async with running() as service, AsyncRouterClient(service.target) as client:
        replies = []
        with pytest.raises(OSError, match="disk"):  # noqa: PT012
            async for reply in client.ingest(_uploads("a", "b", error=OSError("disk"))):
                replies.append(reply.name)  # noqa: PERF401 - what comes before the error counts
        assert replies == ["a", "a", "b", "b"]

        def blocking(client: RouterClient) -> list[str]:
            names = []
            with pytest.raises(OSError, match="disk"):  # noqa: PT012
                for reply in client.ingest(_blocking_uploads("c", error=OSError("disk"))):
                    names.append(reply.name)  # noqa: PERF401
            return names

        assert await _sync(service.target, blocking) == ["c", "c"]


async def test_a_refused_stream_of_documents_says_why() -> None:
    """grpc.aio forgets a refusal that meets a send; both clients must not, however often it is tried."""
    many = [str(number) for number in range(20)]
    async with running(api_keys=[{"tenant": "ada", "key": "right"}]) as service:
        async with AsyncRouterClient(service.target, api_key="wrong") as client:
            for _ in range(25):
                with pytest.raises(Unauthenticated):
                    [reply async for reply in client.ingest(_uploads(*many))]
        for _ in range(25):
            with pytest.raises(Unauthenticated):
                await _sync(service.target, lambda client: list(client.ingest(_blocking_uploads(*many))), api_key="wrong")
        assert await _sync(service.target, lambda client: client.route(QUESTION).policy, api_key="right") == "all"


async def test_a_stream_that_breaks_is_told_as_unavailable() -> None:
    class Breaking(InMemoryCorpus):
        async def ingest(self, tenant: str, uploads: AsyncIterator[Any]) -> AsyncIterator[Any]:
            async for acknowledgement in super().ingest(tenant, uploads):
                yield acknowledgement
                raise StoreUnavailable("the disk is full")

    many = [str(number) for number in range(50)]
    reasons = set()
    async with running(SmallApp(corpus=Breaking())) as service:
        async with AsyncRouterClient(service.target) as client:
            for _ in range(20):
                with pytest.raises(Unavailable) as broken:
                    [reply async for reply in client.ingest(_uploads(*many))]
                reasons.add(broken.value.reason)
        assert reasons <= {STREAM_BROKEN, "STORE_UNAVAILABLE"}
        for _ in range(20):
            with pytest.raises(StoreUnavailable):
                await _sync(service.target, lambda client: list(client.ingest(_blocking_uploads(*many))))


async def test_tls(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    command = f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext {names} -keyout {key} -out {certificate}"
    try:
        await asyncio.to_thread(subprocess.run, command.split(), check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed, and it makes the certificate of this test")

    server = grpc.aio.server()
    credentials = grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())])
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    try:
        async with AsyncRouterClient(f"localhost:{port}", tls=True, root_certificates=certificate.read_bytes()) as client:
            with pytest.raises(Exception, match="Method not found"):
                await client.route(QUESTION)
        async with AsyncRouterClient(f"localhost:{port}", tls=True) as client:
            with pytest.raises(Unavailable):  # nobody vouches for this certificate
                await client.route(QUESTION)
    finally:
        await server.stop(0)
