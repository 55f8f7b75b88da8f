"""What another policy would have been worth, told from the decisions of the one that ran.

A logged decision says what was known (its context), which sources were asked, with which probability the policy that ran asks them (the
propensity), and what came of it (the reward). Each decision is weighed by how much likelier the other policy, the *target*, is to take it:

    w = target's probability of the logged action / its propensity

| estimator | is right when | at the price of |
|---|---|---|
| `ips` | the propensities are right | variance: the weights are as large as the propensities are small |
| `snips` | the same; a bias that falls with 1/n | nothing much, and it stays within the rewards that were seen |
| `doubly_robust` | the propensities or the reward model are right | a reward model |

Where the target does what was never logged there is nothing to weigh: `ips` counts that share as reward 0, `snips` as if it were like the
rest, `doubly_robust` believes its model. No interval shows this error, so each estimate carries warnings about its overlap.

Weights are not clipped: that would trade variance, which the interval shows, for bias, which it does not.

**Intervals** are estimate ± t × standard error. The standard errors are asymptotic and not bootstrapped, for two reasons. The log of a
policy that learns is no independent sample, which resampling its rows takes it for; but w × (reward - value) is a martingale difference as
long as each propensity is right given the decisions before, and of these the sum of squares estimates the variance all the same (Hall and
Heyde, *Martingale Limit Theory and Its Application*, 1980, theorem 3.2). And an interval costs one pass over the log instead of thousands.
The normal quantile held the truth too rarely where few decisions carry the estimate (87 to 92 % at an effective size of 11 to 14). So t is
Student's, with as many degrees of freedom as the effective decisions allow, or as the kurtosis of the terms does where that is fewer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Generic, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from router.errors import InvalidInput

Action = frozenset[str]
"""Names of the sources that are asked together; the empty set asks none."""
ContextT = TypeVar("ContextT")
"""What a policy decides on: the id of a question, or its features."""
TargetPolicy = Callable[[ContextT], Mapping[Action, float]]
"""Context -> probability of each action; an absent one has 0."""
RewardModel = Callable[[ContextT, Action], float] | Mapping[Action, float]
"""Predicted reward of an action in a context, or of an action in any context."""
Values = NDArray[np.float64]

LEAST_DECISIONS = 2
"""One decision, or one that counts, says nothing about the spread."""
SUM_TOLERANCE = 1e-6
"""By how much a target's probabilities may miss the sum of 1."""
LEAST_SHARE = 0.01
"""Share of the target's mass from which on a warning is worth reading: with rewards in 0..1, as much error of the estimate."""
LEAST_EXPECTED = 10
"""A propensity is tiny when a log of this length is expected to hold fewer such decisions."""
FEW_EFFECTIVE = 30
"""Effective decisions below which the interval itself is doubtful. In simulations (300 to 1,000 each) 88 to 98 % of the intervals held the
truth at 11 to 27 effective decisions, 91 to 96 % from 37 on."""
HEAVY_SHARE = 0.1
"""Share of the whole weight from which on a single decision is named."""
SURE = 3.0
"""Standard errors by which the mean weight must miss 1 before that is no chance."""


# Without slots: in Python 3.11, `LoggedDecision[str](...)` of a frozen class with slots fails in the __setattr__ that dataclasses writes
# (test_contexts_may_be_features fails then).
@dataclass(frozen=True)
class LoggedDecision(Generic[ContextT]):
    """One decision as it was taken.

    Raises:
        InvalidInput: The action is no frozenset, the propensity not in (0, 1], or the reward not finite; names the field.
    """

    context: ContextT
    action: Action
    propensity: float
    """Probability with which the policy that ran takes this action in this context."""
    reward: float

    def __post_init__(self) -> None:
        if not isinstance(self.action, frozenset):
            raise InvalidInput(f"the action is {self.action!r}; give a frozenset of the names of the sources asked", field="action")
        if not 0.0 < self.propensity <= 1.0:
            raise InvalidInput(
                f"the propensity is {self.propensity}; it must be above 0 and at most 1: what was taken can be taken", field="propensity"
            )
        if not math.isfinite(self.reward):
            raise InvalidInput(
                f"the reward is {self.reward}; it must be finite: leave out decisions whose reward is unknown", field="reward"
            )


class Overlap(Enum):
    """In which way log and target have little in common."""

    NEVER_LOGGED = "never_logged"
    """The target takes actions that the log does not hold at all."""
    MISSING_MASS = "missing_mass"
    """The mean weight is below 1 by more than chance: the target takes actions that were never taken *in those contexts*."""
    TINY_PROPENSITY = "tiny_propensity"
    """The target takes actions whose propensity is so small that a log of this length holds hardly any."""
    FEW_EFFECTIVE = "few_effective"
    """The weights are so uneven that the log is worth only few decisions of the target."""
    HEAVY_DECISION = "heavy_decision"
    """One decision makes up much of the estimate."""
    WRONG_PROPENSITIES = "wrong_propensities"
    """The mean weight is above 1 by more than chance: the propensities cannot be those of the policy that ran."""


