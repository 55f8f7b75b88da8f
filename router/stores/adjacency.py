"""The edges of a graph laid out row by row, for walks: made now and then, and told with every write which rows are out of date."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from router.stores.edges import NO_EDGES, Edges, EdgeWeights, Floats
from router.stores.relation import Numbers, spread

STALE_SHARE = 0.1
"""Share of the rows that may be out of date (and are worked out when they are asked for, thirty times slower) before all are made anew."""
FEW = 500
MEAN_DEGREE = 10
"""Edges of a passage, beside those that lead to it since it is about something."""


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    begin: Numbers
    """Where each row begins, and where the last one ends."""
    target: Numbers
    weight: Floats
    strength: Floats
    """Sum of each row's weights."""
    changed: NDArray[np.bool_]
    """Rows that are out of date."""

    @classmethod
    def of(cls, count: int, numbers: Numbers, edges: Edges) -> _Rows:
        """The edges of some numbers below `count`."""
        rows = numbers[edges.source]
        begin = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=count))])
        strength = np.bincount(rows, edges.weight, minlength=count).astype(np.float64)
        return cls(begin, edges.target, edges.weight, strength, np.zeros(count, dtype=np.bool_))

    def is_fresh(self, numbers: Numbers) -> NDArray[np.bool_]:
        inside = numbers < len(self.changed)
        fresh = np.zeros(len(numbers), dtype=np.bool_)
        fresh[inside] = ~self.changed[numbers[inside]]
        return fresh

    def edges_of(self, numbers: Numbers, places: Numbers) -> Edges:
        """Edges of numbers; the source is what stands beside the number in `places`."""
        begin = self.begin[numbers]
        source, rows = spread(places, begin, self.begin[numbers + 1] - begin)
        return Edges(source, self.target[rows], self.weight[rows])

    def with_changed(self, numbers: Numbers) -> _Rows:
        changed = self.changed.copy()
        changed[numbers[numbers < len(changed)]] = True
        return replace(self, changed=changed)


@dataclass(frozen=True, slots=True, eq=False)
class Adjacency:
    """Edges between passages and from passages to entities, and the passages that each entity touches; facts are not among them.

    An edge between a passage and an entity carries no weight here: it depends on how common the entity is now.
    """

    chunks: _Rows
    """Targets from `first_entity` on are entities."""
    entities: _Rows
    first_entity: int
    total: float
    """What all edges weighed together when they were laid out, each counted from both ends."""

    @classmethod
    def of(cls, edges: EdgeWeights) -> Adjacency:
        state = edges.state
        chunks, entities = np.flatnonzero(state.chunks.alive), np.flatnonzero(state.entities.alive)
        rows = _Rows.of(len(state.chunks), chunks, edges.of_chunks(chunks))
        total = float(rows.strength.sum() + edges.entity_strength(entities).sum())
        return cls(rows, _Rows.of(len(state.entities), entities, edges.of_entities(entities)), len(state.chunks), total)

    def after(self, before: EdgeWeights, after: EdgeWeights) -> Adjacency:
        """After one write: a row is out of date when an edge of it came, went or got another weight."""
        touched = after.state.touched
        # Rows of a chunk that is gone are still there to be read.
        named = np.unique(after.state.mentions.of_left(touched)[1])
        about = np.unique(after.state.subjects.of_left(touched)[1])
        entities = np.union1d(named, about)
        opened = [edges.openings(entities[entities < len(edges.state.entities)])[1] for edges in (before, after)]
        changed = np.unique(np.concatenate([touched, after.state.mentions.of_right(about)[1], *opened]))
        return replace(self, chunks=self.chunks.with_changed(changed), entities=self.entities.with_changed(entities))

    def is_stale(self, edges: EdgeWeights) -> bool:
        """Whether so much is out of date that it should be made anew."""
        rows = len(edges.state.chunks) + len(edges.state.entities)
        fresh = sum(len(some.changed) - int(np.count_nonzero(some.changed)) for some in (self.chunks, self.entities))
        return rows - fresh > FEW + STALE_SHARE * rows

    def edges_of_chunks(self, chunks: Numbers, edges: EdgeWeights) -> Edges:
        """Edges of passages (sorted), with their weights of now."""
        fresh = self.chunks.is_fresh(chunks)
        places = np.flatnonzero(fresh)
        laid = self.chunks.edges_of(chunks[places], places)
        is_entity = laid.target >= self.first_entity
        # Numbers of entities' nodes begin after the passages, of which there are more now.
        target = np.where(is_entity, laid.target + (len(edges.state.chunks) - self.first_entity), laid.target)
        weight = laid.weight.copy()
        weight[is_entity] = edges.entity_weight(laid.target[is_entity] - self.first_entity)
        others = np.flatnonzero(~fresh)
        return _joined(Edges(laid.source, target, weight), edges.of_chunks(chunks[others]) if len(others) else NO_EDGES, others)

    def degrees(self, chunks: Numbers, edges: EdgeWeights) -> Numbers:
        """How many edges each passage has, or had when its row was laid out; of a passage that came since, how many may lead to it."""
        degrees = np.empty(len(chunks), dtype=np.int64)
        laid = chunks < len(self.chunks.changed)
        degrees[laid] = self.chunks.begin[chunks[laid] + 1] - self.chunks.begin[chunks[laid]]
        others = np.flatnonzero(~laid)
        if len(others):
            which, about, _ = edges.state.subjects.of_left(chunks[others])
            degrees[others] = MEAN_DEGREE + np.bincount(which, edges.state.mentioning[about], minlength=len(others))
        return degrees

    def strengths(self, chunks: Numbers, edges: EdgeWeights) -> Floats:
        """What the edges of each passage weigh together; of a row that is fresh, with the weights of when it was laid out."""
        strengths = np.empty(len(chunks))
        fresh = self.chunks.is_fresh(chunks)
        strengths[fresh] = self.chunks.strength[chunks[fresh]]
        others = np.flatnonzero(~fresh)
        if len(others):
            order = np.argsort(chunks[others])
            now = edges.of_chunks(chunks[others][order])
            strengths[others[order]] = np.bincount(now.source, now.weight, minlength=len(others))
        return strengths

    def edges_of_entities(self, entities: Numbers, edges: EdgeWeights) -> Edges:
        """Edges between entities and passages, with their weights of now."""
        fresh = self.entities.is_fresh(entities)
        places = np.flatnonzero(fresh)
        laid = self.entities.edges_of(entities[places], places)
        now = Edges(laid.source, laid.target, edges.entity_weight(entities)[laid.source])
        others = np.flatnonzero(~fresh)
        return _joined(now, edges.of_entities(entities[others]) if len(others) else NO_EDGES, others)


def _joined(fresh: Edges, other: Edges, places: Numbers) -> Edges:
    """Both, where the source of the other counts into `places`; without the edges that weigh nothing."""
    if len(places):
        fresh = Edges(
            np.concatenate([fresh.source, places[other.source]]),
            np.concatenate([fresh.target, other.target]),
            np.concatenate([fresh.weight, other.weight]),
        )
    kept = fresh.weight > 0
    return Edges(fresh.source[kept], fresh.target[kept], fresh.weight[kept])
