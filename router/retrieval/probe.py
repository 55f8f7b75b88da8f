"""The cheap look at this corpus: the one embedding, one vector search, the names in the question, words of time."""

from __future__ import annotations

from datetime import UTC, datetime

import structlog

from router.errors import StoreUnavailable
from router.models.base import Embedder
from router.retrieval.base import LinkedName, Nearest, Probe
from router.retrieval.linker import NameLinker, without_names
from router.routing.recency import asks_for_recent
from router.stopwatch import Stopwatch
from router.stores.base import VectorStore
from router.types import Caller, Query, Vector

log = structlog.get_logger()


class Prober:
    """Looks once; what it finds is shared by the policies and the retrievers.

    Args:
        embedder: The space of the vector store.
        vector_store: Asked for the nearest passages over all collections.
        linker: Finds names of the graph.
        candidates: Passages to take: as many as the hungriest vector source, so that it need not search again.
    """

    def __init__(self, embedder: Embedder, vector_store: VectorStore, linker: NameLinker, candidates: int) -> None:
        self._embedder = embedder
        self._vector_store = vector_store
        self._linker = linker
        self._candidates = candidates

    async def probe(self, query: Query, caller: Caller, watch: Stopwatch) -> Probe:
        """Raises ModelUnavailable or Overloaded. A store that is down leaves its part of the probe out (None).

        The source that needs the store meets it again and reports it, if it is chosen.
        """
        with watch.stage("probe"):
            linked = await self._linked(query, caller)
        with watch.stage("embed"):
            unnamed = without_names(query.text, linked) if linked else ""
            vectors = await self._embedder.embed([query.text, unnamed] if unnamed else [query.text])
        with watch.stage("probe"):
            nearest = await self._nearest(query, vectors[0], caller)
        is_recent = asks_for_recent(query.text, datetime.now(UTC).date())
        return Probe(vectors[0], nearest, linked, is_recent, vectors[1] if unnamed else None)

    async def _nearest(self, query: Query, vector: Vector, caller: Caller) -> tuple[Nearest, ...] | None:
        try:
            hits = await self._vector_store.search(caller.tenant, vector, self._candidates, where=query.filter)
        except StoreUnavailable as error:
            log.warning("probe without the vector store", reason=error.message)
            return None
        return tuple(Nearest(hit.chunk_id, hit.score) for hit in hits)

    async def _linked(self, query: Query, caller: Caller) -> tuple[LinkedName, ...] | None:
        try:
            return await self._linker.link(caller.tenant, query.text)
        except StoreUnavailable as error:
            log.warning("probe without the graph", reason=error.message)
            return None
