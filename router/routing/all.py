"""Every source, always."""

from __future__ import annotations

from router.retrieval.base import Probe
from router.routing.base import SourceProfile
from router.types import Caller, Query, Route, RouteDecision


class AllPolicy:
    """Chooses every configured source; what they are worth is left to the fusion."""

    name = "all"

    async def decide(self, query: Query, probe: Probe, sources: tuple[SourceProfile, ...], caller: Caller) -> RouteDecision:
        routes = tuple(Route(source.name, True, 1.0, "every source is asked", cost=source.cost) for source in sources)
        return RouteDecision(self.name, routes, "this policy asks every source")
