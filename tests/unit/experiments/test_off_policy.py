"""The estimators against values that are known: by hand, by identities, and in a simulation."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.errors import InvalidInput
from router.experiments.off_policy import (
    FEW_EFFECTIVE,
    Estimate,
    LoggedDecision,
    Overlap,
    doubly_robust,
    doubly_robust_difference,
    ips,
    mean_rewards,
    point_mass,
    snips,
)
from router.experiments.simulation import ACTIONS, Simulation, Table, exploring

VECTOR, GRAPH, WEB = (frozenset({name}) for name in ("vector", "graph", "web"))
SEEDS = 100
HELD_AT_LEAST = 90

actions = st.sampled_from(ACTIONS)
logs = st.lists(
    st.builds(LoggedDecision[str], st.sampled_from("abc"), actions, st.floats(0.01, 1), st.floats(-1, 1)), min_size=2, max_size=30
)
distributions = st.lists(st.floats(0.01, 1), min_size=8, max_size=8).map(
    lambda odds: dict(zip(ACTIONS, (np.array(odds) / sum(odds)).tolist(), strict=True))
)


def kinds(estimate: Estimate) -> set[Overlap]:
    return {warning.kind for warning in estimate.warnings}


def holds(estimate: Estimate, truth: float) -> bool:
    return estimate.low <= truth <= estimate.high


def all_of(log, target, model) -> tuple[Estimate, Estimate, Estimate]:
    return ips(log, target), snips(log, target), doubly_robust(log, target, model)


# --- by hand ---

LOG = [
    LoggedDecision("a", VECTOR, 0.5, 1.0),
    LoggedDecision("a", GRAPH, 0.25, 0.0),
    LoggedDecision("b", GRAPH, 0.5, 0.6),
    LoggedDecision("b", VECTOR, 0.5, 0.2),
]


def test_by_hand() -> None:
    # Weights: 0, 4, 2, 0.
    by_weight, normalised, robust = all_of(LOG, point_mass(lambda _: GRAPH), {VECTOR: 0.5, GRAPH: 0.5})
    assert by_weight.value == pytest.approx((4 * 0.0 + 2 * 0.6) / 4)
    assert by_weight.standard_error == pytest.approx(np.std([0, 0, 1.2, 0], ddof=1) / 2)
    assert normalised.value == pytest.approx((4 * 0.0 + 2 * 0.6) / 6)
    # Without the second decision the estimate is 0.6, without the third 0, without another 0.2 as it is.
    assert normalised.standard_error == pytest.approx(math.sqrt(3 / 4 * (0.4**2 + 0.2**2)))
    assert robust.value == pytest.approx(0.5 + (4 * (0.0 - 0.5) + 2 * (0.6 - 0.5)) / 4)
    for estimate in (by_weight, normalised, robust):
        assert (estimate.decisions, estimate.largest_weight, estimate.mean_weight) == (4, 4.0, 1.5)
        assert estimate.effective_decisions == pytest.approx(36 / 20)
        # Student's t at 0.8 degrees of freedom is taken at 1.
        assert estimate.high - estimate.value == pytest.approx(12.7062 * estimate.standard_error, rel=1e-4)


def test_a_model_may_be_a_table_or_look_at_the_context() -> None:
    def target(context: str) -> dict[frozenset[str], float]:
        return {GRAPH: 1.0} if context == "a" else {GRAPH: 0.5, VECTOR: 0.5}

    table = {VECTOR: 0.25, GRAPH: 0.75}
    assert doubly_robust(LOG, target, table) == doubly_robust(LOG, target, lambda _, action: table[action])
    assert doubly_robust(LOG, target, table) != doubly_robust(LOG, target, lambda context, _: float(context == "a"))


def test_contexts_may_be_features() -> None:
    log = [
        LoggedDecision[dict[str, float]]({"cosine": place / 10}, VECTOR if place % 2 else GRAPH, 0.5, float(place % 2))
        for place in range(10)
    ]
    assert snips(log, point_mass(lambda features: VECTOR if features["cosine"] > 0.4 else GRAPH)).value == pytest.approx(0.5)


def test_mean_rewards_know_every_action() -> None:
    assert mean_rewards(LOG, (VECTOR, WEB)) == pytest.approx({VECTOR: 0.6, WEB: 0.45, GRAPH: 0.3})


# --- identities ---


@settings(deadline=None)
@given(logs)
def test_the_policy_that_ran_is_worth_the_mean_of_its_rewards(log: list[LoggedDecision[str]]) -> None:
    # Each decision its own context, so that the target can have exactly its propensity.
    own = [LoggedDecision(place, decision.action, decision.propensity, decision.reward) for place, decision in enumerate(log)]

    def target(place: int) -> dict[frozenset[str], float]:
        decision = own[place]
        return {decision.action: decision.propensity, frozenset({"another"}): 1 - decision.propensity}

    rewards = [decision.reward for decision in log]
    for estimate in (ips(own, target), snips(own, target)):
        assert estimate.value == pytest.approx(np.mean(rewards), abs=1e-12)
        assert estimate.standard_error == pytest.approx(np.std(rewards, ddof=1) / math.sqrt(len(log)), abs=1e-9)
        assert (estimate.effective_decisions, estimate.largest_weight) == (pytest.approx(len(log)), 1.0)


@settings(deadline=None)
@given(logs, distributions)
def test_snips_stays_within_the_rewards(log: list[LoggedDecision[str]], target: dict[frozenset[str], float]) -> None:
    rewards = [decision.reward for decision in log]
    assert min(rewards) <= snips(log, lambda _: target).value <= max(rewards)


@settings(deadline=None)
@given(logs, distributions, st.floats(-5, 5))
def test_snips_and_doubly_robust_shift_with_the_rewards(
    log: list[LoggedDecision[str]], target: dict[frozenset[str], float], shift: float
) -> None:
    shifted = [LoggedDecision(decision.context, decision.action, decision.propensity, decision.reward + shift) for decision in log]
    assert snips(shifted, lambda _: target).value == pytest.approx(snips(log, lambda _: target).value + shift, abs=1e-6)
    model = dict.fromkeys(ACTIONS, 0.5)
    moved = doubly_robust(shifted, lambda _: target, {action: value + shift for action, value in model.items()})
    assert moved.value == pytest.approx(doubly_robust(log, lambda _: target, model).value + shift, abs=1e-6)


@settings(deadline=None)
@given(logs, distributions)
def test_a_model_of_nothing_makes_doubly_robust_ips(log: list[LoggedDecision[str]], target: dict[frozenset[str], float]) -> None:
    robust, plain = doubly_robust(log, lambda _: target, dict.fromkeys(ACTIONS, 0.0)), ips(log, lambda _: target)
    assert (robust.value, robust.standard_error) == (pytest.approx(plain.value), pytest.approx(plain.standard_error))


@settings(deadline=None)
@given(logs, distributions, st.lists(st.floats(0, 1), min_size=8, max_size=8))
def test_a_perfect_model_leaves_doubly_robust_no_variance(
    log: list[LoggedDecision[str]], target: dict[frozenset[str], float], worth: list[float]
) -> None:
    model = dict(zip(ACTIONS, worth, strict=True))
    certain = [LoggedDecision(decision.context, decision.action, decision.propensity, model[decision.action]) for decision in log]
    robust = doubly_robust(certain, lambda _: target, model)
    assert robust.value == pytest.approx(sum(target[action] * model[action] for action in ACTIONS))
    assert robust.standard_error < 1e-9


@settings(deadline=None)
@given(logs, distributions)
def test_every_estimate_is_finite_and_within_its_interval(log: list[LoggedDecision[str]], target: dict[frozenset[str], float]) -> None:
    for estimate in all_of(log, lambda _: target, dict.fromkeys(ACTIONS, 0.3)):
        assert math.isfinite(estimate.low)
        assert math.isfinite(estimate.high)
        assert estimate.low <= estimate.value <= estimate.high
        assert 1 - 1e-9 <= estimate.effective_decisions <= len(log) + 1e-9
        assert all(warning.share > 0 and warning.message for warning in estimate.warnings)


# --- where the truth is known ---

Policies = Callable[[Simulation], Table]
TARGETS: dict[str, Policies] = {
    "mostly the better sets": lambda sim: sim.softmax(0.1),
    "the best set of each question": lambda sim: sim.best(),
    "always graph and web": lambda sim: sim.always(GRAPH | WEB),
}


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_intervals_hold_the_truth(target: Policies) -> None:
    """Of 95 % intervals, at least 90 of 100; each seed has its own questions, policies and log."""
    held = {"ips": 0, "snips": 0, "doubly_robust": 0}
    for seed in range(SEEDS):
        random = np.random.default_rng(seed)
        sim = Simulation.drawn(random)
        policy = target(sim)
        log = sim.log(exploring(sim.always(VECTOR), 0.3), 1_000, random)
        for estimate in all_of(log, sim.as_target(policy), mean_rewards(log, ACTIONS)):
            held[estimate.estimator] += holds(estimate, sim.value(policy))
    assert all(count >= HELD_AT_LEAST for count in held.values()), held


def test_a_perfect_model_brings_the_truth_closer_than_weights_alone() -> None:
    random = np.random.default_rng(0)
    sim = Simulation.drawn(random)
    log, target = sim.log(sim.uniform(), 1_000, random), sim.as_target(sim.best())
    plain, normalised, robust = all_of(log, target, sim.predicted)
    assert robust.standard_error < normalised.standard_error < plain.standard_error
    assert robust.standard_error < 0.6 * plain.standard_error


def test_the_more_is_logged_the_narrower_the_interval() -> None:
    random = np.random.default_rng(0)
    sim = Simulation.drawn(random)
    target = sim.as_target(sim.softmax(0.1))
    few, many = (snips(sim.log(sim.uniform(), decisions, random), target) for decisions in (500, 8_000))
    assert many.standard_error == pytest.approx(few.standard_error / 4, rel=0.25)


# --- overlap ---


def test_good_overlap_needs_no_warning() -> None:
    random = np.random.default_rng(5)
    sim = Simulation.drawn(random)
    assert snips(sim.log(sim.uniform(), 2_000, random), sim.as_target(sim.softmax(0.2))).warnings == ()


def test_what_was_never_logged_is_named_with_its_share() -> None:
    log = [LoggedDecision("q", VECTOR, 1.0, 0.5)] * 200
    estimate = ips(log, lambda _: {VECTOR: 0.7, WEB: 0.3})
    assert kinds(estimate) == {Overlap.NEVER_LOGGED}
    assert estimate.never_logged == estimate.warnings[0].share == pytest.approx(0.3)
    assert "30.0%" in estimate.warnings[0].message


def test_what_was_logged_in_other_contexts_only_is_missed_by_the_mean_weight() -> None:
    """A policy without chance: each question has one action, and the target takes the other one for every fourth."""
    log = [LoggedDecision(number, GRAPH if number % 2 else VECTOR, 1.0, 0.5) for number in range(400)]
    estimate = snips(log, point_mass(lambda number: GRAPH if number % 2 or number % 4 == 0 else VECTOR))
    assert kinds(estimate) == {Overlap.MISSING_MASS}
    assert estimate.never_logged == 0.0
    assert estimate.warnings[0].share == pytest.approx(0.25)


def test_tiny_propensities_are_told() -> None:
    random = np.random.default_rng(0)
    sim = Simulation.drawn(random)
    log = sim.log(exploring(sim.always(VECTOR), 0.02), 2_000, random)
    for estimate in all_of(log, sim.as_target(sim.best()), mean_rewards(log, ACTIONS)):
        assert {Overlap.TINY_PROPENSITY, Overlap.FEW_EFFECTIVE} <= kinds(estimate)
        assert estimate.effective_decisions < FEW_EFFECTIVE
        assert estimate.largest_weight == pytest.approx(400)


def test_one_heavy_decision_is_told() -> None:
    log = [LoggedDecision("q", VECTOR, 0.99, 0.1)] * 99 + [LoggedDecision("q", GRAPH, 0.01, 0.9)]
    estimate = ips(log, lambda _: {VECTOR: 0.5, GRAPH: 0.5})
    assert Overlap.HEAVY_DECISION in kinds(estimate)
    assert max(warning.share for warning in estimate.warnings) == pytest.approx(0.5)


def test_wrong_propensities_are_told() -> None:
    random = np.random.default_rng(0)
    sim = Simulation.drawn(random)
    log = sim.log(sim.uniform(), 1_000, random)
    wrong = [LoggedDecision(decision.context, decision.action, decision.propensity / 2, decision.reward) for decision in log]
    assert kinds(ips(wrong, sim.as_target(sim.uniform()))) == {Overlap.WRONG_PROPENSITIES}


def test_where_overlap_is_thin_an_interval_that_misses_is_rarely_without_a_warning() -> None:
    missed = silent = 0
    for seed in range(SEEDS):
        random = np.random.default_rng(seed)
        sim = Simulation.drawn(random)
        log, policy = sim.log(exploring(sim.always(VECTOR), 0.03), 300, random), sim.best()
        estimate = ips(log, sim.as_target(policy))
        if not holds(estimate, sim.value(policy)):
            missed += 1
            silent += not estimate.warnings
    assert missed > 20
    assert silent <= 2


# --- refusals ---


@pytest.mark.parametrize("propensity", [0.0, -0.1, 1.01, math.nan, math.inf])
def test_a_propensity_is_above_0_and_at_most_1(propensity: float) -> None:
    with pytest.raises(InvalidInput, match="the propensity is") as caught:
        LoggedDecision("q", VECTOR, propensity, 1.0)
    assert caught.value.field == "propensity"


@pytest.mark.parametrize("reward", [math.nan, math.inf, -math.inf])
def test_a_reward_is_finite(reward: float) -> None:
    with pytest.raises(InvalidInput, match="must be finite") as caught:
        LoggedDecision("q", VECTOR, 0.5, reward)
    assert caught.value.field == "reward"


def test_an_action_is_a_frozenset() -> None:
    with pytest.raises(InvalidInput, match="frozenset") as caught:
        LoggedDecision("q", ("vector",), 0.5, 1.0)
    assert caught.value.field == "action"


@pytest.mark.parametrize("log", [[], LOG[:1]])
def test_a_log_has_at_least_two_decisions(log: list[LoggedDecision[str]]) -> None:
    for estimate in (lambda: ips(log, point_mass(lambda _: VECTOR)), lambda: snips(log, point_mass(lambda _: VECTOR))):
        with pytest.raises(InvalidInput, match="at least 2") as caught:
            estimate()
        assert (caught.value.field, caught.value.reason) == ("log", "LOG_TOO_SHORT")


def test_mean_rewards_need_a_decision() -> None:
    with pytest.raises(InvalidInput, match="at least 1"):
        mean_rewards([], ACTIONS)


@pytest.mark.parametrize(
    ("chosen", "problem"),
    [
        ({VECTOR: 0.5}, "sum to 0.5"),
        ({}, "sum to 0"),
        ({VECTOR: 1.5, GRAPH: -0.5}, "probability -0.5"),
        ({VECTOR: math.nan}, "probability nan"),
        ({"vector": 1.0}, "frozensets"),
    ],
)
def test_a_target_gives_probabilities(chosen, problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem) as caught:
        ips(LOG, lambda _: chosen)
    assert caught.value.field == "target"


def test_nothing_in_common_is_no_estimate() -> None:
    with pytest.raises(InvalidInput, match="would take 0 of the 4 logged decisions") as caught:
        ips(LOG, point_mass(lambda _: WEB))
    assert (caught.value.field, caught.value.reason) == ("target", "NO_OVERLAP")


def test_one_decision_in_common_is_none_either() -> None:
    with pytest.raises(InvalidInput, match="would take 1 of the 4 logged decisions"):
        snips(LOG, lambda context: {GRAPH: 1.0} if context == "a" else {WEB: 1.0})


@pytest.mark.parametrize("model", [{VECTOR: 0.5}, lambda _, action: math.nan if action == GRAPH else 0.5])
def test_a_reward_model_knows_every_action(model) -> None:
    with pytest.raises(InvalidInput, match="graph") as caught:
        doubly_robust(LOG, point_mass(lambda _: VECTOR), model)
    assert caught.value.field == "reward_model"


# --- differences ---


def test_the_interval_of_a_difference_holds_the_truth() -> None:
    held, shares = 0, []
    for seed in range(100):
        random = np.random.default_rng(seed)
        sim = Simulation.drawn(random)
        log = sim.log(exploring(sim.always(frozenset({"vector"})), 0.5), 800, random)
        one, other = sim.best(), sim.always(frozenset({"vector"}))
        found = doubly_robust_difference(log, sim.as_target(one), sim.as_target(other), mean_rewards(log, ACTIONS))
        held += found.low <= sim.value(one) - sim.value(other) <= found.high
        shares.append(found.differing / found.decisions)
    assert held >= 90
    assert all(0 < share < 1 for share in shares)


def test_a_difference_that_was_never_tried_is_warned_of_however_rare() -> None:
    """Over the whole log, one decision in 200 would not show."""
    vector, web = frozenset({"vector"}), frozenset({"web"})
    log = [LoggedDecision(f"q{n}", vector, 1.0, float(n % 2)) for n in range(800)] + [LoggedDecision("w", web, 1.0, 1.0)] * 10

    def target(context: str) -> dict[frozenset[str], float]:
        return {web if context in {"w", "q1", "q2", "q3", "q4"} else vector: 1.0}

    def against(context: str) -> dict[frozenset[str], float]:
        return {vector: 1.0}

    found = doubly_robust_difference(log, target, against, mean_rewards(log, [vector, web]))
    assert (found.differing, found.decisions) == (14, 810)
    assert Overlap.FEW_EFFECTIVE in {warning.kind for warning in found.warnings}
    alike = doubly_robust_difference(log, against, against, mean_rewards(log, [vector]))
    assert (alike.value, alike.low, alike.high, alike.differing, alike.warnings) == (0.0, 0.0, 0.0, 0, ())
