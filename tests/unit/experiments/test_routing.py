"""Scores of policies by look-up, with prices, labels and grades."""

from __future__ import annotations

import pytest

from router.experiments import routing
from router.experiments.dataset import Question
from router.experiments.decisions import Decided
from router.experiments.made import Made
from router.experiments.routing import Graded, Measured, Run, fixed_runs, macro_f1, oracle, pareto, run_documents
from router.experiments.utilities import FREE, LLMPrice, Outcome, UtilityTable

NONE, VECTOR, GRAPH, BOTH = frozenset[str](), frozenset({"vector"}), frozenset({"graph"}), frozenset({"vector", "graph"})
PRICES = {"vector": 0.1, "graph": 0.2}
MADE = Made("small", "", "", ("graph", "vector"), 5, {})


def question(identity: str, origin: str = "", routes: tuple[frozenset[str], ...] = (), **grades: float) -> Question:
    return Question(identity, "?", frozenset({"gold"}), (), routes, origin, utility=grades)


def row(vector: float, graph: float, both: float) -> dict[frozenset[str], Outcome]:
    return {
        chosen: Outcome(quality, latency_ms=quality * 10)
        for chosen, quality in zip((NONE, VECTOR, GRAPH, BOTH), (0, vector, graph, both), strict=True)
    }


QUESTIONS = (question("q1", "text", (VECTOR,)), question("q2", "kg", (GRAPH,)), question("q3", "kg", (GRAPH, BOTH)))
TABLE = UtilityTable(MADE, {"q1": row(1, 0, 1), "q2": row(0, 1, 1), "q3": row(0, 0, 1)})


def policy(name: str, *decided: Decided) -> Run:
    return Run(name, {question.id: one for question, one in zip(QUESTIONS, decided, strict=True)})


def sure(chosen: frozenset[str], vector: float, graph: float) -> Decided:
    return Decided(chosen, {"vector": vector, "graph": graph}, latency_ms=2.0)


GOOD = policy("good", sure(VECTOR, 0.9, 0.2), sure(GRAPH, 0.1, 0.8), sure(GRAPH, 0.3, 0.5))
POOR = policy("poor", sure(GRAPH, 0.4, 0.6), sure(GRAPH, 0.4, 0.6), Decided(NONE, failure="UNAVAILABLE: gone"))


def documents(*runs: Run, prices=PRICES, questions=QUESTIONS, yardstick=None, llm_price=FREE):
    found = run_documents(runs, questions, yardstick or Measured(TABLE, prices), llm_price)
    return {one["name"]: one for one in found}


def test_utility_regret_and_labels() -> None:
    runs = documents(*fixed_runs(("vector", "graph"), QUESTIONS), GOOD, POOR)
    # The oracle: .9, .8, .7
    assert oracle(Measured(TABLE, PRICES), QUESTIONS)["utility"] == pytest.approx(0.8)
    good = runs["good"]["metrics"]
    assert good["utility"] == pytest.approx((0.9 + 0.8 - 0.2) / 3)
    assert good["regret"] == pytest.approx(0.8 - good["utility"])
    assert good["utility_kept"] == pytest.approx(good["utility"] / 0.8)
    assert (good["quality"], good["cost"]) == (pytest.approx(2 / 3), pytest.approx(0.5 / 3))
    assert (good["accuracy"], good["macro_f1"], good["latency_ms_p50"]) == (1.0, 1.0, 2.0)
    assert runs["always vector+graph"]["metrics"]["utility"] == pytest.approx(0.7)
    assert runs["always none"]["metrics"]["accuracy"] == 0.0
    assert runs["poor"]["metrics"]["could_not_decide"] == 1.0
    assert runs["poor"]["failures"] == {"UNAVAILABLE: gone": 1}
    assert "ece" not in runs["always vector"]["metrics"]


def test_other_prices_change_scores_without_a_new_run() -> None:
    free = documents(GOOD, prices={"vector": 0.0, "graph": 0.0})["good"]["metrics"]
    assert (free["utility"], free["cost"]) == (pytest.approx(2 / 3), 0.0)


def test_probabilities_are_measured_against_each_source_alone() -> None:
    good = documents(GOOD)["good"]
    squares = [0.1**2, 0.2**2, 0.1**2, 0.2**2, 0.3**2, 0.5**2]
    assert good["metrics"]["brier"] == pytest.approx(sum(squares) / 6)
    assert good["calibration"]["by_source"].keys() == {"vector", "graph"}
    assert sum(one["count"] for one in good["calibration"]["bins"]) == 6
    # The least confident decision is the one with regret.
    assert good["risk_coverage"]["risk"] == "regret"
    assert good["risk_coverage"]["points"][0][1] == 0.0
    assert good["risk_coverage"]["area"] < good["metrics"]["regret"]


