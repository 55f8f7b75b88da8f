"""The graph source: from the names in the question along the graph to passages and facts, each with the path that explains it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from router.errors import StoreUnavailable
from router.filters import matches
from router.retrieval.base import LinkedName, RetrievalRequest, Retrieved
from router.retrieval.connection import Connection, connections
from router.retrieval.passages import passage_evidence
from router.retrieval.pictures import likeness
from router.retrieval.relation_paths import RelationPath
from router.retrieval.walk import Guest, Walked, attraction, walk
from router.settings import GraphSource, WalkSettings
from router.stores.base import PassageStore
from router.stores.mirror import GraphMirror
from router.stores.snapshot import GraphSnapshot
from router.stores.vectors import PassageVectors
from router.types import Chunk, Evidence, EvidenceKind, PathStep, Provenance

ENTITY_SEED = 0.5
"""Weight of a named entity that no passage is about, against 1 for a named title."""
LEAST_PROBABILITY = 0.001
"""A relation path that the question less probably asks for than this is left out."""
NAMED = "names"
"""What ties the question to a seed of this source."""
OVERSAMPLE = 4
"""Passages looked at per passage wanted, when a filter may drop some."""


class Liveness(Protocol):
    """Whether the graph database answers (the monitor of the store)."""

    @property
    def is_up(self) -> bool: ...

    @property
    def last_seen(self) -> float | None:
        """time.monotonic() of its last answer."""

    @property
    def last_error(self) -> str: ...


class GraphRetriever:
    """Walks from names only; what the question resembles is the vector source's business.

    Args:
        name: Name of the source.
        settings: Its settings.
        walk_settings: Damping and weights.
        mirror: The snapshot that is walked.
        vectors: Vectors of the passages, which tell where the question draws the walk.
        passages: Text of the passages.
        liveness: Whether the database behind the snapshot answers.
    """

    def __init__(
        self,
        name: str,
        settings: GraphSource,
        walk_settings: WalkSettings,
        mirror: GraphMirror,
        vectors: PassageVectors,
        passages: PassageStore,
        liveness: Liveness,
    ) -> None:
        self._name = name
        self._settings = settings
        self._walk_settings = walk_settings
        self._mirror = mirror
        self._vectors = vectors
        self._passages = passages
        self._liveness = liveness

    async def search(self, request: RetrievalRequest) -> Retrieved:
        tenant = request.caller.tenant
        snapshot = await self._mirror.current(tenant)
        if request.probe.linked is None:
            raise StoreUnavailable("the graph could not be read when the question was looked at; ask again", retry_after_s=1.0)
        degraded = self._degraded(tenant)
        names = [name for name in request.probe.linked if snapshot.node(name.entity_id) is not None]
        paths = self._paths(snapshot, request)
        connected = [] if request.query.filter else connections(snapshot, request.query.text, names)
        shown = {hit.chunk_id: likeness(hit.cosine) for hit in request.probe.pictures if snapshot.node(hit.chunk_id) is not None}
        seeds = _seeds(snapshot, names, paths, connected, shown)
        if not seeds:
            return Retrieved((), degraded=degraded)
        guests = [Guest(path.id, (path.start.entity_id, *path.ends)) for path in paths]
        guests += [Guest(one.id, (one.start.entity_id, one.end.entity_id)) for one in connected]
        settings = self._walk_settings
        draw = attraction(self._vectors, tenant, await request.probe.asked(), settings.question_sharpness)
        walked = walk(snapshot, seeds, settings.damping, settings, guests, draw)
        passages = await self._passages_of(walked, request)
        facts = {path.id: _Fact(path.start.name, path.text(snapshot), path.steps(snapshot)) for path in paths}
        facts |= {one.id: _Fact(one.title, one.text, one.steps) for one in connected}
        masses = {**{chunk_id: mass for chunk_id, (_, mass) in passages.items()}, **walked.guest_mass()}
        # How two things are connected is asked for, and goes before the passages that it is made of.
        masses |= dict.fromkeys((one.id for one in connected), max(masses.values(), default=0.0))
        first = {one.id for one in connected}
        ranked = sorted(masses.items(), key=lambda item: (-item[1], item[0] not in first, item[0]))[: self._settings.candidates]
        evidence = tuple(
            self._fact(item_id, facts[item_id], rank, mass) if item_id in facts else self._passage(passages[item_id][0], walked, rank, mass)
            for rank, (item_id, mass) in enumerate(ranked, start=1)
        )
        return Retrieved(evidence, seeds, {guest.id: guest.entity_ids for guest in guests}, degraded)

    async def relation_paths(self, request: RetrievalRequest) -> tuple[GraphSnapshot, list[RelationPath]]:
        """The chains of relations that the question asks for, best first, each with all of its ends; evidence lists some of them."""
        snapshot = await self._mirror.current(request.caller.tenant)
        return snapshot, self._paths(snapshot, request)

    def _degraded(self, tenant: str) -> str:
        if self._liveness.is_up:
            return ""
        seen = self._liveness.last_seen
        age_s = time.monotonic() - seen if seen is not None else time.time() - self._mirror.loaded_at(tenant)
        return f"the graph database is down ({self._liveness.last_error}); served from a snapshot {age_s:.0f} s old"

    def _paths(self, snapshot: GraphSnapshot, request: RetrievalRequest) -> list[RelationPath]:
        """Those of the probe that this source may follow; its snapshot may be a version younger."""
        return [
            path
            for path in request.probe.paths or ()
            if path.probability >= LEAST_PROBABILITY
            and len(path.hops) <= self._settings.hops
            and all(snapshot.node(entity) is not None for entity in (path.start.entity_id, *path.ends))
        ]

    async def _passages_of(self, walked: Walked, request: RetrievalRequest) -> dict[str, tuple[Chunk, float]]:
        wanted = self._settings.candidates * (OVERSAMPLE if request.query.filter else 1)
        mass = dict(walked.passages(wanted))
        texts = await self._passages.chunks(request.caller.tenant, list(mass))
        return {chunk_id: (chunk, mass[chunk_id]) for chunk_id, chunk in texts.items() if matches(request.query.filter, chunk.metadata)}

    def _passage(self, chunk: Chunk, walked: Walked, rank: int, mass: float) -> Evidence:
        return passage_evidence(chunk, Provenance(self._name, rank, mass, "walk", walked.path(chunk.id, NAMED)))

    def _fact(self, item_id: str, fact: _Fact, rank: int, mass: float) -> Evidence:
        return Evidence(
            id=item_id,
            kind=EvidenceKind.FACT,
            title=fact.title,
            text=fact.text,
            provenance=(Provenance(self._name, rank, mass, "walk", fact.steps),),
        )


@dataclass(frozen=True, slots=True)
class _Fact:
    """What the graph itself says: a relation path, or how two named things are connected."""

    title: str
    text: str
    steps: tuple[PathStep, ...]


def _seeds(
    snapshot: GraphSnapshot,
    names: Sequence[LinkedName],
    paths: Sequence[RelationPath],
    connected: Sequence[Connection],
    shown: Mapping[str, float],
) -> dict[str, float]:
    """Where the walk starts: passages about a named entity, the entity itself, the relation paths and the connections asked for.

    A name weighs its probability times its rarity. As far as it is sure that passages are about it, they are the seeds; for the rest it
    is the entity, whose passages only mention it. Paths weigh together as much as the names when it is certain that the question asks
    for one of them; connections too, and as much again the passages on their way. A picture of the corpus that the question shows weighs
    as much as it is sure that it is the same.
    """
    seeds: dict[str, float] = {}
    for name in names:
        weight = name.probability * snapshot.rarity(name.entity_id)
        confidences = snapshot.subject_confidence(name.entity_id)
        surest = max(confidences, default=0.0)
        for node, confidence in zip(snapshot.subject_chunks(name.entity_id), confidences, strict=True):
            chunk_id = snapshot.chunks[node].id
            seeds[chunk_id] = seeds.get(chunk_id, 0.0) + weight * surest * confidence / sum(confidences)
        if surest < 1.0:
            seeds[name.entity_id] = ENTITY_SEED * weight * (1.0 - surest)
    total = sum(seeds.values())
    for path in paths:
        seeds[path.id] = total * path.probability
    for chunk_id, sure in shown.items():
        seeds[chunk_id] = seeds.get(chunk_id, 0.0) + sure
    for one in connected:
        seeds[one.id] = total / len(connected)
        for chunk_id in one.chunk_ids:
            seeds[chunk_id] = seeds.get(chunk_id, 0.0) + total / (len(connected) * len(one.chunk_ids))
    return seeds
