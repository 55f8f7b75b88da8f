"""What an adaptation adds to the vector of a picture."""

from __future__ import annotations

import numpy as np
import pytest

from router.errors import ConfigurationError
from router.models.adaptation import FEATURES, Adaptation, adaptation_of
from router.models.minilm import DIMENSION


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


@pytest.fixture
def adaptation(rng: np.random.Generator) -> Adaptation:
    return Adaptation(rng.normal(size=(FEATURES, DIMENSION)).astype(np.float32) / 30, rng.normal(size=DIMENSION).astype(np.float32))


def test_vectors_are_moved_and_stay_of_unit_length(adaptation: Adaptation, rng: np.random.Generator) -> None:
    vectors, features = rng.normal(size=(3, DIMENSION)).astype(np.float32), rng.random((3, FEATURES), np.float32)
    moved = adaptation(vectors, features)
    wanted = vectors + features @ adaptation.weights + adaptation.bias
    assert moved == pytest.approx(wanted / np.linalg.norm(wanted, axis=1, keepdims=True), abs=1e-5)


def test_its_arrays_are_half_as_large_and_nearly_the_same(adaptation: Adaptation) -> None:
    again = adaptation_of(adaptation.arrays(), field="x")
    assert sum(array.nbytes for array in adaptation.arrays().values()) < 1024 * 1024
    assert again.weights == pytest.approx(adaptation.weights, abs=1e-3)
    assert np.array_equal(again.bias, adaptation.bias)


@pytest.mark.parametrize("arrays", [{}, {"weights": np.zeros((FEATURES, DIMENSION))}, {"weights": np.zeros((2, 2)), "bias": np.zeros(2)}])
def test_other_arrays_are_refused(arrays: dict[str, np.ndarray]) -> None:
    with pytest.raises(ConfigurationError, match="adapt-pictures") as refused:
        adaptation_of(arrays, field="models.pictures.adaptation")
    assert refused.value.field == "models.pictures.adaptation"
