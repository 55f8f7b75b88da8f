"""The graph in this process: an immutable snapshot for walking and linking, and the mirror that keeps it current.

The hot paths (names in a question, personalised PageRank) never wait for the database. When the database is down the
snapshot goes on serving, and says how old it is.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from router.names import Found, NameFinder, longest
from router.settings import WalkSettings
from router.stores.base import GraphContent
from router.types import Entity, Fact

Floats = NDArray[np.float64]

MIN_HUB = 10
"""An entity in this many passages is never a hub, however small the corpus."""
MAX_SUBJECT_CHUNKS = 8
"""A document is linked by its first passages when its title is mentioned; the others are reached along the document."""


@dataclass(frozen=True, slots=True)
class Name:
    """An entity that a text names: with the words that name it."""

    entity: Entity
    surface: str


class GraphSnapshot:
    """One tenant's graph as arrays. Nodes are the chunks, then the entities, each sorted by id.

    Edges are undirected and weighted:
      - passage to passage, when the first names what the second is about (its title): 1, shared among that subject's passages;
      - passage to a mentioned entity: `entity_edge_weight` x idf;
      - entity to entity, for each structured fact: `entity_edge_weight` x the smaller idf of the two among the facts;
      - passage to the next one of its document: `neighbour_edge_weight`.
    idf is log((N + 1) / n) / log(N + 1), so that it lies between almost 0 (everywhere) and 1 (once); hubs are left out.
    """

    def __init__(self, content: GraphContent, settings: WalkSettings) -> None:
        self.content = content
        self.chunks = content.chunks
        self.entities = content.entities
        self.chunk_index = {chunk.id: number for number, chunk in enumerate(content.chunks)}
        self._entity_index = {entity.id: number for number, entity in enumerate(content.entities)}
        self._settings = settings
        self._subject_chunks = self._group_subjects()
        self._mentioned = self._group_mentions()

    @property
    def size(self) -> int:
        return len(self.chunks) + len(self.entities)

    def node(self, item_id: str) -> int | None:
        """Number of a chunk's or entity's node; None when the graph has no such item."""
        chunk = self.chunk_index.get(item_id)
        if chunk is not None:
            return chunk
        entity = self._entity_index.get(item_id)
        return None if entity is None else len(self.chunks) + entity

    def label(self, node: int) -> str:
        """What a person calls the node: a passage's title, an entity's name."""
        return self.chunks[node].title if node < len(self.chunks) else self.entities[node - len(self.chunks)].name

    def subject_chunks(self, entity_id: str) -> Sequence[int]:
        """Nodes of the passages that are about the entity, in the order of the document."""
        return self._subject_chunks.get(entity_id, ())

    def names_in(self, text: str) -> list[Name]:
        """The graph's names that stand in the text, longest first."""
        found = {
            item.entity_id: Name(self.entity(item.entity_id), text[item.span.start : item.span.end]) for item in longest(self.hits(text))
        }
        return sorted(found.values(), key=lambda name: (-len(name.surface), name.entity.id))

    def hits(self, text: str, accepts: Callable[[Entity], bool] | None = None) -> list[Found]:
        """Every place where a name of the graph (of an entity that is accepted) stands in the text, also inside a longer name."""

        def holds(entity_id: str, name: str) -> bool:
            entity = self.entity(entity_id)
            return entity.name == name and (accepts is None or accepts(entity))

        return self._finder.hits(text, holds)

    @cached_property
    def _finder(self) -> NameFinder:
        finder = NameFinder()
        for entity in self.entities:
            finder.add(entity.name, entity.id)
        return finder

    @cached_property
    def facts_of(self) -> Mapping[str, Sequence[Fact]]:
        """Structured facts by the entity at either end."""
        facts: dict[str, list[Fact]] = defaultdict(list)
        for fact in self.content.facts:
            if fact.chunk_id is None:
                facts[fact.subject_id].append(fact)
                if fact.object_id != fact.subject_id:
                    facts[fact.object_id].append(fact)
        return facts

    @cached_property
    def relations_between(self) -> Mapping[tuple[str, str], str]:
        """Relation by (subject id, object id), for readable paths; facts read from texts count too."""
        return {(fact.subject_id, fact.object_id): fact.relation for fact in reversed(self.content.facts)}

    def entity(self, entity_id: str) -> Entity:
        return self.entities[self._entity_index[entity_id]]

    def mentions(self, chunk_node: int, entity_id: str) -> bool:
        """Whether the passage mentions the entity."""
        return chunk_node in self._mentioned.get(entity_id, frozenset())

    def subjects_of(self, chunk_node: int) -> Sequence[str]:
        """Entities that the passage is about."""
        return self._subjects_by_chunk.get(chunk_node, ())

    @cached_property
    def _subjects_by_chunk(self) -> Mapping[int, Sequence[str]]:
        subjects: dict[int, list[str]] = defaultdict(list)
        for subject in self.content.subjects:
            subjects[self.chunk_index[subject.chunk_id]].append(subject.entity_id)
        return subjects

    @cached_property
    def weights(self) -> sp.csr_matrix:
        """Symmetric weights, shape (size, size), float64."""
        edges = _Edges()
        self._link_passages_by_subject(edges)
        self._link_passages_to_entities(edges)
        self._link_entities_by_facts(edges)
        self._link_neighbours(edges)
        return edges.matrix(self.size)

    def _group_subjects(self) -> dict[str, list[int]]:
        grouped: dict[str, list[int]] = defaultdict(list)
        for subject in self.content.subjects:
            grouped[subject.entity_id].append(self.chunk_index[subject.chunk_id])
        for nodes in grouped.values():
            nodes.sort(key=lambda node: (self.chunks[node].ordinal, self.chunks[node].id))
        return grouped

    def _group_mentions(self) -> dict[str, set[int]]:
        grouped: dict[str, set[int]] = defaultdict(set)
        for mention in self.content.mentions:
            grouped[mention.entity_id].add(self.chunk_index[mention.chunk_id])
        return grouped

    def _link_passages_by_subject(self, edges: _Edges) -> None:
        for entity_id, subjects in self._subject_chunks.items():
            first = subjects[:MAX_SUBJECT_CHUNKS]
            for mentioning in self._mentioned.get(entity_id, ()):
                for subject in first:
                    if not self._same_document(mentioning, subject):
                        edges.add(mentioning, subject, 1.0 / len(first), keep_largest=True)

    def _same_document(self, one: int, other: int) -> bool:
        return self.chunks[one].document_id == self.chunks[other].document_id

    def _link_passages_to_entities(self, edges: _Edges) -> None:
        total = len(self.chunks)
        hub = max(MIN_HUB, self._settings.max_entity_share * total)
        for number, entity in enumerate(self.entities):
            touching = self._mentioned.get(entity.id, set()).union(self._subject_chunks.get(entity.id, ()))
            # One passage alone leads nowhere, unless facts lead on from the entity.
            if len(touching) > hub or (len(touching) < 2 and entity.id not in self.facts_of):
                continue
            weight = self._settings.entity_edge_weight * _idf(total, len(touching))
            for chunk in touching:
                edges.add(chunk, total + number, weight)

    def _link_entities_by_facts(self, edges: _Edges) -> None:
        total = sum(fact.chunk_id is None for fact in self.content.facts)
        for fact in self.content.facts:
            if fact.chunk_id is None and fact.subject_id != fact.object_id:
                rarity = min(_idf(total, len(self.facts_of[end])) for end in (fact.subject_id, fact.object_id))
                ends = [len(self.chunks) + self._entity_index[end] for end in (fact.subject_id, fact.object_id)]
                edges.add(ends[0], ends[1], self._settings.entity_edge_weight * rarity)

    def _link_neighbours(self, edges: _Edges) -> None:
        ordered = sorted(range(len(self.chunks)), key=lambda node: (self.chunks[node].document_id, self.chunks[node].ordinal))
        for one, other in pairwise(ordered):
            if self._same_document(one, other):
                edges.add(one, other, self._settings.neighbour_edge_weight)


