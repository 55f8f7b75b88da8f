"""What can be learned from a data set: features of every question, and what every set of sources gave for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from router.call import Options
from router.correction.judge import judged
from router.engine import Engine
from router.experiments.dataset import Dataset, Question
from router.experiments.made import Made
from router.experiments.measured_file import Line, MeasuredFile
from router.experiments.metrics import carries
from router.experiments.retrieval import caller
from router.experiments.utilities import named_set, set_name, shaping
from router.experiments.value_training import Example
from router.routing.features import features
from router.routing.learned import Kinds
from router.routing.source_sets import source_sets
from router.settings import Settings
from router.types import Query, TextPart, Vector

FORMAT = 1
"""Of a file of lessons; raise it when the meaning of a field changes, such as of a feature."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """One question, for the policy and for the judge of evidence."""

    example: Example
    evidence: Mapping[Kinds, Mapping[str, float]]
    """What the judge looks at, by set."""
    vector: Vector
    """Of the question."""


Lessons = MutableMapping[str, Lesson]
"""By id of the question."""


async def lessons(
    engine: Engine, dataset: str, questions: Sequence[Question], k: int, progress: Callable[[], None], known: Lessons | None = None
) -> list[Lesson]:
    """Ask every source once per question; questions without gold or answers teach nothing and are left out.

    Args:
        engine: With at most one source of each kind, since a policy learns by kind.
        dataset: Name of the set.
        questions: To ask.
        k: Items of evidence that count.
        progress: Called after each question.
        known: Lessons that need not be measured again; new ones are added as they come.

    Raises:
        AllSourcesUnavailable: A source could not serve.
    """
    learned = {} if known is None else known
    for question in questions:
        if (question.gold or question.answers) and question.id not in learned:
            learned[question.id] = await _lesson(engine, dataset, question, k)
        progress()
    return [learned[question.id] for question in questions if question.id in learned]


async def _lesson(engine: Engine, dataset: str, question: Question, k: int) -> Lesson:
    kind = {name: source.profile.kind for name, source in engine.sources.items()}
    sets = [tuple(name for name in engine.sources if name in chosen) for chosen in source_sets(list(engine.sources), least=1)]
    query = Query((TextPart(question.text),))
    probe, compared = await engine.compare(query, sets, Options(limit=k), caller())
    found = {frozenset(kind[name] for name in chosen): one.evidence for chosen, one in zip(sets, compared, strict=True)}
    qualities = {kinds: carries(evidence, question, k) for kinds, evidence in found.items()}
    example = Example(question.id, dataset, question.origin, features(query, probe), qualities)
    return Lesson(example, {kinds: judged(query, probe, evidence) for kinds, evidence in found.items()}, probe.vector)


# --- the file -------------------------------------------------------------------------------------------------------


def open_lessons(
    folder: Path | None, dataset: Dataset, sources: Sequence[str], k: int, settings: Settings
) -> AbstractContextManager[Lessons]:
    """Lessons that outlive their run, in a file of the folder; in no file for None.

    Raises:
        InvalidInput: The file is something else.
        Conflict: Its lessons were measured otherwise; names what differs.
    """
    if folder is None:
        return nullcontext({})
    path = folder / f"{dataset.name}{'' if dataset.titled else '-untitled'}.jsonl"
    return MeasuredFile(path, Made.of(dataset, sources, k, shaping(settings), FORMAT), "lessons", _parse, _line)


def _line(identity: str, lesson: Lesson) -> Line:
    example = lesson.example
    return {
        "question": identity,
        "dataset": example.dataset,
        "origin": example.origin,
        "features": dict(example.features),
        "qualities": {set_name(kinds): quality for kinds, quality in example.qualities.items()},
        "evidence": {set_name(kinds): dict(seen) for kinds, seen in lesson.evidence.items()},
        "vector": lesson.vector.tolist(),
    }


def _parse(line: Line) -> tuple[str, Lesson]:
    identity = line["question"]
    qualities = {named_set(name): quality for name, quality in line["qualities"].items()}
    example = Example(identity, line["dataset"], line["origin"], line["features"], qualities)
    evidence = {named_set(name): seen for name, seen in line["evidence"].items()}
    return identity, Lesson(example, evidence, np.array(line["vector"], dtype=np.float32))
