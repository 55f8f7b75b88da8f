"""The default reranker: a linear model over what is already known of each passage. No torch, no second look at the text.

It orders the passages within blocks of five and never moves one into another block: what the fusion found among the first five stays
among the first five. The weights stand in learned.json; `scripts/train_reranker` fits them on training sets.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources

import structlog

from router.errors import StoreUnavailable
from router.ranking.base import RerankRequest
from router.stores.mirror import GraphMirror
from router.stores.vectors import PassageVectors
from router.types import Evidence, EvidenceKind

log = structlog.get_logger()

WEIGHTS = "learned.json"
BLOCK = 5
MARGIN = 0.6
"""How much more a passage must be worth to overtake the one before it, per place: what the walk is about sure of stays (decision 7)."""
LEAST_SHARE = 1e-4

Features = Mapping[str, float]


class LearnedReranker:
    """Order by the weighted sum of `features`, within blocks; what is no passage keeps its place.

    Args:
        mirror: Knows which passages are about the names in the question.
        vectors: The passages' vectors.
        candidates: Items that are looked at.
    """

    def __init__(self, mirror: GraphMirror, vectors: PassageVectors, candidates: int) -> None:
        self._mirror = mirror
        self._vectors = vectors
        self.candidates = candidates

    async def rerank(self, request: RerankRequest) -> list[Evidence]:
        weights = _weights()
        rows = await self.features(request)
        worth = {key: sum(weights[name] * value for name, value in row.items()) for key, row in rows.items()}
        return in_blocks(request.evidence, worth)

    async def features(self, request: RerankRequest) -> dict[str, Features]:
        """By evidence id, for every passage.

        vector: the vector source's own score, 0 to 1. vector_first: 1 / its rank there. walk: the fused score as a share of the greatest;
        log_walk: the logarithm of that. question: cosine to the question; asked: cosine to the question without its names. subject: how
        sure it is that the passage is about a name in the question, times the name's rarity.
        """
        passages = [item for item in request.evidence if item.kind is EvidenceKind.PASSAGE]
        ids = [item.id for item in passages]
        question = self._vectors.cosines(request.caller.tenant, request.probe.vector, ids)
        asked = self._vectors.cosines(request.caller.tenant, await request.probe.asked(), ids)
        named = await self._named(request)
        greatest = max((item.score for item in request.evidence), default=0.0) or 1.0
        rows: dict[str, Features] = {}
        for number, item in enumerate(passages):
            found = next((step for step in item.provenance if step.scale == "hybrid"), None)
            share = max(item.score / greatest, LEAST_SHARE)
            rows[item.id] = {
                "vector": found.score if found is not None else 0.0,
                "vector_first": 1.0 / found.rank if found is not None else 0.0,
                "walk": share,
                "log_walk": math.log(share),
                "question": float(question[number]),
                "asked": float(asked[number]),
                "subject": named.get(item.id, 0.0),
            }
        return rows

    async def _named(self, request: RerankRequest) -> dict[str, float]:
        """Passages about the names in the question."""
        try:
            snapshot = await self._mirror.current(request.caller.tenant)
        except StoreUnavailable as error:
            log.warning("reranking without a graph", reason=error.message)
            return {}
        named: dict[str, float] = {}
        for name in request.probe.linked or ():
            nodes, confidences = snapshot.subject_chunks(name.entity_id), snapshot.subject_confidence(name.entity_id)
            for node, confidence in zip(nodes, confidences, strict=True):
                key = snapshot.chunks[node].id
                named[key] = max(named.get(key, 0.0), confidence * name.probability * snapshot.rarity(name.entity_id))
        return named


def in_blocks(evidence: Sequence[Evidence], worth: Mapping[str, float], margin: float = MARGIN) -> list[Evidence]:
    """The items that have a worth, best first within each block of five places; the others stay where they are.

    Args:
        evidence: Fused, best first.
        worth: By id.
        margin: What an item loses for each place that it begins behind.
    """
    ordered: list[Evidence] = []
    for start in range(0, len(evidence), BLOCK):
        block = evidence[start : start + BLOCK]
        places = {item.id: place for place, item in enumerate(item for item in block if item.id in worth)}
        judged = iter(
            sorted((item for item in block if item.id in worth), key=lambda item: (margin * places[item.id] - worth[item.id], item.id))
        )
        ordered += [next(judged) if item.id in worth else item for item in block]
    return ordered


@cache
def _weights() -> Features:
    weights: Features = json.loads(resources.files("router.ranking").joinpath(WEIGHTS).read_text(encoding="utf-8"))["weights"]
    return weights
