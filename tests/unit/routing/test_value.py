"""The model behind `learned`: readable, checked, and what it was trained to be."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest

from router.errors import ConfigurationError, InvalidInput
from router.experiments.value_training import STRENGTHS, Example, best_strength, trained, with_words_of_time
from router.routing.features import MEANINGS
from router.routing.value import ValueModel, basis, open_model

VECTOR, WEB = frozenset(["vector"]), frozenset(["web"])


def examples(count: int = 400) -> list[Example]:
    """What the corpus covers is found there, else on the web: with a threshold that a straight line cannot draw."""
    drawn = random.Random(7)
    made = []
    for number in range(count):
        seen = {name: drawn.random() for name in MEANINGS}
        here = float(seen["covered_any"] > 0.6)
        qualities = {VECTOR: here, WEB: 1.0 - here, VECTOR | WEB: 1.0 if number % 20 else 0.0}
        made.append(Example(str(number), "made-up", f"origin-{number % 3}", seen, qualities))
    return made


def test_training_finds_what_matters_and_is_calibrated_on_new_questions() -> None:
    model = ValueModel.parse(trained(examples(), "test", {"sets": ["made up"]}, strength=1.0), "it", "f")
    seen = dict.fromkeys(MEANINGS, 0.5)
    assert model.quality("vector", {**seen, "covered_any": 0.9}) > 0.9
    assert model.quality("vector", {**seen, "covered_any": 0.2}) < 0.1
    assert model.reasons("vector", {**seen, "covered_any": 0.9}, 1)[0].feature == "covered_any"
    assert model.kinds == {"vector", "web"}


def test_a_feature_that_could_not_be_seen_counts_as_average() -> None:
    model = ValueModel.parse(trained(examples(), "test", {}, strength=1.0), "it", "f")
    assert model.quality("vector", {"covered_any": 0.2}) < model.quality("vector", {"covered_any": 0.9})
    assert model.reasons("vector", {}, 1)[0].log_odds == 0.0


def test_the_basis_bends_at_knots() -> None:
    assert basis(0.5, (0.2, 0.8)) == [0.5, 0.3, 0.0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda file: file.pop("kinds"), "kinds"),
        (lambda file: file["features"].update(shoe_size={"mean": 0.5}), "shoe_size"),
        (lambda file: file["kinds"]["vector"]["weights"].update(recent=[1.0, 2.0, 3.0, 4.0]), "recent"),
        (lambda file: file.update(surprise=1), "surprise"),
    ],
)
def test_a_file_that_is_no_model_is_refused_with_the_place(change, said: str) -> None:
    file = json.loads(trained(examples(), "test", {}, strength=1.0))
    change(file)
    with pytest.raises(ConfigurationError, match=said) as caught:
        ValueModel.parse(json.dumps(file), "model.json", "routing.model")
    assert caught.value.field == "routing.model"


def test_too_little_to_learn_from_is_said(tmp_path) -> None:
    with pytest.raises(InvalidInput, match="at least 50"):
        trained(examples(20), "test", {})
    with pytest.raises(ConfigurationError, match="cannot be read"):
        open_model(tmp_path / "missing.json", "routing.model")


def test_words_of_time_are_given_to_questions_of_the_web_and_to_few_others() -> None:
    given = with_words_of_time(examples(1000))
    on_web = [one.features["recent"] for one in given if one.qualities[WEB] > one.qualities[VECTOR]]
    others = [one.features["recent"] for one in given if one.qualities[WEB] <= one.qualities[VECTOR]]
    assert 0.3 < sum(on_web) / len(on_web) < 0.5
    assert sum(others) / len(others) < 0.1
    assert given == with_words_of_time(examples(1000)), "nothing is drawn anew"


def test_the_regularisation_is_chosen_on_data_that_was_left_out() -> None:
    drawn = random.Random(3)
    # Two sets in which chance alone decides: the strongest regularisation loses least.
    made = [
        Example(f"{name}{n}", name, "o", {key: drawn.random() for key in MEANINGS}, {VECTOR: float(drawn.random() < 0.5)})
        for name in ("one", "other")
        for n in range(80)
    ]
    assert best_strength(made) == min(STRENGTHS)


def test_a_set_that_never_carried_is_expected_to_do_so_hardly_ever() -> None:
    made = [replace(one, qualities={**one.qualities, WEB: 0.0}) for one in examples(98)]
    model = ValueModel.parse(trained(made, "test", {}, strength=1.0), "it", "f")
    assert abs(model.quality("web", made[0].features) - 0.01) < 1e-4
