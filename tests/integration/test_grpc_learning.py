"""The decision log over gRPC: what is logged of which calls, feedback on it, and that tenants see their own only."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from router import __version__
from router.errors import StoreUnavailable
from router.pb import policy_service_pb2 as policy_pb
from router.pb import router_service_pb2 as router_pb
from router.pb import types_pb2 as pb
from router.retrieval.base import Probe
from router.routing.base import SourceProfile
from router.routing.experiment import Arm, Experiment
from router.routing.shadow import Shadows
from router.settings import LearningSettings, Settings
from router.testing.engine import ListRetriever, StuckGenerator, TablePolicy, small_engine
from router.types import Caller, Query, Route, RouteDecision
from tests.integration.grpc_service import PASSAGE, Service, SmallApp, failed, running
from tests.unit.api.filled import unset_fields

QUESTION = pb.Query(parts=[pb.Part(text="Who keeps the secret lantern?")])
RETRIEVE = router_pb.RetrieveRequest(query=QUESTION)
ANSWER = router_pb.AnswerRequest(query=QUESTION)
KEYS = [{"tenant": "ada", "key": "key-of-ada"}, {"tenant": "bob", "key": "key-of-bob"}]
NO_LOG = pb.RetrievalOptions(no_log=True)
NOT_FOUND = (grpc.StatusCode.NOT_FOUND, "UNKNOWN_REQUEST", "request_id")


class DrawingPolicy:
    """Draws lots, and tells what it looked at."""

    name = "drawing"

    async def decide(self, query: Query, probe: Probe, sources: tuple[SourceProfile, ...], caller: Caller) -> RouteDecision:
        routes = tuple(Route(source.name, source.name != "web", 0.75, "drawn", cost=0.25) for source in sources)
        return RouteDecision(self.name, routes, "drawn", version="v7", propensity=0.5, features={"names": 2.0})


def app(*, experiment: Experiment | None = None, shadows: Shadows | None = None, **learning: Any) -> SmallApp:
    retrievers = {"vector": ListRetriever([PASSAGE]), "graph": ListRetriever(degraded="12 s old"), "web": ListRetriever()}
    engine = small_engine(retrievers, policies=[DrawingPolicy()], experiment=experiment, shadows=shadows)
    return SmallApp(engine=engine, settings=Settings(learning=LearningSettings(**learning)))


def bearer(key: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {key}"),)


def request_id(name: str) -> tuple[tuple[str, str], ...]:
    return (("x-request-id", name),)


async def logged(service: Service, **arguments: Any) -> list[policy_pb.LoggedDecision]:
    return list((await service.policies.ListDecisions(policy_pb.ListDecisionsRequest(), **arguments)).decisions)


async def test_every_field_of_a_logged_decision_is_set() -> None:
    shadows, experiment = Shadows({"drawing": DrawingPolicy()}), Experiment("trial", [Arm("drawn", 1.0, DrawingPolicy())])
    async with running(app(log_questions=True, shadows=shadows, experiment=experiment)) as service:
        reply = await service.router.Answer(router_pb.AnswerRequest(query=QUESTION, options=pb.RetrievalOptions(experiment_key="ada")))
        await shadows.settle()
        feedback = policy_pb.RecordFeedbackRequest(
            request_id=reply.request_id,
            verdict=policy_pb.VERDICT_NOT_HELPFUL,
            corrected_answer="Bob keeps it.",
            clicked_citations=[1],
            correct_sources=["web", "graph"],
        )
        await service.policies.RecordFeedback(feedback)
        (decision,) = await logged(service)
    assert set(unset_fields(decision)) == {"as_asked"}  # a policy decided
    assert (decision.policy, decision.policy_version, decision.propensity) == ("drawing", "v7", 0.5)
    assert (list(decision.chosen), dict(decision.features), decision.cost) == (["vector", "graph"], {"names": 2.0}, 0.5)
    assert dict(decision.probabilities) == dict.fromkeys(["vector", "graph", "web"], 0.75)
    assert (decision.outcome.evidence_count, decision.outcome.found) == (1, True)
    assert dict(decision.outcome.sources) == {"vector": pb.SOURCE_CODE_OK, "graph": pb.SOURCE_CODE_DEGRADED}
    assert decision.question == "Who keeps the secret lantern?"
    assert (decision.experiment, decision.arm, decision.bucket) == ("trial", "drawn", experiment.bucket("default", "ada"))
    assert list(decision.shadows) == [policy_pb.ShadowDecision(policy="drawing", version="v7", chosen=["vector", "graph"])]
    assert decision.feedback == policy_pb.Feedback(
        verdict=policy_pb.VERDICT_NOT_HELPFUL, corrected_answer="Bob keeps it.", clicked_citations=[1], correct_sources=["web", "graph"]
    )


async def test_retrievals_and_answers_are_logged_and_nothing_else() -> None:
    async with running(app()) as service:
        await service.router.Route(router_pb.RouteRequest(query=QUESTION, all_policies=True), metadata=request_id("route"))
        await service.router.Retrieve(RETRIEVE, metadata=request_id("retrieve"))
        options = pb.RetrievalOptions(sources=["graph"])
        await service.router.Answer(router_pb.AnswerRequest(query=QUESTION, options=options), metadata=request_id("answer"))
        stream = service.router.StreamAnswer(router_pb.StreamAnswerRequest(query=QUESTION), metadata=request_id("stream"))
        assert [event async for event in stream][-1].HasField("final")
        assert (await failed(service.router.Retrieve(router_pb.RetrieveRequest(), metadata=request_id("wrong")))).request_id == "wrong"
        decisions = await logged(service)
    assert [decision.request_id for decision in decisions] == ["retrieve", "answer", "stream"]
    retrieve, answer, stream = decisions
    assert not retrieve.outcome.HasField("found")
    assert (answer.outcome.found, stream.outcome.found) == (False, True)
    assert [decision.as_asked for decision in decisions] == [False, True, False]
    assert (answer.policy, answer.policy_version, list(answer.chosen)) == ("as asked", __version__, ["graph"])
    assert {decision.question for decision in decisions} == {""}


async def test_a_call_that_opts_out_leaves_no_trace() -> None:
    async with running(app(log_questions=True)) as service:
        replies = [
            await service.router.Retrieve(router_pb.RetrieveRequest(query=QUESTION, options=NO_LOG)),
            await service.router.Answer(router_pb.AnswerRequest(query=QUESTION, options=NO_LOG)),
            *[event async for event in service.router.StreamAnswer(router_pb.StreamAnswerRequest(query=QUESTION, options=NO_LOG))],
        ]
        assert await logged(service) == []
        for reply in replies:
            failure = await failed(
                service.policies.RecordFeedback(policy_pb.RecordFeedbackRequest(request_id=reply.request_id, helpful=True))
            )
            assert (failure.code, failure.reason, failure.field) == NOT_FOUND


async def test_a_service_that_logs_nothing_takes_no_feedback() -> None:
    async with running(app(log_decisions=False)) as service:
        reply = await service.router.Answer(ANSWER)
        assert await logged(service) == []
        failure = await failed(service.policies.RecordFeedback(policy_pb.RecordFeedbackRequest(request_id=reply.request_id, helpful=True)))
    assert (failure.code, failure.reason, failure.field) == NOT_FOUND


async def test_feedback_given_again_replaces_the_first() -> None:
    async with running(app()) as service:
        reply = await service.router.Answer(ANSWER)
        first = policy_pb.RecordFeedbackRequest(request_id=reply.request_id, helpful=True, correct_source="graph", corrected_answer="Yes.")
        await service.policies.RecordFeedback(first)
        (decision,) = await logged(service)
        assert decision.feedback == policy_pb.Feedback(
            verdict=policy_pb.VERDICT_HELPFUL, corrected_answer="Yes.", correct_sources=["graph"]
        )
        await service.policies.RecordFeedback(policy_pb.RecordFeedbackRequest(request_id=reply.request_id, clicked_citations=[1]))
        (decision,) = await logged(service)
    assert decision.feedback == policy_pb.Feedback(clicked_citations=[1])


async def test_a_citation_that_the_answer_does_not_have_is_refused() -> None:
    async with running(app()) as service:
        reply = await service.router.Answer(ANSWER)
        wrong = policy_pb.RecordFeedbackRequest(request_id=reply.request_id, helpful=True, clicked_citations=[1, 2])
        failure = await failed(service.policies.RecordFeedback(wrong))
        (decision,) = await logged(service)
    assert (failure.code, failure.field) == (grpc.StatusCode.INVALID_ARGUMENT, "clicked_citations[1]")
    assert not decision.HasField("feedback")


async def test_tenants_neither_see_nor_judge_each_others_decisions() -> None:
    ada, bob = bearer("key-of-ada"), bearer("key-of-bob")
    async with running(app(), api_keys=KEYS) as service:
        for _ in range(3):
            reply = await service.router.Answer(ANSWER, metadata=ada)
        assert await logged(service, metadata=bob) == []
        judged = policy_pb.RecordFeedbackRequest(request_id=reply.request_id, helpful=True)
        failure = await failed(service.policies.RecordFeedback(judged, metadata=bob))
        assert (failure.code, failure.reason, failure.field) == NOT_FOUND
        # The same id of another tenant is another call.
        await service.router.Answer(ANSWER, metadata=(*bob, *request_id(reply.request_id)))
        await service.policies.RecordFeedback(judged, metadata=bob)
        assert [decision.HasField("feedback") for decision in await logged(service, metadata=bob)] == [True]
        assert [decision.HasField("feedback") for decision in await logged(service, metadata=ada)] == [False] * 3
        page = await service.policies.ListDecisions(policy_pb.ListDecisionsRequest(page_size=1), metadata=ada)
        request = policy_pb.ListDecisionsRequest(page_token=page.next_page_token)
        assert len((await service.policies.ListDecisions(request, metadata=ada)).decisions) == 2
        failure = await failed(service.policies.ListDecisions(request, metadata=bob))
        assert (failure.code, failure.field) == (grpc.StatusCode.INVALID_ARGUMENT, "page_token")
        for call in (service.policies.RecordFeedback(judged), service.policies.ListDecisions(policy_pb.ListDecisionsRequest())):
            assert (await failed(call)).code is grpc.StatusCode.UNAUTHENTICATED


async def test_an_id_used_again_is_a_new_call_without_feedback() -> None:
    async with running(app()) as service:
        await service.router.Answer(ANSWER, metadata=request_id("r"))
        await service.policies.RecordFeedback(policy_pb.RecordFeedbackRequest(request_id="r", helpful=True))
        await service.router.Retrieve(RETRIEVE, metadata=request_id("r"))
        (decision,) = await logged(service)
    assert not decision.HasField("feedback")
    assert not decision.outcome.HasField("found")


async def test_calls_that_end_early_are_logged_as_far_as_they_came() -> None:
    retrievers = {"vector": ListRetriever([PASSAGE]), "graph": ListRetriever(error=StoreUnavailable("down"))}
    engine = small_engine(retrievers, generator=StuckGenerator())
    async with running(SmallApp(engine=engine)) as service:
        options = pb.RetrievalOptions(sources=["graph"])
        await failed(service.router.Retrieve(router_pb.RetrieveRequest(query=QUESTION, options=options)))
        call = service.router.StreamAnswer(router_pb.StreamAnswerRequest(query=QUESTION))
        async for event in call:
            if event.token:
                break
        call.cancel()
        unserved, left = await logged(service)
    assert not unserved.HasField("outcome")
    assert left.outcome.evidence_count == 1
    assert not left.outcome.HasField("found")


@pytest.mark.parametrize("size", [1, 2, 5])
async def test_pages_bring_every_decision_once_in_order(size: int) -> None:
    async with running(app()) as service:
        for number in range(5):
            await service.router.Retrieve(RETRIEVE, metadata=request_id(f"r{number}"))
        token, found = "", []
        while True:
            page = await service.policies.ListDecisions(policy_pb.ListDecisionsRequest(page_size=size, page_token=token))
            found += [decision.request_id for decision in page.decisions]
            if not (token := page.next_page_token):
                break
    assert found == [f"r{number}" for number in range(5)]


async def test_a_key_meets_its_arm_each_time_and_a_call_without_one_the_chain() -> None:
    arms = [Arm(name, 0.5, TablePolicy(name, {name: 1.0})) for name in ("vector", "web")]
    experiment = Experiment("trial", arms)
    key_of = {experiment.arm("default", f"user-{number}").name: f"user-{number}" for number in range(20)}
    assert len(key_of) == 2
    async with running(app(experiment=experiment)) as service:

        async def retrieved(identity: str, **options: Any) -> router_pb.RetrieveResponse:
            request = router_pb.RetrieveRequest(query=QUESTION, options=pb.RetrievalOptions(**options))
            return await service.router.Retrieve(request, metadata=request_id(identity))

        for arm, key in key_of.items():
            for turn in range(3):
                reply = await retrieved(f"{arm}-{turn}", experiment_key=key)
                assert (reply.decision.policy, reply.decision.experiment, reply.decision.arm) == (arm, "trial", arm)
        key = key_of["web"]
        for identity, options in (
            ("no-key", {}),
            ("named-policy", {"policy": "drawing", "experiment_key": key}),
            ("named-sources", {"sources": ["graph"], "experiment_key": key}),
        ):
            reply = await retrieved(identity, **options)
            assert (reply.decision.experiment, reply.decision.arm) == ("", "")
        failure = await failed(retrieved("long", experiment_key="x" * 257))
        assert (failure.code, failure.field) == (grpc.StatusCode.INVALID_ARGUMENT, "options.experiment_key")
        decisions = {decision.request_id: decision for decision in await logged(service)}
    assert {decisions[f"{arm}-{turn}"].arm for arm in key_of for turn in range(3)} == {"vector", "web"}
    for arm, key in key_of.items():
        assert {decisions[f"{arm}-{turn}"].bucket for turn in range(3)} == {experiment.bucket("default", key)}
    assert not decisions["no-key"].HasField("bucket")
    assert [decisions["web-0"].propensity, decisions["no-key"].propensity] == [1.0, 0.5]
    assert {decisions[name].arm for name in ("no-key", "named-policy", "named-sources")} == {""}


async def test_shadows_decide_on_what_a_policy_decided_and_on_nothing_else() -> None:
    shadows = Shadows({"table": TablePolicy("table", {"web": 1.0})})
    async with running(app(shadows=shadows)) as service:
        for identity, options in (("seen", pb.RetrievalOptions()), ("as-asked", pb.RetrievalOptions(sources=["graph"])), ("none", NO_LOG)):
            await service.router.Retrieve(router_pb.RetrieveRequest(query=QUESTION, options=options), metadata=request_id(identity))
        stream = service.router.StreamAnswer(router_pb.StreamAnswerRequest(query=QUESTION), metadata=request_id("stream"))
        assert [event async for event in stream][-1].HasField("final")
        await logged(service)  # what is written before a shadow has decided gets its shadow all the same
        await shadows.settle()
        decisions = {decision.request_id: decision for decision in await logged(service)}
    assert decisions.keys() == {"seen", "as-asked", "stream"}
    assert {name: [tuple(one.chosen) for one in decision.shadows] for name, decision in decisions.items()} == {
        "seen": [("web",)],
        "as-asked": [],
        "stream": [("web",)],
    }
    assert decisions["stream"].outcome.found


async def test_a_shadow_that_comes_late_leaves_the_feedback() -> None:
    class Late(TablePolicy):
        async def decide(self, query: Query, probe: Probe, sources: tuple[SourceProfile, ...], caller: Caller) -> RouteDecision:
            await let.wait()
            return await super().decide(query, probe, sources, caller)

    let = asyncio.Event()
    shadows = Shadows({"late": Late("late", {"web": 1.0})})
    async with running(app(shadows=shadows)) as service:
        reply = await service.router.Answer(ANSWER)
        await service.policies.RecordFeedback(policy_pb.RecordFeedbackRequest(request_id=reply.request_id, helpful=True))
        (before,) = await logged(service)
        let.set()
        await shadows.settle()
        (after,) = await logged(service)
    assert (list(before.shadows), after.shadows[0].policy) == ([], "late")
    assert (after.feedback, after.decided_at) == (before.feedback, before.decided_at)
    assert after.feedback.verdict == policy_pb.VERDICT_HELPFUL
