"""`eval routing`: policies scored by look-up in what every set of sources is worth.

Utility = quality of the first k items - price of the sources asked. The oracle takes the best set for each question. A set of questions
without anything to retrieve is scored by its labels, and where it has grades of each source, by the best grade among the chosen ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from router.experiments.calibration import Reliability, reliability, risk_coverage
from router.experiments.comparison import paired_difference
from router.experiments.dataset import Question
from router.experiments.decisions import Decided
from router.experiments.metrics import mean, percentile
from router.experiments.utilities import FREE, LLMPrice, Outcome, UtilityTable, set_name
from router.routing.source_sets import SourceSet, source_sets


@dataclass(frozen=True, slots=True)
class Value:
    """What a set of sources is worth for a question."""

    utility: float
    cost: float
    outcome: Outcome | None = None
    """None where grades stand in for a measurement."""


class Yardstick(Protocol):
    """What decisions are worth, and which source alone carries."""

    def value(self, question: Question, chosen: SourceSet) -> Value | None:
        """None where it is unknown."""

    def best(self, question: Question) -> Value | None: ...

    def carries(self, question: Question, source: str) -> bool | None:
        """Whether this source alone carries the answer; None where that is unknown."""


class Measured:
    """By what every set of sources gave.

    Args:
        table: What was measured.
        prices: Of the sources, in units of quality; they need not be those of the run.
    """

    def __init__(self, table: UtilityTable, prices: Mapping[str, float]) -> None:
        self._table = table
        self._prices = prices

    def value(self, question: Question, chosen: SourceSet) -> Value | None:
        outcome = self._table.outcomes.get(question.id, {}).get(chosen)
        return None if outcome is None else self._priced(chosen, outcome)

    def best(self, question: Question) -> Value | None:
        values = (self._priced(chosen, outcome) for chosen, outcome in self._table.outcomes.get(question.id, {}).items())
        return max(values, key=lambda value: value.utility, default=None)

    def carries(self, question: Question, source: str) -> bool | None:
        outcome = self._table.outcomes.get(question.id, {}).get(frozenset([source]))
        return None if outcome is None else outcome.is_carried

    def _priced(self, chosen: SourceSet, outcome: Outcome) -> Value:
        cost = sum(self._prices[source] for source in chosen)
        return Value(outcome.quality - cost, cost, outcome)


class Graded:
    """By the grades of a set without anything to retrieve: the best of the chosen sources counts, and asking more costs nothing.

    Args:
        prices: Of the sources, for the column `cost` only: grades have a scale of their own. One that is not here costs nothing.
    """

    def __init__(self, prices: Mapping[str, float]) -> None:
        self._prices = prices

    def value(self, question: Question, chosen: SourceSet) -> Value | None:
        if not question.utility:
            return None
        grade = max((question.utility.get(source, 0.0) for source in chosen), default=0.0)
        return Value(grade, sum(self._prices.get(source, 0.0) for source in chosen))

    def best(self, question: Question) -> Value | None:
        values = (self.value(question, frozenset([source])) for source in sorted(question.utility))
        return max((value for value in values if value is not None), key=lambda value: value.utility, default=None)

    def carries(self, question: Question, source: str) -> bool | None:
        return any(source in route for route in question.routes) if question.routes else None


@dataclass(frozen=True, slots=True)
class Run:
    """One policy, or one set that is always asked."""

    name: str
    decisions: Mapping[str, Decided]
    is_fixed: bool = False


def fixed_runs(sources: Sequence[str], questions: Sequence[Question]) -> list[Run]:
    """Always asking the same set."""
    sets = [(chosen, "+".join(source for source in sources if source in chosen) or "none") for chosen in source_sets(sources)]
    return [Run(f"always {name}", {question.id: Decided(chosen) for question in questions}, is_fixed=True) for chosen, name in sets]


def oracle(yardstick: Yardstick, questions: Sequence[Question]) -> dict[str, float | None]:
    """Mean utility and cost of the best set of each question; None where nothing says what a set is worth."""
    best = [value for question in questions if (value := yardstick.best(question)) is not None]
    if not best:
        return {"utility": None, "cost": None}
    return {"utility": mean([value.utility for value in best]), "cost": mean([value.cost for value in best])}


def run_documents(
    runs: Sequence[Run], questions: Sequence[Question], yardstick: Yardstick, llm_price: LLMPrice = FREE
) -> list[dict[str, Any]]:
    """Every run with its scores, by origin too, and its regret against the best other policy."""
    scores = [_Scores(run, questions, yardstick, llm_price) for run in runs]
    origins = sorted({question.origin for question in questions})
    documents = []
    for run, scored in zip(runs, scores, strict=True):
        document: dict[str, Any] = {"name": run.name, "is_fixed": run.is_fixed, "metrics": scored.metrics(questions)}
        if len(origins) > 1:
            parts = ((origin, [question for question in questions if question.origin == origin]) for origin in origins)
            document["by_origin"] = {origin: {"questions": len(part), **scored.metrics(part)} for origin, part in parts}
        if not run.is_fixed:
            document |= {"calibration": scored.calibration(questions), "risk_coverage": scored.curve(questions)}
            document["versus"] = _versus(scored, [other for other in scores if other is not scored])
        document["chosen"] = dict(Counter(set_name(decided.chosen) for decided in run.decisions.values()).most_common())
        document["failures"] = dict(Counter(decided.failure for decided in run.decisions.values() if decided.failure))
        document["values"] = {"regret": scored.regrets, "right": scored.right}
        documents.append(document)
    return documents


def pareto(runs: Iterable[Mapping[str, Any]]) -> list[str]:
    """The runs that no other beats in quality at the same cost or less, or in cost at the same quality; cheapest first."""
    priced = [(run["metrics"]["cost"], -run["metrics"]["quality"], run["name"]) for run in runs if "quality" in run["metrics"]]
    front: list[str] = []
    last = (0.0, float("inf"))
    for cost, negative, name in sorted(priced):
        if negative < last[1] or (cost, negative) == last:
            front.append(name)
            last = (cost, negative)
    return front


class _Scores:
    """Values of one run, question by question."""

    def __init__(self, run: Run, questions: Sequence[Question], yardstick: Yardstick, llm_price: LLMPrice) -> None:
        self.run = run
        self._yardstick = yardstick
        self._llm_price = llm_price
        self.values: dict[str, Value] = {}
        self.best: dict[str, float] = {}
        self.not_measured: set[str] = set()
        self.right: dict[str, float] = {}
        for question in questions:
            chosen = run.decisions[question.id].chosen
            best = yardstick.best(question)
            value = yardstick.value(question, chosen)
            if best is not None and value is not None:
                self.values[question.id], self.best[question.id] = value, best.utility
            elif best is not None:
                self.not_measured.add(question.id)
            if question.routes:
                self.right[question.id] = float(chosen in question.routes)

    @property
    def regrets(self) -> dict[str, float]:
        return {question: self.best[question] - value.utility for question, value in self.values.items()}

    def metrics(self, questions: Sequence[Question]) -> dict[str, float]:
        return {
            **self._worth(questions),
            **self._money(questions),
            **self._labels(questions),
            **({} if self.run.is_fixed else {**self._confidence(questions), **self._effort(questions)}),
        }

    def calibration(self, questions: Sequence[Question]) -> dict[str, Any] | None:
        """Of all probabilities together, and of each source's."""
        found = self._reliability(questions)
        if found is None:
            return None
        sources = dict.fromkeys(source for decided in self.run.decisions.values() for source in decided.probabilities)
        by_source = {source: self._reliability(questions, source) for source in sources}
        return asdict(found) | {"by_source": {source: asdict(one) for source, one in by_source.items() if one is not None}}

    def curve(self, questions: Sequence[Question]) -> dict[str, Any] | None:
        """Risk against coverage: regret where it is known, else the share of wrong decisions."""
        risks = self.regrets or {question: 1.0 - right for question, right in self.right.items()}
        asked = [question.id for question in questions if question.id in risks]
        found = risk_coverage([self.run.decisions[identity].confidence for identity in asked], [risks[identity] for identity in asked])
        return None if found is None else {"risk": "regret" if self.regrets else "error", **asdict(found)}

    def _worth(self, questions: Sequence[Question]) -> dict[str, float]:
        asked = [question.id for question in questions if question.id in self.values]
        if not asked:
            return {}
        values = [self.values[identity] for identity in asked]
        utility, best = mean([value.utility for value in values]), mean([self.best[identity] for identity in asked])
        metrics = {"utility": utility, "regret": best - utility, "utility_kept": utility / best if best > 0 else 1.0}
        outcomes = [value.outcome for value in values if value.outcome is not None]
        if outcomes:
            metrics["quality"] = mean([outcome.quality for outcome in outcomes])
        metrics["cost"] = mean([value.cost for value in values])
        metrics["sources"] = mean([len(self.run.decisions[identity].chosen) for identity in asked])
        if outcomes:
            metrics["tokens"] = mean([outcome.tokens for outcome in outcomes])
            metrics["evidence_ms_p50"] = percentile([outcome.latency_ms for outcome in outcomes], 0.5)
        if missing := sum(question.id in self.not_measured for question in questions):
            metrics["sets_not_run"] = float(missing)
        return metrics

    def _money(self, questions: Sequence[Question]) -> dict[str, float]:
        """What the language model cost, for deciding and for finding the evidence."""
        spent = []
        for question in questions:
            decided, value = self.run.decisions[question.id], self.values.get(question.id)
            money = self._llm_price.of(decided.prompt_tokens, decided.completion_tokens)
            if value is not None and value.outcome is not None:
                money += self._llm_price.of(value.outcome.prompt_tokens, value.outcome.completion_tokens)
            spent.append(money)
        return {"money": mean(spent)} if any(spent) else {}

    def _labels(self, questions: Sequence[Question]) -> dict[str, float]:
        labelled = [question for question in questions if question.routes]
        if not labelled:
            return {}
        pairs = [(self.run.decisions[question.id].chosen, question.routes) for question in labelled]
        return {"accuracy": mean([self.right[question.id] for question in labelled]), "macro_f1": macro_f1(pairs)}

    def _confidence(self, questions: Sequence[Question]) -> dict[str, float]:
        metrics = {}
        if (found := self._reliability(questions)) is not None:
            metrics = {"ece": found.ece, "brier": found.brier}
        if (curve := self.curve(questions)) is not None:
            metrics["aurc"] = curve["area"]
        labelled = [question.id for question in questions if question.routes]
        sure = reliability([self.run.decisions[identity].confidence for identity in labelled], [bool(self.right[one]) for one in labelled])
        return metrics if sure is None else metrics | {"ece_decision": sure.ece}

    def _effort(self, questions: Sequence[Question]) -> dict[str, float]:
        decided = [self.run.decisions[question.id] for question in questions]
        failed = [one for one in decided if one.failure]
        latencies = [one.latency_ms for one in decided if not one.failure]
        return {"latency_ms_p50": percentile(latencies, 0.5), "could_not_decide": float(len(failed))}

    def _reliability(self, questions: Sequence[Question], only: str | None = None) -> Reliability | None:
        promised: list[float] = []
        kept: list[bool] = []
        for question in questions:
            for source, probability in self.run.decisions[question.id].probabilities.items():
                carried = self._yardstick.carries(question, source) if only in {None, source} else None
                if carried is not None:
                    promised.append(probability)
                    kept.append(carried)
        return reliability(promised, kept)


