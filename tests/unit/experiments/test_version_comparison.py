"""Two versions by a log whose truth is known: what is told, and what is not claimed."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from router.errors import InvalidInput
from router.experiments.arms import judge_arms
from router.experiments.version_comparison import Pair, calls_of_arms, judge_shadows, judge_trial, judge_versions, read_log
from router.routing.all import AllPolicy
from router.routing.experiment import Arm, Experiment
from router.routing.versions import SHIPPED, PolicyVersions
from tests.unit.routing.questions import SOURCES
from tests.unit.routing.test_learned_policy import HERE, NO_NAMES
from tests.unit.routing.weights import sure_of

WORTH = {("vector",): 0.3, ("web",): 0.95}
"""Chance that an answer is helpful."""
COST = {("vector",): 0.02, ("web",): 0.2}


@pytest.fixture
def pair(tmp_path) -> Pair:
    versions = PolicyVersions(tmp_path)
    versions.add("web", sure_of("web", "web"))
    versions.add("vector", sure_of("vector", "vector"))
    return Pair.open(versions, "web", "vector")


def line(number: int, chosen: tuple[str, ...], propensity: float, reward: float | None, **more: object) -> dict[str, object]:
    row = {"as_asked": False, "features": {**NO_NAMES, **HERE}, "chosen": chosen, "propensity": propensity, "cost": COST[chosen]}
    return {**row, "reward": reward, "request_id": str(number), **more}


def explored(count: int, share: float) -> list[dict[str, object]]:
    """Decisions of a policy that takes the passages, and with this share the web."""
    random = np.random.default_rng(7)
    rows = []
    for number in range(count):
        chosen, propensity = (("web",), share) if random.random() < share else (("vector",), 1 - share)
        rows.append(line(number, chosen, propensity, float(random.random() < WORTH[chosen])))
    return rows


def rows_of(tmp_path, rows):
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_log(path)


def test_a_log_that_explored_tells_which_version_is_better(tmp_path, pair) -> None:
    found, judged = judge_versions(rows_of(tmp_path, explored(1500, 0.2)), pair, SOURCES)
    truth = (0.95 - 0.2) - (0.3 - 0.02)
    assert found.low < truth < found.high
    assert found.is_surely_better
    assert (found.questions, found.version, found.against) == (1500, "web", "vector")
    assert [(one.name, round(one.agreement, 1)) for one in judged] == [("web", 0.2), ("vector", 0.8)]
    for one, worth in zip(judged, (0.75, 0.28), strict=True):
        assert {estimate.estimator for estimate in one.estimates} == {"doubly_robust", "snips"}
        assert all(estimate.low < worth < estimate.high for estimate in one.estimates)


def test_a_log_that_never_tried_it_promises_nothing(tmp_path, pair) -> None:
    found, judged = judge_versions(rows_of(tmp_path, [line(n, ("vector",), 1.0, n % 2) for n in range(500)]), pair, SOURCES)
    assert not found.is_surely_better
    assert "nothing can be told" in found.doubts[0]
    assert (judged[0].estimates, bool(judged[0].trouble)) == ((), True)
    assert judged[1].estimates


def test_few_tries_leave_a_doubt_however_good_they_were(tmp_path, pair) -> None:
    rows = [line(n, ("vector",), 0.98, 0.0) for n in range(500)] + [line(n, ("web",), 0.02, 1.0) for n in range(10)]
    found, _ = judge_versions(rows_of(tmp_path, rows), pair, SOURCES)
    assert found.low > 0
    assert not found.is_surely_better


def test_versions_that_choose_alike_differ_by_nothing(tmp_path) -> None:
    versions = PolicyVersions(tmp_path)
    versions.add("one", sure_of("one", "web"))
    versions.add("same", sure_of("same", "web"))
    found, _ = judge_versions(rows_of(tmp_path, explored(300, 0.2)), Pair.open(versions, "one", "same"), SOURCES)
    assert (found.mean, found.low, found.high, found.is_surely_better) == (0.0, 0.0, 0.0, False)


def test_only_what_a_policy_decided_and_a_person_judged_counts(tmp_path, pair) -> None:
    rows = explored(400, 0.2)
    more = [{**rows[0], "as_asked": True}, {**rows[0], "reward": None}, {**rows[0], "features": {}}]
    found, _ = judge_versions(rows_of(tmp_path, rows + more), pair, SOURCES)
    assert (found.questions, found.by.startswith("judged decisions of 402")) == (400, True)


def test_shadows_are_judged_by_what_they_chose(tmp_path) -> None:
    rows = explored(800, 0.3)
    for number, row in enumerate(rows):
        if number % 2:
            row["shadows"] = [{"policy": "learned@web", "version": "web", "chosen": ["web"]}]
    (shadow,) = judge_shadows(rows_of(tmp_path, rows))
    assert (shadow.name, shadow.decisions) == ("learned@web", 400)
    assert shadow.agreement == pytest.approx(0.3, abs=0.06)
    assert all(estimate.low < 0.75 < estimate.high for estimate in shadow.estimates)
    assert judge_shadows(rows_of(tmp_path, explored(10, 0.3))) == []


def test_arms_are_worth_what_their_calls_were(tmp_path) -> None:
    def of(arm: str, *rewards: float | None):
        return [line(0, ("web",), 1.0, reward, experiment="trial", arm=arm) for reward in rewards]

    rows = rows_of(tmp_path, [*of("a", 1.0, 0.0, None), *of("b", 1.0), *of("c", None), *explored(5, 0.5)])
    one, two, none = judge_arms(calls_of_arms(rows))
    assert (one.arm, one.decisions, one.judged, one.mean) == ("a", 3, 2, pytest.approx(0.3))
    assert one.half_width == pytest.approx(1.96 * 0.5)
    assert (two.mean, two.half_width) == (pytest.approx(0.8), 0.0)
    assert (one.buckets, two.buckets) == (None, None)  # of a log that has none
    assert str(none) == "trial, arm c: nothing known over 0 judged of 1 decisions"


# --- by an experiment ---------------------------------------------------------------------------------------------------

Deal = dict[str, tuple[str, float]]
NEW_AND_OLD: Deal = {"learned@web": ("web", 0.9), "learned": ("vector", 0.4)}
"""Arm -> the version that decides in it, and the chance that its answers are helpful."""


def dealt(deal: Deal = NEW_AND_OLD, experiment: str = "trial", keys: int = 400, **more: object) -> list[dict[str, object]]:
    """Decisions of an experiment with equal shares, keys with three calls each."""
    random = np.random.default_rng(5)
    trial = Experiment(experiment, [Arm(name, 1 / len(deal), AllPolicy()) for name in deal])
    rows = []
    for number in range(3 * keys):
        key = f"user-{number % keys}"
        arm = trial.arm("acme", key).name
        version, worth = deal[arm]
        about = {"experiment": experiment, "arm": arm, "bucket": trial.bucket("acme", key), "policy": "learned", "version": version}
        rows.append(line(number, ("web",), 1.0, float(random.random() < worth), **{**about, **more}))
    return rows


def randomised(tmp_path, rows, pair: Pair):
    return judge_trial(calls_of_arms(rows_of(tmp_path, rows)), pair, None)


def test_arms_that_were_the_versions_are_compared_as_they_were_dealt(tmp_path, pair) -> None:
    found = randomised(tmp_path, dealt(), pair)
    assert found is not None
    assert found.low < 0.5 < found.high
    assert found.is_surely_better
    assert (found.version, found.against, found.sha256, found.against_sha256) == ("web", "vector", pair.sha256, pair.against_sha256)
    assert (found.questions, found.by) == (1200, "judged calls of the experiment 'trial'")
    turned = randomised(tmp_path, dealt(), replace(pair, model=pair.against_model, against_model=pair.model))
    assert turned is not None
    assert (turned.mean, turned.low, turned.high) == pytest.approx((-found.mean, -found.high, -found.low))


def test_what_an_arm_was_is_told_by_who_decided_and_not_by_its_name(tmp_path, pair) -> None:
    assert randomised(tmp_path, dealt({"learned@web": ("web", 0.9), "learned": ("other", 0.4)}), pair) is None
    assert randomised(tmp_path, dealt({"learned@web": ("web", 0.9), "llm": ("vector", 0.4)}), pair) is None
    assert randomised(tmp_path, dealt({"learned@web": ("web", 0.9), "learned": ("web", 0.9)}), pair) is None
    rows = dealt()
    promoted = [{**row, "version": "web"} if row["arm"] == "learned" and number > 1000 else row for number, row in enumerate(rows)]
    assert randomised(tmp_path, promoted, pair) is None
    # Calls for which the arm's policy could not decide are part of what the arm is worth.
    failed = [{**row, "policy": "rules", "version": "0.1.0"} if number % 10 == 0 else row for number, row in enumerate(rows)]
    found = randomised(tmp_path, failed, pair)
    assert found is not None
    assert found.questions == 1200


def test_a_third_arm_does_not_count_and_two_of_one_version_leave_it_open(tmp_path, pair) -> None:
    found = randomised(tmp_path, dealt({**NEW_AND_OLD, "rules": ("", 0.0)}), pair)
    assert found is not None
    assert found.questions < 1200
    assert found.low < 0.5 < found.high
    assert randomised(tmp_path, dealt({**NEW_AND_OLD, "learned@vector": ("vector", 0.4)}), pair) is None


def test_the_newest_experiment_that_can_be_tested_counts(tmp_path, pair) -> None:
    first, second = dealt(experiment="first"), dealt(experiment="second", keys=100)
    found = randomised(tmp_path, [*first, *second], pair)
    assert found is not None
    assert (found.questions, found.by) == (300, "judged calls of the experiment 'second'")
    for row in second:
        del row["bucket"]
    earlier = randomised(tmp_path, [*first, *second], pair)
    assert earlier is not None
    assert earlier.questions == 1200
    assert randomised(tmp_path, second, pair) is None


def test_few_keys_leave_a_doubt_however_good_the_version_was(tmp_path, pair) -> None:
    found = randomised(tmp_path, dealt({"learned@web": ("web", 0.95), "learned": ("vector", 0.05)}, keys=20), pair)
    assert found is not None
    assert (found.low > 0, found.is_surely_better) == (True, False)


@pytest.mark.parametrize("bucket", [-1, 256, "7", 1.5, True])
def test_a_bucket_that_is_none_is_refused(tmp_path, bucket: object) -> None:
    with pytest.raises(InvalidInput, match=r"line 1 of .*the bucket is"):
        rows_of(tmp_path, [line(0, ("web",), 1.0, 1.0, experiment="trial", arm="a", bucket=bucket)])


@pytest.mark.parametrize("text", ["{", "[]", '{"as_asked": false}', json.dumps(line(1, ("web",), 0.5, 1.0) | {"propensity": "often"})])
def test_a_line_that_is_no_decision_is_named(tmp_path, text: str) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps(line(0, ("web",), 0.5, 1.0)) + "\n" + text + "\n")
    with pytest.raises(InvalidInput, match="line 2 of") as caught:
        read_log(path)
    assert caught.value.field == "log"


def test_a_version_is_not_compared_with_itself(tmp_path) -> None:
    with pytest.raises(InvalidInput):
        Pair.open(PolicyVersions(tmp_path), SHIPPED, SHIPPED)
