"""How two named things are connected: a shortest path between them in the graph, of several the one that keeps clear of hubs."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations, pairwise

import numpy as np

from router.retrieval.base import LinkedName
from router.retrieval.walk import step_between
from router.stores.snapshot import GraphSnapshot
from router.types import PathStep

MAX_STEPS = 6
"""Longest path, in edges."""
MAX_FRONTIER = 2_000
"""Nodes that are followed at each step from each side, those away from hubs first."""
MAX_NAMES = 3
"""Named things that are connected with one another."""
_ASKED = re.compile(
    r"""\b(?:
        connect(?:s|ed|ion|ions)? | (?:inter)?relat(?:e|es|ed|ions?|ionships?)\b.*\b(?:to|with|between)
      | link(?:s|ed)?\b.*\b(?:to|with|between) | path\ (?:from|between) | to\ do\ with | between\b.+\band
    )\b""",
    re.IGNORECASE | re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Connection:
    """A path between two named things."""

    start: LinkedName
    end: LinkedName
    steps: tuple[PathStep, ...]
    chunk_ids: tuple[str, ...]
    """Passages on the way, in its order."""

    @property
    def id(self) -> str:
        text = "\x00".join([self.start.entity_id, self.end.entity_id, *(f"{step.subject}\x00{step.relation}" for step in self.steps)])
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    @property
    def title(self) -> str:
        return f"{self.start.name} and {self.end.name}"

    @property
    def text(self) -> str:
        return f"{self.title}: " + "; ".join(f"{step.subject} {step.relation} {step.object}" for step in self.steps) + "."


def connections(snapshot: GraphSnapshot, question: str, names: Sequence[LinkedName]) -> list[Connection]:
    """Paths between the things that a question names, when its words ask how they are connected (English); else none.

    Args:
        snapshot: The graph.
        question: Its words.
        names: What it names, all in the graph; of names for the same words the likeliest counts.
    """
    if not _ASKED.search(question):
        return []
    by_surface: dict[str, LinkedName] = {}
    for name in names:
        known = by_surface.get(name.surface)
        if known is None or name.probability > known.probability:
            by_surface[name.surface] = name
    in_order = sorted(by_surface.values(), key=lambda name: question.find(name.surface))[:MAX_NAMES]
    found = [_between(snapshot, one, other) for one, other in combinations(in_order, 2) if one.entity_id != other.entity_id]
    return [connection for connection in found if connection is not None]


def _between(snapshot: GraphSnapshot, start: LinkedName, end: LinkedName) -> Connection | None:
    nodes = shortest_path(snapshot, _nodes(snapshot, start), _nodes(snapshot, end))
    steps = tuple(step for one, other in pairwise(nodes) if (step := step_between(snapshot, one, other)).subject != step.object)
    if not steps:
        return None
    chunks = tuple(snapshot.chunks[node].id for node in nodes if node < len(snapshot.chunks))
    return Connection(start, end, steps, chunks)


def _nodes(snapshot: GraphSnapshot, name: LinkedName) -> list[int]:
    """The thing itself, and the passages about it."""
    node = snapshot.node(name.entity_id)
    return [*([] if node is None else [node]), *snapshot.subject_chunks(name.entity_id)]


def shortest_path(snapshot: GraphSnapshot, starts: Sequence[int], ends: Sequence[int]) -> list[int]:
    """Nodes from one of the starts to one of the ends; empty when there is no path of at most `MAX_STEPS` edges.

    Both sides are searched by breadth in turn, the smaller one first; a node is entered from where the sum of log(1 + degree) is least.
    """
    here, there = _Side.of(starts), _Side.of(ends)
    for _ in range(MAX_STEPS + 1):
        meeting = here.cost.keys() & there.cost.keys()
        if meeting:
            middle = min(meeting, key=lambda node: (here.cost[node] + there.cost[node], node))
            return [*here.way_to(middle), *there.way_to(middle)[-2::-1]]
        smaller = min((side for side in (here, there) if side.frontier), key=lambda side: len(side.frontier), default=None)
        if smaller is None:
            return []
        smaller.expand(snapshot)
    return []


@dataclass(slots=True)
class _Side:
    """What is reached from one end."""

    cost: dict[int, float]
    frontier: list[int]
    before: dict[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, nodes: Sequence[int]) -> _Side:
        return cls(dict.fromkeys(nodes, 0.0), list(nodes))

    def expand(self, snapshot: GraphSnapshot) -> None:
        followed = np.array(sorted(sorted(self.frontier, key=lambda node: (self.cost[node], node))[:MAX_FRONTIER]), dtype=np.int64)
        edges = snapshot.edges_of(followed)
        used = edges.weight > 0
        sources, targets = followed[edges.source[used]].tolist(), edges.target[used].tolist()
        entered = sorted(set(targets) - self.cost.keys())
        degree = _degrees(snapshot, entered)
        reached: dict[int, float] = {}
        for source, target in zip(sources, targets, strict=True):
            if target in degree:
                cost = self.cost[source] + math.log1p(degree[target])
                if cost < reached.get(target, math.inf):
                    reached[target] = cost
                    self.before[target] = source
        self.cost |= reached
        self.frontier = list(reached)

    def way_to(self, node: int) -> list[int]:
        way = [node]
        while way[-1] in self.before:
            way.append(self.before[way[-1]])
        return way[::-1]


def _degrees(snapshot: GraphSnapshot, nodes: Sequence[int]) -> dict[int, int]:
    """Edges of each node, counted; the snapshot's own figures are means over blocks of passages."""
    if not nodes:
        return {}
    source = snapshot.edges_of(np.array(nodes, dtype=np.int64)).source
    return dict(zip(nodes, np.bincount(source, minlength=len(nodes)).tolist(), strict=True))
