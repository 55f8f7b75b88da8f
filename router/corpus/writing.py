"""Durable passages into the other stores: embed and recognise, build the graph's part, write both, tell the observers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from router.corpus.base import CorpusObserver, GraphBuilder, Triple
from router.corpus.chunk import embedded_text
from router.corpus.pictures import CorpusPictures
from router.corpus.statements import PassageStatements, with_statements
from router.models.base import Embedder, EntityRecogniser, Recognised
from router.stores.base import GraphStore, VectorStore
from router.types import Chunk

T = TypeVar("T")


class Persist(Protocol):
    """Calls an idempotent operation until it succeeds, or fails in a way that another try would not change."""

    async def __call__(self, operation: Callable[..., Awaitable[T]], *arguments: Any) -> T: ...


class StoreWriter:
    def __init__(
        self,
        vector_store: VectorStore,
        graph_store: GraphStore,
        embedder: Embedder,
        recogniser: EntityRecogniser,
        statements: PassageStatements,
        builder: GraphBuilder,
        observers: Sequence[CorpusObserver],
        pictures: CorpusPictures,
        batch_chunks: int,
    ) -> None:
        self._vector_store = vector_store
        self._graph_store = graph_store
        self._embedder = embedder
        self._recogniser = recogniser
        self._statements = statements
        self._builder = builder
        self._observers = tuple(observers)
        self._pictures = pictures
        self._batch_chunks = batch_chunks

    async def write(self, tenant: str, chunks: Sequence[Chunk], facts: Mapping[str, Sequence[Triple]], persist: Persist) -> None:
        """Write all passages of some documents, a batch at a time, and their structured facts (by document id)."""
        openings: dict[str, tuple[Chunk, Recognised]] = {}
        for start in range(0, len(chunks), self._batch_chunks):
            await self._write_batch(tenant, chunks[start : start + self._batch_chunks], {}, openings, persist)
        for document_id, triples in facts.items():
            await self._write_batch(tenant, (), {document_id: triples}, openings, persist)

    async def _write_batch(
        self,
        tenant: str,
        chunks: Sequence[Chunk],
        facts: Mapping[str, Sequence[Triple]],
        openings: dict[str, tuple[Chunk, Recognised]],
        persist: Persist,
    ) -> None:
        vectors, read, stated, looked = await asyncio.gather(
            persist(self._embedder.embed, [embedded_text(chunk) for chunk in chunks]),
            persist(self._recogniser.recognise, [chunk.text for chunk in chunks]),
            persist(self._statements.of, tenant, chunks),
            self._pictures.look(tenant, chunks, persist),
        )
        labelled = {chunk.id: chunk for seen in looked for chunk in seen.chunks}
        chunks = [labelled.get(chunk.id, chunk) for chunk in chunks]
        recognised = [with_statements(seen, said) for seen, said in zip(read, stated, strict=True)]
        openings.update({chunk.document_id: (chunk, seen) for chunk, seen in zip(chunks, recognised, strict=True) if chunk.ordinal == 0})
        batch = await persist(self._builder.build, tenant, chunks, recognised, facts, openings)
        if chunks:
            await persist(self._vector_store.upsert, tenant, chunks, vectors)
            await self._pictures.write(tenant, looked, persist)
        await persist(self._graph_store.upsert, tenant, batch)
        # Before the next batch is built, since the builder looks at what they know.
        for observer in self._observers:
            await persist(observer.on_written, tenant, chunks, vectors, batch)

    async def remove(self, tenant: str, document_id: str, persist: Persist) -> None:
        """Remove all that the stores hold of a document."""
        await persist(self._vector_store.delete_document, tenant, document_id)
        await self._pictures.remove(tenant, document_id, persist)
        await persist(self._graph_store.delete_document, tenant, document_id)
        for observer in self._observers:
            await persist(observer.on_deleted, tenant, document_id)
