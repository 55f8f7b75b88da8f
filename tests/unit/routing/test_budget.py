"""A decision is kept within what the caller is ready to pay and to wait."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from router.routing.base import SourceProfile
from router.routing.budget import within_budget
from router.routing.latency import ExpectedLatency
from router.types import Caller, Route, RouteDecision
from tests.unit.routing.questions import SOURCES, caller, probe, question
from tests.unit.routing.test_learned_policy import POLICY

LATENCIES = st.none() | st.floats(0, 3)
Rows = list[tuple[bool, float, float, float | None]]
"""Whether it was chosen, how likely, price, expected latency."""
ROWS = st.lists(st.tuples(st.booleans(), st.floats(0, 1), st.floats(0, 1), LATENCIES), min_size=1, max_size=5)


def decided(rows: Rows) -> tuple[RouteDecision, tuple[SourceProfile, ...]]:
    routes = tuple(Route(f"s{number}", selected, chance, "", cost=cost) for number, (selected, chance, cost, _) in enumerate(rows))
    latencies = [None if p90_s is None else ExpectedLatency(p90_s / 2, p90_s) for *_, p90_s in rows]
    profiles = tuple(
        SourceProfile(route.source, "vector", "", route.cost or 0.0, latency) for route, latency in zip(routes, latencies, strict=True)
    )
    return RouteDecision("p", routes, "why"), profiles


def asker(max_cost: float | None = None, max_latency_s: float | None = None) -> Caller:
    return replace(caller(), max_cost=max_cost, max_latency_s=max_latency_s)


@given(ROWS, st.none() | st.floats(0, 2), st.none() | st.floats(0, 3))
def test_what_is_left_is_within_both_limits_and_nothing_that_fits_is_dropped(rows: Rows, budget: float | None, cap: float | None) -> None:
    before, sources = decided(rows)
    after = within_budget(before, sources, asker(budget, cap))
    assert set(after.selected) <= set(before.selected)
    assert budget is None or after.cost <= budget + 1e-9
    assert within_budget(after, sources, asker(budget, cap)) == after
    quick = [cap is None or p90_s is None or p90_s <= cap for *_, p90_s in rows]
    for now, then, is_quick in zip(after.routes, before.routes, quick, strict=True):
        assert replace(now, selected=then.selected) == then
        assert is_quick or not now.selected
        if then.selected and not now.selected:
            assert now.source in after.reason
            # What was left out was too slow, or does not fit beside what was kept.
            assert not is_quick or after.cost + (then.cost or 0.0) > (budget or 0.0)
    if before.cost <= (2**9 if budget is None else budget) and all(quick):
        assert after == before


def test_the_reason_says_what_was_left_out_and_why() -> None:
    before, sources = decided([(True, 0.9, 0.02, 0.5), (True, 0.8, 0.2, 0.1), (True, 0.7, 0.02, None)])
    after = within_budget(before, sources, asker(0.1, 0.25))
    assert after.selected == ("s2",)
    assert after.reason == "why; left out as slower than 250 ms: s0; left out for the budget of 0.1: s1"


def test_the_likeliest_are_kept() -> None:
    before, sources = decided([(True, 0.9, 0.2, None), (True, 0.8, 0.02, None), (True, 0.7, 0.02, None)])
    kept = within_budget(before, sources, asker(0.22))
    assert kept.selected == ("s0", "s1")
    assert within_budget(kept, sources, asker()) == kept


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


async def test_the_learned_policy_chooses_among_the_quick_ones() -> None:
    asked = question("Who won the cup this week?")
    seen = probe(cosine=0.1, recent=True)
    slow_web = tuple(replace(source, latency=ExpectedLatency(0.5, 1.5) if source.kind == "web" else None) for source in SOURCES)
    patient = await POLICY.decide(asked, seen, slow_web, replace(caller(), max_latency_s=1.5))
    assert "web" in patient.selected
    assert "left out" not in patient.reason
    hurried = await POLICY.decide(asked, seen, slow_web, replace(caller(), max_latency_s=1.0))
    assert hurried.selected
    assert "web" not in hurried.selected
    assert "left out as slower than 1000 ms: web" in hurried.reason
    all_slow = tuple(replace(source, latency=ExpectedLatency(0.5, 1.5)) for source in SOURCES)
    nothing = await POLICY.decide(asked, seen, all_slow, replace(caller(), max_latency_s=1.0))
    assert nothing.selected == ()
    assert "no source can be had; left out as slower than 1000 ms: vector, graph, web" in nothing.reason


async def test_of_two_sources_of_a_kind_only_the_slow_one_is_left_out() -> None:
    vector = SOURCES[0]
    two = (vector, replace(vector, name="archive", cost=0.3, latency=ExpectedLatency(2.0, 3.0)))
    decision = await POLICY.decide(question("Who keeps the lantern?"), probe(), two, replace(caller(), max_latency_s=1.0))
    assert decision.selected == ("vector",)
