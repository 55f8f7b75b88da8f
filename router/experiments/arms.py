"""The arms of A/B experiments, by a log: what the calls of each were worth, and what one is worth more than another.

Keys are dealt to the arms by a hash, so nothing but chance and the policy tells the arms apart, and the difference of their means is what
the one policy is worth more. The calls of one key are alike: intervals take the buckets of the keys as clusters.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from router.experiments.clustered_mean import clustered_mean, half_width
from router.experiments.metrics import half_width as naive_half_width
from router.experiments.metrics import mean
from router.routing.experiment import BUCKETS
from router.routing.learned import LearnedPolicy
from router.settings import ExperimentSettings

LEAST_BUCKETS = 20
"""Below this the spread between the buckets is known too badly."""
HEAVY_SHARE = 0.2
"""Share of an arm's judged calls from which on a single bucket is named."""
SURE = 0.99
"""How sure it must be that something is no chance before a doubt is told."""


@dataclass(frozen=True, slots=True)
class ArmCall:
    """One decision of an experiment."""

    experiment: str
    arm: str
    bucket: int | None
    """Of the key; None where the log does not have it."""
    policy: str
    """That decided: the arm's, or one of the chain where that could not."""
    version: str
    reward: float | None
    """None where nobody judged the answer."""
    cost: float


@dataclass(frozen=True, slots=True)
class ArmResult:
    """What the calls of an arm were worth."""

    experiment: str
    arm: str
    decisions: int
    judged: int
    buckets: int | None
    """With judged calls. None where the log does not have the buckets: the calls of one key then count as independent, which flatters the
    interval."""
    mean: float
    half_width: float
    """Of the 95 % interval of the mean utility; 0 where it is not known."""

    def __str__(self) -> str:
        interval = f" ± {self.half_width:.3f}" if self.half_width else ""
        worth = f"{self.mean:.3f}{interval} utility" if self.judged else "nothing known"
        return f"{self.experiment}, arm {self.arm}: {worth} over {self.judged} judged of {self.decisions} decisions"


@dataclass(frozen=True, slots=True)
class ArmDifference:
    """What an arm is worth more per call than another, with the 95 % interval."""

    experiment: str
    arm: str
    against: str
    judged: int
    """Calls, of both."""
    mean: float
    low: float
    high: float
    doubts: tuple[str, ...] = ()
    """Why the interval may not hold the truth, however it looks."""
    trouble: str = ""
    """Why there is no interval; the difference is then 0 and means nothing."""

    def __str__(self) -> str:
        compared = f"{self.experiment}, arm {self.arm} against {self.against}"
        if self.trouble:
            return f"{compared}: {self.trouble}"
        doubts = f"; {'; '.join(self.doubts)}" if self.doubts else ""
        return f"{compared}: {self.mean:+.4f} [{self.low:+.4f}, {self.high:+.4f}] utility per call over {self.judged} judged calls{doubts}"


def judge_arms(calls: Sequence[ArmCall]) -> list[ArmResult]:
    """The arms of every experiment in the log."""
    return [_result(_of(calls, experiment, arm)) for experiment, arm in sorted({(call.experiment, call.arm) for call in calls})]


def judge_differences(calls: Sequence[ArmCall], known: ExperimentSettings | None) -> list[ArmDifference]:
    """Of every experiment in the log each arm against one: the first of the settings, else `learned`, else the first by name.

    Args:
        calls: Of the log.
        known: The experiment of the settings. Its shares are those of the log's experiment of that name.
    """
    differences = []
    for experiment in sorted({call.experiment for call in calls}):
        arms = sorted({call.arm for call in calls if call.experiment == experiment})
        preferred = [*(known.arms if known is not None and known.name == experiment else ()), LearnedPolicy.name, *arms]
        against = next(arm for arm in preferred if arm in arms)
        differences += [arm_difference(calls, experiment, arm, against, known) for arm in arms if arm != against]
    return differences


