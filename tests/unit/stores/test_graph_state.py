"""A graph that grows and shrinks is at every moment what it would be if it were made anew, and its earlier versions stay as they were."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.names import ALIAS, entity_id
from router.settings import WalkSettings
from router.stores import graph_state, numbered
from router.stores.base import EMPTY_GRAPH, GraphBatch, GraphContent, GraphNodeChunk, Subject
from router.stores.graph_state import GraphState
from router.stores.snapshot import GraphSnapshot
from router.testing.fakes import InMemoryGraphStore
from router.types import Chunk, Entity, Fact, Mention, Span

SETTINGS = WalkSettings()
NAMES = ["Aster Foundry", "Jonas Weld", "ERP", "erp system", "Pump Seven", "Night Ferry", "Mercury", "aster"]
PLACES = st.integers(0, 5)
CHUNKS = st.builds(lambda doc, ordinal: (f"d{doc}-{ordinal}", f"d{doc}", ordinal), st.integers(0, 3), st.integers(0, 9))


@st.composite
def batches(draw) -> GraphContent:
    """A batch that is whole by itself, as the builder makes it."""
    entities = {
        entity_id(name): Entity(entity_id(name), draw(st.sampled_from([name, name.upper()])), draw(st.sampled_from(["TITLE", "ORG"])))
        for name in draw(st.sets(st.sampled_from(NAMES), max_size=5))
    }
    chunks = {
        key: GraphNodeChunk(key, document, "main", ordinal, draw(st.sampled_from(["", "Title"])))
        for key, document, ordinal in draw(st.lists(CHUNKS, max_size=5))
    }
    subjects, mentions, facts = {}, {}, {}
    if entities and chunks:
        ends = st.tuples(st.sampled_from(sorted(chunks)), st.sampled_from(sorted(entities)))
        for chunk, entity in draw(st.lists(ends, max_size=6)):
            subjects[chunk, entity] = Subject(chunk, entity, draw(st.sampled_from([1.0, 0.5])))
        for (chunk, entity), start in draw(st.lists(st.tuples(ends, PLACES), max_size=12)):
            mentions[chunk, entity, start] = Mention(chunk, entity, Span(start, start + 3))
    if entities:
        pairs = st.tuples(st.sampled_from(sorted(entities)), st.sampled_from(sorted(entities)))
        for (one, other), relation, document in draw(
            st.lists(st.tuples(pairs, st.sampled_from(["owns", ALIAS]), st.integers(0, 3)), max_size=6)
        ):
            chunk = draw(st.sampled_from([None, f"d{document}-0"]))
            key = f"{one}{relation}{other}{document}{chunk}"
            facts[key] = Fact(key, one, relation, other, f"d{document}", chunk)
    touched = {item.entity_id for item in (*subjects.values(), *mentions.values())}
    touched.update(end for fact in facts.values() for end in (fact.subject_id, fact.object_id))
    named = tuple(entity for entity in entities.values() if entity.id in touched)
    return GraphContent(tuple(chunks.values()), named, *(tuple(some.values()) for some in (subjects, mentions, facts)))


REFRESH = "refresh"
OPERATIONS = st.lists(st.one_of(batches(), st.sampled_from([REFRESH, "d0", "d1", "d2"])), min_size=1, max_size=7)


def edges(content: GraphContent) -> dict[frozenset[str], float]:
    """The edges of GraphSnapshot's docstring, by the book."""
    chunks = {chunk.id: chunk for chunk in content.chunks}
    mentioning, about, confidence = defaultdict(set), defaultdict(list), {}
    for mention in content.mentions:
        mentioning[mention.entity_id].add(mention.chunk_id)
    for subject in content.subjects:
        about[subject.entity_id].append(subject.chunk_id)
        confidence[subject.chunk_id, subject.entity_id] = subject.confidence
    structured = [fact for fact in content.facts if fact.chunk_id is None]
    aliases = [fact for fact in content.facts if fact.chunk_id is not None and fact.relation == ALIAS]
    at = defaultdict(set)
    for fact in structured:
        at[fact.subject_id].add(fact.id)
        at[fact.object_id].add(fact.id)
    leading = {end for fact in (*structured, *aliases) for end in (fact.subject_id, fact.object_id)}

    def idf(total: int, count: int) -> float:
        return math.log((total + 1) / max(1, count)) / math.log(total + 1)

    found: dict[frozenset[str], float] = defaultdict(float)
    for entity, subjects in about.items():
        first = sorted(subjects, key=lambda key: (chunks[key].ordinal, key))[:8]
        for one in mentioning[entity]:
            for other in first:
                if chunks[one].document_id != chunks[other].document_id:
                    pair = frozenset((one, other))
                    found[pair] = max(found[pair], confidence[other, entity] / len(first))
    for entity in (entity.id for entity in content.entities):
        touching = mentioning[entity] | set(about[entity])
        if len(touching) <= max(10, SETTINGS.max_entity_share * len(chunks)) and (len(touching) > 1 or entity in leading):
            for chunk in touching:
                found[frozenset((chunk, entity))] = SETTINGS.entity_edge_weight * idf(len(chunks), len(touching))
    for fact in structured:
        rarity = idf(len(structured), max(len(at[fact.subject_id]), len(at[fact.object_id])))
        found[frozenset((fact.subject_id, fact.object_id))] += SETTINGS.entity_edge_weight * rarity
    for fact in aliases:
        leaving = sum(other.subject_id == fact.subject_id for other in aliases)
        found[frozenset((fact.subject_id, fact.object_id))] += SETTINGS.alias_edge_weight / leaving
    return {pair: weight for pair, weight in found.items() if len(pair) == 2 and weight > 0}


