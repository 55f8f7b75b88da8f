"""What a tenant's graph holds, as numbers and arrays, in versions: a write makes the next version and leaves the last as it was."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from router.names import ALIAS, NameFinder
from router.stores.base import GraphContent, GraphNodeChunk, Subject
from router.stores.numbered import Numbered
from router.stores.relation import Numbers, Relation
from router.types import Entity, Fact, Mention, Span

Keys = NDArray[np.int64]
"""Left number << 32 | right number."""

FEW = 1_000
"""Below this many numbers of what is gone, nothing is made anew."""
STRUCTURED, ALIASING = 1, 2
_RIGHT = np.int64(0xFFFFFFFF)


def _numbers(size: int = 0) -> Numbers:
    return np.zeros(size, dtype=np.int32)


@dataclass(frozen=True, eq=False)
class GraphState:
    """One version. Arrays are by number; arrays of counts are copied with every write (1 MB for 250k numbers), the rest is shared."""

    chunks: Numbered[GraphNodeChunk] = field(default_factory=lambda: Numbered(returns=False))
    entities: Numbered[Entity] = field(default_factory=lambda: Numbered(returns=True))
    facts: Numbered[Fact] = field(default_factory=lambda: Numbered(returns=True))
    finder: NameFinder = field(default_factory=NameFinder)
    """Names of all entities that are or were; shared, so it may know names that this version does not have."""

    mentions: Relation = field(default_factory=Relation)
    """Chunk, entity; start, end. A row holds while its chunk lives."""
    subjects: Relation = field(default_factory=Relation)
    """Chunk, entity; confidence. A row holds while its chunk lives."""

    document: Numbers = field(default_factory=_numbers)
    """Of a chunk: the number of its document's first chunk."""
    ordinal: Numbers = field(default_factory=_numbers)
    id_order: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, dtype=np.uint64))
    """The first 8 bytes of a chunk's id, which order as ids do."""

    touching: Numbers = field(default_factory=_numbers)
    """Of an entity: chunks that mention it or are about it."""
    mentioning: Numbers = field(default_factory=_numbers)
    subject_of: Numbers = field(default_factory=_numbers)
    """Of an entity: chunks that are about it."""
    stated: Numbers = field(default_factory=_numbers)
    """Of an entity: facts at it, of whatever kind."""
    structured: Numbers = field(default_factory=_numbers)
    """Of an entity: structured facts at it, a fact with itself counted once."""
    aliases: Numbers = field(default_factory=_numbers)
    """Of an entity: facts that say of what it is an alias."""
    aliased: Numbers = field(default_factory=_numbers)
    """Of an entity: facts that say what is an alias of it."""
    structured_count: int = 0

    fact_ends: Numbers = field(default_factory=lambda: np.zeros((0, 2), dtype=np.int32))
    """Of a fact: its two entities."""
    fact_kind: NDArray[np.int8] = field(default_factory=lambda: np.zeros(0, dtype=np.int8))
    """Of a fact: STRUCTURED, ALIASING or 0, a relation that a text states."""

    touched: Numbers = field(default_factory=_numbers)
    """Chunks whose rows the last write added or removed."""

    _facts_at: dict[int, list[int]] = field(default_factory=dict)
    _chunks_of: dict[str, list[int]] = field(default_factory=dict)
    _facts_of_document: dict[str, list[int]] = field(default_factory=dict)

    @classmethod
    def of(cls, content: GraphContent) -> GraphState:
        return cls().written(content)

    # --- reading ----------------------------------------------------------------------------------------------------

    def facts_at(self, entity: int) -> list[int]:
        """Numbers of the facts at an entity, in no order."""
        numbers = self._facts_at.get(entity)
        return [] if numbers is None else [fact for fact in numbers.copy() if fact < len(self.facts) and self.facts.alive[fact]]

    def content(self) -> GraphContent:
        chunk, entity, spans = self._living(self.mentions)
        about, subject, confidence = self._living(self.subjects)
        columns = [column.tolist() for column in (chunk, entity, *spans)] or [[]] * 4
        mentions = [Mention(self.chunks[c].id, self.entities[e].id, Span(start, end)) for c, e, start, end in zip(*columns, strict=True)]
        subjects = [
            Subject(self.chunks[c].id, self.entities[e].id, value)
            for c, e, value in zip(about.tolist(), subject.tolist(), confidence[0].tolist() if confidence else (), strict=True)
        ]
        return GraphContent(
            tuple(sorted(self.chunks.living(), key=lambda item: item.id)),
            tuple(sorted(self.entities.living(), key=lambda item: item.id)),
            tuple(sorted(subjects, key=lambda item: (item.entity_id, item.chunk_id))),
            tuple(sorted(mentions, key=lambda item: (item.chunk_id, item.span.start, item.entity_id))),
            tuple(sorted(self.facts.living(), key=lambda item: item.id)),
        )

    def _living(self, relation: Relation) -> tuple[Numbers, Numbers, tuple[NDArray[np.float64], ...]]:
        left, right, columns = relation.rows()
        living = self.chunks.alive[left]
        return left[living], right[living], tuple(column[living] for column in columns)

    # --- writing ----------------------------------------------------------------------------------------------------

    def written(self, added: GraphContent) -> GraphState:
        """With more content (in any order), or other values for what is there; an edge without both its ends is left out."""
        return self._untouched()._written(added)

    def without_document(self, document_id: str) -> GraphState:
        """Without a document's chunks and facts, and without the entities that nothing touches any more."""
        chunks = [chunk for chunk in self._chunks_of.get(document_id, ()) if self.chunks.alive[chunk]]
        facts = [fact for fact in self._facts_of_document.get(document_id, ()) if self.facts.alive[fact]]
        rest = self._untouched()._without_facts(np.array(facts, dtype=np.int32))._without_chunks(np.array(chunks, dtype=np.int32))
        return GraphState.of(rest.content()) if rest._is_mostly_gone() else rest

    def _untouched(self) -> GraphState:
        return replace(self, touched=_numbers())

    def _written(self, added: GraphContent) -> GraphState:
        chunks = {chunk.id: chunk for chunk in added.chunks}
        subjects = {(subject.chunk_id, subject.entity_id): subject for subject in added.subjects}
        changed = self._changed_chunks(chunks, subjects.values())
        if changed:
            # Rows hold while their chunk lives, so a chunk that is different is another chunk with the same rows.
            old = self._content_of(changed)
            return self._without_chunks(np.array(changed, dtype=np.int32))._written(
                GraphContent(
                    (*old.chunks, *added.chunks),
                    (*old.entities, *added.entities),
                    (*old.subjects, *added.subjects),
                    (*old.mentions, *added.mentions),
                    added.facts,
                )
            )
        return self._with_nodes(chunks, added.entities)._with_links(added.mentions, list(subjects.values()))._with_facts(added.facts)

    def _changed_chunks(self, chunks: dict[str, GraphNodeChunk], subjects: Iterable[Subject]) -> list[int]:
        changed = set()
        for chunk in chunks.values():
            number = self.chunks.number(chunk.id)
            if number is not None and self.chunks[number] != chunk:
                changed.add(number)
        for subject in subjects:
            number, entity = self.chunks.number(subject.chunk_id), self.entities.number(subject.entity_id)
            if number is not None and entity is not None:
                _, known, columns = self.subjects.of_left(np.array([number], dtype=np.int32))
                if columns and any(columns[0][known == entity] != subject.confidence):
                    changed.add(number)
        return sorted(changed)

    def _content_of(self, chunks: Sequence[int]) -> GraphContent:
        wanted = np.array(chunks, dtype=np.int32)
        which, about, confidence = self.subjects.of_left(wanted)
        places, mentioned, spans = self.mentions.of_left(wanted)
        entities = {number: self.entities[number] for number in np.union1d(about, mentioned).tolist()}
        subjects = [
            Subject(self.chunks[chunks[place]].id, entities[entity].id, value)
            for place, entity, value in zip(which.tolist(), about.tolist(), confidence[0].tolist() if confidence else (), strict=True)
        ]
        mentions = [
            Mention(self.chunks[chunks[place]].id, entities[entity].id, Span(start, end))
            for place, entity, start, end in zip(*(column.tolist() for column in (places, mentioned, *spans)), strict=True)
            if spans
        ]
        return GraphContent(tuple(self.chunks[chunk] for chunk in chunks), tuple(entities.values()), tuple(subjects), tuple(mentions), ())

    def _with_nodes(self, chunks: dict[str, GraphNodeChunk], named: Sequence[Entity]) -> GraphState:
        chunk_count, entity_count = len(self.chunks), len(self.entities)
        all_chunks = self.chunks.with_items(chunks)
        entities = self.entities.with_items({entity.id: entity for entity in named})
        for entity in named:
            self.finder.add(entity.name, entity.id)
        fresh = [all_chunks[number] for number in range(chunk_count, len(all_chunks))]
        document = []
        for number, chunk in enumerate(fresh, start=chunk_count):
            numbers = self._chunks_of.setdefault(chunk.document_id, [])
            numbers.append(number)
            document.append(numbers[0])
        more = _numbers(len(entities) - entity_count)
        return replace(
            self,
            chunks=all_chunks,
            touched=np.union1d(self.touched, np.arange(chunk_count, len(all_chunks))),
            entities=entities,
            document=_extended(self.document, document),
            ordinal=_extended(self.ordinal, [chunk.ordinal for chunk in fresh]),
            id_order=np.concatenate([self.id_order, np.array([_id_order(chunk.id) for chunk in fresh], dtype=np.uint64)]),
            touching=np.concatenate([self.touching, more]),
            mentioning=np.concatenate([self.mentioning, more]),
            subject_of=np.concatenate([self.subject_of, more]),
            stated=np.concatenate([self.stated, more]),
            structured=np.concatenate([self.structured, more]),
            aliases=np.concatenate([self.aliases, more]),
            aliased=np.concatenate([self.aliased, more]),
        )

    def _with_links(self, mentions: Sequence[Mention], subjects: Sequence[Subject]) -> GraphState:
        spans = _table(
            4,
            (
                (self.chunks.number(item.chunk_id), self.entities.number(item.entity_id), item.span.start, item.span.end)
                for item in mentions
            ),
        )
        about = _table(2, ((self.chunks.number(item.chunk_id), self.entities.number(item.entity_id)) for item in subjects))
        confidence = np.array([item.confidence for item in subjects], dtype=np.float64)
        about_there = (about[:, 0] >= 0) & (about[:, 1] >= 0)
        about, confidence = about[about_there], confidence[about_there]
        spans = spans[(spans[:, 0] >= 0) & (spans[:, 1] >= 0)]

        touched = np.union1d(spans[:, 0], about[:, 0]).astype(np.int32)
        spans = _last_of_each(spans, self._spans_of(touched))
        before, was_about = self._pairs(self.mentions, touched), self._pairs(self.subjects, touched)
        mentioned = np.setdiff1d(_keys(spans), before)
        fresh = np.isin(_keys(about), was_about, invert=True)
        about, confidence = about[fresh], confidence[fresh]
        pairs = np.setdiff1d(np.union1d(mentioned, _keys(about)), np.union1d(before, was_about))
        return replace(
            self,
            touched=np.union1d(self.touched, touched),
            mentions=self.mentions.with_rows(*np.ascontiguousarray(spans.T)),
            subjects=self.subjects.with_rows(*np.ascontiguousarray(about.T), confidence),
            touching=_counted(self.touching, pairs & _RIGHT, 1),
            mentioning=_counted(self.mentioning, mentioned & _RIGHT, 1),
            subject_of=_counted(self.subject_of, about[:, 1], 1),
        )

    def _spans_of(self, chunks: Numbers) -> Numbers:
        which, entity, spans = self.mentions.of_left(chunks)
        return np.stack([chunks[which], entity, *spans], axis=1) if spans else np.zeros((0, 4), dtype=np.int32)

    def _pairs(self, relation: Relation, chunks: Numbers) -> Keys:
        which, entity, _ = relation.of_left(chunks)
        return np.unique(chunks[which].astype(np.int64) << 32 | entity)

    def _with_facts(self, stated: Sequence[Fact]) -> GraphState:
        known = {
            fact.id: fact
            for fact in stated
            if self.facts.number(fact.id) is None
            and self.entities.number(fact.subject_id) is not None
            and self.entities.number(fact.object_id) is not None
        }
        if not known:
            return self
        count = len(self.facts)
        facts = self.facts.with_items(known)
        fresh = [facts[number] for number in range(count, len(facts))]
        ends = _table(2, ((self.entities.number(fact.subject_id), self.entities.number(fact.object_id)) for fact in fresh))
        for number, (subject, end) in enumerate(ends.tolist(), start=count):
            self._facts_of_document.setdefault(facts[number].document_id, []).append(number)
            for entity in {subject, end}:
                self._facts_at.setdefault(entity, []).append(number)
        kinds = np.array([_kind(fact) for fact in fresh], dtype=np.int8)
        later = replace(
            self, facts=facts, fact_ends=np.concatenate([self.fact_ends, ends]), fact_kind=np.concatenate([self.fact_kind, kinds])
        )
        return later._with_fact_counts(_table(1, ((facts.number(identity),) for identity in known))[:, 0], 1)

    def _with_fact_counts(self, facts: Numbers, sign: int) -> GraphState:
        subject, end = self.fact_ends[facts].T
        is_structured, is_alias = self.fact_kind[facts] == STRUCTURED, self.fact_kind[facts] == ALIASING
        both_ends = np.concatenate([subject, end[end != subject]])
        structured_ends = np.concatenate([subject[is_structured], end[is_structured & (end != subject)]])
        return replace(
            self,
            stated=_counted(self.stated, both_ends, sign),
            structured=_counted(self.structured, structured_ends, sign),
            aliases=_counted(self.aliases, subject[is_alias], sign),
            aliased=_counted(self.aliased, end[is_alias], sign),
            structured_count=self.structured_count + sign * int(np.count_nonzero(is_structured)),
        )

    def _without_facts(self, facts: Numbers) -> GraphState:
        if len(facts) == 0:
            return self
        rest = replace(self._with_fact_counts(facts, -1), facts=self.facts.without(facts))
        return rest._without_orphans(np.unique(self.fact_ends[facts]))

    def _without_chunks(self, chunks: Numbers) -> GraphState:
        if len(chunks) == 0:
            return self
        mentioned, about = self._pairs(self.mentions, chunks), self._pairs(self.subjects, chunks)
        pairs = np.union1d(mentioned, about)
        rest = replace(
            self,
            chunks=self.chunks.without(chunks),
            touched=np.union1d(self.touched, chunks),
            touching=_counted(self.touching, pairs & _RIGHT, -1),
            mentioning=_counted(self.mentioning, mentioned & _RIGHT, -1),
            subject_of=_counted(self.subject_of, about & _RIGHT, -1),
        )
        return rest._without_orphans(np.unique(pairs & _RIGHT).astype(np.int32))

    def _without_orphans(self, entities: Numbers) -> GraphState:
        gone = entities[(self.touching[entities] == 0) & (self.stated[entities] == 0)]
        return replace(self, entities=self.entities.without(gone)) if len(gone) else self

    def _is_mostly_gone(self) -> bool:
        return any(len(some) > FEW + 2 * np.count_nonzero(some.alive) for some in (self.chunks, self.entities, self.facts))


