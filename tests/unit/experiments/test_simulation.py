"""The simulation against counts: what it says of itself is what happens in it."""

from __future__ import annotations

import numpy as np
import pytest

from router.experiments.simulation import ACTIONS, COSTS, FEATURES, Simulation, exploring


def simulation(seed: int = 0) -> Simulation:
    return Simulation.drawn(np.random.default_rng(seed))


def test_eight_sets_of_three_sources() -> None:
    assert len(set(ACTIONS)) == 8
    assert frozenset().union(*ACTIONS) == set(COSTS)


def test_the_same_seed_gives_the_same_questions() -> None:
    assert simulation(3).features == simulation(3).features != simulation(4).features
    assert all(set(row) == set(FEATURES) and all(0 <= value <= 1 for value in row.values()) for row in simulation().features.values())


def test_no_source_brings_nothing_and_another_source_brings_at_least_as_many_answers() -> None:
    sim = simulation()
    quality = sim.utility + [sum(COSTS[source] for source in action) for action in ACTIONS]
    assert np.abs(quality[:, ACTIONS.index(frozenset())]).max() < 1e-12
    for place, action in enumerate(ACTIONS):
        for source in COSTS:
            assert (quality[:, ACTIONS.index(action | {source})] >= quality[:, place] - 1e-12).all()


def test_a_log_holds_what_its_policy_does_with_its_propensities() -> None:
    sim = simulation()
    policy = exploring(sim.softmax(0.2), 0.2)
    log = sim.log(policy, 40_000, np.random.default_rng(1))
    target = sim.as_target(policy)
    assert all(decision.propensity == target(decision.context)[decision.action] for decision in log)
    shares = [np.mean([decision.action == action for decision in log]) for action in ACTIONS]
    assert shares == pytest.approx(policy.mean(axis=0), abs=0.01)
    assert np.mean([decision.reward for decision in log]) == pytest.approx(sim.value(policy), abs=0.01)


def test_single_rewards_come_as_those_of_a_log() -> None:
    sim, random = simulation(), np.random.default_rng(2)
    question, action = sim.ask(random), frozenset({"graph", "web"})
    rewards = [sim.reward(question, action, random) for _ in range(10_000)]
    assert {round(reward, 9) for reward in rewards} == {-0.22, 0.78}
    assert np.mean(rewards) == pytest.approx(sim.predicted(question, action), abs=0.02)


def test_no_policy_is_worth_more_than_the_best_and_none_has_less_regret() -> None:
    sim = simulation()
    best = sim.value(sim.best())
    assert all(best > sim.value(policy) for policy in (sim.uniform(), sim.softmax(0.1), *map(sim.always, ACTIONS)))
    action = frozenset({"vector"})
    assert np.mean([sim.regret(question, action) for question in sim.questions]) == pytest.approx(best - sim.value(sim.always(action)))
