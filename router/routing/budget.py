"""Keeping a decision within what the caller is ready to pay and to wait, whichever policy made it."""

from __future__ import annotations

from dataclasses import replace

from router.routing.latency import is_quick, told_as_slow
from router.types import RouteDecision

TOLERANCE = 1e-9
"""Prices are added up in floating point."""


def within_budget(decision: RouteDecision, max_cost: float | None, max_latency_s: float | None = None) -> RouteDecision:
    """The decision without the sources that are too slow, and of the others as many as may be paid, the likeliest first.

    A policy that knows the limits (`learned` does) has chosen within them, and its decision stays as it is.

    Args:
        decision: Of any policy.
        max_cost: Of all sources together; None: no limit.
        max_latency_s: Of each source (its expected 90th percentile), and so of all together, which are asked at once; None: no limit. A
            source whose latency is not known is kept.
    """
    if max_latency_s is not None:
        slow = [route.source for route in decision.routes if route.selected and not is_quick(route.latency_p90_s, max_latency_s)]
        if slow:
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
