"""Learns from feedback which sources to ask, and tries others now and then with a probability that is written down.

Three parts, each of use alone:

* `LinearRewards` is what was learned: per set of sources a ridge regression of the reward on the features of the question, as arrays of
  numbers that go to JSON and back.
* `BanditPolicy` explores safely. With probability 1 - epsilon it takes what another policy chose; else it tries another set, half of the
  time the one with the best prospects (LinUCB: Li, Chu, Langford and Schapire, *A Contextual-Bandit Approach to Personalized News Article
  Recommendation*, WWW 2010, algorithm 1) and half of the time any, so that every set keeps a probability above 0 and what the log says of
  other policies can be trusted (`router/experiments/off_policy.py`). Without rewards it tries any: this is the setting
  `routing.exploration`, which only makes the log tell more and learns nothing by itself.
* `CautiousPolicy` uses what was learned: it departs from another policy's choice only for a set that is better by more than chance.

LinUCB and not Thompson sampling (Agrawal and Goyal, *Thompson Sampling for Contextual Bandits with Linear Payoffs*, ICML 2013): the
probability with which a sampled model prefers a set has no closed form, and the log needs it exactly.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from router.errors import Conflict, InvalidInput
from router.retrieval.base import Probe
from router.routing.base import RoutingPolicy, SourceProfile
from router.routing.budget import TOLERANCE, quick, within_budget
from router.routing.source_sets import SourceSet, source_sets
from router.types import Caller, Query, RouteDecision

Values = NDArray[np.float64]
Features = Callable[[Query, Probe], Mapping[str, float]]
"""What the learner sees of a question: always the same names, values around 0 to 1."""

NOISE = 0.5
"""Standard deviation of a reward around its expectation. No reward between 0 and 1 has a larger one; on another scale, scale the reward."""
GUIDED = 0.5
"""Share of the exploration that goes to the set with the best prospects; the rest is spread evenly."""
OPTIMISM = 1.0
"""Standard deviations by which LinUCB prefers what it knows little of (alpha of Li et al., in units of the noise)."""
CAUTION = 1.0
"""Standard deviations by which a set must be better before it takes the place of the other policy's choice."""
EXPLORED_TRUST = 0.5
"""Least trust in a source that is tried: with the little that its policy gives to what it does not choose, trying it would show nothing."""
FORMAT = 1
"""Of the saved state."""


@dataclass(frozen=True, slots=True)
class Prediction:
    mean: float
    deviation: float
    """Standard deviation of the mean; as large as the prior's where nothing was learned."""


