"""The seam of a policy: one method; and that of whoever learns from what became of its decisions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from router.retrieval.base import Probe
from router.routing.latency import ExpectedLatency
from router.types import Answer, Caller, Query, Retrieval, RouteDecision


@dataclass(frozen=True, slots=True)
class SourceProfile:
    """What a policy knows of a configured source."""

    name: str
    kind: str
    """`vector`, `graph` or `web`."""
    description: str
    cost: float
    """Price of asking it, in units of answer quality."""
    latency: ExpectedLatency | None = None
    """Learned from use; None while too little is known."""


class RoutingPolicy(Protocol):
    @property
    def name(self) -> str: ...

    async def decide(self, query: Query, probe: Probe, sources: tuple[SourceProfile, ...], caller: Caller) -> RouteDecision:
        """Choose among the sources, possibly several, possibly none: one Route for each source, in their order.

        Raises:
            RouterError: The policy cannot decide (its model is gone, or replied nonsense twice); the next of the chain does.
        """


class DecisionObserver(Protocol):
    """Is told what calls decided and what became of it, each time with all that came before.

    Nobody waits for it: its methods return at once and raise nothing. A call that fails or is left is not heard of again.
    """

    def on_decided(self, query: Query, caller: Caller, decision: RouteDecision) -> None: ...

    def on_retrieved(self, query: Query, caller: Caller, retrieval: Retrieval) -> None: ...

    def on_answered(self, query: Query, caller: Caller, answer: Answer) -> None: ...


class Unobserved:
    """Nobody is told."""

    def on_decided(self, query: Query, caller: Caller, decision: RouteDecision) -> None: ...

    def on_retrieved(self, query: Query, caller: Caller, retrieval: Retrieval) -> None: ...

    def on_answered(self, query: Query, caller: Caller, answer: Answer) -> None: ...
