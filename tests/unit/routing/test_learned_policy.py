"""The learned policy and the cascade: what they choose, and what they say of it."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import ConfigurationError, ModelUnavailable
from router.retrieval.base import Nearest, Probe
from router.routing.base import SourceProfile
from router.routing.cascade import CascadePolicy
from router.routing.features import MEANINGS, features
from router.routing.latency import ExpectedLatency
from router.routing.learned import LearnedPolicy
from router.routing.value import open_model
from router.types import Route, RouteDecision
from tests.unit.routing.questions import SOURCES, caller, probe, question

POLICY = LearnedPolicy(open_model(None, "routing.model"))
shares = st.floats(0, 1)
seen = st.fixed_dictionaries(dict.fromkeys(MEANINGS, shares))
NEARNESS = ("near_first", "near_fifth", "near_mean", "near_gap", "covered_best", "covered_any", "agreement")
HERE = dict(zip(NEARNESS, (0.8, 0.5, 0.5, 0.4, 0.9, 1.0, 0.8), strict=True))
ELSEWHERE = dict(zip(NEARNESS, (0.2, 0.15, 0.15, 0.1, 0.2, 0.3, 0.0), strict=True))
NO_NAMES = dict.fromkeys(("title", "titles", "rare_title", "fact_name", "path", "path_best", "recent", "unknown_name"), 0.0)


def test_what_the_corpus_plainly_holds_is_not_looked_up_on_the_web() -> None:
    here, elsewhere = ({**NO_NAMES, **one, "length": 0.3, "relational": 0.0} for one in (HERE, {**ELSEWHERE, "unknown_name": 1.0}))
    assert POLICY.choices(here, SOURCES)[0].kinds == {"vector"}
    assert "web" in POLICY.choices(elsewhere, SOURCES)[0].kinds


@given(seen)
def test_the_first_choice_is_the_best_of_all_sets(features) -> None:
    choices = POLICY.choices(features, SOURCES)
    assert len(choices) == 7
    price = {source.kind: source.cost for source in SOURCES}
    alone = {next(iter(choice.kinds)): choice.quality for choice in choices if len(choice.kinds) == 1}
    for choice in choices:
        missed = 1.0
        for kind in choice.kinds:
            missed *= 1.0 - alone[kind]
        assert abs(choice.quality - (1.0 - missed)) < 1e-9
        assert abs(choice.cost - sum(price[kind] for kind in choice.kinds)) < 1e-9
    assert all(one.utility >= other.utility for one, other in itertools.pairwise(choices))


@given(seen, st.floats(0, 1))
def test_a_dearer_source_is_never_asked_more(features, price: float) -> None:
    def asks_web(cost: float) -> bool:
        sources = tuple(SourceProfile(one.name, one.kind, "", cost if one.kind == "web" else one.cost) for one in SOURCES)
        return "web" in POLICY.choices(features, sources)[0].kinds

    assert asks_web(price) or not asks_web(price + 0.1)


async def test_a_decision_explains_itself() -> None:
    decision = await POLICY.decide(question("What does the handbook say about overtime?"), probe(["Handbook"]), SOURCES, caller())
    assert decision.selected
    assert decision.version
    assert {"near_first", "titles", "recent"} <= decision.features.keys()
    for route in decision.routes:
        assert route.expected_quality == route.probability
        assert any(meaning in route.reason for meaning in MEANINGS.values())
    assert "is expected to carry the answer with probability" in decision.reason


async def test_sources_of_one_kind_share_a_decision_and_their_price() -> None:
    two = (*SOURCES[:1], SourceProfile("handbook", "vector", "", 0.05), *SOURCES[1:])
    decision = await POLICY.decide(question("What does it say?"), probe(), two, caller())
    chosen = {route.source: route.selected for route in decision.routes}
    assert chosen["vector"] == chosen["handbook"]
    assert next(choice for choice in POLICY.choices({}, two) if choice.kinds == {"vector"}).cost == pytest.approx(0.07)


async def test_small_talk_and_the_whole() -> None:
    assert (await POLICY.decide(question("Hello there!"), probe(), SOURCES, caller())).selected == ()
    overview = await POLICY.decide(question("What is this corpus about?"), probe(), SOURCES, caller())
    assert overview.selected == ("graph",)


async def test_what_could_not_be_looked_at_still_gets_a_source() -> None:
    blind = Probe(probe().vector, None, None, is_recent=False)
    assert (await POLICY.decide(question("Who maintains it?"), blind, SOURCES, caller())).selected


async def test_a_kind_that_was_not_learned_is_named() -> None:
    with pytest.raises(ConfigurationError, match="'oracle'"):
        await POLICY.decide(question("?a"), probe(), (*SOURCES, SourceProfile("oracle", "oracle", "", 0.0)), caller())


class Deciding:
    name = "llm"

    def __init__(self) -> None:
        self.asked = 0

    async def decide(self, query, probe, sources, caller) -> RouteDecision:
        self.asked += 1
        return RouteDecision("llm", tuple(Route(source.name, source.kind == "graph", 0.9, "planned") for source in sources), "it plans")


class Gone(Deciding):
    async def decide(self, query, probe, sources, caller) -> RouteDecision:
        raise ModelUnavailable("the model is gone")


ASKED = question("Who maintains the pump?")
SEEN = Probe(probe().vector, (Nearest("c", 0.4),), (), is_recent=False)


async def test_a_cascade_asks_the_model_only_where_it_is_close() -> None:
    sure, close = Deciding(), Deciding()
    decision = await CascadePolicy(POLICY, sure, margin=0.0).decide(ASKED, SEEN, SOURCES, caller())
    assert (decision.policy, sure.asked) == ("cascade", 0)
    decision = await CascadePolicy(POLICY, close, margin=1.0).decide(ASKED, SEEN, SOURCES, caller())
    assert (decision.policy, decision.selected, close.asked) == ("cascade", ("graph",), 1)
    assert "it plans" in decision.reason


@pytest.mark.parametrize(("seen", "asked"), [(replace(SEEN, nearest=None, linked=None), 1), (replace(SEEN, nearest=None), 0)])
async def test_a_cascade_asks_the_model_where_the_corpus_could_not_be_looked_at(seen: Probe, asked: int) -> None:
    model = Deciding()
    decision = await CascadePolicy(POLICY, model, margin=0.0).decide(ASKED, seen, SOURCES, caller())
    assert model.asked == asked
    assert ("could not be looked at" in decision.reason) == bool(asked)


async def test_a_cascade_weighs_only_what_may_be_paid() -> None:
    model = Deciding()
    poor = replace(caller(), max_cost=0.02)
    payable = POLICY.choices(features(ASKED, SEEN), SOURCES, poor.max_cost)
    assert {choice.kinds for choice in payable} == {frozenset(["vector"]), frozenset(["graph"])}
    margin = payable[0].utility - payable[1].utility
    await CascadePolicy(POLICY, model, margin=margin * 0.99).decide(ASKED, SEEN, SOURCES, poor)
    assert model.asked == 0
    await CascadePolicy(POLICY, model, margin=margin * 1.01).decide(ASKED, SEEN, SOURCES, poor)
    assert model.asked == 1


async def test_a_cascade_without_its_model_goes_on_and_says_so() -> None:
    decision = await CascadePolicy(POLICY, Gone(), margin=1.0).decide(ASKED, SEEN, SOURCES, caller())
    assert decision.selected == (await POLICY.decide(ASKED, SEEN, SOURCES, caller())).selected
    assert "the model is gone" in decision.reason


async def test_a_cascade_weighs_only_what_is_quick_enough() -> None:
    model = Deciding()
    slow = tuple(replace(source, latency=ExpectedLatency(1.0, 2.0) if source.kind != "vector" else None) for source in SOURCES)
    decision = await CascadePolicy(POLICY, model, margin=1.0).decide(ASKED, SEEN, slow, replace(caller(), max_latency_s=1.0))
    assert (decision.selected, model.asked) == (("vector",), 0)
