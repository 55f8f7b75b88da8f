"""The policy `knn` over measured questions instead of a tenant's judged decisions."""

from __future__ import annotations

import numpy as np

from router.experiments.lessons import Lesson
from router.experiments.peers.knn import knn_of
from router.experiments.value_training import Example
from router.retrieval.base import Probe
from router.routing.learned import LearnedPolicy
from router.routing.source_sets import source_sets
from router.routing.value import ValueModel
from tests.unit.routing.questions import SOURCES, caller, question
from tests.unit.routing.weights import sure_of

HERE, THERE = np.array([1.0, 0.0], np.float32), np.array([0.0, 1.0], np.float32)


def lesson(vector, *carrying: str) -> Lesson:
    qualities = {kinds: float(bool(kinds & set(carrying))) for kinds in source_sets(["graph", "vector", "web"], 1)}
    return Lesson(Example("q", "set", "origin", {}, qualities), {}, vector)


async def test_it_decides_by_the_measured_questions_that_are_near() -> None:
    learned = LearnedPolicy(ValueModel.parse(sure_of("web", "web"), "it", "it"))
    policy = knn_of(learned, [lesson(HERE, "graph")] * 12 + [lesson(THERE, "vector")] * 12)
    chosen = {}
    for name, vector in (("here", HERE), ("there", THERE), ("nowhere", -HERE)):
        probe = Probe(vector, (), (), is_recent=False)
        chosen[name] = (await policy.decide(question("Who keeps the lantern?"), probe, SOURCES, caller())).selected
    assert chosen == {"here": ("graph",), "there": ("vector",), "nowhere": ("web",)}
