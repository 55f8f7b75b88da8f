"""Relation paths through structured facts: from a named entity, which chain of relations does the question ask for?

Without training and without a language model: enumerate the paths that leave the entity, put each in words, and compare the
words with the question in the shared embedding space.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from router.models.base import Embedder
from router.retrieval.base import LinkedName
from router.stores.snapshot import GraphSnapshot
from router.types import PathStep, Vector

MAX_ENDS = 2_000
"""Entities followed from one path; a hub with more is cut, in the order of ids."""
MAX_PATHS = 2_000
"""Paths compared for one question."""
MAX_CACHED = 20_000
"""Chains of relations whose vectors are kept (30 MB)."""
MAX_LISTED = 15
"""Ends written out in a path's text."""


@dataclass(frozen=True, slots=True)
class Hop:
    """One relation, followed from subject to object or back."""

    relation: str
    forward: bool

    @property
    def words(self) -> str:
        relation = self.relation.replace("_", " ")
        return relation if self.forward else f"of which it is the {relation}"


@dataclass(frozen=True, slots=True)
class RelationPath:
    """Where a chain of relations leads from an entity."""

    start: LinkedName
    hops: tuple[Hop, ...]
    ends: tuple[str, ...]
    """Entity ids, sorted by name."""
    cosine: float = 0.0

    @property
    def id(self) -> str:
        """Identity of what it states: the start and the chain."""
        chain = "\x00".join(f"{'>' if hop.forward else '<'}{hop.relation}" for hop in self.hops)
        return hashlib.sha256(f"path\x00{self.start.entity_id}\x00{chain}".encode()).hexdigest()[:32]

    def text(self, snapshot: GraphSnapshot) -> str:
        names = [snapshot.entity(end).name for end in self.ends]
        listed = ", ".join(names[:MAX_LISTED]) + (f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else "")
        return f"{self.start.name}: {', then '.join(_spoken(hop) for hop in self.hops)}: {listed}."

    def steps(self, snapshot: GraphSnapshot) -> tuple[PathStep, ...]:
        """The chain with its last end by name; what lies between is written `...` where it is many."""
        end = snapshot.entity(self.ends[0]).name if len(self.ends) == 1 else f"{len(self.ends)} entities"
        places = [self.start.name, *("..." for _ in self.hops[1:]), end]
        return tuple(
            PathStep(one, hop.relation, other) if hop.forward else PathStep(other, hop.relation, one)
            for hop, (one, other) in zip(self.hops, pairwise(places), strict=True)
        )


def _spoken(hop: Hop) -> str:
    relation = hop.relation.replace("_", " ")
    return relation if hop.forward else f"is the {relation} of"


class RelationPaths:
    """Finds the relation paths that a question asks for.

    Args:
        embedder: The shared embedding space.
        hops: Longest path, in relations.
    """

    def __init__(self, embedder: Embedder, hops: int) -> None:
        self._embedder = embedder
        self._hops = hops
        # Chains of relations are few and come again with every question about the same kind of thing.
        self._vectors: dict[str, Vector] = {}

    async def best(self, snapshot: GraphSnapshot, linked: Sequence[LinkedName], question: str, limit: int) -> list[RelationPath]:
        """The paths whose words are most like the question's, best first.

        The names are taken out of the question before it is compared: they say where a path starts, not which relation is asked
        for (with them left in, the right path is found first a third less often on MetaQA). So this embeds a text of its own,
        and only when a named entity has structured facts.
        """
        paths = [path for name in linked for path in _leaving(snapshot, name, self._hops)][:MAX_PATHS]
        if not paths:
            return []
        asked = question
        for name in linked:
            asked = asked.replace(name.surface, "")
        asked_vector, cosine_of = (await self._embedder.embed([asked]))[0], {}
        for words, vector in (await self._embed_chains({_words(path.hops) for path in paths})).items():
            cosine_of[words] = float(vector @ asked_vector)
        scored = [replace(path, cosine=cosine_of[_words(path.hops)]) for path in paths]
        return sorted(scored, key=lambda path: (-path.cosine, len(path.hops), path.id))[:limit]

    async def _embed_chains(self, chains: set[str]) -> dict[str, Vector]:
        unknown = sorted(chains - self._vectors.keys())
        if unknown:
            vectors = await self._embedder.embed(unknown)
            if len(self._vectors) + len(unknown) > MAX_CACHED:
                self._vectors.clear()
            self._vectors.update(zip(unknown, vectors, strict=True))
        return {chain: self._vectors[chain] for chain in chains}


def _words(hops: tuple[Hop, ...]) -> str:
    return ", ".join(hop.words for hop in hops)


def _leaving(snapshot: GraphSnapshot, start: LinkedName, hops: int) -> list[RelationPath]:
    paths: list[RelationPath] = []
    frontier: dict[tuple[Hop, ...], set[str]] = {(): {start.entity_id}}
    for _ in range(hops):
        reached: dict[tuple[Hop, ...], set[str]] = defaultdict(set)
        for chain, ends in frontier.items():
            for end in sorted(ends)[:MAX_ENDS]:
                for hop, other in _hops_from(snapshot, end):
                    # Going straight back the same relation finds siblings of the start, never the start itself.
                    if other != start.entity_id:
                        reached[(*chain, hop)].add(other)
        frontier = dict(reached)
        paths += [RelationPath(start, chain, tuple(_by_name(snapshot, ends))) for chain, ends in sorted(frontier.items(), key=_order)]
    return paths


def _order(item: tuple[tuple[Hop, ...], set[str]]) -> list[tuple[str, bool]]:
    return [(hop.relation, hop.forward) for hop in item[0]]


def _hops_from(snapshot: GraphSnapshot, entity_id: str) -> Iterable[tuple[Hop, str]]:
    for fact in snapshot.facts_of.get(entity_id, ()):
        if fact.subject_id == entity_id:
            yield Hop(fact.relation, True), fact.object_id
        else:
            yield Hop(fact.relation, False), fact.subject_id


def _by_name(snapshot: GraphSnapshot, ids: set[str]) -> list[str]:
    return sorted(ids, key=lambda end: (snapshot.entity(end).name, end))
