"""Summaries of the communities of each tenant's graph, made when they are asked for and kept until their passages change."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import structlog

from router.filters import matches
from router.retrieval.communities import Communities, find_communities
from router.retrieval.summary import Summary, SummaryWriter
from router.stores.base import PassageStore
from router.stores.relation import Numbers
from router.stores.snapshot import GraphSnapshot
from router.stores.vectors import PassageVectors
from router.types import Filter, Vector

log = structlog.get_logger()

NEAREST = 5
"""A community fits a question as its nearest passages do, on average."""
LEAST_FIT = 0.75
"""Of the best community's fit: what fits less is not about the question's subject."""
MAX_KEPT = 256
"""Summaries kept per tenant, so that many different filters cannot fill the memory."""


@dataclass
class _Tenant:
    communities: Communities | None = None
    summaries: dict[str, Summary] = field(default_factory=dict)
    """By id, oldest first."""

    def keep(self, summary: Summary) -> None:
        self.summaries[summary.id] = summary
        while len(self.summaries) > MAX_KEPT:
            del self.summaries[next(iter(self.summaries))]

    def forget_what_is_gone(self, snapshot: GraphSnapshot) -> None:
        """Nobody will ask for a summary of passages that are not all there; it would only hold on to their text."""
        gone = [key for key, item in self.summaries.items() if any(snapshot.node(quoted) is None for quoted in item.quoted)]
        for key in gone:
            del self.summaries[key]

    def move_to(self, tenant: str, snapshot: GraphSnapshot) -> Communities:
        """The communities of this version of the graph."""
        if self.communities is None or self.communities.snapshot is not snapshot:
            started = time.monotonic()
            self.communities = find_communities(snapshot, self.communities)
            found = len(self.communities.passages)
            log.info("communities found", tenant=tenant, count=found, seconds=round(time.monotonic() - started, 3))
        return self.communities


class CommunitySummaries:
    """By tenant. They are in memory only: no text of a deleted document stays on a disk.

    Communities are found when they are first asked for after a write, starting from the earlier ones. A summary is made for a community
    that is shown, and kept by its passages: after a write, only communities whose passages came or went cost a new one.

    Args:
        writer: Writes a summary.
        limit: Summaries returned at most.
        vectors: Vectors of the passages.
        passages: Their metadata.
    """

    def __init__(self, writer: SummaryWriter, limit: int, vectors: PassageVectors, passages: PassageStore) -> None:
        self._writer = writer
        self._limit = limit
        self._vectors = vectors
        self._passages = passages
        self._tenants: dict[str, _Tenant] = {}
        # One worker: questions that come meanwhile wait for the same search, and it ends also when its caller is gone.
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="communities")

    def close(self) -> None:
        self._worker.shutdown(wait=False, cancel_futures=True)

    async def largest(self, tenant: str, snapshot: GraphSnapshot, where: Filter) -> list[tuple[Summary, float]]:
        """The largest communities, each with its share of the passages. Only passages under the filter count.

        Raises:
            StoreUnavailable: The journal is down.
            ModelUnavailable: The embedding model failed.
            Overloaded: Its queue is full.
        """
        groups = await self._groups(tenant, snapshot, where)
        total = sum(map(len, groups))
        return await self._best(tenant, snapshot, groups, [len(group) / total for group in groups])

    async def nearest(self, tenant: str, snapshot: GraphSnapshot, where: Filter, question: Vector) -> list[tuple[Summary, float]]:
        """The communities whose nearest passages are most like the question, each with their mean cosine. Raises as `largest`."""
        groups = await self._groups(tenant, snapshot, where)
        fits = await asyncio.to_thread(self._fits, tenant, snapshot, groups, question)
        least = LEAST_FIT * max(fits, default=0.0)
        return await self._best(tenant, snapshot, groups, [fit if fit >= least else 0.0 for fit in fits])

    async def _groups(self, tenant: str, snapshot: GraphSnapshot, where: Filter) -> list[Numbers]:
        """Nodes of the passages of each community, less those that the filter leaves out."""
        state = self._tenants.setdefault(tenant, _Tenant())
        communities = await asyncio.get_running_loop().run_in_executor(self._worker, state.move_to, tenant, snapshot)
        if not where:
            return list(communities.passages)
        chunks = await self._passages.chunks(tenant, [chunk_id for group in communities.passages for chunk_id in _ids(snapshot, group)])
        kept = {chunk_id for chunk_id, chunk in chunks.items() if matches(where, chunk.metadata)}
        groups = (group[[chunk_id in kept for chunk_id in _ids(snapshot, group)]] for group in communities.passages)
        return [group for group in groups if len(group)]

    def _fits(self, tenant: str, snapshot: GraphSnapshot, groups: Sequence[Numbers], question: Vector) -> list[float]:
        cosines = (self._vectors.cosines(tenant, question, _ids(snapshot, group)) for group in groups)
        return [float(np.sort(some)[-NEAREST:].mean()) for some in cosines]

    async def _best(
        self, tenant: str, snapshot: GraphSnapshot, groups: Sequence[Numbers], scores: Sequence[float]
    ) -> list[tuple[Summary, float]]:
        scored = {_key(_ids(snapshot, group)): (score, group) for group, score in zip(groups, scores, strict=True) if score > 0}
        best = sorted(scored, key=lambda key: (-scored[key][0], key))[: self._limit]
        state = self._tenants[tenant]
        state.forget_what_is_gone(snapshot)
        found = []
        for key in best:
            score, group = scored[key]
            # Each is kept as soon as it is written: a caller that has no more time leaves less to do for the next one.
            summary = state.summaries.get(key) or await self._writer.write(tenant, snapshot, key, group)
            state.keep(summary)
            found.append((summary, score))
        return [(summary, score) for summary, score in found if summary.text]


def _ids(snapshot: GraphSnapshot, nodes: Numbers) -> list[str]:
    return [snapshot.chunks[node].id for node in nodes.tolist()]


def _key(chunk_ids: Collection[str]) -> str:
    return hashlib.sha256("\n".join(sorted(chunk_ids)).encode()).hexdigest()[:32]
