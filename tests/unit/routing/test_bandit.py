"""The bandit on a simulation whose truth is known: it learns, what it saves comes back, and its own log judges other policies rightly."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.errors import Conflict, InvalidInput, ModelUnavailable
from router.experiments.off_policy import LoggedDecision, doubly_robust, ips, mean_rewards, snips
from router.experiments.simulation import ACTIONS, COSTS, FEATURES, Simulation
from router.routing.all import AllPolicy
from router.routing.bandit import (
    CAUTION,
    EXPLORED_TRUST,
    GUIDED,
    NOISE,
    BanditPolicy,
    CautiousPolicy,
    LinearRewards,
    exploration,
)
from router.routing.base import SourceProfile
from router.routing.budget import within_budget
from router.routing.chain import PolicyChain
from router.routing.fixed import FixedPolicy
from router.routing.latency import ExpectedLatency
from router.routing.learned import LearnedPolicy
from router.routing.rules import RulesPolicy
from router.routing.source_sets import source_sets
from router.routing.value import open_model
from tests.unit.routing.questions import SOURCES, caller, probe, question

SEEDS = 100
HELD_AT_LEAST = 90
VECTOR, GRAPH, WEB = (frozenset({name}) for name in ("vector", "graph", "web"))
SIMULATED = tuple(SourceProfile(name, name, "", cost) for name, cost in COSTS.items())
PROBE, CALLER = probe(), caller()

values = st.floats(-2, 2)
rows = st.lists(st.tuples(values, values, st.sampled_from(ACTIONS), values), max_size=20)


def constant(query, probe):
    return {"cosine": 0.5, "names": 1.0}


def taught(rows) -> LinearRewards:
    rewards = LinearRewards(("cosine", "names"))
    for cosine, names, action, reward in rows:
        rewards.update({"cosine": cosine, "names": names}, action, reward)
    return rewards


async def decide(policy, sources=SOURCES):
    return await policy.decide(question("What is the travel policy?"), PROBE, sources, CALLER)


# --- what was learned ---


def test_a_regression_by_hand() -> None:
    rewards = LinearRewards(("x",), ridge=2.0)
    rewards.update({"x": 1.0}, VECTOR, 0.5)
    rewards.update({"x": 3.0}, VECTOR, 1.0)
    a, b = np.array([[2 + 1 + 9, 4], [4, 2 + 2]], float), np.array([3.5, 1.5])
    x = np.array([2.0, 1.0])
    predicted = rewards.predict({"x": 2.0}, VECTOR)
    assert predicted.mean == pytest.approx(x @ np.linalg.solve(a, b))
    assert predicted.deviation == pytest.approx(NOISE * math.sqrt(x @ np.linalg.solve(a, x)))
    assert (rewards.decisions(VECTOR), rewards.decisions(GRAPH)) == (2, 0)


def test_of_what_was_never_seen_nothing_is_claimed() -> None:
    predicted = LinearRewards(("x",), ridge=4.0).predict({"x": 0.0}, WEB)
    assert (predicted.mean, predicted.deviation) == (0.0, NOISE / 2)


def test_a_linear_reward_is_found() -> None:
    random, rewards = np.random.default_rng(0), LinearRewards(("x", "y"))
    for _ in range(2_000):
        x, y = random.random(2)
        rewards.update({"x": x, "y": y}, GRAPH, 0.2 + 0.5 * x - 0.3 * y + 0.1 * random.standard_normal())
    assert rewards.predict({"x": 0.5, "y": 1.0}, GRAPH).mean == pytest.approx(0.15, abs=0.02)


@settings(deadline=None)
@given(rows, values, values)
def test_the_state_comes_back_from_json(rows, cosine: float, names: float) -> None:
    rewards = taught(rows)
    text = rewards.to_json()
    again = LinearRewards.from_json(text)
    assert again.to_json() == text
    features = {"cosine": cosine, "names": names}
    assert again.predict_all(features, ACTIONS) == rewards.predict_all(features, ACTIONS)


@settings(deadline=None)
@given(rows)
def test_the_order_of_feedback_does_not_matter(rows) -> None:
    features = {"cosine": 0.3, "names": 1.0}
    one, other = taught(rows), taught(rows[::-1])
    for action in ACTIONS:
        assert one.predict(features, action).mean == pytest.approx(other.predict(features, action).mean, abs=1e-9)


@settings(deadline=None)
@given(rows, values, values, st.sampled_from(ACTIONS), values)
def test_every_update_makes_surer(rows, cosine: float, names: float, action, reward: float) -> None:
    rewards, features = taught(rows), {"cosine": cosine, "names": names}
    before = rewards.predict(features, action).deviation
    rewards.update(features, action, reward)
    assert rewards.predict(features, action).deviation < before


def saved(**changes) -> str:
    state = json.loads(taught([(0.5, 1.0, GRAPH, 1.0)]).to_json())
    state["sets"][0].update({key: value for key, value in changes.items() if key in {"A", "b"}})
    state.update({key: value for key, value in changes.items() if key not in {"A", "b"}})
    return json.dumps(state)


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("", ""),
        ("[]", ""),
        (saved(format=2), "format"),
        (saved(ridge=0), "ridge"),
        (saved(features=["cosine", "cosine"]), "feature_names"),
        (saved(A=[[1.0]]), "sets.0.A"),
        (saved(A=[[1.0, 0, 0], [0, 1.0, 0], [0, 0, -1.0]]), "sets.0.A"),
        (saved(A=[[1.0, 5, 0], [0, 1.0, 0], [0, 0, 1.0]]), "sets.0.A"),
        (saved(b=[1.0]), "sets.0.b"),
        (saved(sets=[{"sources": ["web"], "decisions": 1, "A": np.eye(3).tolist(), "b": [0.0] * 3}] * 2), "sets.1.sources"),
        (saved(b=[1.0, 0.0, math.nan]), "sets.0.b.2"),
    ],
)
def test_what_is_no_state_is_refused(text: str, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        LinearRewards.from_json(text)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("features", "reward", "field"),
    [
        ({"cosine": 0.5}, 1.0, "features"),
        ({"cosine": 0.5, "names": 1.0, "length": 3.0}, 1.0, "features"),
        ({"cosine": 0.5, "names": math.nan}, 1.0, "features.names"),
        ({"cosine": 0.5, "names": 1.0}, math.inf, "reward"),
    ],
)
def test_feedback_is_checked(features, reward: float, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        taught([]).update(features, VECTOR, reward)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("names", "ridge", "field"), [(("x", "x"), 1.0, "feature_names"), (("x",), 0.0, "ridge"), (("x",), math.nan, "ridge")]
)
def test_a_model_is_checked(names, ridge: float, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        LinearRewards(names, ridge)
    assert caught.value.field == field


# --- exploring ---


@settings(deadline=None)
@given(st.integers(1, 31), st.data())
def test_exploration_is_a_distribution_without_zeros(count: int, data) -> None:
    favourite = data.draw(st.integers(0, count - 1))
    probabilities = exploration(count, favourite)
    assert probabilities.sum() == pytest.approx(1.0)
    assert probabilities.min() >= (1 - GUIDED) / count
    assert probabilities.argmax() == favourite


def names(sources) -> list[str]:
    return [source.name for source in sources]


def test_sets_are_all_or_of_many_sources_the_plain_ones() -> None:
    assert source_sets(names(SIMULATED), 0) == list(ACTIONS)
    assert source_sets(names(SIMULATED), 1) == list(ACTIONS[1:])
    six = [SourceProfile(str(number), "vector", "", 0.0) for number in range(6)]
    assert len(source_sets(names(six), 0)) == 1 + 6 + 15 + 1


async def test_propensities_are_what_happens() -> None:
    rewards = taught([(0.5, 1.0, GRAPH | WEB, 1.0)] * 20)
    policy = BanditPolicy(FixedPolicy(("vector",)), rewards, constant, np.random.default_rng(7), epsilon=0.4)
    decisions = [await decide(policy) for _ in range(8_000)]
    counts = Counter(frozenset(decision.selected) for decision in decisions)
    propensities = {frozenset(decision.selected): decision.propensity for decision in decisions}
    assert set(counts) == set(source_sets(names(SOURCES), 1))
    assert propensities[VECTOR] == 0.6
    assert sum(propensities.values()) == pytest.approx(1.0)
    for action, count in counts.items():
        assert count / len(decisions) == pytest.approx(propensities[action], abs=0.02)


async def test_the_favourite_is_what_promises_most() -> None:
    rewards = taught([(0.5, 1.0, action, float(action == GRAPH)) for action in ACTIONS for _ in range(50)])
    policy = BanditPolicy(FixedPolicy(("vector",)), rewards, constant, np.random.default_rng(0), epsilon=0.5)
    propensities = {frozenset(decision.selected): decision.propensity for decision in [await decide(policy) for _ in range(400)]}
    assert propensities[GRAPH] == pytest.approx(0.5 * (GUIDED + (1 - GUIDED) / 6))
    assert propensities[WEB] == pytest.approx(0.5 * (1 - GUIDED) / 6)


async def test_what_is_little_known_promises_much() -> None:
    rewards = taught([(0.5, 1.0, action, 0.3) for action in ACTIONS if action != WEB for _ in range(50)])
    policy = BanditPolicy(FixedPolicy(("vector",)), rewards, constant, np.random.default_rng(0), epsilon=0.5)
    propensities = {frozenset(decision.selected): decision.propensity for decision in [await decide(policy) for _ in range(400)]}
    assert max(propensities, key=lambda action: 0.0 if action == VECTOR else propensities[action]) == WEB


async def test_without_exploration_it_is_the_base_policy() -> None:
    policy = BanditPolicy(RulesPolicy(), taught([]), constant, np.random.default_rng(0), epsilon=0.0)
    decision, base = await decide(policy), await decide(RulesPolicy())
    assert (decision.routes, decision.propensity, decision.policy) == (base.routes, 1.0, "bandit")
    assert decision.reason == f"rules decided, as with probability 1: {base.reason}"


async def test_a_set_that_is_tried_says_so_and_is_trusted_enough_to_show_what_it_is_worth() -> None:
    policy = BanditPolicy(RulesPolicy(), taught([]), constant, np.random.default_rng(0), epsilon=0.99)
    base = {route.source: route for route in (await decide(RulesPolicy())).routes}
    for decision in [await decide(policy) for _ in range(50)]:
        if decision.reason.startswith("tries "):
            assert decision.selected != ("vector",)
            assert "where rules chose vector" in decision.reason
            for route in decision.routes:
                before = base[route.source]
                assert route.probability == (max(before.probability, EXPLORED_TRUST) if route.selected else before.probability)
                assert route.cost == before.cost
                assert (route.reason == before.reason) == (route.selected == before.selected)


async def test_no_source_is_tried_only_where_that_is_wanted() -> None:
    for least, tries_none in ((1, False), (0, True)):
        policy = BanditPolicy(FixedPolicy(("web",)), taught([]), constant, np.random.default_rng(0), epsilon=0.9, least_sources=least)
        chosen = {decision.selected for decision in [await decide(policy) for _ in range(200)]}
        assert (() in chosen) == tries_none


async def test_where_there_is_no_other_set_there_is_no_chance() -> None:
    policy = BanditPolicy(FixedPolicy(("vector",)), taught([]), constant, np.random.default_rng(0), epsilon=0.9)
    assert {(await decide(policy, SOURCES[:1])).propensity for _ in range(20)} == {1.0}


async def test_a_chain_hands_the_propensity_on() -> None:
    policy = BanditPolicy(RulesPolicy(), taught([]), constant, np.random.default_rng(0), epsilon=0.25)
    propensities = {(await decide(PolicyChain([policy, RulesPolicy()]))).propensity for _ in range(50)}
    assert {0.75} < propensities <= {0.75, 0.25 * (GUIDED + (1 - GUIDED) / 6), 0.25 * (1 - GUIDED) / 6}


async def test_a_seed_replays_its_decisions() -> None:
    one, other = (BanditPolicy(RulesPolicy(), taught([]), constant, np.random.default_rng(3), epsilon=0.5) for _ in range(2))
    assert [await decide(one) for _ in range(30)] == [await decide(other) for _ in range(30)]


@pytest.mark.parametrize("make", [lambda rewards: BanditPolicy(RulesPolicy(), rewards, constant, np.random.default_rng(0)),
                                  lambda rewards: CautiousPolicy(RulesPolicy(), rewards, constant)])  # fmt: skip
async def test_features_that_were_not_learned_from_are_a_conflict_at_every_call(make) -> None:
    policy = make(LinearRewards(("cosine", "length")))
    for _ in range(5):
        with pytest.raises(Conflict, match=r"what was learned cannot be used.*length.*names") as caught:
            await decide(policy)
        assert (caught.value.reason, caught.value.field) == ("BANDIT_FEATURES", "features")


async def test_a_base_that_cannot_decide_is_not_covered_up() -> None:
    class Gone:
        name = "gone"

        async def decide(self, query, probe, sources, caller):
            raise ModelUnavailable("nobody answers")

    for policy in (BanditPolicy(Gone(), taught([]), constant, np.random.default_rng(0)), CautiousPolicy(Gone(), taught([]), constant)):
        with pytest.raises(ModelUnavailable):
            await decide(policy)


@pytest.mark.parametrize("epsilon", [-0.1, 1.0, math.nan])
def test_epsilon_is_a_probability_below_1(epsilon: float) -> None:
    with pytest.raises(InvalidInput) as caught:
        BanditPolicy(RulesPolicy(), taught([]), constant, np.random.default_rng(0), epsilon=epsilon)
    assert caught.value.field == "epsilon"


# --- without a learner: the setting routing.exploration ---


def exploring(base, epsilon: float = 0.4) -> BanditPolicy:
    return BanditPolicy(base, None, constant, np.random.default_rng(7), epsilon=epsilon)


async def test_without_rewards_every_other_set_is_tried_as_likely() -> None:
    policy = exploring(FixedPolicy(("vector",)))
    decisions = [await decide(policy) for _ in range(8_000)]
    counts = Counter(frozenset(decision.selected) for decision in decisions)
    propensities = {frozenset(decision.selected): decision.propensity for decision in decisions}
    assert set(counts) == set(source_sets(names(SOURCES), 1))
    assert propensities == {action: pytest.approx(0.6 if action == VECTOR else 0.4 / 6) for action in counts}
    for action, count in counts.items():
        assert count / len(decisions) == pytest.approx(propensities[action], abs=0.02)


@pytest.mark.parametrize(
    ("max_cost", "tried"),
    [(0.05, [VECTOR, GRAPH, VECTOR | GRAPH]), (0.02, [VECTOR, GRAPH]), (0.001, [frozenset()])],
)
async def test_only_what_may_be_paid_is_tried_and_its_probabilities_sum_to_1(max_cost: float, tried) -> None:
    policy, poor = exploring(AllPolicy()), replace(CALLER, max_cost=max_cost)
    decisions = [await policy.decide(question("What is the travel policy?"), PROBE, SOURCES, poor) for _ in range(300)]
    propensities = {frozenset(decision.selected): decision.propensity for decision in decisions}
    assert set(propensities) == set(tried)
    assert sum(propensities.values()) == pytest.approx(1.0)
    for decision in decisions:
        assert within_budget(decision, SOURCES, poor) == decision  # nothing is dropped later, which would make another set of it


async def test_what_is_too_slow_is_not_tried() -> None:
    slow_graph = tuple(replace(source, latency=ExpectedLatency(0.5, 1.5) if source.kind == "graph" else None) for source in SOURCES)
    policy, hurried = exploring(AllPolicy()), replace(CALLER, max_cost=0.05, max_latency_s=1.0)
    decisions = [await policy.decide(question("What is the travel policy?"), PROBE, slow_graph, hurried) for _ in range(50)]
    assert {decision.selected for decision in decisions} == {("vector",)}


async def test_small_talk_is_left_alone() -> None:
    policy = exploring(RulesPolicy(), 0.9)
    decisions = [await policy.decide(question("hello there"), PROBE, SOURCES, CALLER) for _ in range(50)]
    assert {(decision.selected, decision.propensity) for decision in decisions} == {((), 1.0)}


async def test_the_log_gets_features_also_where_the_base_tells_none() -> None:
    assert (await decide(exploring(RulesPolicy()))).features == constant(None, None)
    learned = LearnedPolicy(open_model(None, "routing.model"))
    assert (await decide(exploring(learned))).features == (await decide(learned)).features


# --- using what was learned ---


async def test_too_little_feedback_leaves_the_base_policy() -> None:
    decision, base = await decide(CautiousPolicy(RulesPolicy(), taught([(0.5, 1.0, WEB, 1.0)]), constant)), await decide(RulesPolicy())
    assert (decision.routes, decision.policy) == (base.routes, "cautious")
    assert decision.reason.startswith("nothing is surely better; rules decided: ")


async def test_enough_feedback_takes_over() -> None:
    rewards = taught([(0.5, 1.0, VECTOR, 0.1)] * 30 + [(0.5, 1.0, WEB, 0.9)] * 30)
    decision = await decide(CautiousPolicy(RulesPolicy(), rewards, constant))
    assert decision.selected == ("web",)
    assert decision.reason == "by the feedback so far, web 0.89 and vector 0.10 are to be expected; rules chose the latter"
    assert (await decide(CautiousPolicy(RulesPolicy(), rewards, constant, caution=20 * CAUTION))).selected == ("vector",)


# --- on the simulation ---


async def run(
    sim: Simulation, decisions: int, epsilon: float, random: np.random.Generator
) -> tuple[list[LoggedDecision[str]], list[float]]:
    """What the bandit decides over what it learned, above a policy that always asks the passages; and the regret of each decision."""

    def features(query, probe):
        return sim.features[query.text]

    rewards = LinearRewards(FEATURES)
    learned = CautiousPolicy(FixedPolicy(("vector",)), rewards, features, least_sources=0)
    policy = BanditPolicy(learned, rewards, features, random, epsilon=epsilon, least_sources=0)
    log: list[LoggedDecision[str]] = []
    for _ in range(decisions):
        asked = sim.ask(random)
        decision = await policy.decide(question(asked), PROBE, SIMULATED, CALLER)
        action = frozenset(decision.selected)
        log.append(LoggedDecision(asked, action, decision.propensity, sim.reward(asked, action, random)))
        rewards.update(sim.features[asked], action, log[-1].reward)
    return log, [sim.regret(logged.context, logged.action) for logged in log]


@pytest.mark.parametrize("seed", range(4))
async def test_regret_falls(seed: int) -> None:
    random = np.random.default_rng(seed)
    sim = Simulation.drawn(random)
    _, regrets = await run(sim, 3_000, 0.1, random)
    first, second, last = (float(part.mean()) for part in np.split(np.array(regrets), 3))
    of_base = sim.value(sim.best()) - sim.value(sim.always(VECTOR))
    assert of_base > first > second > last
    assert last < of_base / 3


async def test_its_own_log_judges_other_policies() -> None:
    """Of 95 % intervals, at least 90 of 100 hold the truth, though the policy that was logged changed as it learned."""
    held: Counter[tuple[str, str]] = Counter()
    for seed in range(SEEDS):
        random = np.random.default_rng(seed)
        sim = Simulation.drawn(random)
        log, _ = await run(sim, 600, 0.5, random)
        for name, policy in (("always vector and graph", sim.always(VECTOR | GRAPH)), ("best", sim.best())):
            target, truth = sim.as_target(policy), sim.value(policy)
            for estimate in (ips(log, target), snips(log, target), doubly_robust(log, target, mean_rewards(log, ACTIONS))):
                held[name, estimate.estimator] += estimate.low <= truth <= estimate.high
    assert len(held) == 6
    assert min(held.values()) >= HELD_AT_LEAST, held
