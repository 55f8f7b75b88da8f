"""`eval retrieval`: each source alone, all of them fused, and what a policy makes of them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from router.call import MAX_LIMIT, Options
from router.engine import Engine
from router.errors import InvalidInput
from router.experiments.dataset import Question
from router.experiments.llm_usage import LLMUsage, counted_llm_usage
from router.experiments.metrics import NDCG_CUT, answer_metrics, documents, ranking_metrics
from router.experiments.scratch import TENANT
from router.types import Caller, Deadline, Query, Retrieval, SourceCode, TextPart

FUSED = "fused"
EVIDENCE_PER_DOCUMENT = 3
"""Long documents bring several passages; this many are asked for per document wanted."""
LEAST_SHARE = 0.05
"""An answer measure that fits fewer of the questions is left out: a mean over three of them says nothing."""
DEADLINE_S = 300.0


@dataclass(frozen=True, slots=True)
class Run:
    """One way of retrieving, to be measured."""

    name: str
    options: Options

    @property
    def is_single_source(self) -> bool:
        return len(self.options.sources) == 1


@dataclass(slots=True)
class Measured:
    """What one run gave, question by question."""

    run: Run
    values: dict[str, dict[str, float]] = field(default_factory=dict)
    """Measure -> question id -> value between 0 and 1; a question that a measure does not fit is absent."""
    latencies_ms: list[float] = field(default_factory=list)
    stages_ms: dict[str, list[float]] = field(default_factory=dict)
    """Stage of the engine -> time per question that went through it."""
    costs: list[float] = field(default_factory=list)
    """Prices of the sources asked, in units of answer quality."""
    llm: LLMUsage = field(default_factory=LLMUsage)
    chosen: dict[str, int] = field(default_factory=dict)
    trouble: dict[str, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.run.name


def planned_runs(engine: Engine, sources: Sequence[str], policies: Sequence[str]) -> list[Run]:
    """Each source alone, then (of several) all of them fused, then each policy.

    Raises:
        InvalidInput: A source that this data set or the settings do not have.
    """
    for source in sources:
        if source not in engine.sources:
            raise InvalidInput(f"there is no source {source!r} for this data set; there are {sorted(engine.sources)}", field="source")
    names = tuple(sources) or tuple(engine.sources)
    runs = [Run(name, Options(sources=(name,))) for name in names]
    if len(names) > 1:
        runs.append(fused_run(FUSED, names))
    return runs + [Run(f"policy:{policy}", Options(policy=policy)) for policy in policies]


def fused_run(name: str, sources: Sequence[str]) -> Run:
    return Run(name, Options(sources=tuple(sources)))


async def measure(engine: Engine, questions: Sequence[Question], run: Run, k: int, progress: Callable[[], None]) -> Measured:
    """One run over all questions, one question at a time."""
    measured = Measured(run)
    wanted = max(k, NDCG_CUT)
    limit = min(MAX_LIMIT, EVIDENCE_PER_DOCUMENT * wanted)
    ranked: dict[str, list[str]] = {}
    answered: dict[str, dict[str, float]] = {}
    crowded: list[Question] = []
    prices = {name: source.profile.cost for name, source in engine.sources.items()}
    for question in questions[:1]:
        await _retrieve(engine, question, run, limit)  # what is loaded at the first use is nobody's latency
    with counted_llm_usage() as measured.llm:
        for question in questions:
            begin = time.perf_counter()
            retrieval = await _retrieve(engine, question, run, limit)
            measured.latencies_ms.append(1000.0 * (time.perf_counter() - begin))
            _note(measured, retrieval, prices)
            ranked[question.id] = documents(retrieval.evidence)
            if question.gold and len(ranked[question.id]) < wanted and len(retrieval.evidence) == limit:
                crowded.append(question)
            answered[question.id] = answer_metrics(retrieval.evidence, question, k)
            progress()
    # A few long documents filled these lists, so longer ones go on after them. Sources may still have fewer than k different documents
    # among their candidates: nobody who asks sees more of them either.
    for question in crowded:
        longest = await _retrieve(engine, question, run, MAX_LIMIT)
        ranked[question.id] = list(dict.fromkeys([*ranked[question.id], *documents(longest.evidence)]))
    measured.values = {**ranking_metrics(ranked, questions, k), **_by_measure(answered)}
    return measured


def caller() -> Caller:
    return Caller(TENANT, uuid.uuid4().hex, Deadline.after(DEADLINE_S))


async def _retrieve(engine: Engine, question: Question, run: Run, limit: int) -> Retrieval:
    return await engine.retrieve(Query((TextPart(question.text),)), replace(run.options, limit=limit), caller())


def _note(measured: Measured, retrieval: Retrieval, prices: Mapping[str, float]) -> None:
    measured.costs.append(sum(prices[source] for source in retrieval.decision.selected))
    for stage, seconds in retrieval.timings.stages_s.items():
        measured.stages_ms.setdefault(stage, []).append(1000.0 * seconds)
    for source in retrieval.decision.selected:
        measured.chosen[source] = measured.chosen.get(source, 0) + 1
    for report in retrieval.sources:
        if report.code is not SourceCode.OK:
            trouble = f"{report.source}: {report.code.value}"
            measured.trouble[trouble] = measured.trouble.get(trouble, 0) + 1


def _by_measure(answered: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    values: dict[str, dict[str, float]] = {}
    for question, measures in answered.items():
        for name, value in measures.items():
            values.setdefault(name, {})[question] = value
    return {name: column for name, column in values.items() if len(column) >= LEAST_SHARE * len(answered)}
