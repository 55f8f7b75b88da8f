"""One walk on a snapshot: from seeds to ranked nodes, each with the path that explains it. Graph source and fusion share it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import scipy.sparse as sp

from router.retrieval.pagerank import dominant_path, personalised_pagerank, strengths
from router.retrieval.subgraph import WHOLE, Subgraph, around, whole
from router.settings import WalkSettings
from router.stores.edges import Floats
from router.stores.relation import Numbers
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
    """Where the mass of a walk went. Nodes of the guests come after those of the graph."""

    snapshot: GraphSnapshot
    guests: tuple[Guest, ...]
    around: Subgraph
    restart: Floats
    mass: Floats
    damping: float
    iterations: int

    def shares(self, parts: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
        """By item (chunk or guest), how much of its mass came from each part of the seeds; sum 1.

        Args:
            parts: The seeds by where they come from, on one scale.
        """
        nodes = self.around.nodes.tolist()
        guests = {self.snapshot.size + number: guest.id for number, guest in enumerate(self.guests)}
        ids = {node: guests[node] if node in guests else self._id(node) for node in nodes}
        mass = {name: self._mass_from({ids[node]: place for place, node in enumerate(nodes)}, seeds) for name, seeds in parts.items()}
        total = sum(mass.values(), np.zeros(len(nodes)))
        return {
            ids[nodes[place]]: {name: float(part[place] / total[place]) for name, part in mass.items()} for place in np.flatnonzero(total)
        }

    def _mass_from(self, places: Mapping[str, int], seeds: Mapping[str, float]) -> Floats:
        restart: Floats = np.zeros(len(places))
        for item_id, weight in seeds.items():
            if item_id in places:
                restart[places[item_id]] += weight
        amount = restart.sum()
        if amount <= 0:
            return restart
        restart /= amount
        around = self.around
        walked: Floats = personalised_pagerank(around.weights, around.strength, restart, self.damping, iterations=self.iterations)
        # What comes back from isolated nodes is spread anew over all seeds, not over this part alone.
        part: Floats = walked * (amount * (1.0 - self.damping * restart[around.strength == 0].sum()))
        return part

    def passages(self, limit: int) -> list[tuple[str, float]]:
        """The passages with the most mass, best first, ties by id."""
        candidates = np.flatnonzero((self.around.nodes < len(self.snapshot.chunks)) & (self.mass > 0))
        mass = self.mass[candidates]
        if len(candidates) > limit:
            # Everything that ties with the last one taken stays in, so that the order by id decides.
            best = mass >= np.partition(mass, len(mass) - limit)[len(mass) - limit]
            candidates, mass = candidates[best], mass[best]
        ids = self.snapshot.chunks.ids(self.around.nodes[candidates].tolist())
        ranked = sorted(zip(ids, mass.tolist(), strict=True), key=lambda item: (-item[1], item[0]))
        return ranked[:limit]

    def guest_mass(self) -> dict[str, float]:
        if not self.guests:
            return {}
        # The guests come last.
        return {guest.id: float(mass) for guest, mass in zip(self.guests, self.mass[-len(self.guests) :], strict=True)}

    def path(self, item_id: str, tie: str) -> tuple[PathStep, ...]:
        """How the walk came to an item, from the question on; empty for what is not in the graph.

        Args:
            item_id: A chunk.
            tie: What ties the question to the seeds (`names`, `resembles`).
        """
        place = np.flatnonzero(self.around.nodes == self.snapshot.node(item_id))
        if len(place) == 0:
            return ()
        places = dominant_path(self.around.weights, self.around.strength, self.mass, self.restart, int(place[0]))
        nodes = self.around.nodes[places].tolist()
        if any(step >= self.snapshot.size for step in nodes):
            return ()
        steps = [PathStep(QUESTION, tie, self.snapshot.label(nodes[0]))]
        steps += [step_between(self.snapshot, one, other) for one, other in pairwise(nodes)]
        return tuple(step for step in steps if step.subject != step.object)

    def _id(self, node: int) -> str:
        chunks = len(self.snapshot.chunks)
        return self.snapshot.chunks[node].id if node < chunks else self.snapshot.entities[node - chunks].id


def step_between(snapshot: GraphSnapshot, one: int, other: int) -> PathStep:
    """The edge between two neighbouring nodes, in words."""
    chunks = len(snapshot.chunks)
    start, end = snapshot.label(one), snapshot.label(other)
    if one < chunks and other < chunks:
        names = any(snapshot.mentions(one, subject) for subject in snapshot.subjects_of(other))
        return PathStep(start, "mentions" if names else "is mentioned in", end)
    if one < chunks:
        return PathStep(start, "mentions" if snapshot.mentions(one, snapshot.entities[other - chunks].id) else "is about", end)
    if other < chunks:
        return PathStep(
            start, "is mentioned in" if snapshot.mentions(other, snapshot.entities[one - chunks].id) else "is the subject of", end
        )
    pair = (snapshot.entities[one - chunks].id, snapshot.entities[other - chunks].id)
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
    guest_nodes = {guest.id: snapshot.size + number for number, guest in enumerate(guests)}
    mass_of: dict[int, float] = {}
    for item_id, weight in seeds.items():
        node = guest_nodes.get(item_id, snapshot.node(item_id))
        if node is not None:
            mass_of[node] = mass_of.get(node, 0.0) + weight
    total = sum(mass_of.values())
    mass_of = {node: weight / total for node, weight in mass_of.items()} if total > 0 else {}
    visited = _with_guests(_visited(snapshot, mass_of, damping, guests, attraction), snapshot, guests, settings.entity_edge_weight)
    restart = np.zeros(len(visited.nodes))
    order = np.argsort(visited.nodes)
    places = order[visited.nodes.searchsorted(np.array(list(mass_of), dtype=np.int64), sorter=order)]
    restart[places] = list(mass_of.values())
    mass = personalised_pagerank(visited.weights, visited.strength, restart, damping, iterations=settings.iterations)
    # What left these nodes has spread over the graph, and a walk that forgets where it began is at each node by the node's strength.
    if visited.total > 0:
        mass = mass + max(0.0, restart.sum() - mass.sum()) * visited.strength / max(visited.total, visited.strength.sum())
    return Walked(snapshot, tuple(guests), visited, restart, mass, damping, settings.iterations)


def _visited(
    snapshot: GraphSnapshot, mass_of: Mapping[int, float], damping: float, guests: Sequence[Guest], attraction: Attraction | None
) -> Subgraph:
    """The part of the graph that the walk visits."""

    def draw(nodes: Numbers) -> Floats:
        drawing = np.ones(len(nodes))
        if attraction is not None and damping > 0:
            passages = nodes < len(snapshot.chunks)
            drawing[passages] = attraction(snapshot.chunks.ids(nodes[passages].tolist()))
        return drawing

    if snapshot.size <= WHOLE:
        return whole(snapshot, draw)
    arriving = dict.fromkeys(sorted(_ends(snapshot, guests)), 0.0)
    for number, guest in enumerate(guests):
        ends = _ends(snapshot, [guest])
        for end in ends:
            arriving[end] += damping * mass_of.get(snapshot.size + number, 0.0) / len(ends)
    for node, mass in mass_of.items():
        if node < snapshot.size:
            arriving[node] = arriving.get(node, 0.0) + mass
    seeds = sorted(arriving)
    return around(snapshot, np.array(seeds, dtype=np.int64), np.array([arriving[node] for node in seeds]), damping, draw)


def _ends(snapshot: GraphSnapshot, guests: Sequence[Guest]) -> list[int]:
    """Nodes of the entities to which guests are tied, with repeats."""
    nodes = (snapshot.node(entity_id) for guest in guests for entity_id in guest.entity_ids)
    return [node for node in nodes if node is not None]


def _with_guests(visited: Subgraph, snapshot: GraphSnapshot, guests: Sequence[Guest], weight: float) -> Subgraph:
    """The guests are the last nodes, with an edge to each entity that they are tied to."""
    if not guests:
        return visited
    place = {node: number for number, node in enumerate(visited.nodes.tolist())}
    ties = [(number, place[end]) for number, guest in enumerate(guests) for end in _ends(snapshot, [guest])]
    rows, columns = np.array(ties, dtype=np.int64).reshape(-1, 2).T
    links = sp.coo_matrix((np.full(len(ties), weight), (rows, columns)), shape=(len(guests), len(place))).tocsr()
    return Subgraph(
        np.concatenate([visited.nodes, snapshot.size + np.arange(len(guests))]),
        sp.block_array([[visited.weights, links.T], [links, None]], format="csr"),
        np.concatenate([visited.strength + strengths(links.T), strengths(links)]),
        visited.total,
    )
