"""What the server does around every call: deadlines, cancellation, credentials, permits, request ids, errors."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from structlog.testing import capture_logs

from router.pb import corpus_service_pb2 as corpus_pb
from router.pb import router_service_pb2 as router_pb
from router.pb import types_pb2 as pb
from router.settings import RetrievalSettings
from router.testing.corpus import InMemoryCorpus
from router.testing.engine import ListRetriever, StuckGenerator, StuckRetriever, small_engine
from router.types import Caller, Query, Retrieval, Token
from tests.integration.grpc_service import PASSAGE, SmallApp, failed, running

QUESTION = pb.Query(parts=[pb.Part(text="Who keeps the secret lantern?")])
RETRIEVE = router_pb.RetrieveRequest(query=QUESTION)
ROUTE = router_pb.RouteRequest(query=QUESTION)
KEYS = [{"tenant": "ada", "key": "key-of-ada"}, {"tenant": "bob", "key": "key-of-bob"}]


async def _soon(event: asyncio.Event) -> None:
    async with asyncio.timeout(10):
        await event.wait()


# --- deadlines ------------------------------------------------------------------------------------------------------


async def test_the_callers_deadline_reaches_the_sources() -> None:
    retriever = ListRetriever([PASSAGE])
    settings = RetrievalSettings(source_timeout_s=1000)
    async with running(SmallApp(engine=small_engine({"vector": retriever}, settings=settings))) as service:
        await service.router.Retrieve(RETRIEVE, timeout=100)
        await service.router.Retrieve(RETRIEVE)
    given, default = (caller.deadline.at - time.monotonic() for caller in retriever.callers)
    assert 60 < given <= 102  # on the wire a deadline has few digits, and is rounded up
    assert 0 < default <= 60  # default_deadline_s


async def test_a_call_that_takes_too_long_is_ended_by_the_callers_deadline() -> None:
    generator = StuckGenerator()
    engine = small_engine({"vector": ListRetriever([PASSAGE])}, generator=generator)
    async with running(SmallApp(engine=engine)) as service:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await service.router.Answer(router_pb.AnswerRequest(query=QUESTION), timeout=1)
        assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await _soon(generator.cancelled)


@pytest.mark.parametrize("method", ["Answer", "StreamAnswer"])
async def test_a_call_without_deadline_gets_the_configured_one(method: str) -> None:
    generator = StuckGenerator()
    engine = small_engine({"vector": ListRetriever([PASSAGE])}, generator=generator)
    async with running(SmallApp(engine=engine), default_deadline_s=1.0) as service:
        failure = await failed(getattr(service.router, method)(getattr(router_pb, f"{method}Request")(query=QUESTION)))
        assert (failure.code, failure.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")
        await _soon(generator.cancelled)


async def test_a_late_source_is_reported_beside_the_others() -> None:
    engine = small_engine({"vector": ListRetriever([PASSAGE]), "web": StuckRetriever()}, settings=RetrievalSettings(source_timeout_s=0.1))
    async with running(SmallApp(engine=engine)) as service:
        reply = await service.router.Retrieve(RETRIEVE)
    assert [report.code for report in reply.sources] == [pb.SOURCE_CODE_OK, pb.SOURCE_CODE_DEADLINE_EXCEEDED]


# --- cancellation ---------------------------------------------------------------------------------------------------


async def test_work_stops_when_the_caller_of_a_unary_call_goes() -> None:
    stuck = StuckRetriever()
    async with running(SmallApp(engine=small_engine({"vector": stuck}))) as service:
        call = service.router.Retrieve(RETRIEVE)
        await _soon(stuck.asked)
        call.cancel()
        await _soon(stuck.cancelled)


async def test_work_stops_when_the_reader_of_a_stream_goes() -> None:
    generator = StuckGenerator()
    async with running(SmallApp(engine=small_engine({"vector": ListRetriever([PASSAGE])}, generator=generator))) as service:
        call = service.router.StreamAnswer(router_pb.StreamAnswerRequest(query=QUESTION))
        async for event in call:
            if event.token:
                break
        call.cancel()
        await _soon(generator.cancelled)


async def test_work_stops_when_the_connection_breaks() -> None:
    stuck = StuckRetriever()
    async with running(SmallApp(engine=small_engine({"vector": stuck}))) as service:
        async with grpc.aio.insecure_channel(service.target) as channel:
            call = channel.unary_unary("/graphrag.router.v1.RouterService/Retrieve")(RETRIEVE.SerializeToString())
            task = asyncio.ensure_future(call)
            await _soon(stuck.asked)
        await _soon(stuck.cancelled)
        with pytest.raises((grpc.aio.AioRpcError, asyncio.CancelledError)):
            await task


async def test_a_cancelled_part_inside_does_not_leave_the_caller_waiting() -> None:
    """grpc#29248: CancelledError raised by a handler whose call goes on would send no status at all."""

    class CancelledInside:
        async def generate(self, query: Query, retrieval: Retrieval, caller: Caller) -> AsyncIterator[Any]:
            yield Token("Well ")
            inner = asyncio.ensure_future(asyncio.Event().wait())
            inner.cancel()
            await inner

    async with running(SmallApp(engine=small_engine({"vector": ListRetriever([PASSAGE])}, generator=CancelledInside()))) as service:
        for method in ("Answer", "StreamAnswer"):
            request = getattr(router_pb, f"{method}Request")(query=QUESTION)
            async with asyncio.timeout(10):
                failure = await failed(getattr(service.router, method)(request))
            assert (failure.code, failure.reason) == (grpc.StatusCode.INTERNAL, "CANCELLED_INSIDE")


