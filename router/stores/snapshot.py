"""One version of a tenant's graph, for walking and linking without the database."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from router.names import Found, longest
from router.settings import WalkSettings
from router.stores.adjacency import Adjacency
from router.stores.base import GraphContent, GraphNodeChunk
from router.stores.edges import Edges, EdgeWeights, Floats
from router.stores.graph_state import ALIASING, GraphState
from router.stores.numbered import NumberById, Numbered
from router.stores.relation import Numbers
from router.types import Entity, Fact


@dataclass(frozen=True, slots=True)
class Name:
    """An entity that a text names: with the words that name it."""

    entity: Entity
    surface: str


class GraphSnapshot:
    """One tenant's graph at one time. Nodes are the chunks, then the entities, each in the order in which they came.

    A node whose chunk or entity is gone keeps its number until the graph is made anew; no edge leads to it, and no id.

    Edges are undirected and weighted:
      - passage to passage, when the first names what the second is about (its title): how sure that is (`Subject.confidence`), shared
        among the passages about that subject;
      - passage to a mentioned entity: `entity_edge_weight` x idf;
      - entity to entity, for each structured fact: `entity_edge_weight` x the smaller idf of the two among the facts;
      - alias to entity, for each fact `ALIAS` of a text: `alias_edge_weight`, shared among the facts that leave the alias.
    idf is log((N + 1) / n) / log(N + 1), so that it lies between almost 0 (everywhere) and 1 (once); hubs are left out.
    """

    def __init__(self, content: GraphContent | GraphState, settings: WalkSettings, adjacency: Adjacency | None = None) -> None:
        self._state = content if isinstance(content, GraphState) else GraphState.of(content)
        self._settings = settings
        self._edges = EdgeWeights(self._state, settings)
        self._adjacency = adjacency or Adjacency.of(self._edges)

    def written(self, added: GraphContent) -> GraphSnapshot:
        """The next version, with more content (in any order) or other values for what is there."""
        return self._after(self._state.written(added))

    def without_document(self, document_id: str) -> GraphSnapshot:
        """The next version, without a document and the entities that nothing touches any more."""
        return self._after(self._state.without_document(document_id))

    def _after(self, state: GraphState) -> GraphSnapshot:
        if state.finder is not self._state.finder:  # made anew, with other numbers
            return GraphSnapshot(state, self._settings)
        edges = EdgeWeights(state, self._settings)
        adjacency = self._adjacency.after(self._edges, edges)
        return GraphSnapshot(state, self._settings, None if adjacency.is_stale(edges) else adjacency)

    def refreshed(self) -> GraphSnapshot:
        """The same version, with its edges laid out anew: 0.2 s for 20k passages. Writes see to it now and then."""
        return GraphSnapshot(self._state, self._settings)

    @property
    def content(self) -> GraphContent:
        """Everything, as a store would load it: slow, for saving and comparing."""
        return self._state.content()

    @property
    def size(self) -> int:
        return len(self._state.chunks) + len(self._state.entities)

    @property
    def chunks(self) -> Numbered[GraphNodeChunk]:
        """By node; with those that are gone."""
        return self._state.chunks

    @property
    def entities(self) -> Numbered[Entity]:
        """By node, less the number of chunks; with those that are gone."""
        return self._state.entities

    @property
    def chunk_index(self) -> Mapping[str, int]:
        """Nodes of the chunks by id."""
        return NumberById(self._state.chunks)

    def node(self, item_id: str) -> int | None:
        """Number of a chunk's or entity's node; None when the graph has no such item."""
        chunk = self._state.chunks.number(item_id)
        if chunk is not None:
            return chunk
        entity = self._state.entities.number(item_id)
        return None if entity is None else len(self._state.chunks) + entity

    def label(self, node: int) -> str:
        """What a person calls the node: a passage's title, an entity's name."""
        chunks = self._state.chunks
        return chunks[node].title if node < len(chunks) else self._state.entities[node - len(chunks)].name

    def entity(self, entity_id: str) -> Entity:
        number = self._state.entities.number(entity_id)
        if number is None:
            raise KeyError(entity_id)
        return self._state.entities[number]

    # --- names ------------------------------------------------------------------------------------------------------

    def names_in(self, text: str) -> list[Name]:
        """The graph's names that stand in the text, longest first."""
        found = {
            item.entity_id: Name(self.entity(item.entity_id), text[item.span.start : item.span.end]) for item in longest(self.hits(text))
        }
        return sorted(found.values(), key=lambda name: (-len(name.surface), name.entity.id))

    def hits(self, text: str, accepts: Callable[[Entity], bool] | None = None) -> list[Found]:
        """Every place where a name of the graph (of an entity that is accepted) stands in the text, also inside a longer name."""
        entities = self._state.entities

        def holds(entity_id: str, name: str) -> bool:
            number = entities.number(entity_id)
            return number is not None and entities[number].name == name and (accepts is None or accepts(entities[number]))

        return self._state.finder.hits(text, holds)

    def aliases(self, entity_id: str) -> Sequence[tuple[str, float]]:
        """Entities that an alias may mean, with their probabilities (sum 1), the likeliest first; empty for what is no alias."""
        state = self._state
        number = state.entities.number(entity_id)
        if number is None or state.aliases[number] == 0:
            return ()
        facts = [fact for fact in state.facts_at(number) if state.fact_kind[fact] == ALIASING and state.fact_ends[fact, 0] == number]
        meant = Counter(state.entities[int(state.fact_ends[fact, 1])].id for fact in facts)
        return sorted(((end, count / len(facts)) for end, count in meant.items()), key=lambda item: (-item[1], item[0]))

    def rarity(self, entity_id: str) -> float:
        """How much a name says: its idf, 1 for one that a single passage (or none) touches, almost 0 for one that all touch."""
        number = self._state.entities.number(entity_id)
        passages = int(np.count_nonzero(self._state.chunks.alive))
        if number is None or passages == 0:
            return 1.0
        return math.log((passages + 1) / max(1, int(self._state.touching[number]))) / math.log(passages + 1)

    # --- passages and what they are about ---------------------------------------------------------------------------

    def subject_chunks(self, entity_id: str) -> Sequence[int]:
        """Nodes of the passages that are about the entity, in the order of the document."""
        return [node for node, _ in self._subjects(entity_id)]

    def subject_confidence(self, entity_id: str) -> Sequence[float]:
        """How sure it is that each of `subject_chunks` is about the entity."""
        return [confidence for _, confidence in self._subjects(entity_id)]

    def _subjects(self, entity_id: str) -> list[tuple[int, float]]:
        state = self._state
        number = state.entities.number(entity_id)
        if number is None or state.subject_of[number] == 0:
            return []
        _, chunks, (confidence,) = state.subjects.of_right(np.array([number]))
        rows = [row for row in zip(chunks.tolist(), confidence.tolist(), strict=True) if state.chunks.alive[row[0]]]
        return sorted(rows, key=lambda row: (state.chunks[row[0]].ordinal, state.chunks[row[0]].id))

    def subjects_of(self, chunk_node: int) -> Sequence[str]:
        """Entities that the passage is about."""
        return sorted(self._state.entities[number].id for number in self._state.subjects.right_of(chunk_node).tolist())

    def mentions(self, chunk_node: int, entity_id: str) -> bool:
        """Whether the passage mentions the entity."""
        number = self._state.entities.number(entity_id)
        return number is not None and bool((self._state.mentions.right_of(chunk_node) == number).any())

    # --- facts ------------------------------------------------------------------------------------------------------

    @cached_property
    def facts_of(self) -> Mapping[str, Sequence[Fact]]:
        """Structured facts by the entity at either end."""
        return _FactsByEntity(self._state)

    def relations(self) -> list[str]:
        """Of structured facts, the most frequent first. Looks at every fact."""
        counted = Counter(fact.relation for fact in self._state.facts.living() if fact.chunk_id is None)
        return sorted(counted, key=lambda relation: (-counted[relation], relation))

    @cached_property
    def relations_between(self) -> Mapping[tuple[str, str], str]:
        """Relation by (subject id, object id), for readable paths; facts read from texts count too."""
        return _RelationByEnds(self._state)

    # --- edges ------------------------------------------------------------------------------------------------------

    def edges_of(self, nodes: Numbers) -> Edges:
        """Edges that leave some nodes (sorted); the source counts into `nodes`."""
        first_entity = len(self._state.chunks)
        chunks = nodes[: nodes.searchsorted(first_entity)]
        entities = nodes[len(chunks) :] - first_entity
        some = [
            (0, self._adjacency.edges_of_chunks(chunks, self._edges)),
            (len(chunks), self._adjacency.edges_of_entities(entities, self._edges)),
            (len(chunks), self._edges.of_facts(entities)),
        ]
        return Edges(
            np.concatenate([edges.source + first for first, edges in some]),
            np.concatenate([edges.target for _, edges in some]),
            np.concatenate([edges.weight for _, edges in some]),
        )

    def degrees(self, nodes: Numbers) -> Numbers:
        """About how many edges each node has."""
        degrees = np.empty(len(nodes), dtype=np.int64)
        is_entity, entities = self._entities_among(nodes)
        degrees[~is_entity] = self._adjacency.degrees(nodes[~is_entity], self._edges)
        degrees[is_entity] = self._state.touching[entities] + self._edges.facts(entities)
        return degrees

    def strengths(self, nodes: Numbers) -> Floats:
        """About what the edges of each node weigh together."""
        strengths = np.empty(len(nodes))
        is_entity, entities = self._entities_among(nodes)
        strengths[~is_entity] = self._adjacency.strengths(nodes[~is_entity], self._edges)
        strengths[is_entity] = self._edges.entity_strength(entities)
        return strengths

    @property
    def total_strength(self) -> float:
        """About what the edges of all nodes weigh together."""
        return self._adjacency.total

    def _entities_among(self, nodes: Numbers) -> tuple[NDArray[np.bool_], Numbers]:
        is_entity = nodes >= len(self._state.chunks)
        return is_entity, nodes[is_entity] - len(self._state.chunks)

    @cached_property
    def weights(self) -> sp.csr_matrix:
        """Symmetric weights of the whole graph, shape (size, size), float64; made when it is first asked for."""
        living = np.flatnonzero(np.concatenate([self._state.chunks.alive, self._state.entities.alive]))
        edges = self.edges_of(living)
        return sp.coo_matrix((edges.weight, (living[edges.source], edges.target)), shape=(self.size, self.size)).tocsr()


