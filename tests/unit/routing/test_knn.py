"""`knn`: as `learned` where nothing similar was judged, and by what was said where it was."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.routing.experience import Neighbour, Remembered
from router.routing.knn import FLOOR, NEIGHBOURS, PRIOR, KnnPolicy, told_of
from router.routing.learned import LearnedPolicy
from router.routing.source_sets import source_sets
from router.routing.value import ValueModel, open_model
from tests.unit.routing.questions import SOURCES, caller, probe, question
from tests.unit.routing.weights import sure_of

LEARNED = LearnedPolicy(open_model(None, "routing.model"))
SURE_OF_WEB = LearnedPolicy(ValueModel.parse(sure_of("web", "web"), "it", "it"))
VECTOR, GRAPH, WEB = (frozenset({kind}) for kind in ("vector", "graph", "web"))
ASKED = question("Who keeps the secret lantern?")
SETS = source_sets(["graph", "vector", "web"], 1)
neighbours = st.lists(
    st.builds(Neighbour, st.floats(-1, 1), st.dictionaries(st.sampled_from(SETS), st.sampled_from([0.0, 0.5, 1.0]), max_size=3)), max_size=5
)


class Given:
    """Experience that is what it is; notes who asked."""

    def __init__(self, *found: Neighbour) -> None:
        self.found = list(found)
        self.asked: list[tuple[str, int]] = []

    def nearest(self, tenant, vector, most):
        self.asked.append((tenant, most))
        return self.found


async def decide(learned: LearnedPolicy, *found: Neighbour, asked=ASKED, whom=None):
    return await KnnPolicy(learned, Given(*found)).decide(asked, probe(), SOURCES, whom or caller())


@pytest.mark.parametrize("found", [(), (Neighbour(FLOOR, {VECTOR: 1.0}),), (Neighbour(-0.2, {VECTOR: 1.0}),)])
async def test_without_similar_questions_it_decides_as_learned(found) -> None:
    decision, base = await decide(LEARNED, *found), await LEARNED.decide(ASKED, probe(), SOURCES, caller())
    assert decision == replace(base, policy="knn")


async def test_the_tenant_that_asks_is_the_one_whose_experience_counts() -> None:
    experience = Given()
    await KnnPolicy(LEARNED, experience).decide(ASKED, probe(), SOURCES, replace(caller(), tenant="umbra"))
    assert experience.asked == [("umbra", NEIGHBOURS)]


async def test_what_people_said_outweighs_what_was_expected() -> None:
    assert (await decide(SURE_OF_WEB)).selected == ("web",)
    failed = [Neighbour(0.98, {WEB: 0.0, VECTOR: 1.0})] * 12
    decision = await decide(SURE_OF_WEB, *failed)
    assert decision.selected == ("vector",)
    weight = 12 * (0.98 - FLOOR) / (1 - FLOOR)
    by_source = {route.source: route for route in decision.routes}
    assert by_source["vector"].probability == pytest.approx(weight / (weight + PRIOR), abs=1e-3)
    assert by_source["web"].probability == pytest.approx(PRIOR * SURE_OF_WEB._model.quality("web", {}) / (weight + PRIOR), abs=1e-3)
    assert by_source["vector"].expected_quality == by_source["vector"].probability
    assert decision.reason.startswith("by 12 similar questions that were judged, vector is expected to carry the answer")
    assert "which learned would choose" in decision.reason
    assert (decision.policy, decision.version, decision.propensity) == ("knn", "web", 1.0)
    assert decision.features


async def test_one_opinion_does_not_turn_what_is_sure() -> None:
    assert (await decide(SURE_OF_WEB, Neighbour(0.9, {WEB: 0.0}))).selected == ("web",)


async def test_less_similar_questions_weigh_less() -> None:
    near, far = [(await decide(SURE_OF_WEB, *[Neighbour(cosine, {WEB: 0.0})] * 3)).routes[2].probability for cosine in (0.99, 0.6)]
    assert near < far < SURE_OF_WEB._model.quality("web", {})


@given(neighbours)
async def test_the_choice_is_the_best_by_the_moved_qualities(found) -> None:
    decision = await decide(LEARNED, *found)
    near = [one for one in found if one.similarity > FLOOR]
    choices = LEARNED.choices(decision.features, SOURCES)
    chances = {kind: choice.quality for choice in choices if len(choice.kinds) == 1 for kind in choice.kinds}
    worth = {}
    for choice in choices:
        weights = [((one.similarity - FLOOR) / (1 - FLOOR), told_of(choice.kinds, one.qualities, chances)) for one in near]
        known = [(weight, quality) for weight, quality in weights if quality is not None]
        total = PRIOR + sum(weight for weight, _ in known)
        worth[choice.kinds] = (PRIOR * choice.quality + sum(weight * quality for weight, quality in known)) / total - choice.cost
    assert worth[frozenset(decision.selected)] == pytest.approx(max(worth.values()))


async def test_it_keeps_to_what_may_be_paid() -> None:
    loved = [Neighbour(1.0, {WEB: 1.0, VECTOR: 0.0, GRAPH: 0.0})] * 200
    assert (await decide(LEARNED, *loved)).selected == ("web",)
    assert "web" not in (await decide(LEARNED, *loved, whom=replace(caller(), max_cost=0.1))).selected
    assert (await decide(LEARNED, *loved, whom=replace(caller(), max_cost=0.001))).selected == ()


@pytest.mark.parametrize(("text", "selected"), [("hello there", ()), ("Give me an overview of all documents", ("graph",))])
async def test_what_is_decided_by_the_words_stays(text: str, selected) -> None:
    loved = [Neighbour(1.0, {WEB: 1.0, VECTOR: 0.0, GRAPH: 0.0})] * 200
    assert (await decide(LEARNED, *loved, asked=question(text))).selected == selected


@pytest.mark.parametrize(
    ("kinds", "qualities", "told"),
    [
        (VECTOR, {VECTOR: 0.5}, 0.5),
        (VECTOR, {}, None),
        (GRAPH, {VECTOR | WEB: 0.0}, None),
        (VECTOR, {VECTOR | WEB: 0.0}, 0.0),
        (VECTOR, {VECTOR | WEB: 0.0, VECTOR: 1.0}, 1.0),
        (VECTOR, {VECTOR | WEB: 1.0}, None),
        (VECTOR | WEB, {VECTOR: 1.0}, 1.0),
        (VECTOR | WEB, {VECTOR | WEB: 0.0, VECTOR: 1.0}, 0.0),
        (VECTOR | WEB, {VECTOR: 0.0}, 0.25),
        (VECTOR | WEB, {VECTOR: 0.0, WEB: 0.0}, 0.0),
        (VECTOR | WEB, {VECTOR | GRAPH: 0.0}, 0.25),
        (VECTOR | WEB | GRAPH, {VECTOR | WEB: 1.0}, 1.0),
        (VECTOR | WEB, {GRAPH: 0.0}, None),
    ],
)
def test_what_follows_from_other_sets(kinds, qualities, told) -> None:
    assert told_of(kinds, qualities, dict.fromkeys(("vector", "graph", "web"), 0.25)) == told


async def test_a_source_that_failed_is_not_asked_along_with_another_of_which_nothing_is_known() -> None:
    assert (await decide(SURE_OF_WEB, *[Neighbour(1.0, {WEB: 0.0})] * 20)).selected not in {("graph", "web"), ("vector", "web"), ("web",)}


def test_a_vector_of_nothing_is_similar_to_nothing() -> None:
    assert Remembered(np.zeros((0, 4), np.float32), []).nearest(np.ones(4, np.float32), 5) == []
