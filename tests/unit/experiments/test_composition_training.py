"""The corrections of composed queries are learned, from pictures made of an article and a colour."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from router.experiments.composition_training import CHANGES, CompositionRecipe, changing_words, train_composition
from router.experiments.multimodal import Item, composed_queries
from router.models.aligned import composition_of
from router.types import Matrix

DIMENSION = 48
ARTICLES, COLOURS, GENDERS, USES = ("shoe", "shirt", "bag"), ("red", "blue", "green"), ("women", "men"), ("sports", "casual")
RNG = np.random.default_rng(7)
OF_VALUE = {value: RNG.normal(size=DIMENSION) for value in (*ARTICLES, *COLOURS, *GENDERS, *USES)}
RECIPE = CompositionRecipe(rank=12, steps=150)


def unit(rows: Matrix) -> Matrix:
    return np.asarray(rows / np.linalg.norm(rows, axis=-1, keepdims=True), np.float32)


@pytest.fixture(scope="module")
def items() -> list[Item]:
    names = ("articleType", "baseColour", "gender", "usage")
    return [
        Item(Path(f"{number}.jpg"), ("a thing",), dict(zip(names, values, strict=True)))
        for number, values in enumerate(list(product(ARTICLES, COLOURS, GENDERS, USES)) * 2)
    ]


@pytest.fixture(scope="module")
def pictures(items: list[Item]) -> Matrix:
    """What words name is small in them, beside what pictures have in common and what is their own."""
    own = RNG.normal(size=(len(items), DIMENSION))
    return unit(np.stack([3 + sum(OF_VALUE[value] for value in item.attributes.values()) for item in items]) + own)


@pytest.fixture(scope="module")
def texts(items: list[Item]) -> dict[str, Matrix]:
    told = {text: next(value for value in OF_VALUE if value in text.split()) for text in changing_words(items)}
    return {text: unit(OF_VALUE[value] + 0.3 * RNG.normal(size=DIMENSION)) for text, value in told.items()}


@pytest.fixture(scope="module")
def arrays(items: list[Item], pictures: Matrix, texts: dict[str, Matrix]):
    quiet = unit(RNG.normal(size=(40, DIMENSION)))
    mean = np.zeros(DIMENSION, np.float32)
    made = train_composition(items, pictures, texts, quiet, quiet, mean, RECIPE)
    again = train_composition(items, pictures, texts, quiet, quiet, mean, RECIPE)
    assert all(np.array_equal(made[name], again[name]) for name in made), "the same seed gives the same arrays"
    return made | {"text_mean": mean}


def test_a_change_finds_more_than_by_the_plain_sum(items, pictures, texts, arrays) -> None:
    learned = composition_of(arrays)
    plain = replace(learned, picture=None, words=None)
    colours = CHANGES[0]
    queries = composed_queries(items, colours.keep, colours.attribute)

    def found(composition) -> float:
        """Share of queries whose nearest other picture is right."""
        right = 0
        for picture, value, gold in zip(queries.pictures, queries.values, queries.gold, strict=True):
            scores = pictures @ composition.compose(pictures[picture], texts[colours.words(value)[0]])
            scores[picture] = -1
            right += bool(gold[scores.argmax()])
        return right / len(queries.values)

    assert found(learned) > found(plain) + 0.1


def test_it_stays_small_where_nothing_is_to_change(arrays, texts) -> None:
    learned = composition_of(arrays)
    strange = unit(np.random.default_rng(8).normal(size=(40, DIMENSION)))
    changed = np.mean([np.linalg.norm(learned.words(row) - row) for row in strange])
    of_words = np.mean([np.linalg.norm(learned.words(row) - row) for row in texts.values()])
    assert changed < of_words
