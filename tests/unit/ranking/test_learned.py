"""The learned reranker: what it may do, and what its features say."""

from __future__ import annotations

import json
import math
from importlib import resources

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.ranking.base import RerankRequest
from router.ranking.learned import BLOCK, LearnedReranker, in_blocks
from router.ranking.merge import KEPT, with_kept_places
from router.retrieval.base import LinkedName, Probe
from router.retrieval.passages import passage_evidence
from router.settings import WalkSettings
from router.stores.base import GraphBatch
from router.stores.mirror import GraphMirror
from router.stores.vectors import PassageVectors
from router.testing.fakes import InMemoryGraphStore
from router.types import Caller, Deadline, Evidence, EvidenceKind, Provenance, Query, TextPart
from tests.unit.graphs import TENANT, mirror_of, passage

CALLER = Caller(TENANT, "r", Deadline.after(60))
CORPUS = tuple(passage(key, title, text) for key, title, text in (("a", "Aster Foundry", "It casts."), ("b", "Canteen", "Soup.")))


def item(number: int, score: float = 0.0, kind: EvidenceKind = EvidenceKind.PASSAGE) -> Evidence:
    return Evidence(f"{number:02}", kind, f"T{number}", "text", (), score=score)


ITEMS = st.lists(st.tuples(st.booleans(), st.floats(-5, 5)), max_size=23)


@given(ITEMS)
def test_nothing_leaves_its_block_and_what_is_no_passage_keeps_its_place(spec: list[tuple[bool, float]]) -> None:
    evidence = [item(number) for number in range(len(spec))]
    worth = {item.id: value for item, (is_passage, value) in zip(evidence, spec, strict=True) if is_passage}
    ordered = in_blocks(evidence, worth, margin=0.0)
    for start in range(0, len(evidence), BLOCK):
        assert {each.id for each in ordered[start : start + BLOCK]} == {each.id for each in evidence[start : start + BLOCK]}
        judged = [worth[each.id] for each in ordered[start : start + BLOCK] if each.id in worth]
        assert judged == sorted(judged, reverse=True)
    for before, after in zip(evidence, ordered, strict=True):
        assert (before.id in worth) or before == after


def test_a_passage_overtakes_only_when_it_is_clearly_better() -> None:
    evidence = [item(number) for number in range(4)]
    worth = {"00": 1.0, "01": 1.5, "02": 1.1, "03": 2.9}
    assert [each.id for each in in_blocks(evidence, worth, margin=0.6)] == ["03", "00", "01", "02"]
    assert [each.id for each in in_blocks(evidence, worth, margin=0.0)] == ["03", "01", "02", "00"]


@given(st.integers(0, 12), st.sets(st.integers(0, 14), max_size=4))
def test_the_best_of_each_source_stays_among_the_first(count: int, best: set[int]) -> None:
    fused = [item(number) for number in range(count)]
    ordered = with_kept_places(fused, {f"{number:02}" for number in best})
    assert sorted(each.id for each in ordered) == [each.id for each in fused]
    first = {each.id for each in ordered[:KEPT]}
    there = sorted(number for number in best if number < count)
    assert {f"{number:02}" for number in there[:KEPT]} <= first
    rest = [each.id for each in ordered[KEPT:]]
    assert rest == sorted(rest)


@pytest.fixture
async def vectors() -> PassageVectors:
    vectors = PassageVectors(2)
    await vectors.on_written(TENANT, CORPUS, np.array([[1.0, 0.0], [0.6, 0.8]], np.float32), GraphBatch())
    return vectors


def request(probe: Probe) -> RerankRequest:
    found = passage_evidence(CORPUS[0], Provenance("vector", 2, 0.7, "hybrid"))
    walked = passage_evidence(CORPUS[1], Provenance("graph", 1, 0.2, "walk"))
    web = Evidence("w", EvidenceKind.WEB_PAGE, "News", "text", (), score=0.1)
    scored = [
        Evidence(**{name: getattr(one, name) for name in one.__slots__} | {"score": score}) for one, score in ((walked, 0.4), (found, 0.2))
    ]
    return RerankRequest(Query((TextPart("?"),)), probe, CALLER, [*scored, web])


async def test_features_say_what_is_known(tmp_path, vectors) -> None:
    mirror, _, _ = await mirror_of(CORPUS, tmp_path)
    name = (await mirror.current(TENANT)).names_in("Aster Foundry")[0]
    linked = (LinkedName(name.entity.id, name.entity.name, name.surface, 0.5),)
    probe = Probe(np.array([1.0, 0.0], np.float32), (), linked, is_recent=False, unnamed=np.array([0.0, 1.0], np.float32))
    rows = await LearnedReranker(mirror, vectors, 20).features(request(probe))
    assert sorted(rows) == ["a", "b"]
    assert rows["a"] == pytest.approx(
        {"vector": 0.7, "vector_first": 0.5, "walk": 0.5, "log_walk": math.log(0.5), "question": 1.0, "asked": 0.0, "subject": 0.5},
        abs=4e-3,
    )
    assert rows["b"] == pytest.approx(
        {"vector": 0.0, "vector_first": 0.0, "walk": 1.0, "log_walk": 0.0, "question": 0.6, "asked": 0.8, "subject": 0.0}, abs=4e-3
    )


async def test_every_weight_has_its_feature_and_the_graph_may_be_down(tmp_path, vectors) -> None:
    store = InMemoryGraphStore()
    store.down = True
    reranker = LearnedReranker(GraphMirror(store, tmp_path, WalkSettings()), vectors, 20)
    asked = request(Probe(np.array([1.0, 0.0], np.float32), (), None, is_recent=False))
    rows = await reranker.features(asked)
    weights = json.loads(resources.files("router.ranking").joinpath("learned.json").read_text())["weights"]
    assert set(weights) == set(rows["a"])
    ordered = await reranker.rerank(asked)
    assert {each.id for each in ordered[:2]} == {"a", "b"}
    assert ordered[2].id == "w"
