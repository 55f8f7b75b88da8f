"""Keeps each tenant's snapshot current: loaded from the graph store, moved on by every write, saved for when the store is down."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import structlog

from router.errors import InternalError, StoreUnavailable
from router.settings import WalkSettings
from router.stores.base import GraphBatch, GraphContent, GraphNodeChunk, GraphStore, Subject
from router.stores.snapshot import GraphSnapshot
from router.types import Chunk, Entity, Fact, Matrix, Mention, Span

log = structlog.get_logger()

FORMAT = 2


class _Tenant:
    """The newest snapshot of one tenant. Writers take turns; readers keep the one that they got."""

    def __init__(self, snapshot: GraphSnapshot, loaded_at: float) -> None:
        self._writing = threading.Lock()
        self.snapshot = snapshot
        self.loaded_at = loaded_at
        """Wall-clock time (seconds since 1970) at which this was known to equal the store, unless the store is watched."""

    def write(self, batch: GraphBatch) -> None:
        chunks = (GraphNodeChunk(chunk.id, chunk.document_id, chunk.collection, chunk.ordinal, chunk.label) for chunk in batch.chunks)
        content = GraphContent(tuple(chunks), batch.entities, batch.subjects, batch.mentions, batch.facts)
        with self._writing:
            self._move_to(self.snapshot.written(content))

    def delete(self, document_id: str) -> None:
        with self._writing:
            self._move_to(self.snapshot.without_document(document_id))

    def _move_to(self, snapshot: GraphSnapshot) -> None:
        self.snapshot = snapshot
        self.loaded_at = time.time()


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
        """The snapshot, with everything that was written.

        Raises:
            StoreUnavailable: The store is down and there is nothing saved to serve from.
        """
        return (await self._ensure(tenant)).snapshot

    def has(self, tenant: str) -> bool:
        """Whether its graph is loaded."""
        return tenant in self._tenants

    def loaded_at(self, tenant: str) -> float:
        """When the snapshot was last read from the store or written through, in seconds since 1970."""
        return self._tenants[tenant].loaded_at

    async def on_written(self, tenant: str, chunks: Sequence[Chunk], vectors: Matrix, batch: GraphBatch) -> None:
        """Move the snapshot on by a batch that the store has taken."""
        del chunks, vectors
        await asyncio.to_thread((await self._ensure(tenant)).write, batch)

    async def on_deleted(self, tenant: str, document_id: str) -> None:
        """Forget a document, and the entities that nothing touches any more."""
        await asyncio.to_thread((await self._ensure(tenant)).delete, document_id)

    async def save(self) -> None:
        """Write every snapshot to its file, whole or not at all."""
        for tenant, state in self._tenants.items():
            await asyncio.to_thread(_write, self._path(tenant), state.snapshot, state.loaded_at)

    async def _ensure(self, tenant: str) -> _Tenant:
        if tenant not in self._tenants:
            async with self._lock(tenant):
                if tenant not in self._tenants:
                    self._tenants[tenant] = await self._load(tenant)
        return self._tenants[tenant]

    async def _load(self, tenant: str) -> _Tenant:
        try:
            content, loaded_at = await self._store.load(tenant), time.time()
        except StoreUnavailable as error:
            path = self._path(tenant)
            if not path.exists():
                raise
            log.warning("graph snapshot read from file", tenant=tenant, reason=error.message)
            content, loaded_at = await asyncio.to_thread(_read, path)
        return _Tenant(await asyncio.to_thread(GraphSnapshot, content, self._settings), loaded_at)

    def _lock(self, tenant: str) -> asyncio.Lock:
        return self._locks.setdefault(tenant, asyncio.Lock())

    def _path(self, tenant: str) -> Path:
        return self._folder / f"{hashlib.sha256(tenant.encode()).hexdigest()[:32]}.json.gz"


def _write(path: Path, snapshot: GraphSnapshot, loaded_at: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with gzip.open(partial, "wt", encoding="utf-8", compresslevel=3) as file:
        json.dump({"format": FORMAT, "loaded_at": loaded_at, **_to_json(snapshot.content)}, file)
    os.replace(partial, path)


def _read(path: Path) -> tuple[GraphContent, float]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        saved = json.load(file)
    if saved["format"] != FORMAT:
        raise InternalError(f"the snapshot {path.name} has format {saved['format']}, this release reads {FORMAT}: delete the file")
    return _from_json(saved), saved["loaded_at"]


def _to_json(content: GraphContent) -> dict[str, Any]:
    """Rows without field names; edges by the places of their ends."""
    chunks = {chunk.id: place for place, chunk in enumerate(content.chunks)}
    entities = {entity.id: place for place, entity in enumerate(content.entities)}
    return {
        "chunks": [(chunk.id, chunk.document_id, chunk.collection, chunk.ordinal, chunk.title) for chunk in content.chunks],
        "entities": [(entity.id, entity.name, entity.kind) for entity in content.entities],
        "subjects": [(chunks[item.chunk_id], entities[item.entity_id], item.confidence) for item in content.subjects],
        "mentions": [(chunks[item.chunk_id], entities[item.entity_id], item.span.start, item.span.end) for item in content.mentions],
        "facts": [
            (fact.id, entities[fact.subject_id], fact.relation, entities[fact.object_id], fact.document_id, fact.chunk_id)
            for fact in content.facts
        ],
    }


def _from_json(saved: dict[str, Any]) -> GraphContent:
    chunks = tuple(GraphNodeChunk(*row) for row in saved["chunks"])
    entities = tuple(Entity(*row) for row in saved["entities"])
    return GraphContent(
        chunks,
        entities,
        tuple(Subject(chunks[chunk].id, entities[entity].id, confidence) for chunk, entity, confidence in saved["subjects"]),
        tuple(Mention(chunks[chunk].id, entities[entity].id, Span(start, end)) for chunk, entity, start, end in saved["mentions"]),
        tuple(
            Fact(key, entities[subject].id, relation, entities[end].id, document, chunk)
            for key, subject, relation, end, document, chunk in saved["facts"]
        ),
    )
