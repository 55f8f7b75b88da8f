"""Links a text to the names of the graph: word for word, by other names, and nearly right spellings."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from weakref import WeakKeyDictionary

from bm25s.stopwords import STOPWORDS_EN
from rapidfuzz import fuzz, process

from router.errors import StoreUnavailable
from router.names import entity_id, folded
from router.retrieval.base import LinkedName
from router.stores.mirror import GraphMirror
from router.stores.snapshot import GraphSnapshot, Name

LEAST_LIKENESS = 88.0
"""Of 100, the share of letters that two spellings have in common (Indel similarity): one wrong letter in eight."""
MAX_SPELLINGS = 3
"""Names that one misspelt name may mean."""
MAX_NAMES = 50_000
"""A graph with more names is searched word for word only: comparing a spelling with each takes a millisecond per 10,000."""
_CAPITALISED = re.compile(r"[A-Z][\w'’&-]*(?:[ ](?:(?:of|the|and|de|la|for|in|on|to|van|von|der)[ ])*[A-Z0-9][\w'’&-]*)*")
_LEAST_LETTERS = 5
FUNCTION_WORDS = frozenset({*STOPWORDS_EN, "what", "when", "where", "which", "who", "whom", "whose", "why", "how", "name", "does", "did"})


def without_names(text: str, linked: Sequence[LinkedName]) -> str:
    """The text with the names in it left out; empty when it says nothing else."""
    for name in linked:
        text = text.replace(name.surface, " ") if name.surface else text
    words = " ".join(text.split())
    return words if any(map(str.isalnum, words)) else ""


class NameLinker:
    """Names that stand in a text. One that may mean several entities is linked to each, with its probability."""

    def __init__(self, mirror: GraphMirror) -> None:
        self._mirror = mirror
        self._spellings: WeakKeyDictionary[GraphSnapshot, _Spellings] = WeakKeyDictionary()

    async def link(self, tenant: str, text: str) -> tuple[LinkedName, ...]:
        """Longest surface first, then the likeliest.

        Raises:
            StoreUnavailable: The graph is down and no snapshot is there.
        """
        snapshot = await self._mirror.current(tenant)
        exact = [name for name in snapshot.names_in(text) if not _is_function_word(name.surface)]
        linked: dict[str, LinkedName] = {}
        for name in (*_meant(snapshot, exact), *await self._misspelt(snapshot, text, exact)):
            known = linked.get(name.entity_id)
            if known is None or name.probability > known.probability:
                linked[name.entity_id] = name
        known_well = [_with_standing(name, snapshot) for name in linked.values()]
        return tuple(sorted(known_well, key=lambda name: (-len(name.surface), -name.probability, name.entity_id)))

    async def called(self, tenant: str, name: str) -> tuple[LinkedName, ...]:
        """The entity of that name, however it is written, and what it may stand for. Raises as `link`."""
        snapshot = await self._mirror.current(tenant)
        identity = entity_id(name)
        if snapshot.node(identity) is None:
            return ()
        return tuple(_with_standing(meant, snapshot) for meant in _meant(snapshot, [Name(snapshot.entity(identity), name)]))

    async def ids_in(self, tenant: str, text: str) -> tuple[str, ...]:
        """Entities that a text of this query names; none while there is no graph to name them."""
        try:
            snapshot = await self._mirror.current(tenant)
        except StoreUnavailable:
            # The text stays evidence of its own; the walk just has no edge to it, and the graph source reports the cause.
            return ()
        return tuple(name.entity.id for name in snapshot.names_in(text))

    async def _misspelt(self, snapshot: GraphSnapshot, text: str, exact: Sequence[Name]) -> list[LinkedName]:
        if len(snapshot.entities) > MAX_NAMES:
            return []
        surfaces = list(_unknown_surfaces(text, {name.surface for name in exact}))
        if not surfaces:
            return []
        spellings = self._spellings.get(snapshot)
        if spellings is None:
            # A quarter of a second for many names, once for each version of the graph that is asked with a name it does not have.
            spellings = self._spellings[snapshot] = await asyncio.to_thread(_Spellings, snapshot)
        return [
            LinkedName(entity_id, name, surface, (likeness / 100.0) ** 4)
            for surface in surfaces
            for entity_id, name, likeness in spellings.like(surface)
        ]


def _unknown_surfaces(text: str, known: Collection[str]) -> Iterator[str]:
    """What is written like a name and is none that the graph has."""
    for match in _CAPITALISED.finditer(text):
        surface = match.group()
        if len(surface) < _LEAST_LETTERS or _is_function_word(surface) or any(name in surface or surface in name for name in known):
            continue
        yield surface


def _with_standing(name: LinkedName, snapshot: GraphSnapshot) -> LinkedName:
    """The name with what the graph has of it."""
    return replace(
        name,
        rarity=snapshot.rarity(name.entity_id),
        about=max(snapshot.subject_confidence(name.entity_id), default=0.0),
        has_facts=name.entity_id in snapshot.facts_of,
    )


def _is_function_word(surface: str) -> bool:
    # WHO may well be a name.
    return surface.casefold() in FUNCTION_WORDS and not surface.isupper()


def _meant(snapshot: GraphSnapshot, names: Sequence[Name]) -> Iterator[LinkedName]:
    for name in names:
        yield LinkedName(name.entity.id, name.entity.name, name.surface, 1.0)
        for meant, probability in snapshot.aliases(name.entity.id):
            yield LinkedName(meant, snapshot.entity(meant).name, name.surface, probability)


class _Spellings:
    """All names of a snapshot, ready to be compared."""

    def __init__(self, snapshot: GraphSnapshot) -> None:
        living = list(snapshot.entities.living())
        self._ids = [entity.id for entity in living]
        self._names = [entity.name for entity in living]
        self._written = [_written(entity.name) for entity in living]

    def like(self, surface: str) -> list[tuple[str, str, float]]:
        """Entity id, name and likeness of the names that are written almost as the surface is."""
        found = process.extract(_written(surface), self._written, scorer=fuzz.ratio, score_cutoff=LEAST_LIKENESS, limit=MAX_SPELLINGS)
        return [(self._ids[place], self._names[place], likeness) for _, likeness, place in found]


def _written(name: str) -> str:
    return folded(name).casefold()
