"""`eval routing`: every set of sources is run once per question; policies are then scored by look-up.

Utility = quality of the first k items - price of the sources asked. The oracle takes the best set for each question.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from router.engine import Engine, Options
from router.errors import RouterError
from router.experiments.dataset import Question
from router.experiments.metrics import carries, mean, percentile
from router.experiments.retrieval import caller
from router.types import Query, TextPart

MAX_SOURCES = 5
"""Above this the number of sets explodes; only single sources, pairs and all are run."""

SourceSet = frozenset[str]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one set of sources is worth for one question."""

    quality: float
    cost: float

    @property
    def utility(self) -> float:
        return self.quality - self.cost


def sensible_sets(sources: Sequence[str]) -> list[SourceSet]:
    """No source, each alone, and every combination."""
    sizes = range(len(sources) + 1) if len(sources) <= MAX_SOURCES else (0, 1, 2, len(sources))
    return [frozenset(chosen) for size in sizes for chosen in combinations(sources, size)]


async def run_all_sets(
    engine: Engine, questions: Sequence[Question], k: int, progress: Callable[[], None]
) -> dict[str, dict[SourceSet, Outcome]]:
    """Question id -> set -> outcome. Questions without gold or answers have no measurable quality and are left out."""
    costs = {name: source.profile.cost for name, source in engine.sources.items()}
    table: dict[str, dict[SourceSet, Outcome]] = {}
    for question in questions:
        if not (question.gold or question.answers):
            continue
        row: dict[SourceSet, Outcome] = {frozenset(): Outcome(0.0, 0.0)}
        for chosen in sensible_sets(list(engine.sources)):
            if chosen:
                names = tuple(name for name in engine.sources if name in chosen)
                retrieval = await engine.retrieve(Query((TextPart(question.text),)), Options(sources=names, limit=k), caller())
                row[chosen] = Outcome(carries(retrieval.evidence, question, k), sum(costs[name] for name in chosen))
        table[question.id] = row
        progress()
    return table


def oracle(table: dict[str, dict[SourceSet, Outcome]]) -> dict[str, float]:
    best = [max(row.values(), key=lambda outcome: outcome.utility) for row in table.values()]
    return {"utility": mean([outcome.utility for outcome in best]), "cost": mean([outcome.cost for outcome in best])}


def fixed_runs(table: dict[str, dict[SourceSet, Outcome]], engine: Engine) -> list[dict[str, Any]]:
    """What always asking the same set is worth."""
    runs = []
    for chosen in sensible_sets(list(engine.sources)):
        name = "always " + ("+".join(source for source in engine.sources if source in chosen) or "none")
        outcomes = {question: row[chosen] for question, row in table.items() if chosen in row}
        runs.append({"name": name, "metrics": _value(outcomes, table)})
    return runs


async def policy_run(
    engine: Engine, name: str, questions: Sequence[Question], table: dict[str, dict[SourceSet, Outcome]], progress: Callable[[], None]
) -> dict[str, Any]:
    """One policy over all questions, scored by look-up."""
    outcomes: dict[str, Outcome] = {}
    right: list[float] = []
    latencies_ms: list[float] = []
    failures = 0
    for question in questions:
        try:
            decision = await engine.route(Query((TextPart(question.text),)), Options(policy=name), caller())
        except RouterError:
            # Counted and reported; a policy that cannot decide answers nothing, which is worth nothing.
            failures += 1
            chosen: SourceSet = frozenset()
        else:
            chosen = frozenset(decision.selected)
            latencies_ms.append(1000.0 * decision.latency_s)
        if question.id in table:
            outcomes[question.id] = table[question.id].get(chosen, Outcome(0.0, 0.0))
        if question.routes:
            right.append(float(chosen in question.routes))
        progress()
    metrics = {**_value(outcomes, table), "latency_ms_p50": percentile(latencies_ms, 0.5), "could_not_decide": float(failures)}
    if right:
        metrics["accuracy"] = mean(right)
    return {"name": name, "metrics": metrics}


def _value(outcomes: dict[str, Outcome], table: dict[str, dict[SourceSet, Outcome]]) -> dict[str, float]:
    if not outcomes:
        return {}
    utility = mean([outcome.utility for outcome in outcomes.values()])
    best = oracle({question: table[question] for question in outcomes})["utility"]
    return {
        "utility": utility,
        "regret": best - utility,
        "utility_kept": utility / best if best > 0 else 1.0,
        "quality": mean([outcome.quality for outcome in outcomes.values()]),
        "cost": mean([outcome.cost for outcome in outcomes.values()]),
    }
