"""Adapts `aligned` to pictures of one's own: the vector of a picture is moved by a linear map of what the network saw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.errors import ConfigurationError
from router.models.minilm import DIMENSION
from router.models.onnx_session import product
from router.models.spaces import unit_rows
from router.types import Matrix, Vector

FEATURES = 1280
"""Of the network behind `aligned`."""


@dataclass(frozen=True, slots=True)
class Adaptation:
    """Learned by `router.experiments.picture_adaptation.fit`.

    Args:
        weights: (features, dimension).
        bias: (dimension,).
    """

    weights: Matrix
    bias: Vector

    def __call__(self, vectors: Matrix, features: Matrix) -> Matrix:
        """The moved vectors, unit length."""
        return unit_rows(vectors + product(features, self.weights) + self.bias)

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {"weights": self.weights.astype(np.float16), "bias": self.bias}


def adaptation_of(stored: Mapping[str, NDArray[Any]], *, field: str) -> Adaptation:
    """The opposite of `Adaptation.arrays`.

    Raises:
        ConfigurationError: These are other arrays.
    """
    shapes = {name: array.shape for name, array in stored.items()}
    if shapes != {"weights": (FEATURES, DIMENSION), "bias": (DIMENSION,)}:
        raise ConfigurationError(f"{field}: the file holds no adaptation of `aligned`, which `eval adapt-pictures` writes", field=field)
    return Adaptation(stored["weights"].astype(np.float32), stored["bias"].astype(np.float32))
