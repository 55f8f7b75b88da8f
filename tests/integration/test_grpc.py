"""Every call of the contract on a real server: what goes in, what comes out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import replace
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2

from router.correction.base import Change, Lookup, State, Verdict
from router.correction.corrector import Corrector
from router.errors import AllSourcesUnavailable, InvalidInput, ModelUnavailable, StoreUnavailable
from router.filtering.policy_file import FilterPolicy
from router.filtering.refusal import RefusalRules
from router.pb import corpus_service_pb2 as corpus_pb
from router.pb import policy_service_pb2 as policy_pb
from router.pb import router_service_pb2 as router_pb
from router.pb import types_pb2 as pb
from router.retrieval.base import Probe
from router.routing.base import SourceProfile
from router.routing.experiment import Arm, Experiment
from router.testing.corpus import InMemoryCorpus
from router.testing.engine import ListRetriever, TablePolicy, small_engine
from router.testing.fakes import HashEmbedder
from router.types import Caller, Evidence, Notice, Picture, Query, Route, RouteDecision, TextRegion
from tests.integration.grpc_service import PASSAGE, SmallApp, collected, failed, running
from tests.unit.api.filled import unset_fields

QUESTION = pb.Query(parts=[pb.Part(text="Who keeps the lantern?")])


class FullPolicy:
    """A decision with every field set."""

    name = "full"

    async def decide(self, query: Query, probe: Probe, sources: tuple[SourceProfile, ...], caller: Caller) -> RouteDecision:
        routes = (
            Route(source.name, True, 0.75, "likely", expected_quality=0.5, cost=0.25, latency_s=0.125, latency_p90_s=0.5)
            for source in sources
        )
        return RouteDecision(self.name, tuple(routes), "by table", version="7", features={"near_first": 0.5})


class LostPolicy:
    name = "lost"

    async def decide(self, query: Query, probe: Probe, sources: tuple[SourceProfile, ...], caller: Caller) -> RouteDecision:
        raise ModelUnavailable("the model is gone")


class Doubting:
    def judge(self, query: Query, probe: Probe, evidence: Sequence[Evidence]) -> Verdict:
        return Verdict(0.25, "it is in doubt")


class AskingOn:
    """Puts one more question to the sources that were asked."""

    async def propose(self, state: State) -> Change:
        return Change("sub-questions", "a step is missing", tuple(Lookup("And when?", lookup.source) for lookup in state.made))


LINE = TextRegion("LANTERN 4", 0.1, 0.2, 0.3, 0.05, 0.9, matches=True)


class OneLine:
    """A journal with one line of text in every picture."""

    async def picture_regions(self, tenant: str, chunk_ids: Collection[str]) -> dict[str, tuple[TextRegion, ...]]:
        return dict.fromkeys(chunk_ids, (replace(LINE, matches=False),))


def full_app() -> SmallApp:
    retrievers = {"vector": ListRetriever([PASSAGE]), "graph": ListRetriever([replace(PASSAGE, id="chunk-2")], degraded="12 s old")}
    policies = [FullPolicy(), LostPolicy(), TablePolicy("table", {"vector": 1.0})]
    experiment = Experiment("trial", [Arm("full", 1.0, FullPolicy())])
    corrector = Corrector(Doubting(), [AskingOn()], turns=1)
    return SmallApp(engine=small_engine(retrievers, policies=policies, corrector=corrector, experiment=experiment, regions=OneLine()))


async def test_replies_set_every_field_of_their_messages() -> None:
    healthy = {"sources.message", "answer.sources.message", "final.sources.message", "evidence.sources.message"}  # empty when all is well
    async with running(full_app()) as service:
        route = await service.router.Route(router_pb.RouteRequest(query=QUESTION, all_policies=True))
        # `table` estimates no quality, cost or latency.
        unestimated = {f"alternatives.routes.{name}" for name in ("expected_quality", "cost", "latency_ms", "latency_p90_ms", "selected")}
        unestimated |= {f"alternatives.{name}" for name in ("version", "features", "expected_latency_ms", "expected_latency_p90_ms")}
        unestimated |= {"alternatives.routes.probability"}
        # The decision of the chain has no key to assign.
        unestimated |= {f"{place}.{name}" for place in ("decision", "alternatives") for name in ("experiment", "arm")}
        assert set(unset_fields(route)) <= unestimated
        options = pb.RetrievalOptions(experiment_key="ada")
        retrieved = await service.router.Retrieve(router_pb.RetrieveRequest(query=QUESTION, options=options))
        assert set(unset_fields(retrieved)) <= healthy | {"warnings"}
        answer = await service.router.Answer(router_pb.AnswerRequest(query=QUESTION, options=options))
        assert set(unset_fields(answer)) <= healthy
        async for event in service.router.StreamAnswer(router_pb.StreamAnswerRequest(query=QUESTION, options=options)):
            assert set(unset_fields(event)) <= healthy
        policies = await service.policies.ListPolicies(policy_pb.ListPoliciesRequest())
        assert set(unset_fields(policies)) == {"policies.chain_position"}  # `all` is not part of the chain


async def test_a_route_names_the_policy_and_who_could_not_decide() -> None:
    async with running(full_app()) as service:
        reply = await service.router.Route(router_pb.RouteRequest(query=QUESTION, policy="table", all_policies=True))
    assert reply.decision.policy == "table"
    assert [alternative.policy for alternative in reply.alternatives] == ["full", "table"]
    assert [(warning.reason, warning.message) for warning in reply.warnings] == [("POLICY_COULD_NOT_DECIDE", "lost: the model is gone")]


async def test_options_reach_the_engine() -> None:
    async with running(full_app()) as service:
        options = pb.RetrievalOptions(sources=["graph"], limit=1, fusion="rrf")
        reply = await service.router.Retrieve(router_pb.RetrieveRequest(query=QUESTION, options=options))
    assert [(report.source, report.code, report.message) for report in reply.sources] == [("graph", pb.SOURCE_CODE_DEGRADED, "12 s old")]
    assert [item.id for item in reply.evidence] == ["chunk-2"]
    assert reply.decision.policy == "as asked"


async def test_a_budget_reaches_the_engine() -> None:
    async with running(full_app()) as service:
        bound = await service.router.Retrieve(router_pb.RetrieveRequest(query=QUESTION, options=pb.RetrievalOptions(max_cost=0.3)))
        nothing = await service.router.Retrieve(router_pb.RetrieveRequest(query=QUESTION, options=pb.RetrievalOptions(max_cost=0.0)))
    assert [route.source for route in bound.decision.routes if route.selected] == ["graph"]
    assert "left out for the budget of 0.3: vector" in bound.decision.reason
    assert not any(route.selected for route in nothing.decision.routes)
    assert not nothing.evidence


async def test_a_cap_on_latency_reaches_the_engine() -> None:
    async with running(full_app()) as service:
        options = pb.RetrievalOptions(max_latency_ms=400.0)
        hurried = await service.router.Retrieve(router_pb.RetrieveRequest(query=QUESTION, options=options))
        options = pb.RetrievalOptions(max_latency_ms=500.0)
        patient = await service.router.Retrieve(router_pb.RetrieveRequest(query=QUESTION, options=options))
    assert not any(route.selected for route in hurried.decision.routes)
    assert "left out as slower than 400 ms: vector, graph" in hurried.decision.reason
    assert not hurried.decision.HasField("expected_latency_ms")
    assert all(route.selected for route in patient.decision.routes)
    assert (patient.decision.expected_latency_ms, patient.decision.expected_latency_p90_ms) == (125.0, 500.0)


async def test_a_refused_question_is_refused_by_every_call_but_health() -> None:
    rule = {"name": "light", "message": "Ask the harbour office.", "patterns": ["lantern"]}
    refusal = await RefusalRules.open(FilterPolicy.model_validate({"refuse": [rule]}), HashEmbedder())
    source = ListRetriever([PASSAGE])
    async with running(SmallApp(engine=small_engine({"vector": source}, query_filters=[refusal]))) as service:
        for call in (
            service.router.Route(router_pb.RouteRequest(query=QUESTION)),
            service.router.Retrieve(router_pb.RetrieveRequest(query=QUESTION)),
            service.router.Answer(router_pb.AnswerRequest(query=QUESTION)),
            service.router.StreamAnswer(router_pb.StreamAnswerRequest(query=QUESTION)),
        ):
            failure = await failed(call)
            assert (failure.code, failure.reason) == (grpc.StatusCode.PERMISSION_DENIED, "QUERY_REFUSED")
            assert failure.message == "Ask the harbour office."
        await service.router.Route(router_pb.RouteRequest(query=pb.Query(parts=[pb.Part(text="Who keeps the boat?")])))
        health = await service.health.Check(health_pb2.HealthCheckRequest())
        logged = await service.policies.ListDecisions(policy_pb.ListDecisionsRequest())
    assert health.status == health_pb2.HealthCheckResponse.SERVING
    assert source.callers == []
    assert not logged.decisions


async def test_a_stream_tells_decision_evidence_tokens_and_the_whole_answer_in_this_order() -> None:
    async with running() as service:
        events = [event async for event in service.router.StreamAnswer(router_pb.StreamAnswerRequest(query=QUESTION))]
        whole = await service.router.Answer(router_pb.AnswerRequest(query=QUESTION))
    kinds = [event.WhichOneof("event") for event in events]
    assert kinds == ["decision", "evidence", *["token"] * 6, "citation", "warning", "final"]
    assert "".join(event.token for event in events) == events[-1].final.text == whole.answer.text == "Ada keeps the lantern lit. [1]"
    assert len({event.request_id for event in events}) == 1


async def test_a_failed_source_is_no_error_but_all_failed_are() -> None:
    down = ListRetriever(error=StoreUnavailable("the store is down"))
    async with running(SmallApp(engine=small_engine({"vector": ListRetriever([PASSAGE]), "graph": down}))) as service:
        reply = await service.router.Retrieve(router_pb.RetrieveRequest(query=QUESTION))
        assert [report.code for report in reply.sources] == [pb.SOURCE_CODE_OK, pb.SOURCE_CODE_UNAVAILABLE]
        options = pb.RetrievalOptions(sources=["graph"])
        for call in (
            service.router.Retrieve(router_pb.RetrieveRequest(query=QUESTION, options=options)),
            service.router.Answer(router_pb.AnswerRequest(query=QUESTION, options=options)),
        ):
            failure = await failed(call)
            assert (failure.code, failure.reason) == (grpc.StatusCode.UNAVAILABLE, AllSourcesUnavailable.default_reason)
            assert failure.retry_s == 1.0
        events, failure = await collected(service.router.StreamAnswer(router_pb.StreamAnswerRequest(query=QUESTION, options=options)))
        assert [event.WhichOneof("event") for event in events] == ["decision"]
        assert failure is not None
        assert failure.reason == AllSourcesUnavailable.default_reason


async def test_documents_live_and_die() -> None:
    async with running() as service:
        sent = [
            corpus_pb.IngestDocumentsRequest(
                name=f"{letter}.txt",
                content=b"text of " + letter.encode(),
                title=letter.upper(),
                metadata={"year": pb.Value(int_value=2024)},
            )
            for letter in "abc"
        ]
        acknowledgements = [reply async for reply in service.corpus.IngestDocuments(iter(sent))]
        assert [reply.state for reply in acknowledgements] == [corpus_pb.DOCUMENT_STATE_DURABLE, corpus_pb.DOCUMENT_STATE_SEARCHABLE] * 3
        again = [reply async for reply in service.corpus.IngestDocuments(iter(sent[:1]))]
        assert [reply.state for reply in again] == [corpus_pb.DOCUMENT_STATE_UNCHANGED]
        first = await service.corpus.ListDocuments(corpus_pb.ListDocumentsRequest(page_size=2))
        second = await service.corpus.ListDocuments(corpus_pb.ListDocumentsRequest(page_size=2, page_token=first.next_page_token))
        assert [document.name for document in (*first.documents, *second.documents)] == ["a.txt", "b.txt", "c.txt"]
        document_id = first.documents[0].id
        shown = await service.corpus.GetDocument(corpus_pb.GetDocumentRequest(document_id=document_id))
        assert set(unset_fields(shown)) == {"document.error"}
        assert shown.text == "text of a"
        gone = await service.corpus.DeleteDocument(corpus_pb.DeleteDocumentRequest(document_id=document_id))
        assert set(unset_fields(gone)) == set()
        stats = await service.corpus.GetCorpusStats(corpus_pb.GetCorpusStatsRequest())
        assert (dict(stats.documents), stats.chunk_count, stats.vector_count) == ({"searchable": 2}, 2, 2)


async def test_a_picture_comes_with_its_file() -> None:
    corpus = InMemoryCorpus()
    corpus.pictures["default", "ab"] = Picture("ab", "image/png", 4, 3, b"small", ("cd",), regions=(LINE,)), b"the file"
    corpus.pictures["other", "cd"] = Picture("cd", "image/png", 4, 3, b"small"), b"of another tenant"
    async with running(SmallApp(corpus=corpus)) as service:
        shown = await service.corpus.GetPicture(corpus_pb.GetPictureRequest(picture_id="ab"))
        assert set(unset_fields(shown)) == set()
        assert (shown.data, shown.picture.width, shown.picture.height) == (b"the file", 4, 3)
        failure = await failed(service.corpus.GetPicture(corpus_pb.GetPictureRequest(picture_id="cd")))
    assert failure.code is NOT_FOUND


async def test_stats_tell_what_is_down() -> None:
    corpus = InMemoryCorpus()
    corpus.notices = (Notice("GRAPH_DOWN", "start it"),)
    async with running(SmallApp(corpus=corpus)) as service:
        stats = await service.corpus.GetCorpusStats(corpus_pb.GetCorpusStatsRequest())
    assert [(warning.reason, warning.message) for warning in stats.warnings] == [("GRAPH_DOWN", "start it")]


# --- a wrong value for every field of every request -----------------------------------------------------------------


def _query(**fields: Any) -> pb.Query:
    return pb.Query(parts=QUESTION.parts, **fields)


def _must(**fields: Any) -> pb.Query:
    return _query(filter=pb.Filter(must=[pb.Condition(**fields)]))


NUMBER, LIST = pb.Value(int_value=1), pb.Value(string_list=pb.StringList(values=["a"]))
NOT_FINITE = pb.Value(double_value=float("nan"))
INVALID, UNIMPLEMENTED, NOT_FOUND = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.NOT_FOUND

# Of a query: (the query, the code, the field that is named).
WRONG_QUERIES = [
    (None, INVALID, "query.parts"),
    (pb.Query(), INVALID, "query.parts"),
    (pb.Query(parts=[pb.Part()]), INVALID, "query.parts[0].content"),
    (pb.Query(parts=[pb.Part(text="  ")]), INVALID, "query.parts[0].text"),
    (pb.Query(parts=[pb.Part(text="x" * 8001)]), INVALID, "query.parts"),
    (pb.Query(parts=[pb.Part(text="x")] * 17), INVALID, "query.parts"),
    (pb.Query(parts=[pb.Part(image=pb.Image(data=b"x", mime_type="image/png"))]), UNIMPLEMENTED, "query.parts[0]"),
    (pb.Query(parts=[pb.Part(image_uri="http://x/y.png")]), UNIMPLEMENTED, "query.parts[0]"),
    (pb.Query(parts=[pb.Part(image=pb.Image())]), INVALID, "query.parts[0].image.data"),
    (pb.Query(parts=[pb.Part(image_uri=" ")]), INVALID, "query.parts[0].image_uri"),
    (pb.Query(parts=[pb.Part(image=pb.Image(data=b"x"))] * 5), INVALID, "query.parts"),
    (_query(history=[pb.Turn(text="a")]), INVALID, "query.history[0].role"),
    (_query(history=[pb.Turn(role=9, text="a")]), INVALID, "query.history[0].role"),
    (_query(history=[pb.Turn(role=pb.ROLE_USER, text="x" * 32_001)]), INVALID, "query.history[0].text"),
    (_query(history=[pb.Turn(role=pb.ROLE_USER, text="x")] * 65), INVALID, "query.history"),
    (_query(instruction=" "), INVALID, "query.instruction"),
    (_query(instruction="x" * 8001), INVALID, "query.instruction"),
    (pb.Query(instruction="only drawings"), INVALID, "query.instruction"),
    (_must(field="1st", exists=True), INVALID, "query.filter.must[0].field"),
    (_must(field="year"), INVALID, "query.filter.must[0].test"),
    (_must(field="year", equals=pb.Value()), INVALID, "query.filter.must[0].equals"),
    (_must(field="year", equals=LIST), INVALID, "query.filter.must[0].equals"),
    (_must(field="year", equals=NOT_FINITE), INVALID, "query.filter.must[0].equals"),
    (_must(field="year", any_of=pb.ValueList()), INVALID, "query.filter.must[0].any_of"),
    (_must(field="year", any_of=pb.ValueList(values=[NUMBER, pb.Value()])), INVALID, "query.filter.must[0].any_of.values[1]"),
    (_must(field="year", any_of=pb.ValueList(values=[NUMBER, NOT_FINITE])), INVALID, "query.filter.must[0].any_of.values[1]"),
    (_must(field="year", range=pb.Range()), INVALID, "query.filter.must[0].range"),
    (_must(field="year", range=pb.Range(at_least=pb.Value())), INVALID, "query.filter.must[0].range.at_least"),
    (_must(field="year", range=pb.Range(at_most=pb.Value(bool_value=True))), INVALID, "query.filter.must[0].range.at_most"),
    (_must(field="year", range=pb.Range(at_least=NUMBER, at_most=pb.Value(string_value="z"))), INVALID, "query.filter.must[0].range"),
    (_query(filter=pb.Filter(should=[pb.Condition()])), INVALID, "query.filter.should[0].test"),
    (_query(filter=pb.Filter(must_not=[pb.Condition(field="", exists=True)])), INVALID, "query.filter.must_not[0].field"),
]

WRONG_OPTIONS = [
    (pb.RetrievalOptions(sources=["vector", "moon"]), "options.sources[1]"),
    (pb.RetrievalOptions(sources=["vector", "vector"]), "options.sources[1]"),
    (pb.RetrievalOptions(sources=["x" * 100_000]), "options.sources[0]"),
    (pb.RetrievalOptions(policy="dice"), "options.policy"),
    (pb.RetrievalOptions(policy="all", sources=["vector"]), "options.policy"),
    (pb.RetrievalOptions(limit=-1), "options.limit"),
    (pb.RetrievalOptions(limit=101), "options.limit"),
    (pb.RetrievalOptions(fusion="stir"), "options.fusion"),
    (pb.RetrievalOptions(max_cost=-0.1), "options.max_cost"),
    (pb.RetrievalOptions(max_cost=float("nan")), "options.max_cost"),
    (pb.RetrievalOptions(max_cost=0.1, sources=["vector"]), "options.max_cost"),
    (pb.RetrievalOptions(max_latency_ms=-1), "options.max_latency_ms"),
    (pb.RetrievalOptions(max_latency_ms=float("nan")), "options.max_latency_ms"),
    (pb.RetrievalOptions(max_latency_ms=1, sources=["vector"]), "options.max_latency_ms"),
    (pb.RetrievalOptions(experiment_key="x" * 257), "options.experiment_key"),
]

GOOD, BAD = policy_pb.VERDICT_HELPFUL, policy_pb.VERDICT_NOT_HELPFUL
WRONG_FEEDBACK = [
    (policy_pb.RecordFeedbackRequest(helpful=True), "request_id"),
    (policy_pb.RecordFeedbackRequest(request_id="r"), "verdict"),
    (policy_pb.RecordFeedbackRequest(request_id="r", helpful=False), "verdict"),
    (policy_pb.RecordFeedbackRequest(request_id="r", verdict=9), "verdict"),
    (policy_pb.RecordFeedbackRequest(request_id="r", verdict=BAD, helpful=True), "helpful"),
    (policy_pb.RecordFeedbackRequest(request_id="r", verdict=GOOD, correct_source="moon"), "correct_source"),
    (policy_pb.RecordFeedbackRequest(request_id="r", correct_sources=["vector", "moon"]), "correct_sources[1]"),
    (policy_pb.RecordFeedbackRequest(request_id="r", corrected_answer="x" * 32_001), "corrected_answer"),
    (policy_pb.RecordFeedbackRequest(request_id="r", clicked_citations=[1, 0]), "clicked_citations[1]"),
    (policy_pb.RecordFeedbackRequest(request_id="r", clicked_citations=range(1, 102)), "clicked_citations"),
]

WRONG_CALLS: list[tuple[str, str, Any, grpc.StatusCode, str | None]] = [
    *[
        ("router", method, getattr(router_pb, f"{method}Request")(query=query), code, field)
        for method in ("Route", "Retrieve", "Answer", "StreamAnswer")
        for query, code, field in WRONG_QUERIES
    ],
    *[
        ("router", method, getattr(router_pb, f"{method}Request")(query=QUESTION, options=options), INVALID, field)
        for method in ("Retrieve", "Answer", "StreamAnswer")
        for options, field in WRONG_OPTIONS
    ],
    ("router", "Route", router_pb.RouteRequest(query=QUESTION, policy="dice"), INVALID, "policy"),
    ("corpus", "DeleteDocument", corpus_pb.DeleteDocumentRequest(), INVALID, "document_id"),
    ("corpus", "DeleteDocument", corpus_pb.DeleteDocumentRequest(document_id="no such"), NOT_FOUND, "document_id"),
    ("corpus", "GetDocument", corpus_pb.GetDocumentRequest(), INVALID, "document_id"),
    ("corpus", "GetDocument", corpus_pb.GetDocumentRequest(document_id="no such"), NOT_FOUND, "document_id"),
    ("corpus", "GetPicture", corpus_pb.GetPictureRequest(), INVALID, "picture_id"),
    ("corpus", "GetPicture", corpus_pb.GetPictureRequest(picture_id="no such"), NOT_FOUND, "picture_id"),
    ("corpus", "ListDocuments", corpus_pb.ListDocumentsRequest(page_size=-1), INVALID, "page_size"),
    ("corpus", "ListDocuments", corpus_pb.ListDocumentsRequest(page_size=1001), INVALID, "page_size"),
    ("corpus", "ListDocuments", corpus_pb.ListDocumentsRequest(page_token="not ours"), INVALID, "page_token"),
    ("corpus", "ListDocuments", corpus_pb.ListDocumentsRequest(collection="Not A Name"), INVALID, "collection"),
    *[("policies", "RecordFeedback", request, INVALID, field) for request, field in WRONG_FEEDBACK],
    ("policies", "RecordFeedback", policy_pb.RecordFeedbackRequest(request_id="no such", helpful=True), NOT_FOUND, "request_id"),
    ("policies", "ListDecisions", policy_pb.ListDecisionsRequest(page_size=-1), INVALID, "page_size"),
    ("policies", "ListDecisions", policy_pb.ListDecisionsRequest(page_size=1001), INVALID, "page_size"),
    ("policies", "ListDecisions", policy_pb.ListDecisionsRequest(page_token="not ours"), INVALID, "page_token"),
]

# Every value of these is right, or is refused with another field that says it better.
NEVER_WRONG = {
    "RouteRequest.all_policies",
    "RetrievalOptions.no_log",
    "Condition.exists",
}


async def test_a_wrong_value_gets_the_right_status_and_names_its_field() -> None:
    async with running() as service:
        for stub, method, request, code, field in WRONG_CALLS:
            failure = await failed(getattr(getattr(service, stub), method)(request))
            assert (failure.code, failure.field) == (code, field), (method, request)
            assert failure.reason
            assert failure.message


def test_every_field_of_every_request_has_a_wrong_value() -> None:
    named = {part for *_, path in WRONG_CALLS if path for part in path.replace("[", ".").split(".")}
    descriptors = [
        method.input_type
        for file in (router_pb, corpus_pb, policy_pb)
        for service in file.DESCRIPTOR.services_by_name.values()
        for method in service.methods
        if not method.client_streaming  # a wrong document fails alone; tested below
    ]
    descriptors += [
        kind.DESCRIPTOR for kind in (pb.RetrievalOptions, pb.Query, pb.Part, pb.Turn, pb.Filter, pb.Condition, pb.Range, pb.ValueList)
    ]
    fields = {(f"{message.name}.{field.name}", field.name) for message in descriptors for field in message.fields}
    assert {path for path, name in fields if name not in named} == NEVER_WRONG


@pytest.mark.parametrize(
    ("request_", "reason", "said"),
    [
        (corpus_pb.IngestDocumentsRequest(content=b"x"), "EMPTY", "name"),
        (corpus_pb.IngestDocumentsRequest(name="a.txt"), "EMPTY", "empty"),
        (corpus_pb.IngestDocumentsRequest(name="a.txt", content=b"x", metadata={"year": pb.Value()}), "INVALID_INPUT", "metadata.year"),
        (corpus_pb.IngestDocumentsRequest(name="a.txt", content=b"x", metadata={"1st": NUMBER}), "INVALID_INPUT", "metadata.1st"),
    ],
)
async def test_a_wrong_document_fails_alone(request_: corpus_pb.IngestDocumentsRequest, reason: str, said: str) -> None:
    good = corpus_pb.IngestDocumentsRequest(name="good.txt", content=b"good")
    async with running() as service:
        replies = [reply async for reply in service.corpus.IngestDocuments(iter([request_, good]))]
    assert [reply.state for reply in replies] == [
        corpus_pb.DOCUMENT_STATE_FAILED,
        corpus_pb.DOCUMENT_STATE_DURABLE,
        corpus_pb.DOCUMENT_STATE_SEARCHABLE,
    ]
    assert replies[0].error.reason == reason
    assert said in replies[0].error.message
    assert set(unset_fields(replies[0])) <= {"name", "document_id", "chunk_count", "error.retryable"}


async def test_bytes_that_are_no_message_are_the_callers_fault() -> None:
    async with running() as service:
        unary = service.channel.unary_unary("/graphrag.router.v1.RouterService/Route")
        failure = await failed(unary(b"\xff\xff\xff"))
        assert (failure.code, failure.reason) == (INVALID, "MALFORMED_MESSAGE")
        stream = service.channel.stream_stream("/graphrag.router.v1.CorpusService/IngestDocuments")
        failure = await failed(stream(iter([b"\xff\xff\xff"])))
        assert failure.reason == "MALFORMED_MESSAGE"


async def test_an_error_of_the_corpus_ends_the_stream_with_its_status() -> None:
    class Breaking(InMemoryCorpus):
        async def ingest(self, tenant: str, uploads: AsyncIterator[Any]) -> AsyncIterator[Any]:
            async for acknowledgement in super().ingest(tenant, uploads):
                yield acknowledgement
                raise StoreUnavailable("the journal's disk is full")

    async with running(SmallApp(corpus=Breaking())) as service:
        replies, failure = await collected(service.corpus.IngestDocuments(iter([corpus_pb.IngestDocumentsRequest(name="a", content=b"a")])))
    assert [reply.state for reply in replies] == [corpus_pb.DOCUMENT_STATE_DURABLE]
    assert failure is not None
    assert failure.reason == "STORE_UNAVAILABLE"


async def test_errors_of_tasks_within_are_told_as_one() -> None:
    class Grouping:
        name = "grouping"

        async def decide(self, *_: Any) -> RouteDecision:
            raise ExceptionGroup("tasks", [InvalidInput("the policy is tired", field="policy"), StoreUnavailable("gone")])

    async with running(SmallApp(engine=small_engine({"vector": ListRetriever()}, policies=[Grouping()]))) as service:  # type: ignore[list-item]
        failure = await failed(service.router.Route(router_pb.RouteRequest(query=QUESTION)))
    assert (failure.code, failure.message) == (INVALID, "the policy is tired")
