"""Which passages and entities of a graph belong together: communities by the Leiden algorithm.

Source: Traag, Waltman and van Eck, From Louvain to Leiden: guaranteeing well-connected communities, Scientific Reports 9 (2019).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import graspologic_native
import numpy as np
import scipy.sparse as sp

from router.stores.relation import Numbers
from router.stores.snapshot import GraphSnapshot

SEED = 1
ITERATIONS = 4
"""Rounds of moving, refining and merging; each begins where the last one ended. The fewer, the more a later search changes."""


@dataclass(frozen=True, slots=True, eq=False)
class Communities:
    """The communities of one version of a graph."""

    snapshot: GraphSnapshot
    passages: tuple[Numbers, ...]
    """Nodes of the passages of each community, ordered by id; the community with the most passages first, ties by the smallest id.
    A passage without an edge is in none, and a community of entities alone is left out."""
    membership: Mapping[str, int] = field(repr=False)
    """Id of a passage or an entity -> the number that the algorithm gave its community."""


def find_communities(snapshot: GraphSnapshot, earlier: Communities | None = None) -> Communities:
    """Communities of the whole graph; the same graph and the same earlier communities always give the same ones.

    Args:
        snapshot: The graph.
        earlier: Communities of an earlier version, from which the search starts: what was not touched mostly stays together.
    """
    upper = sp.triu(snapshot.weights, k=1).tocoo()
    nodes = np.union1d(upper.row, upper.col)
    if len(nodes) == 0:
        return Communities(snapshot, (), {})
    ids = [_id(snapshot, node) for node in nodes.tolist()]
    # Nodes are numbered as they came; ordered by id, the result does not depend on that.
    by_id = np.argsort(np.array(ids))
    place = np.empty(len(nodes), dtype=np.int64)
    place[by_id] = np.arange(len(nodes))
    ids = [ids[index] for index in by_id.tolist()]
    one, other = place[nodes.searchsorted(upper.row)], place[nodes.searchsorted(upper.col)]
    community = _leiden(np.minimum(one, other), np.maximum(one, other), upper.data, _start(ids, earlier))
    is_passage = nodes[by_id] < len(snapshot.chunks)
    passages = np.flatnonzero(is_passage)
    groups = np.split(passages[np.argsort(community[passages], kind="stable")], np.cumsum(np.bincount(community[passages]))[:-1])
    ordered = sorted((group for group in groups if len(group)), key=lambda group: (-len(group), int(group[0])))
    return Communities(snapshot, tuple(nodes[by_id[group]] for group in ordered), dict(zip(ids, community.tolist(), strict=True)))


def _leiden(one: Numbers, other: Numbers, weight: Numbers, start: dict[str, int] | None) -> Numbers:
    """The community of each node 0, 1, ...; every node has an edge."""
    order = np.lexsort((other, one))
    names = [str(node) for node in range(int(other.max()) + 1)]
    edges = [
        (names[left], names[right], value)
        for left, right, value in zip(one[order].tolist(), other[order].tolist(), weight[order].tolist(), strict=True)
    ]
    _, found = graspologic_native.leiden(edges, starting_communities=start, iterations=ITERATIONS, seed=SEED)
    return np.array([found[name] for name in names], dtype=np.int64)


def _start(ids: list[str], earlier: Communities | None) -> dict[str, int] | None:
    """Each node where it was; a new one by itself."""
    if earlier is None or not earlier.membership:
        return None
    fresh = max(earlier.membership.values()) + 1
    return {str(place): earlier.membership.get(identity, fresh + place) for place, identity in enumerate(ids)}


def _id(snapshot: GraphSnapshot, node: int) -> str:
    chunks = len(snapshot.chunks)
    return snapshot.chunks[node].id if node < chunks else snapshot.entities[node - chunks].id