class _Edges:
    """Collects undirected weighted edges."""

    def __init__(self) -> None:
        self._rows: list[int] = []
        self._columns: list[int] = []
        self._values: list[float] = []
        self._largest: dict[tuple[int, int], float] = {}

    def add(self, one: int, other: int, weight: float, *, keep_largest: bool = False) -> None:
        if keep_largest:
            # Two passages that name each other, or name each other twice, are linked once.
            pair = (min(one, other), max(one, other))
            self._largest[pair] = max(self._largest.get(pair, 0.0), weight)
            return
        self._rows += (one, other)
        self._columns += (other, one)
        self._values += (weight, weight)

    def matrix(self, size: int) -> sp.csr_matrix:
        for (one, other), weight in self._largest.items():
            self.add(one, other, weight)
        return sp.coo_matrix((self._values, (self._rows, self._columns)), shape=(size, size), dtype=np.float64).tocsr()


def _idf(total: int, count: int) -> float:
    return math.log((total + 1) / max(1, count)) / math.log(total + 1) if total > 0 else 1.0


def strengths(weights: sp.csr_matrix) -> Floats:
    """Each node's sum of weights, shape (n,)."""
    return np.asarray(weights.sum(axis=1)).ravel()


def personalised_pagerank(
    weights: sp.csr_matrix, restart: Floats, damping: float, *, iterations: int = 30, tolerance: float = 1e-9
) -> Floats:
    """Mass of each node when a walker follows an edge with probability `damping` and else starts anew.

    Source: Haveliwala, Topic-Sensitive PageRank, WWW 2002. Mass at nodes without edges goes back to the start.

    Args:
        weights: Symmetric, shape (n, n).
        restart: Where it starts, shape (n,), sum 1.
        damping: Between 0 (the restart itself is returned) and 1.
        iterations: Steps at most; the error shrinks by `damping` with each.
        tolerance: Stop when a step moves less mass than this.
    """
    strength = strengths(weights)
    isolated = strength == 0
    share = np.divide(1.0, strength, out=np.zeros_like(strength), where=~isolated)
    mass = restart.copy()
    for _ in range(iterations if damping > 0 else 0):
        moved = weights @ (mass * share) + restart * mass[isolated].sum()
        after = (1.0 - damping) * restart + damping * moved
        change = np.abs(after - mass).sum()
        mass = after
        if change < tolerance:
            break
    return mass


def dominant_path(weights: sp.csr_matrix, strength: Floats, mass: Floats, restart: Floats, node: int, max_steps: int = 5) -> list[int]:
    """The way by which most of a node's mass came, from a node where the walk starts to `node` itself.

    From each node it goes back to the neighbour that sent the most, until a node with restart mass is reached. `strength` is each
    node's sum of weights.
    """
    path = [node]
    while restart[path[-1]] <= 0 and len(path) <= max_steps:
        begin, end = weights.indptr[path[-1]], weights.indptr[path[-1] + 1]
        neighbours, values = weights.indices[begin:end], weights.data[begin:end]
        sent = values * mass[neighbours] / strength[neighbours]
        sent[np.isin(neighbours, path)] = -1.0
        if len(sent) == 0 or sent.max() <= 0:
            break
        path.append(int(neighbours[int(sent.argmax())]))
    return path[::-1]
