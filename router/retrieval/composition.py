"""One query of several parts in the shared space of words and pictures."""

from __future__ import annotations

import numpy as np

from router.types import Matrix, Vector


def composed(vectors: Matrix) -> Vector:
    """One unit vector of several: the direction of their sum."""
    total = vectors.sum(axis=0)
    return np.asarray(total / max(float(np.linalg.norm(total)), 1e-9), dtype=np.float32)


def added(picture: Vector, words: Vector) -> Vector:
    """A picture and words, each with the same weight."""
    return composed(np.stack([picture, words]))
