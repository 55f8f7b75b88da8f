"""Further sources are asked where that pays, and only there."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from router.correction.base import Lookup
from router.correction.widen import LEAST_GAIN, Widen
from router.routing.latency import ExpectedLatency
from tests.unit.correction.states import PRICES, QUESTION, state

chances = st.floats(0, 1)


async def test_the_source_that_most_probably_has_what_is_lacking_comes_first() -> None:
    change = await Widen().propose(state({"vector": 0.3, "graph": 0.4, "web": 0.9}, ["vector"], 0.1))
    assert change is not None
    assert change.lookups == (Lookup(QUESTION, "web"), Lookup(QUESTION, "graph"))
    assert "0.10" in change.reason


async def test_evidence_that_carries_the_answer_is_left_alone() -> None:
    assert await Widen().propose(state({"vector": 0.9, "web": 0.3}, ["vector"], 0.95)) is None


async def test_a_source_that_the_caller_did_not_ask_for_is_not_asked() -> None:
    assert await Widen().propose(state({"vector": 1.0, "web": 0.0}, ["vector"], 0.0)) is None


@given(vector=chances, graph=chances, web=chances, carried=chances, asked=st.sets(st.sampled_from(sorted(PRICES)), min_size=1))
async def test_every_proposed_lookup_is_new_and_worth_its_price(
    vector: float, graph: float, web: float, carried: float, asked: set[str]
) -> None:
    expected = {"vector": vector, "graph": graph, "web": web}
    change = await Widen().propose(state(expected, sorted(asked), carried))
    proposed = set() if change is None else {lookup.source for lookup in change.lookups}
    assert proposed == {name for name in PRICES if name not in asked and (1 - carried) * expected[name] - PRICES[name] > LEAST_GAIN}


async def test_a_turn_keeps_to_the_budget_of_the_call() -> None:
    asked = state({"vector": 0.3, "graph": 0.4, "web": 0.9}, ["vector"], 0.1)
    bound = replace(asked, caller=replace(asked.caller, max_cost=0.05))
    change = await Widen().propose(bound)
    assert change is not None
    assert change.sources == ("graph",)
    assert await Widen().propose(replace(asked, caller=replace(asked.caller, max_cost=0.03))) is None


async def test_a_turn_keeps_to_the_time_of_the_call_with_what_was_waited_for_before() -> None:
    asked = state({"vector": 0.3, "graph": 0.4, "web": 0.9}, ["vector"], 0.1)
    seconds = {"vector": 0.5, "graph": 0.25, "web": 1.0}
    sources = tuple(replace(source, latency=ExpectedLatency(0.1, seconds[source.name])) for source in asked.sources)

    async def proposed(max_latency_s: float, **changed) -> tuple[str, ...]:
        hurried = replace(asked, caller=replace(asked.caller, max_latency_s=max_latency_s), **changed)
        change = await Widen().propose(hurried)
        return () if change is None else change.sources

    assert set(await proposed(1.5, sources=sources)) == {"graph", "web"}
    assert await proposed(1.25, sources=sources) == ("graph",)
    assert await proposed(0.5, sources=sources) == ()
    assert set(await proposed(0.5)) == {"graph", "web"}  # nothing is known yet
