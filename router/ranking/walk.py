"""Fusion as one walk on one graph: every source gives seeds, and a personalised PageRank from them is the fused ranking.

How much of the restart mass a source gets is the trust that the router gave it; how far the walk goes is the trust in the graph.
Where nothing is linked the walk returns the seeds' own order; where the second hop is in no list, the walk reaches it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import structlog

from router.errors import StoreUnavailable
from router.filters import matches
from router.ranking.base import FusionRequest
from router.ranking.merge import merged, ranked, with_kept_places
from router.retrieval.base import Retrieved
from router.retrieval.passages import passage_evidence
from router.retrieval.walk import Guest, Walked, attraction, walk
from router.settings import WalkSettings
from router.stores.base import EMPTY_GRAPH, PassageStore
from router.stores.mirror import GraphMirror
from router.stores.snapshot import GraphSnapshot
from router.stores.vectors import PassageVectors
from router.types import Evidence, Provenance

log = structlog.get_logger()

GRAPH = "graph"
REACHED = 3
"""Passages looked at per evidence wanted: those that the walk alone reaches must be read from the journal."""


class WalkFusion:
    """The default fusion.

    Args:
        settings: Damping at full trust, weights.
        mirror: The graph that is walked.
        vectors: Vectors of the passages, which tell where the question draws the walk.
        passages: Text of passages that only the walk reached.
    """

    def __init__(self, settings: WalkSettings, mirror: GraphMirror, vectors: PassageVectors, passages: PassageStore) -> None:
        self._settings = settings
        self._mirror = mirror
        self._vectors = vectors
        self._passages = passages

    async def fuse(self, request: FusionRequest) -> list[Evidence]:
        items = merged(retrieved.evidence for retrieved in request.results.values())
        graph_source = next((name for name, kind in request.kinds.items() if kind == GRAPH), None)
        snapshot = await self._snapshot(request.tenant)
        guests = [Guest(item_id, _links(item_id, request)) for item_id in items if snapshot.node(item_id) is None]
        damping = self._settings.damping * request.trust[graph_source] if graph_source else 0.0
        draw = attraction(self._vectors, request.tenant, await request.probe.asked(), self._settings.question_sharpness)
        parts = _restarts(request)
        walked = walk(snapshot, _together(parts), damping, self._settings, guests, draw)
        scores = {**dict(walked.passages(REACHED * request.limit)), **walked.guest_mass()}
        if graph_source:
            items = {**items, **await self._reached(walked, scores, items, graph_source, request)}
        fused = ranked({key: items[key] for key in items if key in scores}, scores, len(scores))
        best = [retrieved.evidence[0].id for retrieved in request.results.values() if retrieved.evidence]
        return _with_shares(with_kept_places(fused, best)[: request.limit], walked, parts)

    async def _snapshot(self, tenant: str) -> GraphSnapshot:
        try:
            return await self._mirror.current(tenant)
        except StoreUnavailable as error:
            # The graph source has reported it, if it was asked; the other sources keep their own order.
            log.warning("fusing without a graph", reason=error.message)
            return GraphSnapshot(EMPTY_GRAPH, self._settings)

    async def _reached(
        self, walked: Walked, scores: Mapping[str, float], items: Mapping[str, Evidence], source: str, request: FusionRequest
    ) -> dict[str, Evidence]:
        """Passages that are in no source's list but on the walk's way, explained by their path."""
        ids = [item_id for item_id in scores if item_id not in items]
        texts = await self._passages.chunks(request.tenant, ids)
        by_mass = sorted(texts, key=lambda item_id: (-scores[item_id], item_id))
        return {
            item_id: passage_evidence(texts[item_id], Provenance(source, rank, scores[item_id], "walk", walked.path(item_id, "leads to")))
            for rank, item_id in enumerate(by_mass, start=1)
            if matches(request.where, texts[item_id].metadata)
        }


def _links(item_id: str, request: FusionRequest) -> tuple[str, ...]:
    return tuple(dict.fromkeys(entity_id for retrieved in request.results.values() for entity_id in retrieved.links.get(item_id, ())))


def _restarts(request: FusionRequest) -> dict[str, dict[str, float]]:
    """Each source's seeds, normalised, times its trust; sources that found nothing are left out."""
    restarts: dict[str, dict[str, float]] = {}
    for source, retrieved in request.results.items():
        seeds = _seeds(retrieved)
        total = sum(seeds.values())
        if total > 0:
            restarts[source] = {item_id: request.trust[source] * weight / total for item_id, weight in seeds.items()}
    return restarts


def _together(parts: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    restart: dict[str, float] = {}
    for seeds in parts.values():
        for item_id, weight in seeds.items():
            restart[item_id] = restart.get(item_id, 0.0) + weight
    return restart


def _with_shares(fused: Sequence[Evidence], walked: Walked, parts: Mapping[str, Mapping[str, float]]) -> list[Evidence]:
    if len(parts) < 2:
        return list(fused)
    shares = walked.shares(parts)
    return [replace(item, shares=shares.get(item.id, {})) for item in fused]


def _seeds(retrieved: Retrieved) -> Mapping[str, float]:
    if retrieved.seeds:
        return retrieved.seeds
    scores = {item.id: max(0.0, item.provenance[0].score) for item in retrieved.evidence}
    # A list in which every score is 0 still has an order to keep.
    return scores if sum(scores.values()) > 0 else dict.fromkeys(scores, 1.0)
