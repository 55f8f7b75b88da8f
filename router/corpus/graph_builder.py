"""Turns passages into a graph without any language model: titles, recognised names, and every place where one names the other."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence

from router.corpus.base import Triple
from router.models.base import Recognised
from router.names import NameFinder, bare_name, entity_id, name_key
from router.stores.base import GraphBatch, Subject
from router.stores.mirror import GraphMirror
from router.types import Chunk, Entity, Fact, Mention, Span

TITLE = "TITLE"
TERM = "TERM"
"""An entity that a structured fact states."""
MIN_KEY = 2
MAX_NAME_CHARS = 200

PassageStream = Callable[[str], AsyncIterator[Sequence[Chunk]]]
"""Tenant -> all its passages, some at a time."""


class NameGraphBuilder:
    """A GraphBuilder. New passages are searched for old names, and old passages for new names.

    Args:
        mirror: Knows the names and passages that the graph already has.
        passages: Reads the tenant's passages from the journal.
    """

    def __init__(self, mirror: GraphMirror, passages: PassageStream) -> None:
        self._mirror = mirror
        self._passages = passages

    async def build(
        self, tenant: str, chunks: Sequence[Chunk], recognised: Sequence[Recognised], triples: Mapping[str, Sequence[Triple]]
    ) -> GraphBatch:
        known = await self._mirror.current(tenant)
        facts, terms = await asyncio.to_thread(_structured_facts, triples)
        titles, subjects = _titles(chunks)
        found, mentions, relations = _recognised_names(chunks, recognised)

        old_ids = {entity.id for entity in known.entities if entity.kind in {TITLE, TERM}}
        new_names = [entity for entity in (*titles, *terms) if entity.id not in old_ids]
        old_names = [entity for entity in known.entities if entity.id in old_ids]
        mentions += await asyncio.to_thread(_find_names, (*old_names, *new_names), chunks)
        if new_names and known.chunks:
            finder = _finder(new_names)
            async for old_chunks in self._passages(tenant):
                # The journal may be ahead of the graph: a passage that is not in the graph yet finds these names when its turn comes.
                indexed = [chunk for chunk in old_chunks if chunk.id in known.chunk_index]
                mentions += await asyncio.to_thread(_find, finder, indexed)

        entities = {entity.id: entity for entity in (*found, *terms, *titles)}
        mentioned = {mention.entity_id for mention in mentions}
        # Named anew, so that the batch is whole by itself: every mention's entity is in it.
        entities.update({entity.id: entity for entity in old_names if entity.id in mentioned})
        return GraphBatch(
            chunks=tuple(chunks),
            entities=tuple(entities.values()),
            subjects=tuple(subjects),
            mentions=_distinct(mentions),
            facts=(*facts, *relations),
        )


def _titles(chunks: Sequence[Chunk]) -> tuple[list[Entity], list[Subject]]:
    titled = [chunk for chunk in chunks if _is_name(chunk.title)]
    entities = {entity_id(chunk.title): Entity(entity_id(chunk.title), bare_name(chunk.title), TITLE) for chunk in titled}
    return list(entities.values()), [Subject(chunk.id, entity_id(chunk.title)) for chunk in titled]


def _recognised_names(chunks: Sequence[Chunk], recognised: Sequence[Recognised]) -> tuple[list[Entity], list[Mention], list[Fact]]:
    entities: dict[str, Entity] = {}
    mentions: list[Mention] = []
    facts: list[Fact] = []
    for chunk, seen in zip(chunks, recognised, strict=True):
        for name in seen.names:
            if _is_name(name.text):
                entity = Entity(entity_id(name.text), bare_name(name.text), name.kind)
                entities.setdefault(entity.id, entity)
                start = chunk.span.start
                mentions.append(Mention(chunk.id, entity.id, Span(start + name.span.start, start + name.span.end)))
        for relation in seen.relations:
            if _is_name(relation.subject.text) and _is_name(relation.object.text):
                ends = entity_id(relation.subject.text), entity_id(relation.object.text)
                facts.append(_fact(ends[0], relation.relation, ends[1], chunk.document_id, chunk.id))
    return list(entities.values()), mentions, list({fact.id: fact for fact in facts}.values())


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


def _find_names(names: Iterable[Entity], chunks: Sequence[Chunk]) -> list[Mention]:
    return _find(_finder(names), chunks)


def _finder(names: Iterable[Entity]) -> NameFinder:
    # A single word in small letters is a name in a table of facts, but an ordinary word in a text.
    return NameFinder(entity.name for entity in names if " " in entity.name or not entity.name.islower())


def _find(finder: NameFinder, chunks: Sequence[Chunk]) -> list[Mention]:
    return [
        Mention(chunk.id, found.entity_id, Span(chunk.span.start + found.span.start, chunk.span.start + found.span.end))
        for chunk in chunks
        for found in finder.find(chunk.text)
    ]


def _distinct(mentions: Sequence[Mention]) -> tuple[Mention, ...]:
    # The recogniser and the finder often see the same name at the same place.
    return tuple({(mention.chunk_id, mention.entity_id, mention.span.start): mention for mention in mentions}.values())


def _fact(subject_id: str, relation: str, object_id: str, document_id: str, chunk_id: str | None) -> Fact:
    identity = "\x00".join((subject_id, relation, object_id, document_id, chunk_id or ""))
    return Fact(hashlib.sha256(identity.encode()).hexdigest()[:32], subject_id, relation, object_id, document_id, chunk_id)


def _is_name(text: str) -> bool:
    return MIN_KEY <= len(name_key(text)) <= MAX_NAME_CHARS
