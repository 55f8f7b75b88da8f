"""The walk: how the question draws it. Its arithmetic is tested with the snapshot."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.retrieval.base import LinkedName
from router.retrieval.linker import without_names
from router.retrieval.walk import attraction, walk
from router.settings import WalkSettings
from router.stores.base import GraphBatch
from router.stores.vectors import PassageVectors
from tests.unit.graphs import TENANT, mirror_of, passage

HUB = (
    passage("hub", "Harbour Office", "It works with Aster Foundry, Borealis Works and Cedar Mill."),
    passage("a", "Aster Foundry", "It casts."),
    passage("b", "Borealis Works", "It paints."),
    passage("c", "Cedar Mill", "It saws."),
)
PAINTING = np.array([1.0, 0.0], np.float32)


@pytest.fixture
async def vectors() -> PassageVectors:
    vectors = PassageVectors(2)
    rows = np.array([[0.0, 1.0], [0.1, 0.995], [0.9, 0.436], [0.1, 0.995]], np.float32)
    await vectors.on_written(TENANT, HUB, rows, GraphBatch())
    return vectors


async def test_the_walk_goes_where_the_question_points(tmp_path, vectors) -> None:
    mirror, _, _ = await mirror_of(HUB, tmp_path)
    snapshot = await mirror.current(TENANT)
    settings = WalkSettings()
    blind = dict(walk(snapshot, {"hub": 1.0}, 0.75, settings).passages(4))
    assert blind["a"] == pytest.approx(blind["b"]) == pytest.approx(blind["c"])
    drawn = dict(walk(snapshot, {"hub": 1.0}, 0.75, settings, (), attraction(vectors, TENANT, PAINTING, 5.0)).passages(4))
    assert drawn["b"] > 5 * drawn["a"]
    assert drawn["a"] == pytest.approx(drawn["c"])


async def test_without_sharpness_nothing_draws(tmp_path, vectors) -> None:
    mirror, _, _ = await mirror_of(HUB, tmp_path)
    snapshot = await mirror.current(TENANT)
    drawn = walk(snapshot, {"a": 1.0}, 0.75, WalkSettings(), (), attraction(vectors, TENANT, PAINTING, 0.0))
    assert dict(drawn.passages(4)) == pytest.approx(dict(walk(snapshot, {"a": 1.0}, 0.75, WalkSettings()).passages(4)))


@given(st.sampled_from(["What does Aster Foundry cast?", "Aster Foundry!", "Who knows Aster Foundry and Cedar Mill, and why?"]))
def test_the_question_without_its_names(text: str) -> None:
    linked = [LinkedName(name, name, name, 1.0) for name in ("Aster Foundry", "Cedar Mill")]
    rest = without_names(text, linked)
    assert "Aster" not in rest
    assert rest in {"What does cast?", "", "Who knows and , and why?"}
