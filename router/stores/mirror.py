"""Keeps each tenant's snapshot current: loaded from the graph store, moved on by every write, saved for when the store is down."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import structlog

from router.errors import InternalError, StoreUnavailable
from router.settings import WalkSettings
from router.stores.base import GraphBatch, GraphContent, GraphNodeChunk, GraphStore, Subject
from router.stores.snapshot import GraphSnapshot
from router.types import Chunk, Entity, Fact, Matrix, Mention, Span

log = structlog.get_logger()

FORMAT = 1


@dataclass
class _Tenant:
    """Content by identity, and the snapshot built from it (None: out of date)."""

    chunks: dict[str, GraphNodeChunk]
    entities: dict[str, Entity]
    subjects: dict[tuple[str, str], Subject]
    mentions: set[Mention]
    facts: dict[str, Fact]
    loaded_at: float
    """Wall-clock time (seconds since 1970) at which this was known to equal the store, unless the store is watched."""
    snapshot: GraphSnapshot | None = None

    @classmethod
    def of(cls, content: GraphContent, loaded_at: float) -> _Tenant:
        return cls(
            {chunk.id: chunk for chunk in content.chunks},
            {entity.id: entity for entity in content.entities},
            {(subject.entity_id, subject.chunk_id): subject for subject in content.subjects},
            set(content.mentions),
            {fact.id: fact for fact in content.facts},
            loaded_at,
        )

    def content(self) -> GraphContent:
        return GraphContent(
            tuple(self.chunks[key] for key in sorted(self.chunks)),
            tuple(self.entities[key] for key in sorted(self.entities)),
            tuple(self.subjects[key] for key in sorted(self.subjects)),
            tuple(sorted(self.mentions, key=lambda mention: (mention.chunk_id, mention.span.start, mention.entity_id))),
            tuple(self.facts[key] for key in sorted(self.facts)),
        )


class GraphMirror:
    """Snapshots by tenant. A CorpusObserver: what the stores take, it takes.

    Args:
        store: The graph store that is mirrored.
        folder: Where snapshots are saved (gzipped JSON; nothing is pickled).
        settings: Weights of the edges.
    """

    def __init__(self, store: GraphStore, folder: Path, settings: WalkSettings) -> None:
        self._store = store
        self._folder = folder
        self._settings = settings
        self._tenants: dict[str, _Tenant] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def load(self, tenants: Sequence[str]) -> None:
        """Load the tenants' graphs: from the store, or from the saved snapshots while the store is down."""
        for tenant in tenants:
            await self._ensure(tenant)

    async def current(self, tenant: str) -> GraphSnapshot:
        """The snapshot, rebuilt when something was written since.

        Raises:
            StoreUnavailable: The store is down and there is nothing saved to serve from.
        """
        state = await self._ensure(tenant)
        if state.snapshot is None:
            async with self._lock(tenant):
                if state.snapshot is None:
                    content = state.content()
                    state.snapshot = await asyncio.to_thread(_built, content, self._settings)
        return state.snapshot

    def loaded_at(self, tenant: str) -> float:
        """When the snapshot was last read from the store or written through, in seconds since 1970."""
        return self._tenants[tenant].loaded_at

    async def on_written(self, tenant: str, chunks: Sequence[Chunk], vectors: Matrix, batch: GraphBatch) -> None:
        """Move the snapshot on by a batch that the store has taken."""
        del chunks, vectors
        state = await self._ensure(tenant)
        async with self._lock(tenant):
            for chunk in batch.chunks:
                state.chunks[chunk.id] = GraphNodeChunk(chunk.id, chunk.document_id, chunk.collection, chunk.ordinal, chunk.title)
            state.entities.update({entity.id: entity for entity in batch.entities})
            state.subjects.update({(subject.entity_id, subject.chunk_id): subject for subject in batch.subjects})
            state.mentions.update(batch.mentions)
            state.facts.update({fact.id: fact for fact in batch.facts})
            state.loaded_at = time.time()
            state.snapshot = None

    async def on_deleted(self, tenant: str, document_id: str) -> None:
        """Forget a document, and the entities that nothing touches any more."""
        state = await self._ensure(tenant)
        async with self._lock(tenant):
            gone = {chunk.id for chunk in state.chunks.values() if chunk.document_id == document_id}
            state.chunks = {key: chunk for key, chunk in state.chunks.items() if key not in gone}
            state.subjects = {key: subject for key, subject in state.subjects.items() if subject.chunk_id not in gone}
            state.mentions = {mention for mention in state.mentions if mention.chunk_id not in gone}
            state.facts = {key: fact for key, fact in state.facts.items() if fact.document_id != document_id}
            touched = {subject.entity_id for subject in state.subjects.values()} | {mention.entity_id for mention in state.mentions}
            touched.update(end for fact in state.facts.values() for end in (fact.subject_id, fact.object_id))
            state.entities = {key: entity for key, entity in state.entities.items() if key in touched}
            state.loaded_at = time.time()
            state.snapshot = None

    async def save(self) -> None:
        """Write every snapshot to its file, whole or not at all."""
        for tenant, state in self._tenants.items():
            await asyncio.to_thread(_write, self._path(tenant), state.content(), state.loaded_at)

    async def _ensure(self, tenant: str) -> _Tenant:
        if tenant not in self._tenants:
            async with self._lock(tenant):
                if tenant not in self._tenants:
                    self._tenants[tenant] = await self._load(tenant)
        return self._tenants[tenant]

    async def _load(self, tenant: str) -> _Tenant:
        try:
            return _Tenant.of(await self._store.load(tenant), time.time())
        except StoreUnavailable as error:
            path = self._path(tenant)
            if not path.exists():
                raise
            log.warning("graph snapshot read from file", tenant=tenant, reason=error.message)
            return await asyncio.to_thread(_read, path)

    def _lock(self, tenant: str) -> asyncio.Lock:
        return self._locks.setdefault(tenant, asyncio.Lock())

    def _path(self, tenant: str) -> Path:
        return self._folder / f"{hashlib.sha256(tenant.encode()).hexdigest()[:32]}.json.gz"


def _built(content: GraphContent, settings: WalkSettings) -> GraphSnapshot:
    snapshot = GraphSnapshot(content, settings)
    # Touched here, in the thread, so that no query pays for them on the event loop.
    _ = snapshot.weights, snapshot.facts_of, snapshot.names_in("")
    return snapshot


def _write(path: Path, content: GraphContent, loaded_at: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with gzip.open(partial, "wt", encoding="utf-8", compresslevel=3) as file:
        json.dump({"format": FORMAT, "loaded_at": loaded_at, "content": asdict(content)}, file)
    os.replace(partial, path)


def _read(path: Path) -> _Tenant:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        saved = json.load(file)
    if saved["format"] != FORMAT:
        raise InternalError(f"the snapshot {path.name} has format {saved['format']}, this release reads {FORMAT}: delete the file")
    content = saved["content"]
    mentions = tuple(Mention(item["chunk_id"], item["entity_id"], Span(**item["span"])) for item in content["mentions"])
    return _Tenant.of(
        GraphContent(
            tuple(GraphNodeChunk(**item) for item in content["chunks"]),
            tuple(Entity(**item) for item in content["entities"]),
            tuple(Subject(**item) for item in content["subjects"]),
            mentions,
            tuple(Fact(**item) for item in content["facts"]),
        ),
        saved["loaded_at"],
    )
