"""The seams of correction: a judge says whether the evidence carries the answer, a remedy proposes what else to look up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from router.retrieval.base import Probe
from router.routing.base import SourceProfile
from router.types import Caller, Evidence, Query, RouteDecision


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge thinks of the evidence."""

    probability: float
    """That it carries the answer."""
    reason: str


@dataclass(frozen=True, slots=True)
class Lookup:
    """One question put to one source. None is made twice in a call."""

    question: str
    source: str


@dataclass(frozen=True, slots=True)
class State:
    """How far a call has come."""

    query: Query
    probe: Probe
    caller: Caller
    decision: RouteDecision
    sources: tuple[SourceProfile, ...]
    """All that are configured."""
    evidence: Sequence[Evidence]
    """Fused and reranked, best first."""
    verdict: Verdict
    made: frozenset[Lookup]
    """Lookups made so far."""


@dataclass(frozen=True, slots=True)
class Change:
    """What shall be looked up besides."""

    action: str
    reason: str
    lookups: tuple[Lookup, ...]

    @property
    def questions(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(lookup.question for lookup in self.lookups))

    @property
    def sources(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(lookup.source for lookup in self.lookups))


class Judge(Protocol):
    def judge(self, query: Query, probe: Probe, evidence: Sequence[Evidence]) -> Verdict:
        """Looks at the evidence once; asks nobody."""


class Remedy(Protocol):
    async def propose(self, state: State) -> Change | None:
        """What to look up next, or None when this remedy has nothing to offer. Lookups that were made already are left out by the caller.

        Raises:
            RouterError: What the remedy needs (a language model) failed; the call goes on with what it has.
        """
