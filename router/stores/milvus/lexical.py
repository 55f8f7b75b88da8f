"""BM25 inside Milvus, over the rows that the vector store wrote."""

from __future__ import annotations

from router.errors import InternalError
from router.stores.base import Scored
from router.stores.milvus.expression import expression
from router.stores.milvus.store import SCORE_DECIMALS, TIE_MARGIN, MilvusVectorStore, check_limit, chunk_id
from router.types import NO_FILTER, Filter


class MilvusLexicalIndex:
    """Milvus's BM25 function over "title. text". The vector store must have been opened with `milvus.lexical: milvus`."""

    def __init__(self, store: MilvusVectorStore) -> None:
        if not store.has_text:
            raise InternalError("the vector store was opened without text")
        self._store = store

    async def search(self, tenant: str, text: str, limit: int, *, collection: str | None = None, where: Filter = NO_FILTER) -> list[Scored]:
        check_limit(limit)
        if not text.strip():
            return []
        found = await self._store.connection.call(
            "search",
            self._store.collection,
            data=[text],
            filter=expression(where, tenant=tenant, collection=collection),
            limit=limit + TIE_MARGIN,
            anns_field="terms",
            search_params={"metric_type": "BM25", "params": {}},
            consistency_level="Session",
        )
        # Milvus Lite 3.2.2 gives the negative of the score.
        scored = [Scored(chunk_id(hit["id"]), round(abs(float(hit["distance"])), SCORE_DECIMALS)) for hit in found[0]]
        return sorted((hit for hit in scored if hit.score > 0), key=lambda hit: (-hit.score, hit.chunk_id))[:limit]
