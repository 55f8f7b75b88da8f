"""`policy compare`: which of two versions of `learned` is worth more, by data sets whose every set of sources was measured, or by a log."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from router.errors import InvalidInput
from router.experiments.arms import ArmCall, arm_difference
from router.experiments.catalogue import open_dataset
from router.experiments.comparison import paired_difference
from router.experiments.dataset import Dataset
from router.experiments.decisions import Candidate, decide_all
from router.experiments.off_policy import (
    Action,
    Estimate,
    LoggedDecision,
    doubly_robust,
    doubly_robust_difference,
    mean_rewards,
    point_mass,
    snips,
)
from router.experiments.routing import Measured
from router.experiments.scratch import served_sources, watched_scratch_app
from router.experiments.utilities import made_of, measure_sets, read_table, write_table
from router.routing.base import SourceProfile
from router.routing.experiment import BUCKETS
from router.routing.learned import LearnedPolicy
from router.routing.source_sets import source_sets
from router.routing.value import ValueModel
from router.routing.versions import Comparison, PolicyVersions
from router.settings import ExperimentSettings, Settings

LEAST_QUESTIONS = 50
"""Below this an interval by resampling says little."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two versions, opened and checked."""

    version: str
    against: str
    model: ValueModel
    against_model: ValueModel
    sha256: str
    against_sha256: str

    @classmethod
    def open(cls, versions: PolicyVersions, version: str, against: str) -> Pair:
        """Raises InvalidInput when both are one, else as `PolicyVersions.open`."""
        if version == against:
            raise InvalidInput("name two different versions", field="version")
        models = versions.open(version), versions.open(against)
        return cls(version, against, *models, versions.sha256(version), versions.sha256(against))

    def comparison(self, by: str, questions: int, mean: float, low: float, high: float, doubts: Sequence[str]) -> Comparison:
        return Comparison(
            version=self.version,
            sha256=self.sha256,
            against=self.against,
            against_sha256=self.against_sha256,
            by=by,
            questions=questions,
            mean=mean,
            low=low,
            high=high,
            doubts=tuple(doubts),
            made_at=datetime.now(UTC),
        )


# --- by data sets -----------------------------------------------------------------------------------------------------


def compared_on_sets(
    settings: Settings, pair: Pair, folders: Sequence[Path], *, k: int, limit: int | None, tables: Path | None
) -> Comparison:
    """Paired by question: the utility of what the one chooses less that of what the other chooses.

    Args:
        settings: Of the engine that is measured.
        pair: The versions.
        folders: Data sets with answers or relevant documents.
        k: Items of evidence that count.
        limit: Questions of each set; None: all.
        tables: Folder of Parquet files of what every set of sources is worth: read where they are there, else written.

    Raises:
        InvalidInput: Nothing in the sets can be measured.
        Conflict: A table was made otherwise.
        AllSourcesUnavailable: A source that was asked alone could not serve.
    """
    utilities: dict[str, dict[str, float]] = {pair.version: {}, pair.against: {}}
    datasets = [open_dataset(str(folder), "") for folder in folders]
    for dataset in datasets:
        for name, by_question in asyncio.run(_utilities(settings, pair, dataset, k, limit, tables)).items():
            utilities[name] |= {f"{dataset.name} {question}": utility for question, utility in by_question.items()}
    found = paired_difference(utilities[pair.version], utilities[pair.against])
    if not found.questions:
        raise InvalidInput("no question of these sets has answers or relevant documents", field="folders")
    doubts = []
    if found.questions < LEAST_QUESTIONS:
        doubts.append(f"{found.questions} questions are too few to tell: at least {LEAST_QUESTIONS}")
    names = [dataset.name for dataset in datasets]
    if known := sorted(set(names) & set(pair.model.trained_on_sets)):
        doubts.append(f"version {pair.version!r} was trained on {', '.join(known)}")
    by = f"questions of {', '.join(names)} ({found.wins} better, {found.losses} worse)"
    return pair.comparison(by, found.questions, found.mean, found.low, found.high, doubts)


