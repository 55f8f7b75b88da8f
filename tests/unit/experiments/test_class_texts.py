"""What is said of the classes of the network behind `aligned`."""

from __future__ import annotations

import numpy as np
import pytest

from router.experiments.class_texts import ClassTexts, class_vectors, read_class_texts
from router.models import aligned
from router.types import Vector

RNG = np.random.default_rng(7)


def unit(vector: Vector) -> Vector:
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


def test_class_vectors_tell_what_is_not_common_to_all() -> None:
    common = 5 * unit(RNG.normal(size=48))
    vectors = {name: unit(common + RNG.normal(size=48)) for name in "abcdefghi"}
    named = class_vectors([ClassTexts(("a", "b"), ("c",)), ClassTexts(("d",), ("e", "f")), ClassTexts(("g",), ("h", "i"))], vectors)
    assert named.shape == (3, 48)
    assert np.linalg.norm(named, axis=1) == pytest.approx(1)
    assert float(vectors["a"] @ vectors["d"]) > 0.2 > float(named[0] @ named[1])
    assert named[0] @ vectors["a"] > named[1] @ vectors["a"]
    assert named[0] @ vectors["c"] > named[1] @ vectors["c"]


def test_every_class_has_names_and_scenes() -> None:
    classes = read_class_texts()
    assert len(classes) == 1000
    assert all(len(one.names) == 3 and one.scenes for one in classes)
    assert classes[0].names[2] == "a photo of a tench"
    assert [one.names[2].removeprefix("a photo of a ") for one in classes] == aligned.class_names()
