"""The cheap look at this corpus: the one embedding, a search by vector and by words, the names in the question and what is asked of them.

Policies decide on it, and the retrievers reuse all of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import structlog

from router.errors import NotImplementedYet, StoreUnavailable
from router.models.base import Embedder, instructed
from router.retrieval.base import LinkedName, Nearest, Probe
from router.retrieval.linker import NameLinker, without_names
from router.retrieval.pictures import ABOUT_A_PICTURE, QueryPictures, Shown
from router.retrieval.relation_paths import RelationPath, RelationPaths
from router.routing.recency import asks_for_recent
from router.stopwatch import Stopwatch
from router.stores.base import LexicalIndex, Scored, VectorStore
from router.stores.mirror import GraphMirror
from router.types import Caller, Matrix, Query, TextPart, Vector

log = structlog.get_logger()

COVERED = 3
"""Passages by meaning, and as many by words, in which the words of the question are looked for."""
MAX_PATHS = 5
"""Relation paths looked for."""


class WordCoverage(Protocol):
    """How much of a text stands in passages (the index of words in this process)."""

    def coverage(self, tenant: str, text: str, chunk_ids: Sequence[str]) -> tuple[float, ...]:
        """As `Probe.coverage`."""


@dataclass(frozen=True, slots=True)
class _Meant:
    """The question in the embedding space, and what is near it."""

    vector: Vector
    picture_query: Vector | None
    nearest: tuple[Nearest, ...] | None


class Prober:
    """Looks once; what it finds is shared by the policies and the retrievers.

    Args:
        embedder: The space of the vector store.
        vector_store: Asked for the nearest passages over all collections.
        linker: Finds names of the graph.
        mirror: The graph in which relation paths are followed.
        relation_paths: Follows them.
        candidates: Passages to take: as many as the hungriest vector source, so that it need not search again.
        lexical: BM25; None where there is none.
        coverage: Looks for the question's words in passages; None where no index of words is in this process.
        pictures: Looks at the question's pictures; None where no model embeds them.
    """

    def __init__(
        self,
        embedder: Embedder,
        vector_store: VectorStore,
        linker: NameLinker,
        mirror: GraphMirror,
        relation_paths: RelationPaths,
        candidates: int,
        lexical: LexicalIndex | None = None,
        coverage: WordCoverage | None = None,
        pictures: QueryPictures | None = None,
    ) -> None:
        self._embedder = embedder
        self._vector_store = vector_store
        self._linker = linker
        self._mirror = mirror
        self._relation_paths = relation_paths
        self._candidates = candidates
        self._lexical = lexical
        self._coverage = coverage
        self._pictures = pictures

    async def probe(self, query: Query, caller: Caller, watch: Stopwatch) -> Probe:
        """Raises ModelUnavailable or Overloaded. A store that is down leaves its part of the probe out (None).

        The source that needs the store meets it again and reports it, if it is chosen.
        """
        with watch.stage("probe"):
            linked = await self._linked(query, caller)
            shown = await self._shown(query, caller)
            if shown is not None and linked is not None:
                linked = (*linked, *shown.names)
            meant, (words, paths) = await asyncio.gather(self._meant(query, shown, caller, watch), self._beside(query, linked, caller))
        return Probe(
            meant.vector,
            meant.nearest,
            linked,
            is_recent=asks_for_recent(query.text, datetime.now(UTC).date()),
            unnamed=self._unnamed(query, linked),
            words=words,
            coverage=self._covered(query, meant.nearest, words, caller),
            paths=paths,
            picture_vector=None if shown is None else shown.vector,
            pictures=() if shown is None else shown.nearest,
            picture_query=meant.picture_query,
        )

    async def _beside(
        self, query: Query, linked: Sequence[LinkedName] | None, caller: Caller
    ) -> tuple[tuple[Scored, ...] | None, tuple[RelationPath, ...] | None]:
        """The words and the graph, looked at in this thread while the model embeds in its own; the model has to begin first."""
        await asyncio.sleep(0)
        return await asyncio.gather(self._words(query, caller), self._paths(query, linked, caller))

    async def _meant(self, query: Query, shown: Shown | None, caller: Caller, watch: Stopwatch) -> _Meant:
        with watch.stage("embed"):
            vector = await self._vector(query, shown)
            picture_query = await self._picture_query(query, vector, shown, caller)
        return _Meant(vector, picture_query, await self._nearest(query, vector, caller))

    async def _vector(self, query: Query, shown: Shown | None) -> Vector:
        if query.text:
            if query.instruction and instructed(self._embedder):
                vector: Vector = (await self._embedder.embed_instructed([query.text], query.instruction))[0]
                return vector
            return await self._embedded(query.text)
        assert self._pictures is not None, "a question without words has a picture. This is a bug."
        assert shown is not None
        if self._pictures.shares_space:
            return shown.vector
        return await self._embedded(" ".join([ABOUT_A_PICTURE, *(name.name for name in shown.names[:1])]))

    def _unnamed(self, query: Query, linked: Sequence[LinkedName] | None) -> asyncio.Future[Vector] | None:
        """Only what comes after the decision looks at it, so the decision does not wait for it."""
        unnamed = without_names(query.text, linked) if linked else ""
        if not unnamed:
            return None
        embedding = asyncio.create_task(self._embedded(unnamed), name="question without its names")
        # Where no source that is asked needs it, nobody asks how it went.
        embedding.add_done_callback(lambda task: task.cancelled() or task.exception())
        return embedding

    async def _embedded(self, text: str) -> Vector:
        vector: Vector = (await self._embedder.embed([text]))[0]
        return vector

    async def _picture_query(self, query: Query, words: Vector, shown: Shown | None, caller: Caller) -> Vector | None:
        if self._pictures is None or not self._pictures.are_there(caller):
            return None
        if query.instruction and self._pictures.shares_space:
            words = await self._embedded(query.wording)
        return await self._pictures.query_vector(query, words, shown)

    async def said(self, query: Query) -> Matrix:
        """Embeddings of the text, of the instruction, and of both together, without any prompt: for the filters, which an instruction must
        not lead past.

        Raises:
            ModelUnavailable: The model failed.
            Overloaded: Its queue is full.
        """
        return await self._embedder.embed(list(dict.fromkeys(filter(None, (query.text, query.instruction, query.wording)))))

    async def resolved(self, query: Query, caller: Caller) -> Query:
        """The query with every picture by value.

        Raises:
            NotImplementedYet: It has a picture, and no model embeds pictures here.
            RouterError: As `PictureAddresses.read`.
        """
        if not query.has_pictures:
            return query
        if self._pictures is None:
            raise NotImplementedYet(
                "no model for pictures goes with the embedding model; ask in words, or configure one",
                reason="PICTURES_NOT_EMBEDDED",
                field=f"query.parts[{next(place for place, part in enumerate(query.parts) if not isinstance(part, TextPart))}]",
            )
        return await self._pictures.resolved(query, caller)

    async def _shown(self, query: Query, caller: Caller) -> Shown | None:
        if self._pictures is None or not query.has_pictures:
            return None
        return await self._pictures.look(query, caller)

    async def _nearest(self, query: Query, vector: Vector, caller: Caller) -> tuple[Nearest, ...] | None:
        try:
            hits = await self._vector_store.search(caller.tenant, vector, self._candidates, where=query.filter)
        except StoreUnavailable as error:
            log.warning("probe without the vector store", reason=error.message)
            return None
        return tuple(Nearest(hit.chunk_id, hit.score) for hit in hits)

    async def _words(self, query: Query, caller: Caller) -> tuple[Scored, ...] | None:
        if self._lexical is None or not query.text:
            return None
        try:
            return tuple(await self._lexical.search(caller.tenant, query.text, self._candidates, where=query.filter))
        except StoreUnavailable as error:
            log.warning("probe without BM25", reason=error.message)
            return None

    def _covered(
        self, query: Query, nearest: Sequence[Nearest] | None, words: Sequence[Scored] | None, caller: Caller
    ) -> tuple[float, ...] | None:
        if self._coverage is None or nearest is None or words is None:
            return None
        best = dict.fromkeys([*(hit.chunk_id for hit in nearest[:COVERED]), *(hit.chunk_id for hit in words[:COVERED])])
        return self._coverage.coverage(caller.tenant, query.text, list(best))

    async def _linked(self, query: Query, caller: Caller) -> tuple[LinkedName, ...] | None:
        try:
            return await self._linker.link(caller.tenant, query.text)
        except StoreUnavailable as error:
            log.warning("probe without the graph", reason=error.message)
            return None

    async def _paths(self, query: Query, linked: Sequence[LinkedName] | None, caller: Caller) -> tuple[RelationPath, ...] | None:
        """Facts carry no metadata, so a filtered question is answered from passages only."""
        if linked is None:
            return None
        if query.filter or not query.text:
            return ()
        try:
            snapshot = await self._mirror.current(caller.tenant)
        except StoreUnavailable as error:
            log.warning("probe without relation paths", reason=error.message)
            return None
        return tuple(await self._relation_paths.best(snapshot, linked, query.text, MAX_PATHS))
