"""Relation paths through structured facts: from a named entity, which chain of relations does the question ask for?

Without training and without a language model: every word of the question names a relation with some probability, or none, and the
chain is taken that explains the words best and leaves the fewest of its hops unsaid.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from router.retrieval.base import LinkedName
from router.retrieval.relation_question import AnswerKind, AskedChain, asked_chain
from router.retrieval.relation_words import is_akin, relation_probabilities, share_stem, spoken, texts_of
from router.retrieval.word_vectors import WordVectors
from router.stores.snapshot import GraphSnapshot
from router.types import PathStep, Vector

MAX_EXPANDED = 4_000
"""Entities whose facts are followed for one name; the rest of a wider path is cut, longest paths first, in the order of ids."""
MAX_CACHED = 20_000
"""Entities whose facts are kept."""
MAX_LISTED = 15
"""Ends written out in a path's text."""
SAMPLE = 16
"""Ends of a path that are looked at to tell what kind of things they are; entities whose relations are looked at before."""

# The score of a path is a sum of log-probabilities; what is no probability is set so that it decides between equals.
LEAST_PROBABILITY = 0.02
"""Of a hop that no word names, and of an answer of another kind than asked for: names and kinds are guessed."""
SAID = 0.4
"""A word that names a relation with this probability counts as one mention of it."""
REPEATED = 1.5
"""Cost of a hop whose relation the chain has oftener than the question says it; a third less when it only lacks a return."""
ORDER = 0.6
"""Weight of word order: the first hop is named near the name, the last near the question word."""
UNSAID_DISTANCE = 4
"""In words, from anywhere to a relation that no word names."""
LENGTH = 0.3
"""Cost of a hop: of paths that explain the same, the shorter."""


class Hop(NamedTuple):
    """One relation, followed from subject to object or back."""

    relation: str
    forward: bool

    @property
    def words(self) -> str:
        return spoken(self.relation) if self.forward else f"is the {spoken(self.relation)} of"


Chain = tuple[Hop, ...]


@dataclass(frozen=True, slots=True)
class RelationPath:
    """Where a chain of relations leads from an entity."""

    start: LinkedName
    hops: Chain
    ends: tuple[str, ...]
    """Entity ids, sorted by name."""
    probability: float = 0.0
    """That the question asks for it; what is missing to 1 over all paths is that it asks for none of them."""

    @property
    def id(self) -> str:
        """Identity of what it states: the start and the chain."""
        chain = "\x00".join(f"{'>' if hop.forward else '<'}{hop.relation}" for hop in self.hops)
        return hashlib.sha256(f"path\x00{self.start.entity_id}\x00{chain}".encode()).hexdigest()[:32]

    def text(self, snapshot: GraphSnapshot) -> str:
        names = [snapshot.entity(end).name for end in self.ends]
        listed = ", ".join(names[:MAX_LISTED]) + (f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else "")
        return f"{self.start.name}: {', then '.join(hop.words for hop in self.hops)}: {listed}."

    def steps(self, snapshot: GraphSnapshot) -> tuple[PathStep, ...]:
        """The chain with its last end by name; what lies between is written `...` where it is many."""
        end = snapshot.entity(self.ends[0]).name if len(self.ends) == 1 else f"{len(self.ends)} entities"
        places = [self.start.name, *("..." for _ in self.hops[1:]), end]
        return tuple(
            PathStep(one, hop.relation, other) if hop.forward else PathStep(other, hop.relation, one)
            for hop, (one, other) in zip(self.hops, pairwise(places), strict=True)
        )


