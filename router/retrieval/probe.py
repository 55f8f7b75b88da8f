"""The cheap look at this corpus: the one embedding, one vector search, the names in the question, words of time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from router.errors import StoreUnavailable
from router.models.base import Embedder
from router.retrieval.base import LinkedName, Nearest, Probe
from router.routing.recency import asks_for_recent
from router.stopwatch import Stopwatch
from router.stores.base import VectorStore
from router.types import Caller, Query

Linker = Callable[[str, str], tuple[LinkedName, ...]]
"""Tenant and text -> the names of the tenant's graph that stand in the text."""


class Prober:
    """Looks once; what it finds is shared by the policies and the retrievers.

    Args:
        embedder: The space of the vector store.
        vector_store: Asked for the nearest passages over all collections.
        link: Finds names of the graph.
        candidates: Passages to take: as many as the hungriest vector source, so that it need not search again.
    """

    def __init__(self, embedder: Embedder, vector_store: VectorStore, link: Linker, candidates: int) -> None:
        self._embedder = embedder
        self._vector_store = vector_store
        self._link = link
        self._candidates = candidates

    async def probe(self, query: Query, caller: Caller, watch: Stopwatch) -> Probe:
        """Raises ModelUnavailable or Overloaded; a vector store that is down only leaves `nearest` empty-handed (None)."""
        with watch.stage("embed"):
            vector = (await self._embedder.embed([query.text]))[0]
        with watch.stage("probe"):
            try:
                hits = await self._vector_store.search(caller.tenant, vector, self._candidates, where=query.filter)
                nearest = tuple(Nearest(hit.chunk_id, hit.score) for hit in hits)
            except StoreUnavailable:
                # Not swallowed: the vector source meets the same store again and reports it, if it is chosen.
                nearest = None
            linked = self._link(caller.tenant, query.text)
        return Probe(vector, nearest, linked, asks_for_recent(query.text, datetime.now(UTC).date()))