class LinearRewards:
    """Per set of sources, reward = features · theta by ridge regression: A = ridge × I + sum of x xᵀ, b = sum of reward × x, theta = A⁻¹ b.

    A constant 1 is added to the features. A set of which nothing was learned is predicted to bring 0, with a wide deviation.

    Args:
        feature_names: Names of the features, in the order of the arrays.
        ridge: Strength of the prior that no feature matters; about so many decisions outweigh it.
    """

    def __init__(self, feature_names: Sequence[str], ridge: float = 1.0) -> None:
        if len(set(feature_names)) != len(feature_names):
            raise InvalidInput(f"a feature is named twice in {list(feature_names)}", field="feature_names")
        if not 0.0 < ridge < math.inf:
            raise InvalidInput(f"the ridge is {ridge}; it must be above 0 and finite", field="ridge")
        self.feature_names = tuple(feature_names)
        self.ridge = ridge
        width = len(self.feature_names) + 1
        self._places: dict[SourceSet, int] = {}
        """Of each set that was learned about, in the arrays."""
        self._decisions: list[int] = []
        self._a: Values = np.zeros((0, width, width))
        self._b: Values = np.zeros((0, width))
        # Follow from A and b; kept, since there are many predictions for one update.
        self._inverse: Values = np.zeros((0, width, width))
        self._theta: Values = np.zeros((0, width))

    def predict(self, features: Mapping[str, float], action: SourceSet) -> Prediction:
        """What this set is expected to bring.

        Raises:
            InvalidInput: The features are not those of the model, or not finite; names the field.
        """
        return self.predict_all(features, (action,))[action]

    def predict_all(self, features: Mapping[str, float], actions: Iterable[SourceSet]) -> dict[SourceSet, Prediction]:
        """As `predict`, for several sets."""
        vector = self._vector(features)
        means = (self._theta @ vector).tolist()
        deviations = (NOISE * np.sqrt(np.maximum(0.0, self._inverse @ vector @ vector))).tolist()
        unknown = Prediction(0.0, NOISE * math.sqrt(float(vector @ vector) / self.ridge))
        return {
            action: Prediction(means[place], deviations[place]) if (place := self._places.get(action)) is not None else unknown
            for action in actions
        }

    def update(self, features: Mapping[str, float], action: SourceSet, reward: float) -> None:
        """Learn from what came of one decision. The order of updates does not matter.

        Raises:
            InvalidInput: The features are not those of the model, or a number is not finite; names the field.
        """
        if not math.isfinite(reward):
            raise InvalidInput(f"the reward is {reward}; it must be finite", field="reward")
        vector = self._vector(features)
        if action not in self._places:
            self._add(action, self.ridge * np.eye(len(vector)), np.zeros(len(vector)), 0)
        place = self._places[action]
        self._decisions[place] += 1
        self._a[place] += np.outer(vector, vector)
        self._b[place] += reward * vector
        self._solve(place)

    def decisions(self, action: SourceSet) -> int:
        """How many decisions for this set were learned from."""
        return self._decisions[self._places[action]] if action in self._places else 0

    def to_json(self) -> str:
        """Everything that was learned."""
        saved = [
            {"sources": sorted(action), "decisions": self._decisions[place], "A": self._a[place].tolist(), "b": self._b[place].tolist()}
            for action, place in self._places.items()
        ]
        return json.dumps({"format": FORMAT, "features": self.feature_names, "ridge": self.ridge, "sets": saved})

    @classmethod
    def from_json(cls, text: str) -> LinearRewards:
        """What `to_json` wrote.

        Raises:
            InvalidInput: The text is no such state; names the field.
        """
        try:
            saved = _Saved.model_validate_json(text)
        except ValidationError as error:
            problem = error.errors()[0]
            field = ".".join(str(part) for part in problem["loc"])
            raise InvalidInput(f"this is no saved state of the bandit: {field}: {problem['msg']}", field=field) from error
        rewards = cls(saved.features, saved.ridge)
        for place, row in enumerate(saved.sets):
            action = frozenset(row.sources)
            if action in rewards._places:
                raise InvalidInput(f"the set {sorted(action)} is saved twice", field=f"sets.{place}.sources")
            rewards._add(action, *_checked(row, len(saved.features) + 1, f"sets.{place}"), row.decisions)
        return rewards

    def _add(self, action: SourceSet, a: Values, b: Values, decisions: int) -> None:
        self._places[action] = len(self._places)
        self._decisions.append(decisions)
        self._a = np.concatenate([self._a, a[None]])
        self._b = np.concatenate([self._b, b[None]])
        self._inverse = np.concatenate([self._inverse, np.zeros_like(a)[None]])
        self._theta = np.concatenate([self._theta, np.zeros_like(b)[None]])
        self._solve(self._places[action])

    def _solve(self, place: int) -> None:
        # Inverted anew, for a dozen features: updating the inverse instead lets rounding errors pile up.
        self._inverse[place] = np.linalg.inv(self._a[place])
        self._theta[place] = self._inverse[place] @ self._b[place]

    def _vector(self, features: Mapping[str, float]) -> Values:
        """Shape (features + 1,): the constant last."""
        if features.keys() != set(self.feature_names):
            odd = sorted(features.keys() ^ set(self.feature_names))
            raise InvalidInput(
                f"the features differ from those of the model in {odd}; it knows {sorted(self.feature_names)}", field="features"
            )
        vector = np.array([*(features[name] for name in self.feature_names), 1.0], np.float64)
        if not np.isfinite(vector).all():
            name = self.feature_names[int(np.isfinite(vector).argmin())]
            raise InvalidInput(f"the feature {name!r} is {features[name]}; it must be finite", field=f"features.{name}")
        return vector


