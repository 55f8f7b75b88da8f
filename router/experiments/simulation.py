"""A corpus of invented questions on which the worth of every policy is known, to check estimators and learners against.

Three sources, so eight sets of them. A question's features are what a probe could see of it; from them each source has a probability of
holding the answer. A set answers when one of its sources does, and costs what its sources cost:

    expected utility = 1 - product of (1 - probability of each source asked) - prices of the sources asked

which is no linear function of the features: a linear learner comes near, and no nearer, as in earnest.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from router.experiments.off_policy import Action, LoggedDecision, TargetPolicy

Table = NDArray[np.float64]
"""Shape (questions, actions): a utility, or a probability (then rows sum to 1), for each."""

COSTS: Mapping[str, float] = {"vector": 0.02, "graph": 0.02, "web": 0.2}
"""Prices as the settings have them by default."""
ACTIONS: tuple[Action, ...] = tuple(frozenset(chosen) for size in range(len(COSTS) + 1) for chosen in combinations(COSTS, size))
_PRICES: NDArray[np.float64] = np.array([sum(COSTS[source] for source in action) for action in ACTIONS])
FEATURES = ("cosine", "names", "relational", "recent", "small_talk")


class Simulation:
    """Questions that come with equal probability.

    Args:
        features: Question -> name of a feature -> value between 0 and 1.
        quality: Probability that an action brings the answer, shape (questions, actions), in the order of `ACTIONS`.
    """

    def __init__(self, features: Mapping[str, Mapping[str, float]], quality: Table) -> None:
        self.questions = tuple(features)
        self.features = features
        self.utility: Table = quality - _PRICES
        """Expected reward of each action for each question."""
        self._quality = quality
        self._places = {question: place for place, question in enumerate(features)}

    @classmethod
    def drawn(cls, random: np.random.Generator, questions: int = 200) -> Simulation:
        cosine = random.beta(3, 3, questions)
        names = random.beta(1, 1.5, questions)
        relational, recent, small_talk = (random.random(questions) < share for share in (0.3, 0.25, 0.1))
        holds = {
            "vector": _logistic(7 * (cosine - 0.45) - 1.5 * relational - 2 * recent),
            "graph": _logistic(4 * names + 2 * relational - 3.5),
            "web": _logistic(4 * recent + 3 * (0.4 - cosine) - 1.5),
        }
        lacks = {source: 1 - np.where(small_talk, 0.02, probability) for source, probability in holds.items()}
        quality = np.column_stack([1 - np.prod([np.ones(questions), *(lacks[source] for source in action)], axis=0) for action in ACTIONS])
        ids = tuple(f"question {number}" for number in range(questions))
        seen = np.column_stack([cosine, names, relational, recent, small_talk])
        features = {name: dict(zip(FEATURES, row.tolist(), strict=True)) for name, row in zip(ids, seen, strict=True)}
        return cls(features, quality)

    def value(self, policy: Table) -> float:
        """What a policy is truly worth per question."""
        return float((policy * self.utility).sum(axis=1).mean())

    def regret(self, question: str, action: Action) -> float:
        """By how much the best action for this question is worth more."""
        row = self.utility[self._places[question]]
        return float(row.max() - row[ACTIONS.index(action)])

    def ask(self, random: np.random.Generator) -> str:
        """The next question."""
        return self.questions[random.integers(len(self.questions))]

    def reward(self, question: str, action: Action, random: np.random.Generator) -> float:
        """1 or 0 for an answer or none, minus the prices."""
        place = ACTIONS.index(action)
        return float(random.random() < self._quality[self._places[question], place]) - float(_PRICES[place])

    def log(self, policy: Table, decisions: int, random: np.random.Generator) -> list[LoggedDecision[str]]:
        """What this policy decides, with its propensities, and what comes of it."""
        asked = random.integers(len(self.questions), size=decisions)
        taken = (random.random((decisions, 1)) > policy[asked].cumsum(axis=1)[:, :-1]).sum(axis=1)
        rewards = (random.random(decisions) < self._quality[asked, taken]) - _PRICES[taken]
        propensities = policy[asked, taken]
        return [
            LoggedDecision(self.questions[question], ACTIONS[action], propensity, reward)
            for question, action, propensity, reward in zip(
                asked.tolist(), taken.tolist(), propensities.tolist(), rewards.tolist(), strict=True
            )
        ]

    def as_target(self, policy: Table) -> TargetPolicy[str]:
        """A policy as the estimators take it: by question."""
        rows = {
            question: {action: probability for action, probability in zip(ACTIONS, row, strict=True) if probability > 0}
            for question, row in zip(self.questions, policy.tolist(), strict=True)
        }
        return rows.__getitem__

    def predicted(self, question: str, action: Action) -> float:
        """The perfect reward model."""
        return float(self.utility[self._places[question], ACTIONS.index(action)])

    # --- policies ---

    def uniform(self) -> Table:
        return np.full(self.utility.shape, 1 / len(ACTIONS))

    def always(self, action: Action) -> Table:
        return np.tile(np.array([float(other == action) for other in ACTIONS]), (len(self.questions), 1))

    def best(self) -> Table:
        return _one_hot(np.argmax(self.utility, axis=1))

    def softmax(self, temperature: float) -> Table:
        """The better an action, the likelier; at a low temperature hardly anything but the best."""
        odds = np.exp((self.utility - self.utility.max(axis=1, keepdims=True)) / temperature)
        return np.asarray(odds / odds.sum(axis=1, keepdims=True), np.float64)


def exploring(policy: Table, epsilon: float) -> Table:
    """The policy, but with probability epsilon any action."""
    return (1 - epsilon) * policy + epsilon / len(ACTIONS)


def _one_hot(chosen: NDArray[np.intp]) -> Table:
    table = np.zeros((len(chosen), len(ACTIONS)))
    table[np.arange(len(chosen)), chosen] = 1.0
    return table


def _logistic(values: Table) -> Table:
    return np.asarray(1 / (1 + np.exp(-values)), np.float64)