class RelationPaths:
    """Finds the relation paths that a question asks for.

    Args:
        vectors: Of single words and relations.
        hops: Longest path, in relations.
    """

    def __init__(self, vectors: WordVectors, hops: int) -> None:
        self._vectors = vectors
        self._hops = hops
        self._around: WeakKeyDictionary[GraphSnapshot, _Around] = WeakKeyDictionary()

    async def best(self, snapshot: GraphSnapshot, linked: Sequence[LinkedName], question: str, limit: int) -> list[RelationPath]:
        """The likeliest paths first. Only questions that name an entity with structured facts cost anything."""
        scored: list[tuple[float, RelationPath]] = []
        for name in linked:
            neighbourhood = Neighbourhood(snapshot, name.entity_id, self._around.setdefault(snapshot, {}))
            relations = neighbourhood.relations(self._hops)
            asked = asked_chain(question, name.surface)
            if not relations or not asked.words:
                continue
            texts = {word.text for word in asked.words} | ({asked.noun} if asked.noun else set())
            vectors = await self._vectors.of(texts.union(*map(texts_of, relations)))
            reading = _Reading(asked, relations, vectors)
            prior = math.log(name.probability)
            scored += [
                (prior + reading.score(chain, neighbourhood.kind_after(chain[-1])), RelationPath(name, chain, tuple(ends)))
                for chain, ends in neighbourhood.chains(reading, self._hops).items()
            ]
            scored.append((prior + reading.none, RelationPath(name, (), ())))
        best = _most_probable(scored)[:limit]
        return [replace(path, ends=_by_name(snapshot, path.ends)) for path in best]


def _most_probable(scored: Sequence[tuple[float, RelationPath]]) -> list[RelationPath]:
    if not scored:
        return []
    odds = np.exp(np.array([score for score, _ in scored]) - max(score for score, _ in scored))
    probable = zip((odds / odds.sum()).tolist(), (path for _, path in scored), strict=True)
    paths = [replace(path, probability=probability) for probability, path in probable if path.hops]
    return sorted(paths, key=lambda path: (-path.probability, len(path.hops), path.id))


def _by_name(snapshot: GraphSnapshot, ids: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted(ids, key=lambda end: (snapshot.entity(end).name, end)))


@dataclass(frozen=True, slots=True)
class EndKind:
    """What the things look like to which a relation leads; each a share of them, 0 to 1."""

    proper: float
    """Written like the name of somebody."""
    time: float
    """Years and dates."""
    breadth: float
    """How many kinds of relations meet in them, against the entity with the most: things have many, their values one."""


_PROPER = re.compile(r"[^\W\d_a-z][\w.'’-]*(?: [^\W\d_a-z][\w.'’-]*){1,2}")
_TIME = re.compile(r"\d{3,4}(?:-\d\d){0,2}")


_Around = dict[str, Mapping[Hop, Sequence[str]]]
"""The entities one hop away, by entity and hop."""