def arm_difference(
    calls: Sequence[ArmCall], experiment: str, arm: str, against: str, known: ExperimentSettings | None = None
) -> ArmDifference:
    """One arm against another; both are in the log. See `judge_differences` for the arguments."""
    both = {name: _of(calls, experiment, name) for name in (arm, against)}
    judged = {name: _judged(of) for name, of in both.items()}
    count = sum(map(len, judged.values()))

    def unknown(trouble: str) -> ArmDifference:
        return ArmDifference(experiment, arm, against, count, 0.0, 0.0, 0.0, trouble=trouble)

    if old := sum(call.bucket is None for of in both.values() for call in of):
        return unknown(f"no test: {old} decisions of a release that kept no bucket of the key; go on under another name of the experiment")
    means = {name: clustered_mean(list(map(_utility, of)), _buckets(of)) for name, of in judged.items()}
    one, other = means[arm], means[against]
    if one is None or other is None:
        return unknown("no test: an arm has judged calls of fewer than two buckets of keys")
    doubts = []
    for name, found in ((arm, one), (against, other)):
        if found.clusters < LEAST_BUCKETS:
            doubts.append(f"arm {name} has judged calls in {found.clusters} buckets of keys: at least {LEAST_BUCKETS} are needed")
        if found.heaviest > HEAVY_SHARE:
            doubts.append(f"a single bucket of keys makes up {found.heaviest:.0%} of the judged calls of arm {name}")
        if len({call.reward for call in judged[name]}) == 1:
            doubts.append(f"all judged calls of arm {name} were found alike, which tells nothing of their spread")
    doubts += _bias_of_feedback(both, arm, against)
    if known is not None and known.name == experiment and {arm, against} <= known.arms.keys():
        doubts += _mismatch(both, arm, against, known.arms[arm] / (known.arms[arm] + known.arms[against]))
    value, width = one.value - other.value, half_width(one, other)
    return ArmDifference(experiment, arm, against, count, value, value - width, value + width, tuple(doubts))


def _bias_of_feedback(both: dict[str, list[ArmCall]], arm: str, against: str) -> list[str]:
    """Who says something is no sample of who could: where that differs, the judged calls of the arms are not alike."""
    one, other = (clustered_mean([float(call.reward is not None) for call in both[name]], _buckets(both[name])) for name in (arm, against))
    if one is None or other is None or abs(one.value - other.value) <= half_width(one, other, confidence=SURE):
        return []
    return [f"{one.value:.1%} of the calls of arm {arm} were judged and {other.value:.1%} of arm {against}, which is no chance"]


def _mismatch(both: dict[str, list[ArmCall]], arm: str, against: str, share: float) -> list[str]:
    """Whether the calls are split as the keys are dealt (Fabijan et al., *Diagnosing Sample Ratio Mismatch*, KDD 2019).

    Given how many calls n each key has, an arm's have mean share * sum n and variance share * (1 - share) * sum n^2. The keys are not in
    the log, but they are dealt to the buckets evenly, so that the spread of the buckets' calls tells sum n^2.
    """
    one, other = (np.bincount(_buckets(both[name]), minlength=BUCKETS) for name in (arm, against))
    calls = one + other
    if np.count_nonzero(calls) < 2 * LEAST_BUCKETS:
        return []  # of so few keys the split is skewed; that they are few is told
    spread = math.sqrt(share * (1.0 - share) * BUCKETS * float(calls.var(ddof=1)))
    found = float(one.sum() / calls.sum())
    if abs(found - share) * float(calls.sum()) <= float(ndtri((1.0 + SURE) / 2.0)) * spread:
        return []
    message = f"arm {arm} has {found:.1%} of the calls of both, and is dealt {share:.1%} of the keys, which is no chance"
    return [f"{message}: calls are missing, the arms change how much is asked, or the shares were others"]


def _result(calls: Sequence[ArmCall]) -> ArmResult:
    judged = _judged(calls)
    utilities = list(map(_utility, judged))
    buckets, width = None, naive_half_width(utilities)
    if all(call.bucket is not None for call in calls):
        found = clustered_mean(utilities, _buckets(judged))
        buckets, width = len(set(_buckets(judged))), 0.0 if found is None else half_width(found)
    return ArmResult(calls[0].experiment, calls[0].arm, len(calls), len(judged), buckets, mean(utilities), width)


def _of(calls: Sequence[ArmCall], experiment: str, arm: str) -> list[ArmCall]:
    return [call for call in calls if (call.experiment, call.arm) == (experiment, arm)]


def _judged(calls: Sequence[ArmCall]) -> list[ArmCall]:
    return [call for call in calls if call.reward is not None]


def _utility(call: ArmCall) -> float:
    return (call.reward or 0.0) - call.cost


def _buckets(calls: Sequence[ArmCall]) -> list[int]:
    return [call.bucket for call in calls if call.bucket is not None]
