"""The walk on a part of the graph against the walk on all of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.retrieval import subgraph
from router.retrieval import walk as walking
from router.retrieval.walk import Guest, walk
from router.settings import WalkSettings
from router.stores.base import GraphContent, GraphNodeChunk, Subject
from router.stores.snapshot import GraphSnapshot
from router.types import Entity, Fact, Mention, Span
from tests.unit.graphs import TENANT, mirror_of, passage

SETTINGS = WalkSettings(iterations=200)


def graph(passages: int, entities: int, links: int, seed: int) -> GraphContent:
    """Passages of documents with a title each, that mention titles and other names, some of them often."""
    random = np.random.default_rng(seed)
    chunks = tuple(GraphNodeChunk(f"c{n:05}", f"d{n // 2:05}", "main", n % 2, f"Title {n // 2}") for n in range(passages))
    named = tuple(Entity(f"e{n:05}", f"Name {n}", "TITLE") for n in range(entities))
    about = enumerate(chunks[:entities])
    subjects = tuple(Subject(chunk.id, named[number // 2].id, 1.0 - 0.5 * (number % 3 == 0)) for number, chunk in about)
    some = (random.random(links) ** 3 * entities).astype(int)
    pairs = set(zip(random.integers(0, passages, len(some)).tolist(), some.tolist(), strict=True))
    mentions = tuple(Mention(chunks[one].id, named[other].id, Span(0, 4)) for one, other in sorted(pairs))
    ends = random.integers(0, entities, (entities // 4, 2)).tolist()
    facts = tuple(Fact(f"f{n:05}", named[one].id, "owns", named[other].id, "facts") for n, (one, other) in enumerate(ends))
    return GraphContent(chunks, named, subjects, mentions, facts)


def attraction(ids) -> np.ndarray:
    return np.array([1.0 + int(identity[1:]) % 7 for identity in ids], dtype=np.float64)


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 40), st.integers(2, 30), st.integers(0, 120), st.integers(0, 9), st.floats(0, 0.9), st.booleans())
def test_where_everything_is_looked_at_the_part_is_the_whole(
    passages: int, entities: int, links: int, seed: int, damping: float, draws: bool
) -> None:
    snapshot = GraphSnapshot(graph(passages, entities, links, seed), SETTINGS)
    seeds = {"c00001": 1.0, f"e{entities - 1:05}": 0.5, "g1": 0.7, "unknown": 3.0}
    guests = (Guest("g1", ("e00000", "e00001")), Guest("g2", (f"e{entities - 1:05}", "gone")))
    draw = attraction if draws else None
    exact = walk(snapshot, seeds, damping, SETTINGS, guests, draw)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(walking, "WHOLE", 0)
        patch.setattr(subgraph, "ROUNDS", 100)
        patch.setattr(subgraph.around, "__defaults__", (0.0,))
        part = walk(snapshot, seeds, damping, SETTINGS, guests, draw)
    found, expected = dict(part.passages(100)), dict(exact.passages(100))
    assert found == pytest.approx({key: expected.get(key, 0.0) for key in found}, abs=1e-7)
    assert found.keys() >= {key for key, mass in expected.items() if mass > 1e-7}
    assert part.guest_mass() == pytest.approx(exact.guest_mass(), abs=1e-7)
    best = exact.passages(1)[0][0]
    assert part.path(best, "names") == exact.path(best, "names")


@pytest.mark.parametrize(("draw", "damping", "share"), [(None, 0.5, 0.97), (attraction, 0.75, 0.93)])
def test_on_a_large_graph_the_best_are_nearly_the_same(monkeypatch: pytest.MonkeyPatch, draw, damping: float, share: float) -> None:
    snapshot = GraphSnapshot(graph(20_000, 16_000, 80_000, 1), SETTINGS)
    alike, visited = [], []
    for number in range(20):
        random = np.random.default_rng(number)
        seeds = {f"c{node:05}": 1.0 / (place + 1) for place, node in enumerate(random.integers(0, 20_000, 20).tolist())}
        part = walk(snapshot, seeds, damping, SETTINGS, (), draw)
        with monkeypatch.context() as patch:
            patch.setattr(walking, "WHOLE", snapshot.size)
            exact = walk(snapshot, seeds, damping, SETTINGS, (), draw)
        alike.append(len({key for key, _ in part.passages(20)} & {key for key, _ in exact.passages(20)}) / 20)
        visited.append(len(part.around.nodes))
        assert part.passages(1)[0][0] == exact.passages(1)[0][0]
    assert np.mean(alike) >= share
    assert np.median(visited) < snapshot.size / 2


def test_mass_that_leaves_the_part_does_not_come_back_to_where_it_began() -> None:
    snapshot = GraphSnapshot(graph(6_000, 5_000, 24_000, 2), SETTINGS)
    walked = walk(snapshot, {"c00010": 1.0}, 0.75, SETTINGS)
    assert 0.3 < walked.mass.sum() < 0.99


def test_a_walk_from_nothing_is_empty() -> None:
    for content in (graph(10, 5, 20, 0), graph(4_000, 2_000, 12_000, 0)):
        walked = walk(GraphSnapshot(content, SETTINGS), {"unknown": 1.0}, 0.5, SETTINGS)
        assert walked.passages(5) == []
        assert walked.guest_mass() == {}
        assert walked.path("c00001", "names") == () or len(content.chunks) == 10


async def test_the_path_on_a_part_is_true(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walking, "WHOLE", 0)
    chain = (
        passage("a", "Incident 12", "It came from Aster Foundry."),
        passage("b", "Aster Foundry", "By Jonas Weld."),
        passage("c", "Jonas Weld", "He."),
    )
    mirror, _, _ = await mirror_of(chain, tmp_path)
    walked = walk(await mirror.current(TENANT), {"a": 1.0}, 0.75, SETTINGS)
    assert [(step.subject, step.relation, step.object) for step in walked.path("c", "names")] == [
        ("the question", "names", "Incident 12"),
        ("Incident 12", "mentions", "Aster Foundry"),
        ("Aster Foundry", "mentions", "Jonas Weld"),
    ]
