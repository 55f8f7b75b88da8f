"""Keeping a decision within what the caller is ready to pay and to wait, whichever policy made it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from router.routing.base import SourceProfile
from router.routing.latency import is_quick, told_as_slow
from router.types import Caller, RouteDecision

TOLERANCE = 1e-9
"""Prices are added up in floating point."""


def quick(sources: Iterable[SourceProfile], max_latency_s: float | None) -> list[SourceProfile]:
    """The sources that may be asked under a cap on latency."""
    return [source for source in sources if is_quick(source.latency.p90_s if source.latency else None, max_latency_s)]


def within_budget(decision: RouteDecision, sources: Sequence[SourceProfile], caller: Caller) -> RouteDecision:
    """The decision without the sources that are too slow, and of the others as many as may be paid, the likeliest first.

    A policy that knows the limits (`learned` does) has chosen within them, and its decision stays as it is.

    Args:
        decision: Of any policy.
        sources: With what they are expected to take, where the policy says nothing of it.
        caller: `max_cost` is of all sources together; `max_latency_s` of each source (its expected 90th percentile), and so of all
            together, which are asked at once. A source whose latency is not known is kept.
    """
    max_cost, max_latency_s = caller.max_cost, caller.max_latency_s
    if max_latency_s is not None:
        quick_ones = {source.name for source in quick(sources, max_latency_s)}
        told = {route.source: is_quick(route.latency_p90_s, max_latency_s) for route in decision.routes if route.latency_p90_s is not None}
        if slow := [source for source in decision.selected if not told.get(source, source in quick_ones)]:
            decision = _without(decision, slow, told_as_slow(slow, max_latency_s))
    if max_cost is None or decision.cost <= max_cost + TOLERANCE:
        return decision
    left = max_cost + TOLERANCE
    kept: set[str] = set()
    for route in sorted((route for route in decision.routes if route.selected), key=lambda route: (-route.probability, route.source)):
        if (route.cost or 0.0) <= left:
            left -= route.cost or 0.0
            kept.add(route.source)
    dropped = [source for source in decision.selected if source not in kept]
    return _without(decision, dropped, f"left out for the budget of {max_cost:g}: {', '.join(dropped)}")


def _without(decision: RouteDecision, dropped: list[str], why: str) -> RouteDecision:
    routes = tuple(replace(route, selected=route.selected and route.source not in dropped) for route in decision.routes)
    return replace(decision, routes=routes, reason=f"{decision.reason}; {why}")
