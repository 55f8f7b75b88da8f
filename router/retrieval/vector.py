"""The vector source: passages by dense similarity from Milvus, mixed with BM25."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from router.errors import StoreUnavailable
from router.retrieval.base import RetrievalRequest, Retrieved
from router.retrieval.passages import passage_evidence
from router.retrieval.pictures import PictureSearch, on_one_scale
from router.settings import VectorSource
from router.stores.base import LexicalIndex, PassageStore, Scored, VectorStore
from router.types import Provenance, Vector

Others = tuple[PictureSearch, Sequence[Scored], Vector] | StoreUnavailable | None
"""What a search beside the passages' found, by which query."""


class VectorRetriever:
    """Dense and lexical search in parallel; each list's scores are brought to 0..1 and mixed.

    When the vector store is down the words alone still serve, and the result says so.

    Args:
        name: Name of the source.
        settings: Its settings.
        vector_store: Dense search.
        lexical: BM25; None leaves it out.
        passages: Text of the passages.
        pictures: Pictures of the corpus; None where no model embeds them.
        sounds: Its sounds, in the space of words; None where no model embeds them.
    """

    def __init__(
        self,
        name: str,
        settings: VectorSource,
        vector_store: VectorStore,
        lexical: LexicalIndex | None,
        passages: PassageStore,
        pictures: PictureSearch | None = None,
        sounds: PictureSearch | None = None,
    ) -> None:
        self._name = name
        self._settings = settings
        self._vector_store = vector_store
        self._lexical = lexical
        self._passages = passages
        self._pictures = pictures
        self._sounds = sounds

    async def search(self, request: RetrievalRequest) -> Retrieved:
        by_words = request.probe.vector if request.query.text else None
        dense, words, *others = await asyncio.gather(
            self._dense(request),
            self._words(request),
            self._dense_others(request, self._pictures, request.probe.picture_query),
            self._dense_others(request, self._sounds, by_words),
        )
        weight = self._settings.lexical_weight if words is not None else 0.0
        degraded = ""
        if isinstance(dense, StoreUnavailable):
            if words is None:
                raise dense
            degraded = f"words only: {dense.message}"
            dense, weight = [], 1.0
        else:
            dense, degraded = self._together(request, dense, others)
        mixed = _mix(dense, words or [], weight)
        ranked = sorted(mixed.items(), key=lambda item: (-item[1], item[0]))
        texts = await self._passages.chunks(request.caller.tenant, [chunk_id for chunk_id, _ in ranked])
        # A passage that the journal no longer has was deleted a moment ago.
        present = [(texts[chunk_id], score) for chunk_id, score in ranked if chunk_id in texts]
        evidence = tuple(
            passage_evidence(chunk, Provenance(self._name, rank, score, "hybrid")) for rank, (chunk, score) in enumerate(present, start=1)
        )
        return Retrieved(evidence, degraded=degraded)

    def _together(self, request: RetrievalRequest, dense: Sequence[Scored], others: Sequence[Others]) -> tuple[Sequence[Scored], str]:
        """The passages' hits with those of pictures and sounds; and what is missing."""
        found = [other for other in others if isinstance(other, tuple)]
        kinds = zip(("pictures", "sounds"), others, strict=True)
        degraded = "; ".join(f"without {kind}: {other.message}" for kind, other in kinds if isinstance(other, StoreUnavailable))
        if not found:
            return dense, degraded
        search, _, _ = found[0]
        lists = [search.listed_passages(dense, request.probe.vector), *(one.listed(hits, query) for one, hits, query in found)]
        return on_one_scale(request.caller.tenant, lists), degraded

    async def _dense_others(self, request: RetrievalRequest, search: PictureSearch | None, query: Vector | None) -> Others:
        """None where the corpus has none of the kind; then nothing is searched."""
        if search is None or query is None or not search.has_any(request.caller.tenant):
            return None
        try:
            hits = await search.nearest(
                request.caller.tenant,
                query,
                self._settings.candidates,
                collection=self._settings.collection,
                where=request.query.filter,
            )
            return search, hits, query
        except StoreUnavailable as error:
            return error

    async def _dense(self, request: RetrievalRequest) -> Sequence[Scored] | StoreUnavailable:
        if request.probe.nearest is not None and self._settings.collection is None:
            # The probe has already asked exactly this.
            return [Scored(hit.chunk_id, hit.cosine) for hit in request.probe.nearest[: self._settings.candidates]]
        try:
            return await self._vector_store.search(
                request.caller.tenant,
                request.probe.vector,
                self._settings.candidates,
                collection=self._settings.collection,
                where=request.query.filter,
            )
        except StoreUnavailable as error:
            return error

    async def _words(self, request: RetrievalRequest) -> Sequence[Scored] | None:
        if self._lexical is None or not request.query.text:
            return None
        if request.probe.words is not None and self._settings.collection is None:
            return request.probe.words[: self._settings.candidates]
        return await self._lexical.search(
            request.caller.tenant,
            request.query.text,
            self._settings.candidates,
            collection=self._settings.collection,
            where=request.query.filter,
        )


def _mix(dense: Sequence[Scored], words: Sequence[Scored], lexical_weight: float) -> dict[str, float]:
    dense_unit, words_unit = _unit(dense), _unit(words)
    return {
        chunk_id: (1.0 - lexical_weight) * dense_unit.get(chunk_id, 0.0) + lexical_weight * words_unit.get(chunk_id, 0.0)
        for chunk_id in {**dense_unit, **words_unit}
    }


def _unit(hits: Sequence[Scored]) -> dict[str, float]:
    """Scores brought to 0..1 by the list's own least and greatest."""
    if not hits:
        return {}
    scores = [hit.score for hit in hits]
    least, spread = min(scores), max(scores) - min(scores)
    return {hit.chunk_id: (hit.score - least) / spread if spread > 0 else 1.0 for hit in hits}
