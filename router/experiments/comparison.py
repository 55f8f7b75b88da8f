"""Is one run better than another? Paired by question, so that what makes a question hard for both does not blur the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

SEED = 20_261_123
RESAMPLES = 10_000
AT_ONCE = 500
"""Resamples drawn together, which bounds the memory: 500 x questions x 8 bytes."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Mean of (one run - the other) over the questions that both have, with its 95 % interval."""

    mean: float
    low: float
    high: float
    wins: int
    losses: int
    questions: int


def paired_difference(run: Mapping[str, float], against: Mapping[str, float]) -> Difference:
    """Percentile bootstrap over questions, seeded: the same values give the same interval.

    Args:
        run: Question id -> value.
        against: The same of the run that it is compared with.
    """
    differences = np.array([run[question] - against[question] for question in sorted(run.keys() & against.keys())])
    if not len(differences):
        return Difference(0.0, 0.0, 0.0, 0, 0, 0)
    random = np.random.default_rng(SEED)
    count = len(differences)
    means = np.concatenate([differences[random.integers(0, count, (AT_ONCE, count))].mean(axis=1) for _ in range(RESAMPLES // AT_ONCE)])
    low, high = np.quantile(means, (0.025, 0.975))
    return Difference(
        mean=float(differences.mean()),
        low=float(low),
        high=float(high),
        wins=int((differences > 0).sum()),
        losses=int((differences < 0).sum()),
        questions=count,
    )