# --- request ids, credentials, permits ------------------------------------------------------------------------------


async def _request_id(call: Any) -> str:
    return str(dict(await call.initial_metadata())["x-request-id"])


async def test_a_valid_request_id_is_kept_and_told_everywhere() -> None:
    retriever = ListRetriever([PASSAGE])
    async with running(SmallApp(engine=small_engine({"vector": retriever}))) as service:
        with capture_logs() as lines:
            call = service.router.Retrieve(RETRIEVE, metadata=(("x-request-id", "trace-7:a/b"),))
            assert (await call).request_id == await _request_id(call) == "trace-7:a/b"
        assert retriever.callers[0].request_id == "trace-7:a/b"
        wrong = service.router.Route(router_pb.RouteRequest(), metadata=(("x-request-id", "trace-8"),))
        assert (await failed(wrong)).request_id == await _request_id(wrong) == "trace-8"
        assert any(line["event"] == "call" and line["code"] == "OK" for line in lines)


@pytest.mark.parametrize("sent", ["has blanks", "x" * 129, "<script>"])
async def test_an_invalid_request_id_is_replaced(sent: str) -> None:
    async with running() as service:
        call = service.router.Route(ROUTE, metadata=(("x-request-id", sent),))
        reply = await call
        assert reply.request_id == await _request_id(call) != sent
        other = await service.router.Route(ROUTE)
        assert other.request_id != reply.request_id


def _bearer(key: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {key}"),)


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ((), "CREDENTIAL_MISSING"),
        (_bearer(""), "CREDENTIAL_UNKNOWN"),
        (_bearer("key-of-ad"), "CREDENTIAL_UNKNOWN"),
        (_bearer("key-of-ada2"), "CREDENTIAL_UNKNOWN"),
        ((("authorization", "Basic key-of-ada"),), "CREDENTIAL_MALFORMED"),
        ((("authorization", "key-of-ada"),), "CREDENTIAL_MALFORMED"),
    ],
)
async def test_without_a_right_key_nothing_is_told(metadata: Any, reason: str) -> None:
    async with running(api_keys=KEYS) as service:
        for call in (
            service.router.Route(ROUTE, metadata=metadata),
            service.router.StreamAnswer(router_pb.StreamAnswerRequest(query=QUESTION), metadata=metadata),
            service.corpus.IngestDocuments(metadata=metadata),
        ):
            failure = await failed(call)
            assert (failure.code, failure.reason) == (grpc.StatusCode.UNAUTHENTICATED, reason)