class Neighbourhood:
    """What can be reached from an entity over structured facts.

    Args:
        snapshot: The graph.
        start: Id of the entity.
        known: What was read of this snapshot before; hubs are met with almost every question.
    """

    def __init__(self, snapshot: GraphSnapshot, start: str, known: _Around) -> None:
        self._snapshot = snapshot
        self._start = start
        self._known = known
        self._broadest = 1
        self._ends: dict[Hop, set[str]] = defaultdict(set)
        self._kinds: dict[Hop, EndKind] = {}

    def relations(self, hops: int) -> list[str]:
        """Names of the relations on the way, sorted; of many entities of a kind some are looked at."""
        frontier, found = [self._start], set[str]()
        for _ in range(hops):
            reached: dict[Hop, list[str]] = defaultdict(list)
            for entity in frontier:
                for hop, others in self.around(entity).items():
                    reached[hop] += others[:SAMPLE]
            found |= {hop.relation for hop in reached}
            for hop, others in reached.items():
                self._ends[hop].update(others)
            frontier = sorted({other for others in reached.values() for other in sorted(others)[:SAMPLE]})
        return sorted(found)

    def chains(self, reading: _Reading, hops: int) -> dict[Chain, set[str]]:
        """Ends by chain: every single hop, and every longer chain that the question may ask for."""
        chains: dict[Chain, set[str]] = {}
        frontier: dict[Chain, set[str]] = {(): {self._start}}
        left = MAX_EXPANDED
        for length in range(1, hops + 1):
            reached: dict[Chain, set[str]] = defaultdict(set)
            for chain in sorted(frontier, key=lambda chain: (len(frontier[chain]), [(hop.relation, hop.forward) for hop in chain])):
                followed = {True: set[Hop](), False: set[Hop]()}
                for entity in sorted(frontier[chain])[:left]:
                    left -= 1
                    for hop, others in self.around(entity).items():
                        if hop not in followed[True] and hop not in followed[False]:
                            followed[length == 1 or reading.is_conceivable((*chain, hop))].add(hop)
                        if hop in followed[True]:
                            reached[(*chain, hop)].update(others)
            for chain, ends in reached.items():
                self._ends[chain[-1]].update(sorted(ends)[:SAMPLE])
                ends.difference_update({self._start}, _came_from(chain, chains))
            reached = {chain: ends for chain, ends in reached.items() if ends}
            chains |= reached
            frontier = {chain: ends for chain, ends in reached.items() if reading.is_conceivable(chain)}
        return chains

    def around(self, entity: str) -> Mapping[Hop, Sequence[str]]:
        """The entities one hop away, by hop."""
        around = self._known.get(entity)
        if around is None:
            if len(self._known) >= MAX_CACHED:
                self._known.clear()
            self._known[entity] = around = self._read(entity)
        self._broadest = max(self._broadest, len(around))
        return around

    def _read(self, entity: str) -> Mapping[Hop, Sequence[str]]:
        around: dict[Hop, list[str]] = defaultdict(list)
        for fact in self._snapshot.facts_of.get(entity, ()):
            forward = fact.subject_id == entity
            around[Hop(fact.relation, forward)].append(fact.object_id if forward else fact.subject_id)
        return dict(around)

    def kind_after(self, hop: Hop) -> EndKind:
        """Of all things that this hop led to so far, not of one path's ends: those are often one, and one may be written oddly."""
        if hop not in self._kinds:
            some = sorted(self._ends[hop])[:SAMPLE]
            names = [self._snapshot.entity(end).name for end in some]
            self._kinds[hop] = EndKind(
                proper=sum(_PROPER.fullmatch(name) is not None for name in names) / len(names),
                time=sum(_TIME.fullmatch(name) is not None for name in names) / len(names),
                breadth=min(1.0, sum(len(self.around(end)) for end in some) / len(some) / self._broadest),
            )
        return self._kinds[hop]


