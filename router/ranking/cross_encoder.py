"""A cross-encoder as one voice among others: alone it drops the second hop, which does not resemble the question."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import structlog

from router.models.base import CrossEncoder
from router.ranking.base import RerankRequest
from router.settings import RerankSettings
from router.types import Evidence

log = structlog.get_logger()

FIRST_GUESS_S = 0.02
"""Seconds a pair is expected to take before one was measured."""
SHARE_OF_THE_TIME = 0.5
"""Of the time that is left, what the model may take at most."""


class CrossEncoderReranker:
    """New score = (1 - weight) x fused score, brought to 0..1 by the list's greatest, + weight x the model's relevance.

    The model judges the way to a passage, not the passage alone: a passage that the graph reached is read after the one before it on
    its path. When the deadline leaves too little time the fused order stays.
    """

    def __init__(self, model: CrossEncoder, settings: RerankSettings) -> None:
        self._model = model
        self._weight = settings.weight
        self._pair_s = FIRST_GUESS_S
        self.candidates = settings.candidates

    async def rerank(self, request: RerankRequest) -> list[Evidence]:
        head, tail = request.evidence[: self.candidates], request.evidence[self.candidates :]
        needed_s, left_s = self._pair_s * len(head), request.caller.deadline.remaining_s()
        if needed_s > SHARE_OF_THE_TIME * left_s:
            log.warning("no time for the cross-encoder", needed_s=round(needed_s, 3), left_s=round(left_s, 3))
            return list(request.evidence)
        begin = time.monotonic()
        relevance = await self._model.score(request.query.text, [_with_what_led_there(item, head) for item in head])
        self._pair_s = (time.monotonic() - begin) / max(1, len(head))
        greatest = max((item.score for item in head), default=0.0) or 1.0
        scored = [
            replace(item, score=(1.0 - self._weight) * item.score / greatest + self._weight * judged)
            for item, judged in zip(head, relevance, strict=True)
        ]
        scored.sort(key=lambda item: (-item.score, item.id))
        return [*scored, *tail]


def _with_what_led_there(item: Evidence, listed: Sequence[Evidence]) -> str:
    own = f"{item.title}. {item.text}"
    path = next((step.path for step in item.provenance if len(step.path) > 1), ())
    if not path:
        return own
    before = {step.subject for step in path[1:]}
    first = next((other for other in listed if other.title in before and other.id != item.id), None)
    return f"{first.title}. {first.text} {own}" if first is not None else own
