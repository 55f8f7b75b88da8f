"""Do probabilities hold what they promise, and does confidence tell the good decisions from the bad ones?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BINS = 10
COVERAGES = tuple(step / 20 for step in range(1, 21))
"""Shares of the questions at which the risk is told."""


@dataclass(frozen=True, slots=True)
class Bin:
    """Predictions of about the same probability."""

    low: float
    high: float
    count: int
    predicted: float
    """Mean of the probabilities."""
    observed: float
    """Share of those that came true."""


@dataclass(frozen=True, slots=True)
class Reliability:
    ece: float
    """Expected calibration error: mean distance of predicted and observed over the bins, by their counts."""
    brier: float
    """Mean squared distance of probability and truth."""
    bins: tuple[Bin, ...]


@dataclass(frozen=True, slots=True)
class RiskCoverage:
    """Mean risk of the most confident decisions, for growing shares of the questions."""

    area: float
    """Mean over all shares; a policy whose confidence says nothing has its mean risk here."""
    points: tuple[tuple[float, float], ...]
    """Share of the questions -> mean risk of the most confident ones."""


def reliability(probabilities: Sequence[float], came_true: Sequence[bool]) -> Reliability | None:
    """Bins of equal mass; equal probabilities are never torn apart, so there may be fewer than ten. None without predictions."""
    if not probabilities:
        return None
    predicted, true = np.asarray(probabilities, float), np.asarray(came_true, float)
    ordered, count = np.sort(predicted), len(predicted)
    edges = np.unique([ordered[-(-count * number // BINS) - 1] for number in range(1, BINS)])
    numbers = np.searchsorted(edges, predicted, side="left")
    members = [numbers == number for number in np.unique(numbers)]
    bins = tuple(
        Bin(
            low=float(predicted[inside].min()),
            high=float(predicted[inside].max()),
            count=int(inside.sum()),
            predicted=float(predicted[inside].mean()),
            observed=float(true[inside].mean()),
        )
        for inside in members
    )
    ece = sum(one.count * abs(one.predicted - one.observed) for one in bins) / count
    return Reliability(float(ece), float(np.mean((predicted - true) ** 2)), bins)


def risk_coverage(confidences: Sequence[float], risks: Sequence[float]) -> RiskCoverage | None:
    """The curve. Decisions of equal confidence count as their mean, since nothing says which of them come first. None without decisions."""
    if not confidences:
        return None
    confidence, risk = np.asarray(confidences, float), np.asarray(risks, float)
    _, group = np.unique(-confidence, return_inverse=True)
    means = np.bincount(group, weights=risk) / np.bincount(group)
    smoothed = means[np.sort(group)]
    running = np.cumsum(smoothed) / np.arange(1, len(smoothed) + 1)
    places = [max(1, round(share * len(running))) for share in COVERAGES]
    points = {place / len(running): float(running[place - 1]) for place in places}
    return RiskCoverage(float(running.mean()), tuple(points.items()))
