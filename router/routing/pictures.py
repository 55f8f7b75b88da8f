"""A question with a picture, whatever the policy: the policies look at its words and at the corpus, and pictures are found by vector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from router.retrieval.base import Probe
from router.routing.base import SourceProfile
from router.routing.rules import asks_relations
from router.types import Query, RouteDecision

LEAST_TRUST = 0.6
"""In a source that is asked for the sake of the picture."""


def with_pictures(decision: RouteDecision, query: Query, probe: Probe, sources: Sequence[SourceProfile]) -> RouteDecision:
    """The decision, with the vector sources for a picture, and the graph where it leads on from what the picture shows."""
    if not query.has_pictures:
        return decision
    wanted = {"vector": "the question has a picture"}
    shown = [name.name for name in probe.linked or () if name.is_shown]
    if shown:
        wanted["graph"] = f"the picture shows {shown[0]}"
    elif asks_relations(query.text):
        wanted["graph"] = "the question has a picture and asks how things relate"
    reasons = {source.name: wanted[source.kind] for source in sources if source.kind in wanted}
    routes = tuple(
        replace(
            route,
            selected=True,
            probability=max(route.probability, LEAST_TRUST),
            reason=f"{reasons[route.source]}; {route.reason}",
        )
        if route.source in reasons
        else route
        for route in decision.routes
    )
    return replace(decision, routes=routes, reason="; ".join([*dict.fromkeys(wanted.values()), decision.reason]))
