"""Widen: ask the sources that the policy left out, where that is expected to pay."""

from __future__ import annotations

import math

from router.correction.base import Change, Lookup, State
from router.routing.budget import TOLERANCE
from router.routing.latency import is_quick

ACTION = "widen"
LEAST_GAIN = 0.05
"""A turn takes time, and chances are estimates: so much must be expected beyond the price."""


class Widen:
    """Asks a further source when the chance that it has what the evidence lacks is worth more than its price.

    The chance is (1 - P(the evidence carries the answer)) x the probability that the policy gave the source before anything was looked up.
    """

    async def propose(self, state: State) -> Change | None:
        """Never for sources that the caller named: then he has chosen. A turn comes after what was asked before, so their times add up."""
        asked = {lookup.source for lookup in state.made}
        lacking = 1.0 - state.verdict.probability
        price = {source.name: source.cost for source in state.sources}
        p90_s = {source.name: source.latency.p90_s for source in state.sources if source.latency is not None}
        waited_s = max((p90_s.get(source, 0.0) for source in asked), default=0.0)
        left_s = None if state.caller.max_latency_s is None else state.caller.max_latency_s - waited_s
        worth = [
            (lacking * route.probability - price[route.source], route.source)
            for route in state.decision.routes
            if route.source not in asked
        ]
        left = math.inf if state.caller.max_cost is None else state.caller.max_cost - sum(price[source] for source in asked)
        paying = []
        for gain, source in sorted(worth, key=lambda item: (-item[0], item[1])):
            if gain > LEAST_GAIN and price[source] <= left + TOLERANCE and is_quick(p90_s.get(source), left_s):
                left -= price[source]
                paying.append(source)
        if not paying:
            return None
        reason = f"the evidence carries the answer with probability {state.verdict.probability:.2f} ({state.verdict.reason})"
        return Change(ACTION, reason, tuple(Lookup(state.query.text, source) for source in paying))
