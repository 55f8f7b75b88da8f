"""The weighted edges of a graph, worked out from what it holds when they are asked for: a weight depends on how common names are now."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from router.settings import WalkSettings
from router.stores.graph_state import ALIASING, GraphState
from router.stores.relation import Numbers, spread

Floats = NDArray[np.float64]

MIN_HUB = 10
"""An entity in this many passages is never a hub, however small the corpus."""
MAX_SUBJECT_CHUNKS = 8
"""A document is linked by its first passages when its title is mentioned."""


@dataclass(frozen=True, slots=True)
class Edges:
    """Edges that leave some nodes. `source` counts into the nodes that were asked for, `target` is the number of a node."""

    source: Numbers
    target: Numbers
    weight: Floats


_NONE: Numbers = np.zeros(0, dtype=np.int64)
NO_EDGES = Edges(_NONE, _NONE, np.zeros(0))


class EdgeWeights:
    """Edges by node. Nodes are the chunks by number, then the entities. GraphSnapshot says what they weigh.

    Edges between a passage and an entity that is left out are among them, with weight 0.
    """

    def __init__(self, state: GraphState, settings: WalkSettings) -> None:
        self.state = state
        self._settings = settings
        self._first_entity = len(state.chunks)
        self._total = int(np.count_nonzero(state.chunks.alive))

    def of_chunks(self, chunks: Numbers) -> Edges:
        """Edges of passages (sorted)."""
        state = self.state
        names, named, _ = state.mentions.of_left(chunks)
        abouts, about, _ = state.subjects.of_left(chunks)
        source, entity = np.concatenate([names, abouts]), np.concatenate([named, about])
        opens = state.subject_of[named] > 0
        return _distinct(
            (source, entity + self._first_entity, self.entity_weight(entity)),
            self._to_subjects(chunks, names[opens], named[opens]),
            self._from_mentions(chunks, about),
        )

    def of_entities(self, entities: Numbers) -> Edges:
        """Edges of entities to the passages that they touch."""
        state = self.state
        mentioned, mentioning, _ = state.mentions.of_right(entities)
        subject, about, _ = state.subjects.of_right(entities)
        source, target = np.concatenate([mentioned, subject]), np.concatenate([mentioning, about])
        alive = state.chunks.alive[target]
        source, target = source[alive], target[alive]
        return _distinct((source, target, self.entity_weight(entities)[source]))

    def entity_weight(self, entities: Numbers) -> Floats:
        """Weight of each edge between an entity and a passage; 0 for an entity that is left out."""
        count = self.state.touching[entities]
        weight = self._by_count[np.minimum(count, len(self._by_count) - 1)]
        # One passage alone leads nowhere, unless facts lead on from the entity.
        once = np.flatnonzero(count == 1)
        weight[once[self.facts(entities[once]) == 0]] = 0.0
        return weight

    def entity_strength(self, entities: Numbers) -> Floats:
        """What the edges of each entity weigh together; facts are counted as if each tied it to one that has no other."""
        state, settings = self.state, self._settings
        facts = state.structured[entities] * settings.entity_edge_weight * _idf(state.structured_count, state.structured[entities])
        aliases = ((state.aliases[entities] > 0) + state.aliased[entities]) * settings.alias_edge_weight
        strength: Floats = self.entity_weight(entities) * state.touching[entities] + facts + aliases
        return strength

    @cached_property
    def _by_count(self) -> Floats:
        """Weight of an edge by the number of passages that its entity touches, up to that of a hub."""
        hub = int(max(MIN_HUB, self._settings.max_entity_share * self._total))
        weight = self._settings.entity_edge_weight * _idf(self._total, np.arange(hub + 2))
        weight[[0, -1]] = 0.0
        return weight

    def facts(self, entities: Numbers) -> Numbers:
        """How many facts tie each entity to others."""
        state = self.state
        return state.structured[entities] + state.aliases[entities] + state.aliased[entities]

    def openings(self, entities: Numbers) -> tuple[Numbers, Numbers, Floats]:
        """The first passages about each entity, in the order of the document: index into `entities`, chunk, weight."""
        state = self.state
        which, chunk, columns = state.subjects.of_right(entities)
        if not columns:
            return which, chunk, np.empty(0)
        alive = state.chunks.alive[chunk]
        which, chunk, confidence = which[alive], chunk[alive], columns[0][alive]
        order = np.lexsort((state.id_order[chunk], state.ordinal[chunk], which))
        which, chunk, confidence = which[order], chunk[order], confidence[order]
        first = which.searchsorted(np.arange(len(entities)))
        rank = np.arange(len(which)) - first[which]
        kept = rank < MAX_SUBJECT_CHUNKS
        count = np.minimum(np.bincount(which, minlength=len(entities)), MAX_SUBJECT_CHUNKS)
        return which[kept], chunk[kept], confidence[kept] / count[which[kept]]

    def _to_subjects(self, chunks: Numbers, source: Numbers, named: Numbers) -> _Rows:
        """To the passages about what is mentioned."""
        entities, which = np.unique(named, return_inverse=True)
        opening, target, weight = self.openings(entities)
        begin = opening.searchsorted(which)
        source, rows = spread(source, begin, opening.searchsorted(which, side="right") - begin)
        return self._between_documents(chunks, source, target[rows], weight[rows])

    def _from_mentions(self, chunks: Numbers, about: Numbers) -> _Rows:
        """To the passages that mention what these are about."""
        entities = np.unique(about)
        opening, opened, weight = self.openings(entities)
        source = np.minimum(chunks.searchsorted(opened), max(0, len(chunks) - 1))
        asked = chunks[source] == opened
        source, weight = source[asked], weight[asked]
        row, target, _ = self.state.mentions.of_right(entities[opening[asked]])
        alive = self.state.chunks.alive[target]
        row, target = row[alive], target[alive]
        return self._between_documents(chunks, source[row], target, weight[row])

    def _between_documents(self, chunks: Numbers, source: Numbers, target: Numbers, weight: Floats) -> _Rows:
        document = self.state.document
        other = document[chunks[source]] != document[target]
        return source[other], target[other], weight[other]

    def of_facts(self, entities: Numbers) -> Edges:
        """Edges of entities along structured facts and aliases; several facts between two entities add up."""
        state = self.state
        leading = np.flatnonzero(self.facts(entities) > 0) if len(state.facts) else _NONE
        rows = [(place, fact) for place in leading.tolist() for fact in state.facts_at(int(entities[place]))]
        if not rows:
            return NO_EDGES
        source, fact = np.array(rows, dtype=np.int64).T
        kept = (state.fact_kind[fact] != 0) & (state.fact_ends[fact, 0] != state.fact_ends[fact, 1])
        source, fact = source[kept], fact[kept]
        ends = state.fact_ends[fact]
        target = np.where(ends[:, 0] == entities[source], ends[:, 1], ends[:, 0]) + self._first_entity
        pair, which = np.unique(source << 32 | target, return_inverse=True)
        total: Floats = np.bincount(which, weights=self._fact_weight(fact, ends), minlength=len(pair)).astype(np.float64)
        return Edges(pair >> 32, pair & 0xFFFFFFFF, total)

    def _fact_weight(self, fact: Numbers, ends: Numbers) -> Floats:
        state, settings = self.state, self._settings
        rarity = _idf(state.structured_count, state.structured[ends].max(axis=1))
        share = settings.alias_edge_weight / np.maximum(1, state.aliases[ends[:, 0]])
        return np.where(state.fact_kind[fact] == ALIASING, share, settings.entity_edge_weight * rarity)


_Rows = tuple[Numbers, Numbers, Floats]


def _idf(total: int, count: Numbers) -> Floats:
    """Between almost 0 (everywhere) and 1 (once)."""
    return np.log((total + 1) / np.maximum(1, count)) / np.log(total + 1) if total > 0 else np.ones(len(count))


def _distinct(*some: _Rows) -> Edges:
    """Each edge once, with its largest weight: two passages that name each other, or name each other twice, are linked once."""
    source, target, weight = (np.concatenate(column) for column in zip(*some, strict=True))
    key = source.astype(np.int64) << 32 | target
    order = np.argsort(key)
    key = key[order]
    first = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]])) if len(key) else np.zeros(0, dtype=np.int64)
    largest = np.maximum.reduceat(weight[order], first) if len(key) else weight
    return Edges(key[first] >> 32, key[first] & 0xFFFFFFFF, largest)
