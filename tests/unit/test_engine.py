"""The way of a query: what the engine promises whatever stands behind its seams."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from router.call import Options
from router.correction.base import Change, Lookup, State, Verdict
from router.correction.corrector import Corrector
from router.correction.widen import Widen
from router.errors import AllSourcesUnavailable, InvalidInput, NotImplementedYet, QueryRefused, StoreUnavailable
from router.filtering.base import Finding
from router.routing.latency import LEAST_CALLS, Latencies
from router.testing.engine import ListRetriever, TablePolicy, small_engine
from router.types import (
    AS_ASKED,
    Answer,
    Caller,
    Deadline,
    Evidence,
    EvidenceKind,
    ImagePart,
    Picture,
    Provenance,
    Query,
    Retrieval,
    RouteDecision,
    SourceCode,
    SourceReport,
    Span,
    TextPart,
    TextRegion,
    Token,
    Turn,
)

QUERY = Query((TextPart("Who holds the account?"),))


def caller(seconds: float = 10.0) -> Caller:
    return Caller("acme", "request", Deadline.after(seconds))


FOUND = (Evidence("e1", EvidenceKind.PASSAGE, "Note", "Weld holds it.", (Provenance("vector", 1, 1.0, "hybrid"),)),)


class Watching:
    """A DecisionObserver that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def on_decided(self, query, caller, decision) -> None:
        self.told.append(decision)

    on_retrieved = on_answered = on_decided


class Down:
    async def search(self, request):
        raise StoreUnavailable("it is down")


async def test_sources_that_are_named_are_asked_as_they_are() -> None:
    engine = small_engine({"vector": ListRetriever(FOUND), "graph": ListRetriever(FOUND)})
    retrieval = await engine.retrieve(QUERY, Options(sources=("graph",)), caller())
    assert retrieval.decision.policy == AS_ASKED
    assert retrieval.decision.selected == ("graph",)
    assert [report.source for report in retrieval.sources] == ["graph"]


async def test_one_source_down_is_a_report_all_down_is_an_error() -> None:
    engine = small_engine({"vector": ListRetriever(FOUND), "graph": Down()})
    retrieval = await engine.retrieve(QUERY, Options(sources=("vector", "graph")), caller())
    assert {report.source: report.code for report in retrieval.sources} == {"vector": SourceCode.OK, "graph": SourceCode.UNAVAILABLE}
    with pytest.raises(AllSourcesUnavailable, match="graph: it is down") as raised:
        await engine.retrieve(QUERY, Options(sources=("graph",)), caller())
    assert raised.value.retry_after_s


class Doubting:
    """A judge that never believes the evidence."""

    def judge(self, query, probe, evidence) -> Verdict:
        return Verdict(0.1, "it never does")


class Asking:
    """A remedy that proposes the same two questions for ever."""

    async def propose(self, state: State) -> Change:
        return Change("sub-questions", "why not", tuple(Lookup(text, "vector") for text in ("And who else?", "Why?")))


class Failing:
    async def propose(self, state: State) -> Change:
        raise StoreUnavailable("the model is gone")


def counted(identity: str) -> tuple[Evidence, ...]:
    return (Evidence(identity, EvidenceKind.PASSAGE, identity, f"{identity} says so.", (Provenance("x", 1, 1.0, "hybrid"),)),)


async def test_evidence_in_doubt_is_widened_to_a_source_that_was_left_out() -> None:
    sources = {"vector": ListRetriever(counted("a")), "web": ListRetriever(counted("b"))}
    policy = TablePolicy("table", {"vector": 0.9, "web": 0.4})
    engine = small_engine(sources, policies=[policy], corrector=Corrector(Doubting(), [Widen()], turns=3))
    retrieval = await engine.retrieve(QUERY, Options(), caller())
    assert retrieval.decision.selected == ("vector",), "the decision stays what the policy made"
    assert {item.id for item in retrieval.evidence} == {"a", "b"}
    assert [report.source for report in retrieval.sources] == ["vector", "web"]
    (turn,) = retrieval.turns
    assert (turn.action, turn.sources, turn.questions, turn.probability) == ("widen", ("web",), (QUERY.text,), 0.1)
    assert {name: len(source.callers) for name, source in sources.items()} == {"vector": 1, "web": 1}


