"""Turns passages into a graph without any language model: titles, recognised names, and every place where one names the other."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Protocol

from router.corpus.aliases import aliases_of
from router.corpus.base import NO_OPENINGS, Openings, Triple
from router.corpus.subjects import NO_SUBJECTS, is_name, subjects_of
from router.corpus.subjects import TITLE as CERTAIN
from router.corpus.word_index import WordIndex
from router.models.base import Recognised
from router.names import ALIAS, NameFinder, bare_name, entity_id, longest
from router.stores.base import GraphBatch, Subject
from router.stores.mirror import GraphMirror
from router.stores.snapshot import GraphSnapshot
from router.types import Chunk, Entity, Fact, Mention, Span

TITLE = "TITLE"
TERM = "TERM"
"""An entity that a structured fact states."""
SUBJECT = "SUBJECT"
"""What a passage without a title is probably about."""
OTHER_NAME = "OTHER_NAME"
"""One end of a pair of names for the same thing."""
DEPICTED = "DEPICTED"
"""What a picture seems to show: a name that need not stand in any text, and is looked for in none."""
NAMES = (TITLE, TERM, SUBJECT, OTHER_NAME)
"""Kinds that are looked for in every text, not only where they were recognised."""
PASSAGES_PER_READ = 500
FEW = 1_000
"""Passages that the index of words may have beyond what the graph has."""


class PassageTexts(Protocol):
    """The tenant's passages, from the journal."""

    def all_chunks(self, tenant: str) -> AsyncIterator[Sequence[Chunk]]:
        """All passages, some at a time."""

    async def chunks(self, tenant: str, ids: Collection[str]) -> dict[str, Chunk]:
        """Passages by id; those that are not there are absent."""


class NameGraphBuilder:
    """A GraphBuilder. New passages are searched for old names, and old passages for new names.

    Args:
        mirror: Knows the names and passages that the graph already has.
        passages: Their texts.
    """

    def __init__(self, mirror: GraphMirror, passages: PassageTexts) -> None:
        self._mirror = mirror
        self._passages = passages
        self._words: dict[str, WordIndex] = {}

    async def build(
        self,
        tenant: str,
        chunks: Sequence[Chunk],
        recognised: Sequence[Recognised],
        triples: Mapping[str, Sequence[Triple]],
        openings: Openings = NO_OPENINGS,
    ) -> GraphBatch:
        known = await self._mirror.current(tenant)
        words = await self._words_of(tenant, known)
        facts, terms = await asyncio.to_thread(_structured_facts, triples)
        named, subjects = _subjects(chunks, recognised, openings)
        found, mentions, relations = _recognised_names(chunks, recognised)
        aliases, also_called = _aliases(chunks, recognised)
        depicted, shown = _depicted(chunks, known)
        mentions += shown

        stated = [*aliases, *terms, *named]
        new_names = [entity for entity in stated if _known_name(known, entity.id) is None and _is_findable(entity)]
        finder = NameFinder(entity.name for entity in new_names)
        mentions += await asyncio.to_thread(_find, chunks, finder, known)
        # Before this batch is added: its own passages have been searched.
        old_ids = [chunk_id for chunk_id in words.having([entity.name for entity in new_names]) if chunk_id in known.chunk_index]
        mentions += await self._find_in_old(tenant, old_ids, finder)
        await asyncio.to_thread(words.add, chunks)

        entities = {entity.id: entity for entity in sorted((*depicted, *found, *stated), key=_rank, reverse=True)}
        # Named anew, so that the batch is whole by itself: every mention's entity is in it.
        for identity in {mention.entity_id for mention in mentions} | entities.keys():
            old = _known_name(known, identity)
            if old is not None and (identity not in entities or _rank(old) <= _rank(entities[identity])):
                entities[identity] = old
        return GraphBatch(
            chunks=tuple(chunks),
            entities=tuple(entities.values()),
            subjects=tuple(subjects),
            mentions=_distinct(mentions),
            facts=(*facts, *relations, *also_called),
        )

    async def _words_of(self, tenant: str, known: GraphSnapshot) -> WordIndex:
        """The tenant's index of words, made at the first write after a start, and anew when most of it is gone from the corpus."""
        index = self._words.get(tenant)
        if index is None or len(index) > 2 * len(known.chunk_index) + FEW:
            # The journal may be ahead of the graph: a passage that is not in the graph yet finds all names when its turn comes.
            index = WordIndex()
            async for some in self._passages.all_chunks(tenant):
                await asyncio.to_thread(index.add, some)
            self._words[tenant] = index
        return index

    async def _find_in_old(self, tenant: str, ids: Sequence[str], finder: NameFinder) -> list[Mention]:
        mentions: list[Mention] = []
        for start in range(0, len(ids), PASSAGES_PER_READ):
            texts = await self._passages.chunks(tenant, ids[start : start + PASSAGES_PER_READ])
            mentions += await asyncio.to_thread(_find, [texts[key] for key in sorted(texts)], finder, None)
        return mentions


def _subjects(chunks: Sequence[Chunk], recognised: Sequence[Recognised], openings: Openings) -> tuple[list[Entity], list[Subject]]:
    entities: dict[str, Entity] = {}
    subjects: list[Subject] = []
    for chunk, seen in zip(chunks, recognised, strict=True):
        opening = openings.get(chunk.document_id)
        of_the_first = subjects_of(*opening, NO_SUBJECTS) if opening is not None and chunk.ordinal > 0 else NO_SUBJECTS
        for name, confidence in subjects_of(chunk, seen, of_the_first).items():
            entity = Entity(entity_id(name), name, TITLE if confidence == CERTAIN else SUBJECT)
            entities[entity.id] = min(entity, entities.get(entity.id, entity), key=_rank)
            subjects.append(Subject(chunk.id, entity.id, confidence))
    return list(entities.values()), subjects


