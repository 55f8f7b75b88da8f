"""Arms of experiments: intervals that hold the truth where keys have many calls each, and doubts where they may not."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from router.experiments.arms import ArmCall, ArmDifference, arm_difference, judge_arms, judge_differences
from router.routing.all import AllPolicy
from router.routing.experiment import Arm, Experiment
from router.settings import ExperimentSettings

EVEN = {"learned": 0.5, "learned@new": 0.5}


def trial(shares: Mapping[str, float] = EVEN) -> ExperimentSettings:
    return ExperimentSettings(name="trial", arms=dict(shares))


def clustered(seed: int, *, keys: int = 150, better: float = 0.0, most: int = 150, shares: Mapping[str, float] = EVEN) -> list[ArmCall]:
    """A log whose keys have few calls or very many, and tastes of their own: what helps one seldom helps another.

    The second arm is better by `better` for every key, so that this is the truth however the calls are spread. 4 of 10 are judged.
    """
    random = np.random.default_rng(seed)
    experiment = Experiment("trial", [Arm(name, share, AllPolicy()) for name, share in shares.items()])
    other = list(shares)[1]
    calls = []
    for number in range(keys):
        key = f"{seed}-{number}"
        arm, bucket = experiment.arm("acme", key).name, experiment.bucket("acme", key)
        chance = 0.1 + 0.7 * random.beta(0.5, 0.5) + better * (arm == other)
        for _ in range(min(most, 1 + int(3 * random.pareto(1.5)))):
            reward = float(random.random() < chance) if random.random() < 0.4 else None
            calls.append(ArmCall("trial", arm, bucket, "learned", "1", reward, 0.0))
    return calls


def difference(calls: list[ArmCall], shares: Mapping[str, float] = EVEN) -> ArmDifference:
    (found,) = judge_differences(calls, trial(shares))
    return found


def naive(calls: list[ArmCall]) -> tuple[float, float]:
    """The interval that takes the calls of one key for independent."""
    other, one = judge_arms([replace(call, bucket=None) for call in calls])
    value, width = one.mean - other.mean, math.hypot(one.half_width, other.half_width)
    return value - width, value + width


@pytest.mark.parametrize("shares", [EVEN, {"learned": 0.8, "learned@new": 0.2}], ids=["even", "uneven"])
def test_the_interval_holds_the_truth_where_one_that_forgets_the_keys_does_not(shares: Mapping[str, float]) -> None:
    logs = [clustered(seed, better=0.1, keys=200, shares=shares) for seed in range(100)]
    found = [difference(log, shares) for log in logs]
    assert sum(one.low <= 0.1 <= one.high for one in found) >= 90
    assert sum(low <= 0.1 <= high for low, high in map(naive, logs)) < 80
    # Nor is it right by saying nothing.
    assert np.median([one.high - one.low for one in found]) < 0.7


def test_arms_that_are_one_policy_seldom_differ() -> None:
    found = [difference(clustered(seed)) for seed in range(100)]
    assert sum(not one.low <= 0 <= one.high for one in found) <= 10
    assert sum(any("no chance" in doubt for doubt in one.doubts) for one in found) <= 6


def test_a_large_experiment_tells_the_better_arm_without_a_doubt() -> None:
    found = difference(clustered(7, keys=3000, better=0.1, most=30))
    assert (found.arm, found.against, found.doubts, found.trouble) == ("learned@new", "learned", (), "")
    assert 0 < found.low < 0.1 < found.high


def test_the_price_counts() -> None:
    calls = clustered(1, keys=500, most=10)
    dear = [replace(call, cost=0.25 * (call.arm == "learned@new")) for call in calls]
    free, priced = difference(calls), difference(dear)
    assert (priced.mean, priced.high - priced.low) == (pytest.approx(free.mean - 0.25), pytest.approx(free.high - free.low))


def test_an_arm_alone_has_the_interval_of_its_buckets() -> None:
    calls = [call for call in clustered(2) if call.arm == "learned"]
    (one,), (old,) = judge_arms(calls), judge_arms([replace(call, bucket=None) for call in calls])
    assert one.buckets == len({call.bucket for call in calls if call.reward is not None})
    assert (old.buckets, old.mean, old.judged) == (None, one.mean, one.judged)
    assert one.half_width > 1.5 * old.half_width > 0
    (single,) = judge_arms([replace(call, bucket=3) for call in calls])
    assert (single.buckets, single.half_width) == (1, 0.0)
    assert "±" not in str(single)


def test_without_buckets_there_is_no_test_and_the_reason() -> None:
    calls = clustered(3)
    found = difference([replace(calls[0], bucket=None), *calls[1:]])
    assert (found.low, found.high, "1 decisions of a release that kept no bucket" in found.trouble) == (0.0, 0.0, True)
    assert found.trouble in str(found)
    nobody = difference([replace(call, reward=None) if call.arm == "learned" else call for call in calls])
    assert "fewer than two buckets" in nobody.trouble


# --- what it is compared with ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arms", "known", "against"),
    [
        (("a", "learned", "b"), ("trial", ("b", "a", "learned")), "b"),
        (("a", "learned", "b"), ("other", ("b", "a", "learned")), "learned"),
        (("a", "learned", "b"), None, "learned"),
        (("c", "b"), None, "b"),
        (("a", "b"), ("trial", ("gone", "b")), "b"),
    ],
)
def test_each_arm_is_compared_with_the_first(arms: tuple[str, ...], known: tuple[str, tuple[str, ...]] | None, against: str) -> None:
    calls = [ArmCall("trial", arm, bucket, "", "", float(bucket % 2), 0.0) for arm in arms for bucket in range(30)]
    settings = None if known is None else ExperimentSettings(name=known[0], arms=dict.fromkeys(known[1], 1 / len(known[1])))
    found = judge_differences(calls, settings)
    assert [(one.arm, one.against) for one in found] == [(arm, against) for arm in sorted(arms) if arm != against]


def test_an_arm_alone_is_compared_with_nothing() -> None:
    assert judge_differences([call for call in clustered(1) if call.arm == "learned"], trial()) == []
    assert judge_differences([], None) == []


# --- doubts ---------------------------------------------------------------------------------------------------------


def even_log(per_bucket: int = 4, buckets: int = 100) -> list[ArmCall]:
    """Both arms alike: in each bucket as many calls, half of them judged, half of these helpful."""
    rewards = (1.0, None, 0.0, None)
    return [
        ArmCall("trial", arm, bucket, "learned", "1", rewards[(number + bucket) % 4], 0.0)
        for arm in EVEN
        for bucket in range(buckets)
        for number in range(per_bucket)
    ]


def test_an_even_log_leaves_no_doubt() -> None:
    found = difference(even_log())
    assert (found.doubts, found.mean) == ((), 0.0)


def test_few_buckets_are_named() -> None:
    assert difference(even_log(buckets=20)).doubts == ()
    one, other = difference(even_log(buckets=19)).doubts
    assert "arm learned@new has judged calls in 19 buckets" in one
    assert "arm learned has judged calls in 19 buckets" in other


def test_a_heavy_bucket_is_named() -> None:
    heavy = ArmCall("trial", "learned@new", 5, "learned", "1", 1.0, 0.0)
    calls = [*even_log(), *[heavy] * 60]
    doubts = arm_difference(calls, "trial", "learned@new", "learned").doubts
    assert "a single bucket of keys makes up 24% of the judged calls of arm learned@new" in doubts


def test_feedback_that_one_arm_gets_more_of_is_named() -> None:
    calls = clustered(11, keys=2000, most=20)
    assert difference(calls).doubts == ()
    random = np.random.default_rng(1)
    fewer = [replace(call, reward=None) if call.arm == "learned" and random.random() < 0.3 else call for call in calls]
    (doubt,) = difference(fewer).doubts
    assert doubt.endswith("of arm learned, which is no chance")
    assert " were judged and " in doubt


def test_calls_that_are_not_split_as_the_keys_are_dealt_are_named() -> None:
    calls = clustered(12, keys=2000, most=20)
    random = np.random.default_rng(1)
    lost = [call for call in calls if call.arm == "learned" or random.random() < 0.7]
    (doubt,) = difference(lost).doubts
    assert "and is dealt 50.0% of the keys" in doubt
    assert arm_difference(lost, "trial", "learned@new", "learned").doubts == ()  # the shares are not known
    other_shares = difference(calls, {"learned": 0.7, "learned@new": 0.3}).doubts
    assert ["dealt 30.0%" in one for one in other_shares] == [True]


def test_of_several_arms_two_are_split_by_their_shares_of_both() -> None:
    shares = {"learned": 0.2, "learned@new": 0.2, "rules": 0.6}
    for found in judge_differences(clustered(13, keys=3000, most=20, shares=shares), trial(shares)):
        assert found.doubts == ()


def test_thumbs_that_only_go_up_tell_nothing() -> None:
    liked = [replace(call, reward=None if call.reward is None else 1.0, cost=0.1 * (call.arm == "learned")) for call in even_log()]
    found = difference(liked)
    assert found.low > 0
    assert [doubt.split(", which")[0] for doubt in found.doubts] == [
        "all judged calls of arm learned@new were found alike",
        "all judged calls of arm learned were found alike",
    ]
