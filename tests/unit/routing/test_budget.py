"""A decision is kept within what the caller is ready to pay."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from router.routing.budget import within_budget
from router.types import Route, RouteDecision
from tests.unit.routing.questions import SOURCES, caller, probe, question
from tests.unit.routing.test_learned_policy import POLICY

ROWS = st.lists(st.tuples(st.booleans(), st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=5)


def decision_of(rows) -> RouteDecision:
    routes = tuple(Route(f"s{number}", selected, chance, "", cost=cost) for number, (selected, chance, cost) in enumerate(rows))
    return RouteDecision("p", routes, "why")


@given(ROWS, st.floats(0, 2))
def test_what_is_left_can_be_paid_and_was_chosen_before(rows, budget: float) -> None:
    before = decision_of(rows)
    after = within_budget(before, budget)
    assert after.cost <= budget + 1e-9
    assert set(after.selected) <= set(before.selected)
    assert after == before or "left out for the budget" in after.reason
    if before.cost <= budget:
        assert after == before


def test_the_likeliest_are_kept() -> None:
    kept = within_budget(decision_of([(True, 0.9, 0.2), (True, 0.8, 0.02), (True, 0.7, 0.02)]), 0.22)
    assert kept.selected == ("s0", "s1")
    assert within_budget(kept, None) == kept


async def test_the_learned_policy_chooses_the_best_within_the_budget() -> None:
    asked = question("Who won the cup this week?")
    free = await POLICY.decide(asked, probe(cosine=0.1, recent=True), SOURCES, caller())
    assert "web" in free.selected
    bound = await POLICY.decide(asked, probe(cosine=0.1, recent=True), SOURCES, replace(caller(), max_cost=0.05))
    assert bound.selected
    assert bound.cost <= 0.05
    nothing = await POLICY.decide(asked, probe(), SOURCES, replace(caller(), max_cost=0.001))
    assert nothing.selected == ()
    assert "no source can be had for 0.001" in nothing.reason
