"""A cross-encoder as one voice among others: alone it drops the second hop, which does not resemble the question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from router.models.base import CrossEncoder
from router.settings import RerankSettings
from router.types import Evidence, Query


class CrossEncoderReranker:
    """New score = (1 - weight) x fused score, brought to 0..1 by the list's greatest, + weight x the model's relevance."""

    def __init__(self, model: CrossEncoder, settings: RerankSettings) -> None:
        self._model = model
        self._weight = settings.weight
        self.candidates = settings.candidates

    async def rerank(self, query: Query, evidence: Sequence[Evidence]) -> list[Evidence]:
        head, tail = evidence[: self.candidates], evidence[self.candidates :]
        relevance = await self._model.score(query.text, [f"{item.title}. {item.text}" for item in head])
        greatest = max((item.score for item in head), default=0.0) or 1.0
        scored = [
            replace(item, score=(1.0 - self._weight) * item.score / greatest + self._weight * judged)
            for item, judged in zip(head, relevance, strict=True)
        ]
        scored.sort(key=lambda item: (-item.score, item.id))
        return [*scored, *tail]