def _aliases(chunks: Sequence[Chunk], recognised: Sequence[Recognised]) -> tuple[list[Entity], list[Fact]]:
    entities: dict[str, Entity] = {}
    facts: dict[str, Fact] = {}
    for chunk, seen in zip(chunks, recognised, strict=True):
        for short, full in aliases_of(chunk.text, seen):
            if is_name(short) and is_name(full):
                ends = entity_id(short), entity_id(full)
                entities.update({end: Entity(end, name, OTHER_NAME) for end, name in zip(ends, (short, full), strict=True)})
                fact = _fact(ends[0], ALIAS, ends[1], chunk.document_id, chunk.id)
                facts[fact.id] = fact
    return list(entities.values()), list(facts.values())


def _recognised_names(chunks: Sequence[Chunk], recognised: Sequence[Recognised]) -> tuple[list[Entity], list[Mention], list[Fact]]:
    entities: dict[str, Entity] = {}
    mentions: list[Mention] = []
    facts: list[Fact] = []
    for chunk, seen in zip(chunks, recognised, strict=True):
        for name in seen.names:
            if is_name(name.text):
                entity = Entity(entity_id(name.text), bare_name(name.text), name.kind)
                entities.setdefault(entity.id, entity)
                start = chunk.span.start
                mentions.append(Mention(chunk.id, entity.id, Span(start + name.span.start, start + name.span.end)))
        for relation in seen.relations:
            if is_name(relation.subject.text) and is_name(relation.object.text):
                ends = entity_id(relation.subject.text), entity_id(relation.object.text)
                # An end may stand in a heading only, where nothing mentions it.
                for end, name in zip(ends, (relation.subject, relation.object), strict=True):
                    entities.setdefault(end, Entity(end, bare_name(name.text), name.kind))
                facts.append(_fact(ends[0], relation.relation, ends[1], chunk.document_id, chunk.id))
    return list(entities.values()), mentions, list({fact.id: fact for fact in facts}.values())


def _depicted(chunks: Sequence[Chunk], known: GraphSnapshot) -> tuple[list[Entity], list[Mention]]:
    """What pictures show, as if their words named it: a picture is one of many of its kind, not what the kind's title is about."""
    entities: dict[str, Entity] = {}
    mentions: list[Mention] = []
    for chunk in chunks:
        for label in chunk.picture.labels if chunk.picture is not None else ():
            identity = entity_id(label.name)
            is_known = known.node(identity) is not None
            entities[identity] = known.entity(identity) if is_known else Entity(identity, label.name, DEPICTED)
            mentions.append(Mention(chunk.id, identity, chunk.span))
    return list(entities.values()), mentions


def _structured_facts(triples: Mapping[str, Sequence[Triple]]) -> tuple[list[Fact], list[Entity]]:
    facts: dict[str, Fact] = {}
    terms: dict[str, Entity] = {}
    for document_id, stated in triples.items():
        for triple in stated:
            ends = entity_id(triple.subject), entity_id(triple.object)
            for end, name in zip(ends, (triple.subject, triple.object), strict=True):
                terms.setdefault(end, Entity(end, bare_name(name), TERM))
            fact = _fact(ends[0], triple.relation, ends[1], document_id, None)
            facts[fact.id] = fact
    return list(facts.values()), list(terms.values())


def _known_name(known: GraphSnapshot, identity: str) -> Entity | None:
    """The entity if the graph has it as one of NAMES; names that were only recognised are looked for in no other text."""
    entity = known.entity(identity) if known.node(identity) is not None else None
    return entity if entity is not None and entity.kind in NAMES else None


def _is_findable(entity: Entity) -> bool:
    # A single word in small letters is a name in a table of facts, but an ordinary word in a text.
    return " " in entity.name or not entity.name.islower()


def _is_old_name(entity: Entity) -> bool:
    return entity.kind in NAMES and _is_findable(entity)


def _find(chunks: Sequence[Chunk], new: NameFinder, known: GraphSnapshot | None) -> list[Mention]:
    """Mentions of new names, and of those that the graph has."""
    mentions: list[Mention] = []
    for chunk in chunks:
        hits = new.hits(chunk.text) + (known.hits(chunk.text, _is_old_name) if known is not None else [])
        start = chunk.span.start
        mentions += [Mention(chunk.id, found.entity_id, Span(start + found.span.start, start + found.span.end)) for found in longest(hits)]
    return mentions


def _distinct(mentions: Sequence[Mention]) -> tuple[Mention, ...]:
    # The recogniser and the finder often see the same name at the same place.
    return tuple({(mention.chunk_id, mention.entity_id, mention.span.start): mention for mention in mentions}.values())


def _fact(subject_id: str, relation: str, object_id: str, document_id: str, chunk_id: str | None) -> Fact:
    identity = "\x00".join((subject_id, relation, object_id, document_id, chunk_id or ""))
    return Fact(hashlib.sha256(identity.encode()).hexdigest()[:32], subject_id, relation, object_id, document_id, chunk_id)


def _rank(entity: Entity) -> int:
    """Which kind an entity keeps that is several things: the first of NAMES, else what the recogniser said."""
    return NAMES.index(entity.kind) if entity.kind in NAMES else len(NAMES)
