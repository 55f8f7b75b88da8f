"""The policy `knn` for the bench: its experience are the measured questions of a training set instead of a tenant's judged decisions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from router.experiments.lessons import Lesson
from router.routing.experience import Neighbour, Remembered
from router.routing.knn import KnnPolicy
from router.routing.learned import LearnedPolicy
from router.types import Vector


@dataclass(frozen=True, slots=True)
class LessonsLearned:
    """The same experience for every tenant."""

    remembered: Remembered

    def nearest(self, tenant: str, vector: Vector, most: int) -> list[Neighbour]:
        return self.remembered.nearest(vector, most)


def knn_of(learned: LearnedPolicy, lessons: Sequence[Lesson]) -> KnnPolicy:
    """The policy over lessons, of which there is at least one."""
    vectors = np.stack([lesson.vector for lesson in lessons])
    return KnnPolicy(learned, LessonsLearned(Remembered(vectors, [lesson.example.qualities for lesson in lessons])))
