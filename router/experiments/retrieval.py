"""`eval retrieval`: each source alone, all of them fused, and what a policy makes of them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from router.engine import Engine, Options
from router.errors import InvalidInput
from router.experiments.dataset import Question
from router.experiments.metrics import NDCG_CUT, documents, half_width, has_answer, mean, percentile, ranking_metrics
from router.experiments.scratch import TENANT
from router.types import Caller, Deadline, Query, SourceCode, TextPart

FUSED = "fused"
EVIDENCE_PER_DOCUMENT = 3
"""Long documents bring several passages; this many are asked for per document wanted."""
DEADLINE_S = 300.0


@dataclass(frozen=True, slots=True)
class Run:
    """One way of retrieving, measured."""

    name: str
    options: Options


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
        runs.append(Run(FUSED, Options(sources=names)))
    return runs + [Run(f"policy:{policy}", Options(policy=policy)) for policy in policies]


async def measure(engine: Engine, questions: Sequence[Question], run: Run, k: int, progress: Callable[[], None]) -> dict[str, Any]:
    """One run over all questions: name, sources, metrics (means), intervals (half-widths at 95 %), counts."""
    ranked: dict[str, list[str]] = {}
    answered: list[float] = []
    latencies_ms: list[float] = []
    chosen: dict[str, int] = {}
    trouble: dict[str, int] = {}
    options = Options(run.options.sources, run.options.policy, limit=min(100, EVIDENCE_PER_DOCUMENT * max(k, NDCG_CUT)))
    for question in questions:
        begin = time.perf_counter()
        retrieval = await engine.retrieve(Query((TextPart(question.text),)), options, caller())
        latencies_ms.append(1000.0 * (time.perf_counter() - begin))
        ranked[question.id] = documents(retrieval.evidence)
        if question.answers:
            answered.append(float(has_answer(retrieval.evidence[:k], question.answers)))
        for source in retrieval.decision.selected:
            chosen[source] = chosen.get(source, 0) + 1
        for report in retrieval.sources:
            if report.code is not SourceCode.OK:
                trouble[f"{report.source}: {report.code.value}"] = trouble.get(f"{report.source}: {report.code.value}", 0) + 1
        progress()
    values = ranking_metrics(ranked, questions, k)
    if answered:
        values[f"answer@{k}"] = answered
    return {
        "name": run.name,
        "sources": list(run.options.sources),
        "policy": run.options.policy,
        "queries": len(questions),
        "judged": sum(1 for question in questions if question.gold),
        "metrics": {
            **{name: mean(column) for name, column in values.items()},
            "latency_ms_p50": percentile(latencies_ms, 0.50),
            "latency_ms_p99": percentile(latencies_ms, 0.99),
        },
        "intervals": {name: half_width(column) for name, column in values.items()},
        "chosen": chosen,
        "trouble": trouble,
    }


def caller() -> Caller:
    return Caller(TENANT, uuid.uuid4().hex, Deadline.after(DEADLINE_S))