@dataclass(frozen=True, slots=True)
class OverlapWarning:
    kind: Overlap
    share: float
    """Of the target's mass; for FEW_EFFECTIVE of the decisions, for HEAVY_DECISION of the weight; for WRONG_PROPENSITIES the excess."""
    message: str


@dataclass(frozen=True, slots=True)
class Estimate:
    """What the target is worth per decision, and how far that can be trusted."""

    estimator: Literal["ips", "snips", "doubly_robust"]
    value: float
    standard_error: float
    low: float
    high: float
    """Ends of the 95 % interval."""
    decisions: int
    effective_decisions: float
    """Kish's effective sample size, (sum w)^2 / sum w^2 (*Survey Sampling*, 1965): the decisions of the target that say as much."""
    largest_weight: float
    mean_weight: float
    """1 but for chance, when the propensities are right and the target takes nothing that could not be logged."""
    never_logged: float
    """Share of the target's mass on actions that the log does not hold, over the logged contexts."""
    warnings: tuple[OverlapWarning, ...]


@dataclass(frozen=True, slots=True)
class EstimatedDifference:
    """What one target is worth more per decision than another."""

    value: float
    low: float
    high: float
    """Ends of the 95 % interval."""
    decisions: int
    differing: int
    """Decisions on which the two differ."""
    warnings: tuple[OverlapWarning, ...]
    """Of either target, over the decisions on which they differ."""


def ips(log: Sequence[LoggedDecision[ContextT]], target: TargetPolicy[ContextT]) -> Estimate:
    """Inverse propensity scoring: the mean of w × reward. Without bias where the target takes only what could be logged.

    Horvitz and Thompson, *A Generalization of Sampling Without Replacement from a Finite Universe*, JASA 1952; for policies: Precup,
    Sutton and Singh, *Eligibility Traces for Off-Policy Policy Evaluation*, ICML 2000.

    Raises:
        InvalidInput: The log is too short, the target's probabilities are none, or fewer than two decisions count; names the field.
    """
    weighed = _weigh(log, target)
    return _mean_estimate("ips", weighed.weights * weighed.rewards, weighed)


def snips(log: Sequence[LoggedDecision[ContextT]], target: TargetPolicy[ContextT]) -> Estimate:
    """Self-normalised: sum of w × reward / sum of w. A mean of the rewards that were seen, so it stays within them.

    Precup, Sutton and Singh 2000 (weighted importance sampling); Swaminathan and Joachims, *The Self-Normalized Estimator for
    Counterfactual Learning*, NeurIPS 2015. The standard error is the jackknife's (Miller, *The Jackknife: A Review*, Biometrika 1974),
    since the delta method's is too small where few decisions weigh much. It is 0 where all rewards that count are equal, however few.

    Raises:
        InvalidInput: As `ips`.
    """
    weighed = _weigh(log, target)
    rewards, shares = weighed.rewards, weighed.weights / weighed.weights.sum()
    counting = rewards[shares > 0]
    # A sum of shares of rewards can leave their range by a rounding error.
    value = float(np.clip(np.sum(shares * rewards), counting.min(), counting.max()))
    # By how much the estimate moves when one decision is left out, in closed form.
    moves = shares * (rewards - value) / np.maximum(1.0 - shares, np.finfo(np.float64).eps)
    return _estimate("snips", value, (len(log) - 1) * moves, weighed)


def doubly_robust(log: Sequence[LoggedDecision[ContextT]], target: TargetPolicy[ContextT], reward_model: RewardModel[ContextT]) -> Estimate:
    """The mean of what the model predicts for the target, corrected by w × (reward - prediction) of what was taken.

    Dudík, Langford and Li, *Doubly Robust Policy Evaluation and Learning*, ICML 2011. Give a model that was fitted elsewhere, or one with
    far fewer parameters than the log has decisions (`mean_rewards`): the standard error takes the model as given.

    Raises:
        InvalidInput: As `ips`, or the model predicts nothing (finite) for an action; names the field.
    """
    weighed = _weigh(log, target)
    return _mean_estimate("doubly_robust", _doubly_robust_terms(log, weighed, reward_model), weighed)