async def _utilities(
    settings: Settings, pair: Pair, dataset: Dataset, k: int, limit: int | None, tables: Path | None
) -> dict[str, dict[str, float]]:
    questions = [question for question in dataset.some_questions(limit=limit) if question.gold or question.answers]
    made = made_of(dataset, tuple(served_sources(settings, dataset)), k, settings)
    path = tables / f"{dataset.name}.parquet" if tables is not None else None
    table = read_table(path, made, questions) if path is not None and path.exists() else None
    async with watched_scratch_app(settings, dataset) as (app, stage):
        sources = tuple(source.profile for source in app.engine.sources.values())
        prices = {source.name: source.cost for source in sources}
        if table is None:
            table = await measure_sets(app.engine, made, questions, stage("every set of", len(questions)))
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_table(path, table, questions, prices)
        both = {pair.version: pair.model, pair.against: pair.against_model}
        candidates = {name: Candidate(LearnedPolicy(model), sources) for name, model in both.items()}
        decisions = await decide_all(app.engine, candidates, questions, stage("decide", len(questions)))
    yardstick = Measured(table, prices)
    return {
        name: {
            question.id: value.utility
            for question in questions
            if (value := yardstick.value(question, decided[question.id].chosen)) is not None
        }
        for name, decided in decisions.items()
    }


# --- by a log ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """What a line of `policy log --json` says for a comparison."""

    number: int
    features: Mapping[str, float]
    chosen: Action
    propensity: float
    utility: float | None
    """Reward less the price of the sources; None where nobody judged the answer."""
    shadows: Mapping[str, Action]
    call: ArmCall | None
    """As a part of an experiment; None outside of one."""


@dataclass(frozen=True, slots=True)
class Judged:
    """How a policy that did not decide fares by the log of those that did."""

    name: str
    decisions: int
    """Of which it is known what it would have chosen."""
    agreement: float
    """Share of these on which it chose as the live policy."""
    estimates: tuple[Estimate, ...]
    """Of its utility per question: doubly robust and SNIPS; empty where the log does not allow one."""
    trouble: str = ""
    """Why there is no estimate."""


def read_log(path: Path) -> list[Row]:
    """The decisions that a policy made, from what `policy log --json` wrote; those whose caller named the sources are left out.

    Raises:
        InvalidInput: A line is not of the form; names it.
    """
    rows = []
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                row = json.loads(line)
                if not row["as_asked"]:
                    rows.append(_row(number, row))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                message = f"line {number} of {path} is no decision as `policy log --json` writes it: {error!r}"
                raise InvalidInput(message, field="log") from error
    return rows


def _row(number: int, row: Mapping[str, Any]) -> Row:
    utility = None if row["reward"] is None else float(row["reward"]) - float(row["cost"])
    shadows = {shadow["policy"]: frozenset(shadow["chosen"]) for shadow in row.get("shadows", ())}
    chosen, propensity = frozenset(row["chosen"]), float(row["propensity"])
    return Row(
        number,
        dict(row["features"]),
        chosen,
        propensity,
        utility,
        shadows,
        _arm_call(row) if "experiment" in row else None,
    )


def _arm_call(row: Mapping[str, Any]) -> ArmCall:
    bucket = row.get("bucket")
    if bucket is not None and (type(bucket) is not int or not 0 <= bucket < BUCKETS):
        raise ValueError(f"the bucket is {bucket!r}; it must be a number from 0 to {BUCKETS - 1}")
    reward = None if row["reward"] is None else float(row["reward"])
    return ArmCall(row["experiment"], row["arm"], bucket, row.get("policy", ""), row.get("version", ""), reward, float(row["cost"]))