class _SavedSet(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    sources: list[str]
    decisions: int = Field(ge=0)
    A: list[list[float]]
    b: list[float]


class _Saved(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    format: int = Field(ge=FORMAT, le=FORMAT)
    features: list[str]
    ridge: float = Field(gt=0)
    sets: list[_SavedSet]


def _checked(row: _SavedSet, width: int, field: str) -> tuple[Values, Values]:
    if len(row.A) != width or any(len(line) != width for line in row.A):
        raise InvalidInput(f"the matrix of {row.sources} is not {width} × {width}, as the features ask for", field=f"{field}.A")
    if len(row.b) != width:
        raise InvalidInput(f"the vector of {row.sources} has {len(row.b)} numbers instead of {width}", field=f"{field}.b")
    a = np.array(row.A)
    if not np.allclose(a, a.T) or np.linalg.eigvalsh(a)[0] <= 0:
        raise InvalidInput(f"the matrix of {row.sources} is not symmetric with positive eigenvalues, as every sum is", field=f"{field}.A")
    return a, np.array(row.b)


class BanditPolicy:
    """Takes the base policy's choice, except for one decision in 1 / epsilon.

    The decision's propensity is the probability of its set *given what the base chose*. That is what weighing the log needs, also where
    the base itself plays with chance or decides by a model that answers differently each time: the base's choice is then a part of the
    context, as if it stood in the question.

    Args:
        base: Decides otherwise, and is asked each time. A chain will do.
        rewards: What was learned; whoever receives feedback updates it. None: nothing, so that any other set is tried as likely.
        features: What the learner sees of a question; of a base that tells no features, what the log gets.
        random: Where chance comes from.
        epsilon: Probability of trying another set.
        least_sources: Size of the smallest set that is tried. 0 also tries to answer without asking any source.
        optimism: See `OPTIMISM`.
    """

    name = "bandit"

    def __init__(
        self,
        base: RoutingPolicy,
        rewards: LinearRewards | None,
        features: Features,
        random: np.random.Generator,
        *,
        epsilon: float = 0.1,
        least_sources: int = 1,
        optimism: float = OPTIMISM,
    ) -> None:
        if not 0.0 <= epsilon < 1.0:
            raise InvalidInput(f"epsilon is {epsilon}; it must be at least 0 and below 1", field="epsilon")
        self._base = base
        self._rewards = rewards
        self._features = features
        self._random = random
        self._epsilon = epsilon
        self._least_sources = least_sources
        self._optimism = optimism

    async def decide(self, query: Query, probe: Probe, sources: tuple[SourceProfile, ...], caller: Caller) -> RouteDecision:
        """Raises:
        Conflict: The features are not those that were learned from.
        RouterError: The base policy cannot decide.
        """
        # Within the budget already here: what is dropped later would make another set of the one that was drawn.
        decision = within_budget(await self._base.decide(query, probe, sources, caller), sources, caller)
        seen = self._features(query, probe)
        # The log can only be asked about other policies where it holds what they decide on.
        decision = replace(decision, features=decision.features or seen)
        chosen = frozenset(decision.selected)
        others = self._others(chosen, sources, caller)
        if not others:
            return replace(decision, policy=self.name, reason=f"{decision.policy} decided: {decision.reason}", propensity=1.0)
        # Before chance decides, so that features which do not fit fail at once and not in one call of ten.
        probabilities = self._exploration(seen, others)
        if self._random.random() >= self._epsilon:
            reason = f"{decision.policy} decided, as with probability {1 - self._epsilon:.3g}: {decision.reason}"
            return replace(decision, policy=self.name, reason=reason, propensity=1.0 - self._epsilon)
        place = int(self._random.choice(len(others), p=probabilities))
        propensity = self._epsilon * float(probabilities[place])
        reason = f"tries {_named(others[place])}, as with probability {propensity:.3g}, where {decision.policy} chose {_named(chosen)}"
        return _instead(others[place], decision, reason, self.name, propensity)

    def _others(self, chosen: SourceSet, sources: Sequence[SourceProfile], caller: Caller) -> list[SourceSet]:
        """What may be tried instead; nothing where the base asks less than may be tried, as it does of small talk."""
        if len(chosen) < self._least_sources:
            return []
        price = {source.name: source.cost for source in quick(sources, caller.max_latency_s)}
        most = math.inf if caller.max_cost is None else caller.max_cost + TOLERANCE
        sets = source_sets(list(price), self._least_sources)
        return [other for other in sets if other != chosen and sum(price[name] for name in other) <= most]

    def _exploration(self, features: Mapping[str, float], others: Sequence[SourceSet]) -> Values:
        if self._rewards is None:
            return np.full(len(others), 1.0 / len(others))
        predictions = _predictions(self._rewards, features, others)
        favourite = max(others, key=lambda other: predictions[other].mean + self._optimism * predictions[other].deviation)
        return exploration(len(others), others.index(favourite))


class CautiousPolicy:
    """Takes the base policy's choice, unless the rewards say with some certainty that another set is better.

    Caution as in conservative bandits (Wu, Shariff, Lattimore and Szepesvári, *Conservative Bandits*, ICML 2016), in its simplest form:
    another set must be predicted to bring more by `caution` standard deviations of the difference.

    Args:
        base: Decides while too little was learned.
        rewards: What was learned.
        features: What the learner sees of a question.
        least_sources: Size of the smallest set that may take the place of the base's choice.
        caution: See `CAUTION`.
    """

    name = "cautious"

    def __init__(
        self, base: RoutingPolicy, rewards: LinearRewards, features: Features, *, least_sources: int = 1, caution: float = CAUTION
    ) -> None:
        self._base = base
        self._rewards = rewards
        self._features = features
        self._least_sources = least_sources
        self._caution = caution

    async def decide(self, query: Query, probe: Probe, sources: tuple[SourceProfile, ...], caller: Caller) -> RouteDecision:
        """Raises:
        Conflict: The features are not those that were learned from.
        RouterError: The base policy cannot decide.
        """
        decision = await self._base.decide(query, probe, sources, caller)
        chosen = frozenset(decision.selected)
        others = [
            other
            for other in source_sets([source.name for source in sources], self._least_sources)
            if other != chosen and self._rewards.decisions(other)
        ]
        predictions = _predictions(self._rewards, self._features(query, probe), [chosen, *others])
        kept = predictions[chosen]

        def gain(other: SourceSet) -> float:
            found = predictions[other]
            return found.mean - kept.mean - self._caution * math.hypot(found.deviation, kept.deviation)

        better = max(others, key=gain, default=chosen)
        if better == chosen or gain(better) <= 0:
            return replace(decision, policy=self.name, reason=f"nothing is surely better; {decision.policy} decided: {decision.reason}")
        expected = f"{_named(better)} {predictions[better].mean:.2f} and {_named(chosen)} {kept.mean:.2f}"
        reason = f"by the feedback so far, {expected} are to be expected; {decision.policy} chose the latter"
        return _instead(better, decision, reason, self.name)


def exploration(count: int, favourite: int) -> Values:
    """Probabilities of so many sets, given that one of them is tried; the favourite's is the largest, and none is 0."""
    probabilities = np.full(count, (1.0 - GUIDED) / count)
    probabilities[favourite] += GUIDED
    return probabilities


def _predictions(rewards: LinearRewards, features: Mapping[str, float], actions: Iterable[SourceSet]) -> Mapping[SourceSet, Prediction]:
    try:
        return rewards.predict_all(features, actions)
    except InvalidInput as error:
        # Not the caller's fault: what was saved and what this release sees of a question do not fit together.
        raise Conflict(f"what was learned cannot be used: {error.message}", reason="BANDIT_FEATURES", field=error.field) from error


def _instead(chosen: SourceSet, decision: RouteDecision, reason: str, policy: str, propensity: float = 1.0) -> RouteDecision:
    """Another set than the decision's; where the base already trusts a source more, that stays."""
    routes = tuple(
        replace(route, selected=True, probability=max(route.probability, EXPLORED_TRUST), reason=route.reason if route.selected else reason)
        if route.source in chosen
        else replace(route, selected=False, reason=reason if route.selected else route.reason)
        for route in decision.routes
    )
    return replace(decision, policy=policy, routes=routes, reason=reason, propensity=propensity)


def _named(action: SourceSet) -> str:
    return " + ".join(sorted(action)) or "no source"