async def test_sources_that_the_caller_named_are_all_that_is_asked() -> None:
    sources = {"vector": ListRetriever(counted("a")), "web": ListRetriever(counted("b"))}
    engine = small_engine(sources, corrector=Corrector(Doubting(), [Widen()], turns=3))
    retrieval = await engine.retrieve(QUERY, Options(sources=("vector",)), caller())
    assert not retrieval.turns
    assert not sources["web"].callers


async def test_the_same_lookup_is_never_made_twice_and_turns_are_bounded() -> None:
    source = ListRetriever(counted("a"))
    engine = small_engine({"vector": source}, corrector=Corrector(Doubting(), [Asking()], turns=4))
    retrieval = await engine.retrieve(QUERY, Options(), caller())
    assert len(retrieval.turns) == 1, "the second turn had nothing new to look up"
    assert len(source.callers) == 3
    assert retrieval.turns[0].questions == ("And who else?", "Why?")
    assert retrieval.sources[0].count == 3
    assert [item.id for item in retrieval.evidence] == ["a"]


async def test_a_remedy_that_fails_is_told_and_the_next_one_tried() -> None:
    sources = {"vector": ListRetriever(counted("a")), "web": ListRetriever(counted("b"))}
    policy = TablePolicy("table", {"vector": 0.9, "web": 0.4})
    engine = small_engine(sources, policies=[policy], corrector=Corrector(Doubting(), [Failing(), Widen()], turns=1))
    retrieval = await engine.retrieve(QUERY, Options(), caller())
    assert [notice.reason for notice in retrieval.notices] == ["NO_REMEDY"]
    assert {item.id for item in retrieval.evidence} == {"a", "b"}


async def test_a_source_that_is_down_when_widened_is_reported() -> None:
    policy = TablePolicy("table", {"vector": 0.9, "web": 0.4})
    engine = small_engine(
        {"vector": ListRetriever(counted("a")), "web": Down()}, policies=[policy], corrector=Corrector(Doubting(), [Widen()], turns=2)
    )
    retrieval = await engine.retrieve(QUERY, Options(), caller())
    assert {report.source: report.code for report in retrieval.sources} == {"vector": SourceCode.OK, "web": SourceCode.UNAVAILABLE}
    assert [item.id for item in retrieval.evidence] == ["a"]


async def test_sets_are_compared_with_one_look_up_per_source() -> None:
    sources = {"vector": ListRetriever(counted("a")), "web": ListRetriever(counted("b"))}
    engine = small_engine(sources)
    _, compared = await engine.compare(QUERY, [("vector",), ("web",), ("vector", "web")], Options(limit=5), caller())
    assert [{item.id for item in one.evidence} for one in compared] == [{"a"}, {"b"}, {"a", "b"}]
    assert [len(source.callers) for source in sources.values()] == [1, 1]


async def test_what_cannot_be_compared_is_said() -> None:
    engine = small_engine({"vector": ListRetriever(counted("a")), "web": Down()})
    with pytest.raises(AllSourcesUnavailable, match="web: it is down"):
        await engine.compare(QUERY, [("vector",), ("web",)], Options(), caller())


async def test_an_answer_comes_in_its_order() -> None:
    engine = small_engine({"vector": ListRetriever(FOUND)})
    events = [event async for event in engine.answer(QUERY, Options(sources=("vector",)), caller())]
    assert isinstance(events[0], RouteDecision)
    assert isinstance(events[1], Retrieval)
    assert isinstance(events[-1], Answer)
    assert events[-1].retrieval == events[1]
    assert {"embed", "route", "retrieve", "fuse", "first_token", "generate"} <= events[-1].timings.stages_s.keys()


@pytest.mark.parametrize(
    ("options", "field"),
    [
        (Options(sources=("nowhere",)), "options.sources[0]"),
        (Options(sources=("vector", "vector")), "options.sources[1]"),
        (Options(policy="nothing"), "options.policy"),
        (Options(sources=("vector",), policy="all"), "options.policy"),
        (Options(limit=-1), "options.limit"),
        (Options(limit=101), "options.limit"),
        (Options(fusion="magic"), "options.fusion"),
        (Options(max_latency_s=-1.0), "options.max_latency_ms"),
        (Options(max_latency_s=1.0, sources=("vector",)), "options.max_latency_ms"),
    ],
)
async def test_a_wrong_option_is_named(options: Options, field: str) -> None:
    engine = small_engine({"vector": ListRetriever(FOUND)})
    with pytest.raises(InvalidInput) as raised:
        await engine.retrieve(QUERY, options, caller())
    assert raised.value.field == field


