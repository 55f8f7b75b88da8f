"""The seam of a policy: one method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from router.retrieval.base import Probe
from router.types import Caller, Query, RouteDecision


@dataclass(frozen=True, slots=True)
class SourceProfile:
    """What a policy knows of a configured source."""

    name: str
    kind: str
    """`vector`, `graph` or `web`."""
    description: str
    cost: float
    """Price of asking it, in units of answer quality."""


class RoutingPolicy(Protocol):
    @property
    def name(self) -> str: ...

    async def decide(self, query: Query, probe: Probe, sources: tuple[SourceProfile, ...], caller: Caller) -> RouteDecision:
        """Choose among the sources, possibly several, possibly none: one Route for each source, in their order.

        Raises:
            RouterError: The policy cannot decide (its model is gone, or replied nonsense twice); the next of the chain does.
        """