def test_origins_and_the_best_other_policy() -> None:
    runs = documents(*fixed_runs(("vector", "graph"), QUESTIONS), GOOD, POOR)
    by_origin = runs["good"]["by_origin"]
    assert (by_origin["text"]["questions"], by_origin["kg"]["questions"]) == (1, 2)
    assert by_origin["text"]["regret"] == pytest.approx(0.0)
    assert {"accuracy", "ece", "latency_ms_p50"} <= by_origin["kg"].keys()
    assert runs["poor"]["versus"]["run"] == "good"
    difference = runs["poor"]["versus"]["regret"]
    assert difference["mean"] == pytest.approx(runs["poor"]["metrics"]["regret"] - runs["good"]["metrics"]["regret"])
    assert difference["low"] <= difference["mean"] <= difference["high"]
    assert documents(*fixed_runs(("vector", "graph"), QUESTIONS), GOOD)["good"]["versus"]["run"] == "always vector+graph"


def test_sets_that_were_not_run_are_counted_and_not_scored() -> None:
    lost = policy("lost", sure(frozenset({"web"}), 0.5, 0.5), sure(GRAPH, 0.5, 0.5), sure(BOTH, 0.5, 0.5))
    metrics = documents(lost)["lost"]["metrics"]
    assert (metrics["sets_not_run"], metrics["utility"]) == (1.0, pytest.approx((0.8 + 0.7) / 2))


def test_money_is_what_deciding_and_finding_cost() -> None:
    asked = UtilityTable(MADE, {"q1": {VECTOR: Outcome(1.0, prompt_tokens=1_000_000), NONE: Outcome(0.0)}})
    run = Run("asks", {"q1": Decided(VECTOR, {"vector": 1.0}, completion_tokens=500_000)})
    found = documents(run, questions=QUESTIONS[:1], yardstick=Measured(asked, PRICES), llm_price=LLMPrice(2.0, 8.0))
    assert found["asks"]["metrics"]["money"] == pytest.approx(2.0 + 4.0)
    assert "money" not in documents(GOOD)["good"]["metrics"]


def test_grades_stand_in_for_a_measurement() -> None:
    graded = (
        question("q1", "", (VECTOR,), vector=4.0, graph=1.0),
        question("q2", "", (GRAPH,), vector=0.0, graph=2.0),
        question("q3", "", (VECTOR,)),
    )
    run = documents(GOOD, questions=graded, yardstick=Graded({"vector": 0.1}))["good"]
    assert (run["metrics"]["utility"], run["metrics"]["regret"]) == (3.0, 0.0)
    assert run["metrics"]["accuracy"] == pytest.approx(2 / 3)
    assert "quality" not in run["metrics"]
    assert oracle(Graded({}), graded)["utility"] == 3.0


def test_labels_alone_are_enough() -> None:
    labelled = tuple(question(one.id, one.origin, one.routes) for one in QUESTIONS)
    run = documents(GOOD, questions=labelled, yardstick=Graded({}))["good"]
    assert run["metrics"].keys() == {"accuracy", "macro_f1", "ece", "brier", "aurc", "ece_decision", "latency_ms_p50", "could_not_decide"}
    assert (run["risk_coverage"]["risk"], run["versus"]) == ("error", None)
    assert oracle(Graded({}), labelled) == {"utility": None, "cost": None}
    assert routing.pareto([run]) == []


def test_macro_f1() -> None:
    one, two, three = frozenset("a"), frozenset("b"), frozenset("c")
    assert macro_f1([(one, (one,)), (one, (two,)), (two, (two,))]) == pytest.approx(2 / 3)
    assert macro_f1([(two, (one, two)), (one, (one,))]) == 1.0
    assert macro_f1([(three, (one,)), (one, (one,))]) == pytest.approx(2 / 3)  # what is never accepted is no class


def test_the_front_holds_what_nothing_beats() -> None:
    points = {"none": (0.0, 0.0), "cheap": (0.1, 0.5), "same": (0.1, 0.5), "worse": (0.2, 0.4), "dear": (0.3, 0.9), "dearer": (0.4, 0.9)}
    runs = [{"name": name, "metrics": {"cost": cost, "quality": quality}} for name, (cost, quality) in points.items()]
    assert pareto([*runs, {"name": "labels", "metrics": {"accuracy": 1.0}}]) == ["none", "cheap", "same", "dear"]
