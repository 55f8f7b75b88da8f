"""The seams of ranking: fusion makes one list of the sources' lists, a reranker reorders it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from router.retrieval.base import Probe, Retrieved
from router.types import Caller, Evidence, Filter, Query


@dataclass(frozen=True, slots=True)
class FusionRequest:
    tenant: str
    results: Mapping[str, Retrieved]
    """By source, in the order of the configuration; sources that failed are absent."""
    trust: Mapping[str, float]
    """By source: the probability that the router gave it."""
    kinds: Mapping[str, str]
    """By source: `vector`, `graph` or `web`."""
    where: Filter
    """What the query allows; a fusion that reaches new passages must hold to it."""
    limit: int
    probe: Probe
    """What is known of the question."""


class Fusion(Protocol):
    async def fuse(self, request: FusionRequest) -> list[Evidence]:
        """One list, best first, at most `limit` items. An item that several sources found is one evidence with all provenances.

        The inputs are left as they are; ties are ordered by id.
        """


@dataclass(frozen=True, slots=True)
class RerankRequest:
    query: Query
    probe: Probe
    caller: Caller
    evidence: Sequence[Evidence]
    """Fused, best first."""


class Reranker(Protocol):
    @property
    def candidates(self) -> int:
        """How many fused items it wants to see."""

    async def rerank(self, request: RerankRequest) -> list[Evidence]:
        """The same items in a better order."""