class _FactsByEntity(Mapping[str, Sequence[Fact]]):
    def __init__(self, state: GraphState) -> None:
        self._state = state

    def __getitem__(self, entity_id: str) -> Sequence[Fact]:
        number = self._state.entities.number(entity_id)
        if number is None or self._state.structured[number] == 0:
            raise KeyError(entity_id)
        facts = [self._state.facts[fact] for fact in self._state.facts_at(number)]
        return sorted((fact for fact in facts if fact.chunk_id is None), key=lambda fact: fact.id)

    def __contains__(self, entity_id: object) -> bool:
        number = self._state.entities.number(str(entity_id))
        return number is not None and bool(self._state.structured[number])

    def __iter__(self) -> Iterator[str]:
        return (self._state.entities[number].id for number in np.flatnonzero(self._state.structured).tolist())

    def __len__(self) -> int:
        return int(np.count_nonzero(self._state.structured))


class _RelationByEnds(Mapping[tuple[str, str], str]):
    """Where several facts tie two entities, the relation of the one with the smallest id."""

    def __init__(self, state: GraphState) -> None:
        self._state = state

    def __getitem__(self, ends: tuple[str, str]) -> str:
        state = self._state
        subject, end = (state.entities.number(entity_id) for entity_id in ends)
        if subject is None or end is None:
            raise KeyError(ends)
        fewer = min(subject, end, key=lambda entity: int(state.stated[entity]))
        facts = [state.facts[fact] for fact in state.facts_at(fewer) if state.fact_ends[fact].tolist() == [subject, end]]
        if not facts:
            raise KeyError(ends)
        return min(facts, key=lambda fact: fact.id).relation

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter({(fact.subject_id, fact.object_id) for fact in self._state.facts.living()})

    def __len__(self) -> int:
        return sum(1 for _ in self)