def judge_versions(rows: Sequence[Row], pair: Pair, sources: Sequence[SourceProfile]) -> tuple[Comparison, list[Judged]]:
    """What the versions would have chosen, and the difference of what that is worth.

    They are asked again on the logged features, so what `learned` decides by the words (greetings, overviews of the whole) and what a
    call's `max_cost` forbids is not replayed. Decisions without features are left out.

    Args:
        rows: Of the log.
        pair: The versions.
        sources: As they are configured; those of the log.
    """
    seen = [row for row in rows if row.features]
    chooses = [_replayed(model, sources) for model in (pair.model, pair.against_model)]
    judged = [_judged(name, seen, choose) for name, choose in zip((pair.version, pair.against), chooses, strict=True)]
    log = _rated(seen)
    by = f"judged decisions of {len(rows)} in the log"
    try:
        model = mean_rewards(log, source_sets([source.name for source in sources]))
        found = doubly_robust_difference(log, point_mass(chooses[0]), point_mass(chooses[1]), model)
    except InvalidInput as error:
        return pair.comparison(by, len(log), 0.0, 0.0, 0.0, [f"nothing can be told: {error.message}"]), judged
    by = f"{by} ({found.differing} on which they differ)"
    doubts = [warning.message for warning in found.warnings]
    return pair.comparison(by, len(log), found.value, found.low, found.high, doubts), judged


def judge_shadows(rows: Sequence[Row]) -> list[Judged]:
    """Every shadow policy of the log, by what it chose beside the live one."""
    names = dict.fromkeys(name for row in rows for name in row.shadows)
    return [_judged(name, [row for row in rows if name in row.shadows], _shadow(name)) for name in names]


def calls_of_arms(rows: Sequence[Row]) -> list[ArmCall]:
    return [row.call for row in rows if row.call is not None]


def judge_trial(calls: Sequence[ArmCall], pair: Pair, known: ExperimentSettings | None) -> Comparison | None:
    """The arms that were just these versions, of the newest experiment that has them; None where the log has none that can be tested.

    An arm is a version's when `learned` decided in it by this version and by no other. Its name alone does not say so: what `learned`
    stands for may have changed meanwhile.

    Args:
        calls: Of the log, the oldest first.
        pair: The versions.
        known: The experiment of the settings.
    """
    for experiment in dict.fromkeys(call.experiment for call in reversed(calls)):
        seen: dict[str, set[str]] = {}
        for call in calls:
            # Where the policy of an arm could not decide, one of the chain did, which is part of what the arm is worth.
            if call.experiment == experiment and call.policy == LearnedPolicy.name == call.arm.partition("@")[0]:
                seen.setdefault(call.arm, set()).add(call.version)
        ones = [arm for arm, versions in seen.items() if versions == {pair.model.version}]
        others = [arm for arm, versions in seen.items() if versions == {pair.against_model.version}]
        if len(ones) != 1 or len(others) != 1 or ones == others:
            continue
        found = arm_difference(calls, experiment, ones[0], others[0], known)
        if not found.trouble:
            by = f"judged calls of the experiment {experiment!r}"
            return pair.comparison(by, found.judged, found.mean, found.low, found.high, found.doubts)
    return None


def _shadow(name: str) -> Callable[[Row], Action]:
    return lambda row: row.shadows[name]


def _replayed(model: ValueModel, sources: Sequence[SourceProfile]) -> Callable[[Row], Action]:
    policy, chosen = LearnedPolicy(model), dict[int, Action]()

    def choose(row: Row) -> Action:
        if row.number not in chosen:
            kinds = policy.choices(row.features, sources)[0].kinds
            chosen[row.number] = frozenset(source.name for source in sources if source.kind in kinds)
        return chosen[row.number]

    return choose


def _judged(name: str, rows: Sequence[Row], choose: Callable[[Row], Action]) -> Judged:
    agreement = sum(choose(row) == row.chosen for row in rows) / len(rows) if rows else 0.0
    log = _rated(rows)
    target = point_mass(choose)
    try:
        model = mean_rewards(log, list({choose(one.context) for one in log}))
        estimates = doubly_robust(log, target, model), snips(log, target)
    except InvalidInput as error:
        return Judged(name, len(rows), agreement, (), error.message)
    return Judged(name, len(rows), agreement, estimates)


def _rated(rows: Sequence[Row]) -> list[LoggedDecision[Row]]:
    return [LoggedDecision(row, row.chosen, row.propensity, row.utility) for row in rows if row.utility is not None]