async def test_the_key_decides_whose_documents_are_seen() -> None:
    retriever = ListRetriever([PASSAGE])
    async with running(SmallApp(engine=small_engine({"vector": retriever})), api_keys=KEYS) as service:
        ada, bob = _bearer("key-of-ada"), (("authorization", "bearer key-of-bob"),)
        upload = corpus_pb.IngestDocumentsRequest(name="a", content=b"a")
        acknowledged = [reply async for reply in service.corpus.IngestDocuments(iter([upload]), metadata=ada)]
        document_id = acknowledged[-1].document_id
        assert (await service.corpus.GetDocument(corpus_pb.GetDocumentRequest(document_id=document_id), metadata=ada)).text == "a"
        for crossing in (
            service.corpus.GetDocument(corpus_pb.GetDocumentRequest(document_id=document_id), metadata=bob),
            service.corpus.DeleteDocument(corpus_pb.DeleteDocumentRequest(document_id=document_id), metadata=bob),
        ):
            assert (await failed(crossing)).code is grpc.StatusCode.NOT_FOUND
        assert not (await service.corpus.ListDocuments(corpus_pb.ListDocumentsRequest(), metadata=bob)).documents
        assert (await service.corpus.GetCorpusStats(corpus_pb.GetCorpusStatsRequest(), metadata=bob)).chunk_count == 0
        await service.router.Retrieve(RETRIEVE, metadata=bob)
    assert [caller.tenant for caller in retriever.callers] == ["bob"]


async def test_without_keys_all_are_the_anonymous_tenant() -> None:
    retriever = ListRetriever([PASSAGE])
    async with running(SmallApp(engine=small_engine({"vector": retriever})), anonymous_tenant="guests") as service:
        await service.router.Retrieve(RETRIEVE, metadata=_bearer("whatever"))
    assert [caller.tenant for caller in retriever.callers] == ["guests"]


async def test_calls_beyond_the_limit_are_refused_and_told_when_to_come_again() -> None:
    stuck = StuckRetriever()
    async with running(SmallApp(engine=small_engine({"vector": stuck})), max_concurrent_calls=1) as service:
        first = service.router.Retrieve(RETRIEVE)
        await _soon(stuck.asked)
        failure = await failed(service.router.Route(ROUTE))
        assert (failure.code, failure.reason, failure.retry_s) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED", 1.0)
        first.cancel()
        await _soon(stuck.cancelled)
        async with asyncio.timeout(10):
            while await _is_refused(service.router.Route(ROUTE)):  # noqa: ASYNC110 - the permit comes back a moment later
                await asyncio.sleep(0.01)


async def _is_refused(call: Any) -> bool:
    try:
        await call
    except grpc.aio.AioRpcError:
        return True
    return False


# --- errors ---------------------------------------------------------------------------------------------------------


async def test_a_bug_is_told_without_its_words_and_logged_with_its_traceback() -> None:
    class Buggy:
        name = "buggy"

        async def decide(self, *_: Any) -> Any:
            raise ZeroDivisionError("the secret of the house")

    async with running(SmallApp(engine=small_engine({"vector": ListRetriever()}, policies=[Buggy()]))) as service:
        with capture_logs() as lines:
            failure = await failed(service.router.Route(ROUTE, metadata=(("x-request-id", "r-9"),)))
    assert (failure.code, failure.reason, failure.request_id) == (grpc.StatusCode.INTERNAL, "INTERNAL", "r-9")
    assert "secret" not in failure.message
    assert [type(line["exc_info"]) for line in lines if line["event"] == "unexpected_error"] == [ZeroDivisionError]


async def test_logs_hold_no_text_of_questions_or_documents() -> None:
    async with running() as service:
        with capture_logs() as lines:
            await service.router.Answer(router_pb.AnswerRequest(query=QUESTION))
            await failed(service.router.Route(router_pb.RouteRequest(query=QUESTION, policy="secret")))
            upload = corpus_pb.IngestDocumentsRequest(name="a", content=b"secret")
            [reply async for reply in service.corpus.IngestDocuments(iter([upload]))]
    assert len([line for line in lines if line["event"] == "call"]) == 3
    assert "secret" not in str(lines)


