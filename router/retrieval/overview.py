"""Overviews: what the communities of the graph are about, for questions about the whole."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Literal

from router.retrieval.base import RetrievalRequest, Retrieved, Retriever
from router.retrieval.summaries import CommunitySummaries
from router.retrieval.summary import Summary
from router.routing.overview import overview_asked
from router.stores.mirror import GraphMirror
from router.types import Evidence, EvidenceKind, Provenance

SHARE = 0.5
"""Of the seeds for the summaries, where the question also names things that the graph leads on from."""
MAX_LISTED = 50
"""Documents that a summary names as its members, the most central ones first."""


class OverviewRetriever:
    """A graph source that also answers questions for an overview; every other question goes to the inner one as it is.

    Args:
        name: Name of the source.
        inner: Answers from the names in the question.
        mirror: The graph.
        summaries: Of its communities.
    """

    def __init__(self, name: str, inner: Retriever, mirror: GraphMirror, summaries: CommunitySummaries) -> None:
        self._name = name
        self.inner = inner
        self._mirror = mirror
        self._summaries = summaries

    async def search(self, request: RetrievalRequest) -> Retrieved:
        found = await self.inner.search(request)
        asked = overview_asked(request.query)
        if asked is None:
            return found
        tenant, where = request.caller.tenant, request.query.filter
        snapshot = await self._mirror.current(tenant)
        if asked.is_of_all:
            # What the words for the whole happen to name ("Documents" may be a title) is not what is asked.
            largest = await self._summaries.largest(tenant, snapshot, where)
            return replace(found, evidence=self._evidence(largest, "share"), seeds={}, links={}) if largest else found
        nearest = await self._summaries.nearest(tenant, snapshot, where, request.probe.vector)
        return _beside(found, self._evidence(nearest, "cosine", first=len(found.evidence) + 1))

    def _evidence(
        self, summaries: Iterable[tuple[Summary, float]], scale: Literal["share", "cosine"], first: int = 1
    ) -> tuple[Evidence, ...]:
        return tuple(
            Evidence(
                id=f"summary:{summary.id}",
                kind=EvidenceKind.SUMMARY,
                title=summary.title,
                text=summary.text,
                provenance=(Provenance(self._name, rank, score, scale),),
                metadata={
                    "passages": summary.passage_count,
                    "documents": len(summary.documents),
                    "document_ids": summary.documents[:MAX_LISTED],
                    "quoted_passages": summary.quoted,
                },
            )
            for rank, (summary, score) in enumerate(summaries, start=first)
        )


def _beside(found: Retrieved, summaries: tuple[Evidence, ...]) -> Retrieved:
    """What the names led to, then the summaries; each has its share of the seeds."""
    if not summaries or not found.seeds:
        return replace(found, evidence=(*found.evidence, *summaries))
    named, fit = sum(found.seeds.values()), sum(item.provenance[0].score for item in summaries)
    seeds = {key: (1.0 - SHARE) * weight / named for key, weight in found.seeds.items()}
    seeds |= {item.id: SHARE * item.provenance[0].score / fit for item in summaries}
    return replace(found, evidence=(*found.evidence, *summaries), seeds=seeds)
