"""Vectors of single words and of the names of relations: questions are made of few words, and relations come again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence

import structlog

from router.errors import RouterError
from router.models.base import Embedder
from router.retrieval.relation_words import texts_of
from router.stores.base import GraphBatch
from router.types import Chunk, Matrix, Vector

log = structlog.get_logger()

MAX_CACHED = 20_000
"""Texts whose vectors are kept (30 MB)."""
MAX_AHEAD = 2_000
"""Relations whose names are embedded before a question meets them."""
TEXTS_PER_CALL = 8
"""So few that a question which comes meanwhile hardly waits."""


class WordVectors:
    """A CorpusObserver: the names of new relations are embedded in the background, so that no question has to wait for it.

    A vector depends on its text alone, so what is deleted from the graph makes none of them wrong.
    """

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._vectors: dict[str, Vector] = {}
        self._ahead: set[str] = set()
        self._relations = set[str]()
        self._waiting: list[str] = []
        self._worker: asyncio.Task[None] | None = None

    async def of(self, texts: Collection[str]) -> Mapping[str, Vector]:
        """By text. Raises as `Embedder.embed`."""
        found = {text: self._vectors[text] for text in texts if text in self._vectors}
        unknown = sorted(set(texts) - found.keys())
        if unknown:
            new = dict(zip(unknown, await self._embedder.embed(unknown), strict=True))
            if len(self._vectors) + len(new) > MAX_CACHED:
                self._vectors = {text: vector for text, vector in self._vectors.items() if text in self._ahead} | found
            self._vectors |= new
            found |= new
        return found

    def expect(self, relations: Iterable[str]) -> None:
        """Embed the names of these relations in the background; of more than `MAX_AHEAD`, the first."""
        for relation in relations:
            if len(self._relations) >= MAX_AHEAD:
                break
            if relation not in self._relations:
                self._relations.add(relation)
                texts = texts_of(relation)
                self._ahead.update(texts)
                self._waiting += texts
        if self._waiting and (self._worker is None or self._worker.done()):
            self._worker = asyncio.create_task(self._embed_what_waits(), name="names of relations")

    async def on_written(self, tenant: str, chunks: Sequence[Chunk], vectors: Matrix, batch: GraphBatch) -> None:
        del tenant, chunks, vectors
        self.expect(fact.relation for fact in batch.facts if fact.chunk_id is None)

    async def on_deleted(self, tenant: str, document_id: str) -> None:
        del tenant, document_id

    async def settled(self) -> None:
        """Return when nothing waits to be embedded."""
        if self._worker is not None:
            await asyncio.wait([self._worker])

    async def aclose(self) -> None:
        self._waiting.clear()
        await self.settled()

    async def _embed_what_waits(self) -> None:
        while self._waiting:
            some, self._waiting = self._waiting[:TEXTS_PER_CALL], self._waiting[TEXTS_PER_CALL:]
            try:
                await self.of(some)
            except RouterError as error:
                # The question that meets them embeds them, or reports the same.
                log.warning("names of relations are not embedded ahead", reason=error.message)
                return