async def test_a_message_that_is_too_large_is_refused() -> None:
    async with running(max_message_bytes=64 * 1024) as service:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await service.router.Route(router_pb.RouteRequest(query=pb.Query(parts=[pb.Part(text="x" * 70_000)])))
    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


# --- the stream of documents ----------------------------------------------------------------------------------------


async def test_documents_are_acknowledged_while_others_are_still_to_come() -> None:
    async with running() as service:
        call = service.corpus.IngestDocuments()
        for number in range(3):
            await call.write(corpus_pb.IngestDocumentsRequest(name=f"{number}", content=b"text"))
            replies = [await call.read(), await call.read()]
            assert [reply.state for reply in replies] == [corpus_pb.DOCUMENT_STATE_DURABLE, corpus_pb.DOCUMENT_STATE_SEARCHABLE]
            await call.write(corpus_pb.IngestDocumentsRequest(name="", content=b"x", metadata={"year": pb.Value()}))
            assert (await call.read()).state == corpus_pb.DOCUMENT_STATE_FAILED
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF


async def test_a_busy_corpus_slows_its_sender_down() -> None:
    class Busy(InMemoryCorpus):
        """Takes one document and then no more until it is told to."""

        def __init__(self) -> None:
            super().__init__()
            self.go_on = asyncio.Event()

        async def ingest(self, tenant: str, uploads: AsyncIterator[Any]) -> AsyncIterator[Any]:
            async for acknowledgement in super().ingest(tenant, uploads):
                yield acknowledgement
                await self.go_on.wait()

    corpus, size, count = Busy(), 256 * 1024, 256  # far more than all buffers on the way hold
    sent = 0

    async def uploads() -> AsyncIterator[corpus_pb.IngestDocumentsRequest]:
        nonlocal sent
        for number in range(count):
            sent += 1
            yield corpus_pb.IngestDocumentsRequest(name=str(number), content=b"x" * size)

    async with running(SmallApp(corpus=corpus)) as service:
        call = service.corpus.IngestDocuments(uploads())
        assert (await call.read()).state == corpus_pb.DOCUMENT_STATE_DURABLE
        before = -1
        while sent != before:  # until the sender is stopped by the full connection
            before = sent
            await asyncio.sleep(0.2)
        assert corpus.taken == 1
        assert sent < count
        corpus.go_on.set()
        rest = await _rest(call)
    assert len(rest) == 2 * count - 1
    assert corpus.taken == count


async def test_an_ingest_ends_with_its_caller() -> None:
    ended = asyncio.Event()

    class Watched(InMemoryCorpus):
        async def ingest(self, tenant: str, uploads: AsyncIterator[Any]) -> AsyncIterator[Any]:
            try:
                async for acknowledgement in super().ingest(tenant, uploads):
                    yield acknowledgement
            finally:
                ended.set()

    async with running(SmallApp(corpus=Watched())) as service:
        call = service.corpus.IngestDocuments()
        await call.write(corpus_pb.IngestDocumentsRequest(name="a", content=b"a"))
        await call.read()
        call.cancel()
        await _soon(ended)


async def test_an_ingest_has_no_deadline_of_ours() -> None:
    async with running(default_deadline_s=0.05) as service:
        call = service.corpus.IngestDocuments()
        await asyncio.sleep(0.2)
        await call.write(corpus_pb.IngestDocumentsRequest(name="a", content=b"a"))
        assert (await call.read()).state == corpus_pb.DOCUMENT_STATE_DURABLE
        await call.done_writing()
        assert [reply.state for reply in await _rest(call)] == [corpus_pb.DOCUMENT_STATE_SEARCHABLE]


async def _rest(call: Any) -> list[Any]:
    replies = []
    while (reply := await call.read()) is not grpc.aio.EOF:
        replies.append(reply)
    return replies
