"""Fitting the model of the `learned` policy: from measured outcomes of source sets to readable weights."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.errors import ConfigurationError, InvalidInput
from router.routing.features import MEANINGS, Features
from router.routing.learned import Kinds
from router.routing.value import FeatureShape, KindWeights, ValueModel, basis, written

STRENGTHS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
"""Inverse strengths of the regularisation that are tried."""
LEAST_EXAMPLES = 50
KNOT_QUANTILES = (1 / 3, 2 / 3)
LEAST_VALUES = 8
"""A feature with fewer different values enters as it is, without knots."""
RECENT_ON_WEB, RECENT_ELSEWHERE = 0.4, 0.03
"""Shares of questions that are taken to ask for something recent (`with_words_of_time`)."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Example:
    """One question with what each set of kinds was worth."""

    id: str
    dataset: str
    origin: str
    """Where the question was taken from; never a feature."""
    features: Features
    qualities: Mapping[Kinds, float]
    """0 to 1: whether the first evidence of the set carried the answer, or the share of it."""

    @property
    def kinds(self) -> list[str]:
        """Kinds that were asked alone."""
        return sorted(kind for kinds in self.qualities if len(kinds) == 1 for kind in kinds)

    def alone(self, kind: str) -> float:
        return self.qualities[frozenset([kind])]


def with_words_of_time(examples: Sequence[Example]) -> list[Example]:
    """The same with the feature `recent` set as in life.

    Sets whose licence allows training on them hold no questions about the news. So of the questions that the web alone carries a share is
    taken to have asked for something recent, and of the others a few. Both shares are judgements; which questions is decided by their id.
    """
    return [_with_recent(example) for example in examples]


def _with_recent(example: Example) -> Example:
    without_web = max((quality for kinds, quality in example.qualities.items() if "web" not in kinds), default=0.0)
    on_web = example.qualities.get(frozenset(["web"]), 0.0)
    share = RECENT_ON_WEB if on_web > without_web else RECENT_ELSEWHERE
    drawn = int(hashlib.sha256(example.id.encode()).hexdigest()[:8], 16) / 0xFFFFFFFF
    features = {**example.features, "recent": float(drawn < share)}
    return replace(example, features=features)


def trained(examples: Sequence[Example], version: str, trained_on: Mapping[str, object], strength: float | None = None) -> str:
    """The text of a model file.

    Args:
        examples: Of one or several sets; every one has the same sets of kinds.
        version: Name of the model.
        trained_on: What to write down about the data.
        strength: Inverse strength of the regularisation; None takes the one that loses least on data sets (of one set: on origins) that
            were left out.

    Raises:
        InvalidInput: Too few examples, or sources that differ.
        ConfigurationError: scikit-learn is not installed.
    """
    if len(examples) < LEAST_EXAMPLES:
        raise InvalidInput(f"{len(examples)} measured questions are too few to learn from: at least {LEAST_EXAMPLES}", field="examples")
    kinds = examples[0].kinds
    if any(example.kinds != kinds for example in examples):
        raise InvalidInput("the questions were measured with different sources", field="examples")
    strength = strength if strength is not None else best_strength(examples)
    shapes = _shapes(examples)
    rows = _table(examples, shapes)
    weights = {kind: _fit(rows, np.array([one.alone(kind) for one in examples]), shapes, strength) for kind in kinds}
    return written(version, {**trained_on, "questions": len(examples), "strength": strength}, shapes, weights)


def best_strength(examples: Sequence[Example]) -> float:
    """The strength whose models lose least (log loss, mean over the kinds) on data that they have not seen."""
    several = len({example.dataset for example in examples}) > 1
    parts: dict[str, list[Example]] = {}
    for example in examples:
        parts.setdefault(example.dataset if several else example.origin, []).append(example)
    return min(STRENGTHS, key=lambda strength: _left_out_loss(parts, strength))


def _left_out_loss(parts: Mapping[str, Sequence[Example]], strength: float) -> float:
    losses: list[float] = []
    for name, unseen in parts.items():
        seen = [example for other, part in parts.items() if other != name for example in part]
        if len(seen) >= LEAST_EXAMPLES:
            model = ValueModel.parse(trained(seen, "cross-validation", {}, strength), "the model", "examples")
            losses += [_loss(model, kind, example) for example in unseen for kind in example.kinds]
    return float(np.mean(losses)) if losses else 0.0


def _loss(model: ValueModel, kind: str, example: Example) -> float:
    expected = min(max(model.quality(kind, example.features), 1e-6), 1 - 1e-6)
    quality = example.alone(kind)
    return float(-(quality * np.log(expected) + (1 - quality) * np.log(1 - expected)))


def _shapes(examples: Sequence[Example]) -> dict[str, FeatureShape]:
    shapes: dict[str, FeatureShape] = {}
    for name in MEANINGS:
        values = np.array([example.features[name] for example in examples if name in example.features])
        if len(values) == 0:
            continue
        knots: tuple[float, ...] = ()
        if len(np.unique(values)) >= LEAST_VALUES:
            knots = tuple(sorted({round(float(np.quantile(values, quantile)), 3) for quantile in KNOT_QUANTILES}))
        shapes[name] = FeatureShape(mean=round(float(values.mean()), 4), knots=knots)
    return shapes


def _table(examples: Sequence[Example], shapes: Mapping[str, FeatureShape]) -> Floats:
    return np.array(
        [[term for name, shape in shapes.items() for term in basis(one.features.get(name, shape.mean), shape.knots)] for one in examples]
    )


def in_parts(rows: Floats, quality: Floats) -> tuple[Floats, NDArray[np.bool_], Floats]:
    """Rows, whether they are carried, and weights: what is half carried counts half as carried and half as not."""
    weight = np.concatenate([quality, 1 - quality])
    used = weight > 0
    return np.vstack([rows, rows])[used], np.repeat([True, False], len(rows))[used], weight[used]


def _fit(rows: Floats, quality: Floats, shapes: Mapping[str, FeatureShape], strength: float) -> KindWeights:
    regression = _regression()
    middle, scale = rows.mean(axis=0), rows.std(axis=0) + 1e-6
    standard = (rows - middle) / scale
    table, carried, weight = in_parts(standard, quality)
    if len(np.unique(carried)) < 2:
        # It carried all or none: the rule of succession, whatever the question.
        share = (quality.sum() + 1) / (len(quality) + 2)
        return KindWeights(intercept=round(float(np.log(share / (1 - share))), 4), weights={})
    model = regression(C=strength, max_iter=2000).fit(table, carried, sample_weight=weight)
    weights = model.coef_[0] / scale
    intercept = float(model.intercept_[0] - (weights * middle).sum())
    by_feature: dict[str, tuple[float, ...]] = {}
    place = 0
    for name, shape in shapes.items():
        width = 1 + len(shape.knots)
        by_feature[name] = tuple(round(float(value), 3) for value in weights[place : place + width])
        place += width
    return KindWeights(intercept=round(intercept, 4), weights=by_feature)


def _regression() -> Callable[..., Any]:
    try:
        from sklearn.linear_model import LogisticRegression
    except ModuleNotFoundError as error:
        raise ConfigurationError("training needs scikit-learn: pip install 'graphrag-router[bench]'", field="policy") from error
    regression: Callable[..., Any] = LogisticRegression
    return regression
