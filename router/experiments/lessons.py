"""What can be learned from a data set: features of every question, and what every set of sources gave for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from router.call import Options
from router.correction.judge import judged
from router.engine import Engine
from router.experiments.dataset import Question
from router.experiments.metrics import carries
from router.experiments.retrieval import caller
from router.experiments.value_training import Example
from router.routing.features import features
from router.routing.learned import Kinds
from router.routing.source_sets import source_sets
from router.types import Query, TextPart, Vector


@dataclass(frozen=True, slots=True)
class Lesson:
    """One question, for the policy and for the judge of evidence."""

    example: Example
    evidence: Mapping[Kinds, Mapping[str, float]]
    """What the judge looks at, by set."""
    vector: Vector
    """Of the question."""


async def lessons(engine: Engine, dataset: str, questions: Sequence[Question], k: int, progress: Callable[[], None]) -> list[Lesson]:
    """Ask every source once per question; questions without gold or answers teach nothing and are left out.

    Args:
        engine: With at most one source of each kind, since a policy learns by kind.
        dataset: Name of the set.
        questions: To ask.
        k: Items of evidence that count.
        progress: Called after each question.

    Raises:
        AllSourcesUnavailable: A source could not serve.
    """
    kind = {name: source.profile.kind for name, source in engine.sources.items()}
    sets = [tuple(name for name in engine.sources if name in chosen) for chosen in source_sets(list(engine.sources), least=1)]
    learned: list[Lesson] = []
    for question in questions:
        if question.gold or question.answers:
            query = Query((TextPart(question.text),))
            probe, compared = await engine.compare(query, sets, Options(limit=k), caller())
            found = {frozenset(kind[name] for name in chosen): one.evidence for chosen, one in zip(sets, compared, strict=True)}
            qualities = {kinds: carries(evidence, question, k) for kinds, evidence in found.items()}
            example = Example(question.id, dataset, question.origin, features(query, probe), qualities)
            learned.append(Lesson(example, {kinds: judged(query, probe, evidence) for kinds, evidence in found.items()}, probe.vector))
        progress()
    return learned
