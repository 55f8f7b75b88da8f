"""Always the same sources."""

from __future__ import annotations

from router.errors import ConfigurationError
from router.retrieval.base import Probe
from router.routing.base import SourceProfile
from router.types import Caller, Query, Route, RouteDecision


class FixedPolicy:
    """Chooses the configured sources, whatever the question.

    Args:
        chosen: Names of sources.
    """

    name = "fixed"

    def __init__(self, chosen: tuple[str, ...]) -> None:
        self._chosen = chosen

    async def decide(self, query: Query, probe: Probe, sources: tuple[SourceProfile, ...], caller: Caller) -> RouteDecision:
        """Raises ConfigurationError when a name is no configured source."""
        unknown = sorted(set(self._chosen) - {source.name for source in sources})
        if unknown:
            configured = [source.name for source in sources]
            raise ConfigurationError(
                f"no source is called {', '.join(unknown)}; configured are {configured}", field="routing.fixed_sources"
            )
        routes = tuple(
            Route(source.name, True, 1.0, "it is in routing.fixed_sources", cost=source.cost)
            if source.name in self._chosen
            else Route(source.name, False, 0.0, "it is not in routing.fixed_sources", cost=source.cost)
            for source in sources
        )
        return RouteDecision(self.name, routes, "routing.fixed_sources names the sources")