class _Reading:
    """One question against the relations around one name."""

    def __init__(self, asked: AskedChain, relations: Sequence[str], vectors: Mapping[str, Vector]) -> None:
        self._asked = asked
        self._column = {relation: column for column, relation in enumerate(relations)}
        self._named = relation_probabilities([word.text for word in asked.words], relations, vectors)
        # What `which city` asks for is judged by the kind of the ends, and not twice.
        self._telling = np.array([word.text != asked.noun for word in asked.words])
        self._logs = np.log(self._named[self._telling])
        self._surest = [_log(named) for named in self._named.max(axis=0).tolist()]
        self._places = np.array([word.place for word in asked.words])
        self._from_name = self._distances(asked.name_place)
        self._from_question = self._distances(asked.question_place)
        # Chains are many, and made of the same few relations.
        self._explained: dict[frozenset[int], float] = {}
        self._beyond: dict[Chain, int] = {}
        self._noun = relation_probabilities([asked.noun], relations, vectors)[0] if asked.noun else None
        self._mentions = {relation: self._count_mentions(relation) for relation in relations}
        self._likely = {relation: float(self._named[:, column].max()) > LEAST_PROBABILITY for relation, column in self._column.items()}
        self.none = float(self._logs[:, -1].sum())
        """Score of asking for no path: no word names a relation."""

    def is_conceivable(self, chain: Chain) -> bool:
        """Whether a longer chain is worth following: all its relations are named, and at most one oftener than the question has it."""
        return all(self._likely.get(hop.relation, False) for hop in chain) and self._unsaid(chain) <= 1

    def score(self, chain: Chain, kind: EndKind) -> float:
        """Log-probability, up to a constant, that the question asks for this chain."""
        columns = [self._column[hop.relation] for hop in chain]
        explained = self._words_explained(frozenset(columns))
        said = sum(self._surest[column] for column in set(columns))
        missing_return = 1 if self._asked.says_again and not _returns(chain) else 0
        repeated = REPEATED * (self._unsaid(chain) + missing_return * 2 / 3 + self._overheard(chain) / 3)
        return explained + said - repeated + self._answers(chain, kind) + ORDER * self._in_order(columns) - LENGTH * len(chain)

    def _words_explained(self, columns: frozenset[int]) -> float:
        """Every word names one of the relations, or none."""
        if columns not in self._explained:
            self._explained[columns] = float(self._logs[:, [*columns, -1]].max(axis=1).sum())
        return self._explained[columns]

    def _answers(self, chain: Chain, kind: EndKind) -> float:
        """Whether the ends are of the kind that is asked for."""
        match self._asked.kind:
            case AnswerKind.PERSON:
                return _log(kind.proper)
            case AnswerKind.TIME:
                return _log(kind.time)
        if self._noun is None:
            return 0.0
        # `Which language` names the relation that leads there; `which film` none of them, so it asks for the things themselves.
        last = chain[-1]
        by_relation = float(self._noun[self._column[last.relation]]) if last.forward else 0.0
        return _log(by_relation + float(self._noun[-1]) * kind.breadth)

    def _in_order(self, columns: Sequence[int]) -> float:
        """1 when the first relation is said nearer to the name and the last nearer to the question word, -1 the other way round."""
        first, last = columns[0], columns[-1]
        if first == last:
            return 0.0
        near_name = self._from_name[last] - self._from_name[first]
        near_question = self._from_question[first] - self._from_question[last]
        return max(-1.0, min(1.0, (near_name + near_question) / 4))

    def _distances(self, place: int) -> list[int]:
        """Of each relation, how many words it is from the place to the nearest word that names it."""
        said = self._named > SAID / 1.3
        distances = np.where(said, np.abs(self._places - place)[:, np.newaxis], np.iinfo(np.int64).max).min(axis=0)
        nearest: list[int] = np.where(said.any(axis=0), distances, UNSAID_DISTANCE).tolist()
        return nearest

    def _unsaid(self, chain: Chain) -> int:
        """How often the chain has a relation beyond what the question says of it; a return that `also` or `same` speaks of is said."""
        if chain not in self._beyond:
            free = Counter(relation for relation in set(_returns(chain)) if self._asked.says_again)
            uses = Counter(hop.relation for hop in chain)
            self._beyond[chain] = sum(max(0, n - free[relation] - max(1, self._mentions[relation])) for relation, n in uses.items())
        return self._beyond[chain]

    def _overheard(self, chain: Chain) -> int:
        """How often the question says a relation of the chain beyond the chain's hops."""
        return sum(max(0, self._mentions[relation] - count) for relation, count in Counter(hop.relation for hop in chain).items())

    def _count_mentions(self, relation: str) -> int:
        """Words side by side that name the relation are one mention: `release years`.

        Only words of the relation's own stem say it again: in `who directed the film` the film resembles directing, and is no mention.
        """
        named = self._named[:, self._column[relation]]
        said = named > SAID
        if not said.any():
            return 0
        surest = int(named.argmax())
        again = [is_akin(word.text, relation) or share_stem(word.text, self._asked.words[surest].text) for word in self._asked.words]
        places: NDArray[np.int64] = self._places[said & np.array(again)]
        return int(np.count_nonzero(np.diff(places) > 1)) + 1


def _came_from(chain: Chain, ends: Mapping[Chain, set[str]]) -> set[str]:
    """Where a chain that goes straight back has been before: the same relation finds the siblings of those, never those themselves."""
    return ends.get(chain[:-2], set()) if len(chain) > 1 and _goes_back(chain[-2], chain[-1]) else set()


def _returns(chain: Chain) -> list[str]:
    """Relations that the chain follows there and straight back."""
    return [one.relation for one, other in pairwise(chain) if _goes_back(one, other)]


def _goes_back(one: Hop, other: Hop) -> bool:
    return one.relation == other.relation and one.forward != other.forward


def _log(probability: float) -> float:
    return math.log(max(LEAST_PROBABILITY, probability))