def macro_f1(pairs: Sequence[tuple[SourceSet, Sequence[SourceSet]]]) -> float:
    """Mean F1 over the accepted sets, each as a class of its own.

    Where several are accepted the chosen one is the truth if it is among them, else the first. What is chosen but never accepted is no
    class: it lowers the recall of what should have been chosen.

    Args:
        pairs: Chosen set, accepted sets.
    """
    truths = [(chosen, chosen if chosen in accepted else accepted[0]) for chosen, accepted in pairs]
    right = Counter(truth for chosen, truth in truths if chosen == truth)
    said = Counter(chosen for chosen, _ in truths)
    meant = Counter(truth for _, truth in truths)
    return mean([2.0 * right[label] / (said[label] + meant[label]) for label in meant])


def _versus(scored: _Scores, others: Sequence[_Scores]) -> dict[str, Any] | None:
    """Paired difference of the regret to the best other policy, or where there is none, to the best fixed set. Below 0: better."""
    regrets = scored.regrets
    rivals = [other for other in others if not other.run.is_fixed and other.regrets] or [other for other in others if other.regrets]
    if not regrets or not rivals:
        return None
    best = min(rivals, key=lambda other: mean(other.regrets.values()))
    return {"run": best.run.name, "regret": asdict(paired_difference(regrets, best.regrets))}