async def test_pictures_are_refused_as_not_there_yet() -> None:
    engine = small_engine({"vector": ListRetriever(FOUND)})
    with pytest.raises(NotImplementedYet):
        await engine.retrieve(Query((ImagePart(b"x", "image/png"),)), Options(), caller())


@pytest.mark.parametrize(
    ("query", "field"),
    [
        (Query((), instruction="only drawings"), "query.instruction"),
        (Query(QUERY.parts, instruction=" \n"), "query.instruction"),
        (Query(QUERY.parts, instruction="x" * 8001), "query.instruction"),
        (Query((TextPart(" "),), instruction="only drawings"), "query.parts[0].text"),
    ],
)
async def test_an_instruction_needs_content_and_has_a_bound(query: Query, field: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        await small_engine({"vector": ListRetriever(FOUND)}).retrieve(query, Options(), caller())
    assert raised.value.field == field


async def test_filters_see_every_vector_of_what_is_said_with_an_instruction() -> None:
    class Noting:
        vectors: list[object] = []  # noqa: RUF012

        async def check(self, query, vector, caller) -> None:
            self.vectors.append(vector)
            if len(self.vectors) == 5:
                raise QueryRefused("no", rule="meaning")

    engine = small_engine({"vector": ListRetriever(FOUND)}, query_filters=[Noting()])
    await engine.retrieve(QUERY, Options(), caller())
    assert [vector is None for vector in Noting.vectors] == [True, False]
    with pytest.raises(QueryRefused):
        await engine.retrieve(replace(QUERY, instruction="only drawings"), Options(), caller())
    assert [vector is None for vector in Noting.vectors] == [True, False, True, False, False]


class Written:
    """The journal's lines of pictures."""

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error

    async def picture_regions(self, tenant, chunk_ids):
        if self._error is not None:
            raise self._error
        lines = {("acme", "e1"): (TextRegion("ACCOUNTS", 0.1, 0.2, 0.3, 0.1, 0.9), TextRegion("Weld", 0.1, 0.5, 0.2, 0.1, 0.8))}
        return {key: lines[tenant, key] for key in chunk_ids if (tenant, key) in lines}


async def test_evidence_tells_the_lines_of_its_picture_and_marks_those_that_speak_of_the_question() -> None:
    pictured = [replace(FOUND[0], picture=Picture("ab", "image/png", 4, 3)), replace(FOUND[0], id="e2", text="Nothing else.")]
    retrieval = await small_engine({"vector": ListRetriever(pictured)}, regions=Written()).retrieve(QUERY, Options(), caller())
    shown, bare = retrieval.evidence
    assert shown.picture is not None
    assert [(line.text, line.matches) for line in shown.picture.regions] == [("ACCOUNTS", True), ("Weld", False)]
    assert bare.picture is None
    down = small_engine({"vector": ListRetriever(pictured)}, regions=Written(StoreUnavailable("it is down")))
    assert (await down.retrieve(QUERY, Options(), caller())).evidence[0].picture == pictured[0].picture


async def seen(latencies: Latencies, **seconds: float) -> None:
    for source, took in seconds.items():
        for _ in range(LEAST_CALLS):
            latencies.record(SourceReport(source, SourceCode.OK, took, 1))


async def test_a_decision_says_how_long_its_sources_are_expected_to_take() -> None:
    latencies = Latencies()
    engine = small_engine({"vector": ListRetriever(FOUND), "web": ListRetriever(FOUND), "graph": Down()}, latencies=latencies)
    await seen(latencies, vector=0.25, web=2.0)
    decision = await engine.route(QUERY, Options(), caller())
    assert [(route.latency_s, route.latency_p90_s) for route in decision.routes] == [(0.25, 0.25), (2.0, 2.0), (None, None)]
    assert (decision.expected_latency_s, decision.expected_latency_p90_s) == (None, None)
    await seen(latencies, graph=1.0)
    decision = await engine.route(QUERY, Options(), caller())
    assert (decision.expected_latency_s, decision.expected_latency_p90_s) == (2.0, 2.0)
    hurried = (await engine.retrieve(QUERY, Options(max_latency_s=1.0), caller())).decision
    assert hurried.selected == ("vector", "graph")
    assert (hurried.expected_latency_s, hurried.expected_latency_p90_s) == (1.0, 1.0)
    assert hurried.reason.endswith("left out as slower than 1000 ms: web")


async def test_what_is_expected_is_learned_from_the_calls_that_sources_answer() -> None:
    latencies = Latencies()
    engine = small_engine({"vector": ListRetriever(FOUND), "graph": Down()}, latencies=latencies)
    for _ in range(LEAST_CALLS):
        assert latencies.expected("vector") is None
        await engine.retrieve(QUERY, Options(), caller())
    assert latencies.expected("vector") is not None
    assert latencies.expected("graph") is None
    named = (await engine.retrieve(QUERY, Options(sources=("vector",)), caller())).decision
    assert named.expected_latency_s is not None


class Watchful:
    """Refuses questions of one word, from their words or once they are embedded; notes what it was asked."""

    def __init__(self, word: str, *, embedded: bool = False) -> None:
        self.word = word
        self.embedded = embedded
        self.seen: list[tuple[str, bool]] = []

    async def check(self, query, vector, caller) -> None:
        self.seen.append((query.text, vector is not None))
        if self.word in query.text and (vector is not None) == self.embedded:
            raise QueryRefused("Ask the office.", rule="word")


@pytest.mark.parametrize("embedded", [False, True])
async def test_a_refused_question_reaches_no_policy_and_no_source_and_leaves_no_decision(embedded: bool) -> None:
    source, watched = ListRetriever(FOUND), Watching()
    engine = small_engine({"vector": source}, observer=watched, query_filters=[Watchful("account", embedded=embedded)])
    for call in (
        engine.route(QUERY, Options(), caller()),
        engine.route_all(QUERY, caller()),
        engine.retrieve(QUERY, Options(sources=("vector",)), caller()),
        anext(engine.answer(QUERY, Options(), caller())),
    ):
        with pytest.raises(QueryRefused) as raised:
            await call
        assert (raised.value.rule, raised.value.message) == ("word", "Ask the office.")
    assert source.callers == []
    assert watched.told == []


async def test_a_question_is_looked_at_as_it_came_as_it_stands_alone_and_embedded() -> None:
    follow_up = Query(
        (TextPart("And when did she start?"),), history=(Turn("user", "Who is Mira Lund?"), Turn("assistant", "An engineer."))
    )
    watchful = Watchful("Mira Lund", embedded=True)
    engine = small_engine({"vector": ListRetriever(FOUND)}, query_filters=[watchful])
    with pytest.raises(QueryRefused):
        await engine.retrieve(follow_up, Options(), caller())
    (first, embedded_first), (second, embedded_second), (third, embedded_third) = watchful.seen
    assert first == "And when did she start?"
    assert "Mira Lund" in second
    assert second == third
    assert (embedded_first, embedded_second, embedded_third) == (False, False, True)
    with pytest.raises(QueryRefused):
        await small_engine({"vector": ListRetriever(FOUND)}, query_filters=[Watchful("Mira")]).retrieve(follow_up, Options(), caller())


class Hiding:
    async def first(self, text: str, start: int) -> Finding | None:
        at = text.find("Weld", start)
        return None if at < 0 else Finding("names", Span(at, at + 4), "N.")


async def test_an_answer_is_redacted_and_its_evidence_is_not() -> None:
    engine = small_engine({"vector": ListRetriever(FOUND)}, output_filters=[Hiding()])
    events = [event async for event in engine.answer(QUERY, Options(), caller())]
    answer = events[-1]
    assert isinstance(answer, Answer)
    assert answer.text == "N. holds it. [1]"
    assert "".join(event.text for event in events if isinstance(event, Token)) == answer.text
    (citation,) = answer.citations
    assert answer.text[citation.span.start : citation.span.end] == "[1]"
    assert [notice.reason for notice in answer.notices] == ["QUOTED", "REDACTED"]
    assert answer.retrieval.evidence[0].text == "Weld holds it."


def test_the_engine_loads_no_transport_and_no_driver() -> None:
    program = "import sys, router.engine; print([name for name in ('grpc', 'pymilvus', 'neo4j') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
