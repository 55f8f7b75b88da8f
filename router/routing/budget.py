"""Keeping a decision within what the caller is ready to pay, whichever policy made it."""

from __future__ import annotations

from dataclasses import replace

from router.types import RouteDecision

TOLERANCE = 1e-9
"""Prices are added up in floating point."""


def within_budget(decision: RouteDecision, max_cost: float | None) -> RouteDecision:
    """The decision with as many of its sources as may be paid, the likeliest first.

    A policy that knows the budget (`learned` does) has chosen within it, and its decision stays as it is.

    Args:
        decision: Of any policy.
        max_cost: Of all sources together; None: no limit.
    """
    if max_cost is None or decision.cost <= max_cost + TOLERANCE:
        return decision
    left = max_cost + TOLERANCE
    kept: set[str] = set()
    for route in sorted((route for route in decision.routes if route.selected), key=lambda route: (-route.probability, route.source)):
        if (route.cost or 0.0) <= left:
            left -= route.cost or 0.0
            kept.add(route.source)
    dropped = [source for source in decision.selected if source not in kept]
    routes = tuple(replace(route, selected=route.selected and route.source in kept) for route in decision.routes)
    return replace(decision, routes=routes, reason=f"{decision.reason}; left out for the budget of {max_cost:g}: {', '.join(dropped)}")
