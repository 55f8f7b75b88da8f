"""Symmetric fusions, for comparison with the walk and for sources whose items touch nothing."""

from __future__ import annotations

from router.ranking.base import FusionRequest
from router.ranking.merge import merged, ranked
from router.types import Evidence


class ReciprocalRankFusion:
    """Score = sum over the sources of trust / (k + rank).

    Source: Cormack, Clarke and Buettcher, SIGIR 2009 (k = 60, trust 1).
    """

    def __init__(self, k: int) -> None:
        self._k = k

    async def fuse(self, request: FusionRequest) -> list[Evidence]:
        scores: dict[str, float] = {}
        for source, retrieved in request.results.items():
            for rank, item in enumerate(retrieved.evidence, start=1):
                scores[item.id] = scores.get(item.id, 0.0) + request.trust[source] / (self._k + rank)
        return ranked(merged(retrieved.evidence for retrieved in request.results.values()), scores, request.limit)


class WeightedFusion:
    """Score = sum over the sources of trust x the source's own score, brought to 0..1 by its list's least and greatest."""

    async def fuse(self, request: FusionRequest) -> list[Evidence]:
        scores: dict[str, float] = {}
        for source, retrieved in request.results.items():
            own = [item.provenance[0].score for item in retrieved.evidence]
            least, spread = (min(own), max(own) - min(own)) if own else (0.0, 0.0)
            for item, score in zip(retrieved.evidence, own, strict=True):
                unit = (score - least) / spread if spread > 0 else 1.0
                scores[item.id] = scores.get(item.id, 0.0) + request.trust[source] * unit
        return ranked(merged(retrieved.evidence for retrieved in request.results.values()), scores, request.limit)