def _table(width: int, rows: Iterable[tuple[int | None, ...]]) -> Numbers:
    """Rows of numbers; None becomes -1."""
    flat = [-1 if value is None else value for row in rows for value in row]
    return np.array(flat, dtype=np.int32).reshape(-1, width)


def _extended(numbers: Numbers, more: Sequence[int]) -> Numbers:
    return np.concatenate([numbers, np.array(more, dtype=np.int32)])


def _keys(rows: Numbers) -> Keys:
    return rows[:, 0].astype(np.int64) << 32 | rows[:, 1]


def _counted(counts: Numbers, entities: Numbers, sign: int) -> Numbers:
    """Counts by entity, with each of some entities counted once more or less."""
    later = counts.copy()
    np.add.at(later, entities, sign)
    return later


def _last_of_each(rows: Numbers, known: Numbers) -> Numbers:
    """Of the rows with the same chunk, entity and start the last, unless that is known."""
    every = np.concatenate([known, rows])
    order = np.lexsort((every[:, 2], every[:, 1], every[:, 0]))
    same = (every[order[:-1], :3] == every[order[1:], :3]).all(axis=1)
    is_first, is_last = np.ones(len(order), dtype=np.bool_), np.ones(len(order), dtype=np.bool_)
    is_first[1:], is_last[:-1] = ~same, ~same
    # The sort is stable, so what is known comes first among its like.
    group_is_known = (order < len(known))[is_first][np.cumsum(is_first) - 1]
    kept: Numbers = every[order[is_last & ~group_is_known]]
    return kept


def _kind(fact: Fact) -> int:
    if fact.chunk_id is None:
        return STRUCTURED
    return ALIASING if fact.relation == ALIAS else 0


def _id_order(identity: str) -> int:
    return int.from_bytes(identity.encode()[:8].ljust(8, b"\0"), "big")
