"""What each kind of source is worth for a question: a calibrated estimate with weights that a person can read.

For each kind of source a logistic model gives the probability that its first evidence carries the answer. Each feature enters as it is and
as what it has above some knots, so that an effect may bend: a generalised additive model (Hastie and Tibshirani 1986) with linear splines.
Every weight stands in a JSON file that `graphrag-router policy train` writes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from router.errors import ConfigurationError
from router.routing.features import MEANINGS, Features

WEIGHTS = "learned.json"


class FeatureShape(BaseModel):
    """How one feature enters."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mean: float
    """Stands in where the feature could not be looked at."""
    knots: tuple[float, ...] = ()


class KindWeights(BaseModel):
    """The model of one kind."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    intercept: float
    weights: Mapping[str, Annotated[tuple[float, ...], Field(min_length=1)]]
    """By feature: of the value, then of what it has above each knot."""


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    version: str
    trained_on: Mapping[str, object] = {}
    features: Mapping[str, FeatureShape]
    kinds: Mapping[str, KindWeights]


@dataclass(frozen=True, slots=True)
class Contribution:
    """How much a feature moved the estimate away from that of an average question."""

    feature: str
    log_odds: float

    def __str__(self) -> str:
        return f"{MEANINGS[self.feature]} {self.log_odds:+.1f}"


class ValueModel:
    """Estimates by kind of source."""

    def __init__(self, file: _File) -> None:
        self.version = file.version
        sets = file.trained_on.get("sets", ())
        self.trained_on_sets = tuple(map(str, sets)) if isinstance(sets, list | tuple) else ()
        """Names of the data sets that it was trained on, as far as the file tells."""
        self._shapes = file.features
        self._kinds = file.kinds

    @classmethod
    def parse(cls, text: str, place: str, field: str) -> ValueModel:
        """Read a file's text.

        Args:
            text: JSON as `policy train` writes it.
            place: What to call the file in errors.
            field: The setting that names it.

        Raises:
            ConfigurationError: It is not of that form, or names features that this version does not have.
        """
        try:
            file = _File.model_validate_json(text)
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(str(part) for part in problem["loc"])
            raise ConfigurationError(f"{place} is no model of `policy train`: {where}: {problem['msg']}", field=field) from error
        unknown = sorted(file.features.keys() - MEANINGS.keys())
        if unknown:
            message = f"{place} was trained on the feature {unknown[0]!r}, which this version does not have: train it anew"
            raise ConfigurationError(message, field=field)
        for kind, weights in file.kinds.items():
            for feature, values in weights.weights.items():
                if feature not in file.features or len(values) != 1 + len(file.features[feature].knots):
                    raise ConfigurationError(f"{place}: the weights of {feature!r} for {kind!r} do not fit its knots", field=field)
        return cls(file)

    @property
    def kinds(self) -> frozenset[str]:
        """Kinds of sources that the model knows."""
        return frozenset(self._kinds)

    def quality(self, kind: str, features: Features) -> float:
        """The probability that the first evidence of a source of this (known) kind carries the answer."""
        odds = self._kinds[kind].intercept + sum(item.log_odds for item in self._terms(kind, features))
        return 1.0 / (1.0 + math.exp(-odds))

    def reasons(self, kind: str, features: Features, most: int) -> list[Contribution]:
        """The features that moved the estimate most, against an average question."""
        average = {item.feature: item.log_odds for item in self._terms(kind, {})}
        moved = [Contribution(item.feature, item.log_odds - average[item.feature]) for item in self._terms(kind, features)]
        return sorted(moved, key=lambda item: -abs(item.log_odds))[:most]

    def _terms(self, kind: str, features: Features) -> list[Contribution]:
        weights = self._kinds[kind].weights
        return [
            Contribution(name, sum(map(float.__mul__, weights[name], basis(features.get(name, shape.mean), shape.knots))))
            for name, shape in self._shapes.items()
            if name in weights
        ]


def basis(value: float, knots: Sequence[float]) -> list[float]:
    """The value, and what it has above each knot."""
    return [float(value), *(max(0.0, float(value) - knot) for knot in knots)]


def open_model(path: Path | None, field: str) -> ValueModel:
    """The model of a file; the shipped one for None.

    Raises:
        ConfigurationError: The file cannot be read, or is no model.
    """
    return ValueModel.parse(model_text(path, field), WEIGHTS if path is None else str(path), field)


def model_text(path: Path | None, field: str) -> str:
    """What stands in a model's file, in that of the shipped one for None.

    Raises:
        ConfigurationError: The file cannot be read.
    """
    if path is None:
        return resources.files("router.routing").joinpath(WEIGHTS).read_text(encoding="utf-8")
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error}", field=field) from error


def written(
    version: str,
    trained_on: Mapping[str, object],
    shapes: Mapping[str, FeatureShape],
    kinds: Mapping[str, KindWeights],
) -> str:
    """A model as the text of its file."""
    file = _File(version=version, trained_on=trained_on, features=shapes, kinds=kinds)
    return json.dumps(file.model_dump(mode="json"), indent=1) + "\n"