def doubly_robust_difference(
    log: Sequence[LoggedDecision[ContextT]],
    target: TargetPolicy[ContextT],
    against: TargetPolicy[ContextT],
    reward_model: RewardModel[ContextT],
) -> EstimatedDifference:
    """What the target is worth more per decision than another. Where both do the same the difference is 0, whatever the reward.

    Only decisions on which they differ say anything, so overlap is judged on these alone: over the whole log, that a few differing
    decisions were never tried would not show.

    Raises:
        InvalidInput: As `doubly_robust`, of the decisions on which they differ; names the field.
    """
    _check_length(log, LEAST_DECISIONS)
    differing = [decision for decision in log if target(decision.context) != against(decision.context)]
    if not differing:
        return EstimatedDifference(0.0, 0.0, 0.0, len(log), 0, ())
    one, other = _weigh(differing, target), _weigh(differing, against)
    moved = _doubly_robust_terms(differing, one, reward_model) - _doubly_robust_terms(differing, other, reward_model)
    terms = np.concatenate([moved, np.zeros(len(log) - len(differing))])
    value, effective = float(terms.mean()), [_effective(one.weights), _effective(other.weights)]
    half_width = _half_width(terms - value, min(effective))
    warnings = [*_warnings(one, effective[0]), *_warnings(other, effective[1])]
    return EstimatedDifference(
        value, value - half_width, value + half_width, len(log), len(differing), tuple({one.message: one for one in warnings}.values())
    )


def point_mass(choose: Callable[[ContextT], Action]) -> TargetPolicy[ContextT]:
    """The target that always takes what `choose` returns."""
    return lambda context: {choose(context): 1.0}


def mean_rewards(log: Sequence[LoggedDecision[ContextT]], actions: Sequence[Action]) -> dict[Action, float]:
    """The plainest reward model: what each action brought on average, and the average of all for one that was never logged.

    Raises:
        InvalidInput: The log is empty.
    """
    _check_length(log, 1)
    by_action: dict[Action, list[float]] = {}
    for decision in log:
        by_action.setdefault(decision.action, []).append(decision.reward)
    overall = math.fsum(decision.reward for decision in log) / len(log)
    return {
        action: math.fsum(by_action[action]) / len(by_action[action]) if action in by_action else overall
        for action in dict.fromkeys([*actions, *by_action])
    }


@dataclass(frozen=True, slots=True)
class _Weighed:
    """The log as arrays, shape (decisions,), and what the target does in each context."""

    weights: Values
    rewards: Values
    propensities: Values
    chosen: Sequence[Mapping[Action, float]]
    never_logged: float


def _weigh(log: Sequence[LoggedDecision[ContextT]], target: TargetPolicy[ContextT]) -> _Weighed:
    _check_length(log, LEAST_DECISIONS)
    chosen = [_checked(target(decision.context), decision.context) for decision in log]
    propensities = np.array([decision.propensity for decision in log])
    taken = np.array([probabilities.get(decision.action, 0.0) for decision, probabilities in zip(log, chosen, strict=True)])
    if (common := int(np.count_nonzero(taken))) < LEAST_DECISIONS:
        raise InvalidInput(
            f"the target would take {common} of the {len(log)} logged decisions; at least {LEAST_DECISIONS} are needed: log a policy that "
            "explores",
            reason="NO_OVERLAP",
            field="target",
        )
    logged = {decision.action for decision in log}
    strange = math.fsum(probability for probabilities in chosen for action, probability in probabilities.items() if action not in logged)
    return _Weighed(taken / propensities, np.array([decision.reward for decision in log]), propensities, chosen, strange / len(log))


def _check_length(log: Sequence[LoggedDecision[ContextT]], least: int) -> None:
    if len(log) < least:
        raise InvalidInput(f"the log holds {len(log)} decisions; at least {least} are needed", reason="LOG_TOO_SHORT", field="log")


def _checked(probabilities: Mapping[Action, float], context: object) -> Mapping[Action, float]:
    total = 0.0
    for action, probability in probabilities.items():
        if not isinstance(action, frozenset):
            raise InvalidInput(f"the target takes {action!r} in {context!r}; actions are frozensets of names", field="target")
        if not probability >= 0.0:
            raise InvalidInput(f"the target takes {sorted(action)} in {context!r} with probability {probability}", field="target")
        total += probability
    if not abs(total - 1.0) <= SUM_TOLERANCE:
        raise InvalidInput(f"the target's probabilities in {context!r} sum to {total}; they must sum to 1", field="target")
    return probabilities


def _prediction(model: RewardModel[ContextT]) -> Callable[[ContextT, Action], float]:
    def predict(context: ContextT, action: Action) -> float:
        predicted = model.get(action, math.nan) if isinstance(model, Mapping) else model(context, action)
        if not math.isfinite(predicted):
            raise InvalidInput(
                f"the reward model predicts nothing finite for {sorted(action)} in {context!r}; it must for every action of log and target",
                field="reward_model",
            )
        return predicted

    return predict