def weights(snapshot: GraphSnapshot) -> dict[frozenset[str], float]:
    matrix = snapshot.weights
    assert abs(matrix - matrix.T).sum() < 1e-12
    ids = [item.id for item in (*snapshot.chunks, *snapshot.entities)]
    rows = matrix.tocoo()
    return {frozenset((ids[one], ids[other])): weight for one, other, weight in zip(rows.row, rows.col, rows.data, strict=True)}


def as_batch(content: GraphContent) -> GraphBatch:
    chunks = tuple(
        Chunk(item.id, item.document_id, item.collection, item.ordinal, item.title, (), "", Span(0, 0)) for item in content.chunks
    )
    return GraphBatch(chunks, content.entities, content.subjects, content.mentions, content.facts)


@given(OPERATIONS)
async def test_any_way_to_a_graph_leads_to_the_same_graph(operations) -> None:
    store, snapshot = InMemoryGraphStore(), GraphSnapshot(EMPTY_GRAPH, SETTINGS)
    versions = []
    for operation in operations:
        if operation == REFRESH:
            snapshot = snapshot.refreshed()
        elif isinstance(operation, str):
            snapshot = snapshot.without_document(operation)
            await store.delete_document("t", operation)
        else:
            snapshot = snapshot.written(operation)
            await store.upsert("t", as_batch(operation))
        versions.append((snapshot, await store.load("t")))
    for snapshot, content in versions:
        # Compared at the end, so that a later write that reaches into an earlier version is found.
        assert snapshot.content == content
        assert weights(snapshot) == pytest.approx(edges(content))
        assert [name.entity.name for name in snapshot.names_in(" ".join(NAMES))] == [
            name.entity.name for name in GraphSnapshot(content, SETTINGS).names_in(" ".join(NAMES))
        ]
        assert set(snapshot.chunk_index) == {chunk.id for chunk in content.chunks}
        for entity in content.entities:
            facts = [fact for fact in content.facts if fact.chunk_id is None and entity.id in {fact.subject_id, fact.object_id}]
            assert list(snapshot.facts_of.get(entity.id, ())) == facts
            about = [subject for subject in content.subjects if subject.entity_id == entity.id]
            assert sorted(snapshot.chunks[node].id for node in snapshot.subject_chunks(entity.id)) == [item.chunk_id for item in about]


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 9)), max_size=40))
def test_a_chunk_that_comes_again_is_not_what_it_was(moves: list[tuple[int, int]]) -> None:
    """The same id in another place of its document, many times over."""
    state = GraphState()
    for number, ordinal in moves:
        chunk = GraphNodeChunk(f"c{number % 3}", "d", "main", ordinal, f"Title {number}")
        state = state.written(GraphContent((chunk,), (), (), (), ()))
        assert state.content().chunks[[item.id for item in state.content().chunks].index(chunk.id)] == chunk
    again = GraphState.of(state.content())
    assert weights(GraphSnapshot(state, SETTINGS)) == pytest.approx(weights(GraphSnapshot(again, SETTINGS)))


def test_a_graph_that_is_mostly_gone_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_state, "FEW", 4)
    state = GraphState()
    for number in range(20):
        chunk = GraphNodeChunk(f"c{number}", f"d{number}", "main", 0, "")
        state = state.written(GraphContent((chunk,), (Entity(f"e{number}", "Aster", "ORG"),), (Subject(chunk.id, f"e{number}"),), (), ()))
    for number in range(19):
        state = state.without_document(f"d{number}")
    assert len(state.chunks) <= 7
    assert [chunk.id for chunk in state.content().chunks] == ["c19"]


def test_changed_entities_are_folded_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numbered, "MAX_CHANGED", 2)
    state, versions = GraphState(), []
    for turn in range(4):
        named = tuple(Entity(f"e{number}", f"Name {turn} {number}", "ORG") for number in range(turn + 2))
        state = state.written(GraphContent((), named, (), (), ()))
        versions.append((state, named))
    for version, named in versions:
        assert version.content().entities == named


def test_an_alias_may_mean_several() -> None:
    ends = [Entity("a", "NF", "ORG"), Entity("b", "Night Ferry", "ORG"), Entity("c", "North Foundry", "ORG")]
    facts = [Fact(f"f{n}", "a", ALIAS, end, f"d{n}", f"d{n}-0") for n, end in enumerate("bbcb")]
    snapshot = GraphSnapshot(GraphContent((), tuple(ends), (), (), tuple(facts)), SETTINGS)
    assert snapshot.aliases("a") == [("b", 0.75), ("c", 0.25)]
    assert snapshot.aliases("b") == ()
    assert snapshot.aliases("unknown") == ()
    matrix = snapshot.weights
    assert matrix[snapshot.node("a"), snapshot.node("b")] == 0.75
    assert matrix[snapshot.node("c"), snapshot.node("a")] == 0.25
    assert np.count_nonzero(matrix.toarray()) == 4


def test_confidences_stand_beside_the_passages() -> None:
    chunks = tuple(GraphNodeChunk(f"c{n}", f"d{n}", "main", 1 - n, "") for n in range(2))
    content = GraphContent(chunks, (Entity("e", "Aster", "ORG"),), (Subject("c0", "e", 0.5), Subject("c1", "e")), (), ())
    snapshot = GraphSnapshot(content, SETTINGS)
    assert snapshot.subject_chunks("e") == [1, 0]
    assert snapshot.subject_confidence("e") == [1.0, 0.5]
    assert snapshot.subject_confidence("unknown") == []
