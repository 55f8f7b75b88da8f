"""One walk on a snapshot: from seeds to ranked nodes, each with the path that explains it. Graph source and fusion share it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import scipy.sparse as sp

from router.retrieval.pagerank import dominant_path, personalised_pagerank, strengths
from router.settings import WalkSettings
from router.stores.edges import Floats
from router.stores.snapshot import GraphSnapshot
from router.stores.vectors import PassageVectors
from router.types import PathStep, Vector

QUESTION = "the question"

Attraction = Callable[[Sequence[str]], Floats]
"""How much each passage (by id) draws the walk, > 0; an entity draws with 1."""


def attraction(vectors: PassageVectors, tenant: str, asked: Vector, sharpness: float) -> Attraction:
    """Passages that resemble what is asked draw the walk: exp(sharpness x cosine).

    Args:
        vectors: The tenant's passages.
        tenant: Whose.
        asked: What is asked about the names in the question (`Probe.asked`). With the names left in, the passages about them draw the
            walk back to where it began, and half of the gain is lost.
        sharpness: 0 makes all passages alike.
    """

    def of(chunk_ids: Sequence[str]) -> Floats:
        return np.exp(sharpness * vectors.cosines(tenant, asked, chunk_ids).astype(np.float64))

    return of


@dataclass(frozen=True, slots=True)
class Guest:
    """An item of this query only (a web page, a relation path): a temporary node tied to entities of the graph."""

    id: str
    entity_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Walked:
    """Where the mass of a walk went."""

    snapshot: GraphSnapshot
    guests: tuple[Guest, ...]
    weights: sp.csr_matrix
    strength: Floats
    restart: Floats
    mass: Floats

    def passages(self, limit: int) -> list[tuple[str, float]]:
        """The passages with the most mass, best first, ties by id."""
        count = len(self.snapshot.chunks)
        mass = self.mass[:count]
        candidates = np.flatnonzero(mass > 0)
        if len(candidates) > limit:
            # Everything that ties with the last one taken stays in, so that the order by id decides.
            threshold = np.partition(mass[candidates], len(candidates) - limit)[len(candidates) - limit]
            candidates = candidates[mass[candidates] >= threshold]
        ranked = sorted(
            ((self.snapshot.chunks[node].id, float(mass[node])) for node in candidates.tolist()), key=lambda item: (-item[1], item[0])
        )
        return ranked[:limit]

    def guest_mass(self) -> dict[str, float]:
        first = self.snapshot.size
        return {guest.id: float(self.mass[first + number]) for number, guest in enumerate(self.guests)}

    def path(self, item_id: str, tie: str) -> tuple[PathStep, ...]:
        """How the walk came to an item, from the question on; empty for what is not in the graph.

        Args:
            item_id: A chunk.
            tie: What ties the question to the seeds (`names`, `resembles`).
        """
        node = self.snapshot.node(item_id)
        if node is None:
            return ()
        nodes = dominant_path(self.weights, self.strength, self.mass, self.restart, node)
        if any(step >= self.snapshot.size for step in nodes):
            return ()
        steps = [PathStep(QUESTION, tie, self.snapshot.label(nodes[0]))]
        steps += [self._step(one, other) for one, other in pairwise(nodes)]
        return tuple(step for step in steps if step.subject != step.object)

    def _id(self, node: int) -> str:
        chunks = len(self.snapshot.chunks)
        return self.snapshot.chunks[node].id if node < chunks else self.snapshot.entities[node - chunks].id

    def _step(self, one: int, other: int) -> PathStep:
        snapshot = self.snapshot
        chunks = len(snapshot.chunks)
        start, end = snapshot.label(one), snapshot.label(other)
        if one < chunks and other < chunks:
            if snapshot.chunks[one].document_id == snapshot.chunks[other].document_id:
                return PathStep(start, "continues in" if snapshot.chunks[one].ordinal < snapshot.chunks[other].ordinal else "follows", end)
            names = any(snapshot.mentions(one, subject) for subject in snapshot.subjects_of(other))
            return PathStep(start, "mentions" if names else "is mentioned in", end)
        if one < chunks:
            return PathStep(start, "mentions" if snapshot.mentions(one, self._id(other)) else "is about", end)
        if other < chunks:
            return PathStep(start, "is mentioned in" if snapshot.mentions(other, self._id(one)) else "is the subject of", end)
        pair = (self._id(one), self._id(other))
        relation = snapshot.relations_between.get(pair)
        if relation is not None:
            return PathStep(start, relation, end)
        return PathStep(end, snapshot.relations_between.get((pair[1], pair[0]), "is related to"), start)


def walk(
    snapshot: GraphSnapshot,
    seeds: Mapping[str, float],
    damping: float,
    settings: WalkSettings,
    guests: Sequence[Guest] = (),
    attraction: Attraction | None = None,
) -> Walked:
    """Walk from seeds (ids of chunks, entities or guests; others are left out).

    Args:
        snapshot: The graph.
        seeds: Restart weights >= 0, any sum.
        damping: Share of the mass that follows edges.
        settings: Iterations; weight of the guests' edges.
        guests: Temporary nodes.
        attraction: Scales each edge by how much its two ends draw the walk, so that it goes where the question points.
    """
    weights = _with_guests(snapshot, guests, settings.entity_edge_weight)
    if attraction is not None and damping > 0:
        weights = _drawn(weights, attraction([chunk.id for chunk in snapshot.chunks]))
    guest_nodes = {guest.id: snapshot.size + number for number, guest in enumerate(guests)}
    restart = np.zeros(snapshot.size + len(guests))
    for item_id, weight in seeds.items():
        node = guest_nodes.get(item_id, snapshot.node(item_id))
        if node is not None:
            restart[node] += weight
    total = restart.sum()
    if total > 0:
        restart /= total
    mass = personalised_pagerank(weights, restart, damping, iterations=settings.iterations)
    return Walked(snapshot, tuple(guests), weights, strengths(weights), restart, mass)


def _drawn(weights: sp.csr_matrix, draw: Floats) -> sp.csr_matrix:
    """Weights times the draw of both ends; symmetric as before, and each step's chances are the old ones times the draw of its end."""
    every = np.ones(weights.shape[0])
    every[: len(draw)] = draw
    rows = np.repeat(every, np.diff(weights.indptr))
    return sp.csr_matrix((weights.data * rows * every[weights.indices], weights.indices, weights.indptr), shape=weights.shape)


def _with_guests(snapshot: GraphSnapshot, guests: Sequence[Guest], weight: float) -> sp.csr_matrix:
    if not guests:
        return snapshot.weights
    rows: list[int] = []
    columns: list[int] = []
    for number, guest in enumerate(guests):
        for entity_id in guest.entity_ids:
            node = snapshot.node(entity_id)
            if node is not None:
                rows.append(number)
                columns.append(node)
    links = sp.coo_matrix((np.full(len(rows), weight), (rows, columns)), shape=(len(guests), snapshot.size)).tocsr()
    return sp.block_array([[snapshot.weights, links.T], [links, None]], format="csr")