def _doubly_robust_terms(log: Sequence[LoggedDecision[ContextT]], weighed: _Weighed, reward_model: RewardModel[ContextT]) -> Values:
    predict = _prediction(reward_model)
    of_target = np.array(
        [
            sum(probability * predict(decision.context, action) for action, probability in chosen.items() if probability > 0)
            for decision, chosen in zip(log, weighed.chosen, strict=True)
        ]
    )
    of_logged = np.array([predict(decision.context, decision.action) for decision in log])
    terms: Values = of_target + weighed.weights * (weighed.rewards - of_logged)
    return terms


def _mean_estimate(estimator: Literal["ips", "doubly_robust"], terms: Values, weighed: _Weighed) -> Estimate:
    value = float(terms.mean())
    return _estimate(estimator, value, terms - value, weighed)


def _estimate(estimator: Literal["ips", "snips", "doubly_robust"], value: float, deviations: Values, weighed: _Weighed) -> Estimate:
    """`deviations`: by how much each decision pulls the estimate, as terms of a mean whose variance is theirs / decisions."""
    weights, count = weighed.weights, len(weighed.weights)
    effective = _effective(weights)
    half_width = _half_width(deviations, effective)
    return Estimate(
        estimator=estimator,
        value=value,
        standard_error=_standard_error(deviations),
        low=value - half_width,
        high=value + half_width,
        decisions=count,
        effective_decisions=effective,
        largest_weight=float(weights.max()),
        mean_weight=float(weights.mean()),
        never_logged=weighed.never_logged,
        warnings=tuple(_warnings(weighed, effective)),
    )


def _standard_error(deviations: Values) -> float:
    count = len(deviations)
    return math.sqrt(float((deviations**2).sum()) / (count * (count - 1)))


def _half_width(deviations: Values, effective: float) -> float:
    return float(stdtrit(_degrees_of_freedom(deviations, effective), 0.975)) * _standard_error(deviations)


def _degrees_of_freedom(deviations: Values, effective: float) -> float:
    """Of the estimated variance; at least 1.

    A mean of n squares whose kurtosis is k varies as a chi-square with 2 n / (k - 1) degrees of freedom does (the match of moments of
    Satterthwaite, *An Approximate Distribution of Estimates of Variance Components*, Biometrics 1946). Where few terms make up the
    variance, k is large, though many light decisions may make the effective size look comfortable.
    """
    largest = float(np.abs(deviations).max())
    if largest == 0.0:
        return max(1.0, effective - 1.0)
    squares = (deviations / largest) ** 2
    kurtosis = float((squares**2).mean() / squares.mean() ** 2)
    of_variance = 2.0 * len(deviations) / (kurtosis - 1.0) if kurtosis > 1.0 else math.inf
    return max(1.0, min(effective - 1.0, of_variance))


def _effective(weights: Values) -> float:
    # Over the largest first: squares of weights near the ends of the float range would overflow or vanish.
    relative = weights / weights.max()
    return float(relative.sum() ** 2 / (relative**2).sum())


def _warnings(weighed: _Weighed, effective: float) -> list[OverlapWarning]:
    weights, count, found = weighed.weights, len(weighed.weights), []

    def warn(kind: Overlap, share: float, message: str) -> None:
        found.append(OverlapWarning(kind, share, message))

    if (never := weighed.never_logged) >= LEAST_SHARE:
        warn(Overlap.NEVER_LOGGED, never, f"{never:.1%} of what the target does was never logged; the interval does not cover this")
    mean, chance = float(weights.mean()), SURE * float(weights.std(ddof=1)) / math.sqrt(count)
    missing = 1.0 - never - mean
    if missing > max(LEAST_SHARE, chance):
        message = f"about {missing:.1%} of what the target does was never logged in such contexts; the interval does not cover this"
        warn(Overlap.MISSING_MASS, missing, message)
    if mean - 1.0 > max(LEAST_SHARE, chance):
        message = f"the mean weight is {mean:.2f} instead of 1; the propensities are not those of the policy that was logged"
        warn(Overlap.WRONG_PROPENSITIES, mean - 1.0, message)
    is_tiny = weighed.propensities < LEAST_EXPECTED / count
    if (tiny := float(weights[is_tiny].sum() / weights.sum())) >= LEAST_SHARE:
        message = f"{tiny:.1%} of the estimate rests on decisions with propensities below {LEAST_EXPECTED / count:.2g}; log more of them"
        warn(Overlap.TINY_PROPENSITY, tiny, message)
    if effective < FEW_EFFECTIVE:
        message = f"{count} logged decisions say as much as {effective:.1f} of the target; below {FEW_EFFECTIVE} the interval is doubtful"
        warn(Overlap.FEW_EFFECTIVE, effective / count, message)
    if (heavy := float(weights.max() / weights.sum())) >= HEAVY_SHARE:
        warn(Overlap.HEAVY_DECISION, heavy, f"a single decision makes up {heavy:.1%} of the weight")
    return found
