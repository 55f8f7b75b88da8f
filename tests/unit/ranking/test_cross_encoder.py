"""The cross-encoder's place in the ranking, with a small model that counts shared words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from router.ranking.base import RerankRequest
from router.ranking.cross_encoder import CrossEncoderReranker
from router.retrieval.base import Probe
from router.settings import RerankSettings
from router.types import Caller, Deadline, Evidence, EvidenceKind, PathStep, Provenance, Query, TextPart

PROBE = Probe(np.zeros(2, np.float32), (), (), is_recent=False)
SETTINGS = RerankSettings(method="cross_encoder", candidates=3, weight=0.5)


class SharedWords:
    def __init__(self) -> None:
        self.seen: list[str] = []

    async def score(self, query: str, passages: Sequence[str]) -> list[float]:
        self.seen += passages
        wanted = set(query.casefold().split())
        return [len(wanted & set(passage.casefold().replace(".", " ").split())) / len(wanted) for passage in passages]

    async def aclose(self) -> None:
        pass


def passage(title: str, text: str, score: float, *path: PathStep) -> Evidence:
    return Evidence(title, EvidenceKind.PASSAGE, title, text, (Provenance("graph", 1, score, "walk", path),), score=score)


def request(*evidence: Evidence, seconds: float = 60.0) -> RerankRequest:
    return RerankRequest(Query((TextPart("who paints the pump"),)), PROBE, Caller("t", "r", Deadline.after(seconds)), evidence)


async def test_relevance_and_fused_score_are_mixed_and_the_tail_stays() -> None:
    plain = passage("A", "nothing", 0.4)
    right = passage("B", "who paints the pump", 0.3)
    tail = passage("D", "who paints the pump", 0.01)
    ordered = await CrossEncoderReranker(SharedWords(), SETTINGS).rerank(request(plain, right, passage("C", "soup", 0.2), tail))
    assert [item.id for item in ordered] == ["B", "A", "C", "D"]
    assert ordered[0].score == 0.5 * 0.3 / 0.4 + 0.5


async def test_the_second_hop_is_judged_after_the_first() -> None:
    model = SharedWords()
    first = passage("Pump 7", "the pump", 0.4)
    second = passage("Aster", "it paints", 0.1, PathStep("the question", "names", "Pump 7"), PathStep("Pump 7", "mentions", "Aster"))
    await CrossEncoderReranker(model, SETTINGS).rerank(request(first, second))
    assert model.seen == ["Pump 7. the pump", "Pump 7. the pump Aster. it paints"]


async def test_without_time_the_order_stays() -> None:
    model = SharedWords()
    evidence = [passage("A", "nothing", 0.4), passage("B", "who paints the pump", 0.3)]
    assert await CrossEncoderReranker(model, SETTINGS).rerank(request(*evidence, seconds=0.01)) == evidence
    assert model.seen == []
