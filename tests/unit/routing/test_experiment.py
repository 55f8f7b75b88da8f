"""Arms: one key always meets the same, and the shares hold."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import ConfigurationError, Conflict
from router.routing.all import AllPolicy
from router.routing.experiment import BUCKETS, Arm, Experiment
from router.routing.learned import LearnedPolicy
from router.routing.registry import named_policy
from router.routing.versions import PolicyVersions
from router.settings import RoutingSettings
from tests.unit.routing.weights import sure_of

texts = st.text(max_size=20)


def experiment(name: str = "trial", shares: tuple[float, ...] = (0.7, 0.2, 0.1)) -> Experiment:
    return Experiment(name, [Arm(f"arm-{number}", share, AllPolicy()) for number, share in enumerate(shares)])


@given(texts, texts)
def test_a_key_always_meets_the_same_arm(tenant: str, key: str) -> None:
    assert experiment().arm(tenant, key).name == experiment().arm(tenant, key).name


def test_the_assignment_is_the_same_for_ever() -> None:
    assert [experiment().arm("acme", f"user-{number}").name for number in range(8)] == [
        *["arm-0", "arm-1", "arm-0", "arm-0", "arm-0", "arm-0", "arm-2", "arm-0"],
    ]


def test_the_shares_hold() -> None:
    counts = Counter(experiment().arm("acme", f"user-{number}").name for number in range(20_000))
    for number, share in enumerate((0.7, 0.2, 0.1)):
        assert counts[f"arm-{number}"] / 20_000 == pytest.approx(share, abs=0.015)


@pytest.mark.parametrize("other", [("another", "acme"), ("trial", "umbra")])
def test_other_experiments_and_tenants_are_dealt_anew(other: tuple[str, str]) -> None:
    name, tenant = other
    even = (0.5, 0.5)
    keys = [f"user-{number}" for number in range(4_000)]
    same = sum(experiment(shares=even).arm("acme", key).name == experiment(name, even).arm(tenant, key).name for key in keys)
    assert same / len(keys) == pytest.approx(0.5, abs=0.04)


def test_tenant_and_key_are_not_run_together() -> None:
    arms = Experiment("trial", [Arm(str(number), 1 / 4096, AllPolicy()) for number in range(4096)])
    assert arms.arm("ab", "c").name != arms.arm("a", "bc").name


def test_shares_that_sum_to_a_little_less_leave_no_key_without_an_arm() -> None:
    assert experiment(shares=(1e-12, 1e-12)).arm("acme", "user").name == "arm-1"


@given(texts, texts, st.integers(1, 9))
def test_the_bucket_of_a_key_is_one_of_them_and_does_not_depend_on_the_arms(tenant: str, key: str, tenths: int) -> None:
    bucket = experiment().bucket(tenant, key)
    assert bucket in range(BUCKETS)
    assert experiment(shares=(tenths / 10, 1 - tenths / 10)).bucket(tenant, key) == bucket


def test_the_buckets_are_the_same_for_ever() -> None:
    assert [experiment().bucket("acme", f"user-{number}") for number in range(8)] == [163, 83, 111, 107, 98, 146, 238, 246]


@pytest.mark.parametrize("name", ["trial", "another", ""])
def test_within_an_arm_the_buckets_are_as_likely_as_without(name: str) -> None:
    trial = experiment(name, (0.5, 0.5))
    counts = Counter((trial.arm("acme", key).name, trial.bucket("acme", key)) for key in map(str, range(20_000)))
    even = 20_000 / (2 * BUCKETS)
    cells = [counts[f"arm-{number}", bucket] for number in range(2) for bucket in range(BUCKETS)]
    # Chi square of 511 degrees of freedom has standard deviation 32.
    assert sum((cell - even) ** 2 / even for cell in cells) == pytest.approx(2 * BUCKETS - 1, abs=6 * 32)


def test_other_experiments_and_tenants_have_other_buckets() -> None:
    keys = [f"user-{number}" for number in range(4_000)]
    for name, tenant in (("another", "acme"), ("trial", "umbra")):
        assert sum(experiment().bucket("acme", key) == experiment(name).bucket(tenant, key) for key in keys) < 40


@pytest.mark.parametrize(
    "arms",
    [{"rules": 1.0}, {"rules": 0.5, "all": 0.4}, {"rules": 1.0, "all": 0.0}, {"Rules": 0.5, "all": 0.5}, {"all@": 0.5, "rules": 0.5}],
)
def test_arms_that_are_none_are_refused(arms) -> None:
    with pytest.raises(ValueError, match="arms"):
        RoutingSettings(experiment={"name": "trial", "arms": arms})


def test_a_name_may_say_a_version(tmp_path) -> None:
    versions, policies = PolicyVersions(tmp_path), {"all": AllPolicy(), "learned": AllPolicy()}
    versions.add("a", sure_of("a", "web"))
    assert named_policy("all", policies, versions, "x") is policies["all"]
    named = named_policy("learned@a", policies, versions, "x")
    assert isinstance(named, LearnedPolicy)
    assert named.version == "a"
    for wrong, words in (("tarot", "available are"), ("all@a", "only 'learned' has versions"), ("learned@b", "no version 'b'")):
        with pytest.raises(ConfigurationError, match=words) as caught:
            named_policy(wrong, policies, versions, "routing.shadow.0")
        assert caught.value.field == "routing.shadow.0"
    (tmp_path / "policies" / "learned" / "a.json").write_text("{}")
    with pytest.raises(Conflict):
        named_policy("learned@a", policies, versions, "x")
