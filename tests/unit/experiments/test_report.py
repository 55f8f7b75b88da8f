"""What is said of several runs: which source is best, how the others differ from it, whether the fused list harms."""

from __future__ import annotations

import json
from io import StringIO

import pytest
from rich.console import Console

from router.call import Options
from router.experiments import report
from router.experiments.retrieval import FUSED, Measured, Run
from router.settings import Settings


def measured(name: str, sources: tuple[str, ...], **values: list[float]) -> Measured:
    by_question = {
        measure.replace("_at_", "@"): {str(number): value for number, value in enumerate(column)} for measure, column in values.items()
    }
    count = max(map(len, values.values()))
    return Measured(Run(name, Options(sources=sources)), by_question, [10.0] * count, {"fuse": [2.0] * count}, [0.02] * count)


def three(*, fused: list[float]) -> list[Measured]:
    return [
        measured("vector", ("vector",), recall_at_5=[1, 0, 0, 0], answer_at_5=[1, 1, 1]),
        measured("graph", ("graph",), recall_at_5=[0, 1, 1, 0], answer_at_5=[0, 0, 0]),
        measured(FUSED, ("vector", "graph"), recall_at_5=fused, answer_at_5=[1, 1, 0]),
    ]


def shown(table) -> str:
    console = Console(file=StringIO(), width=200)
    console.print(table)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_the_best_source_is_the_best_by_what_the_set_is_judged_by() -> None:
    runs = three(fused=[1, 1, 1, 0])
    assert report.main_measure(runs) == "recall@5"
    assert report.best_single_source(runs) is runs[1]


def test_without_gold_passages_the_commonest_answer_measure_judges() -> None:
    runs = [measured("vector", ("vector",), answer_at_5=[1.0], answer_words_at_5=[0.5, 0.25])]
    assert report.main_measure(runs) == "answer_words@5"
    assert report.main_measure([measured("vector", ("vector",), other=[1.0])]) is None


def test_a_run_says_how_it_differs_from_the_best_source() -> None:
    vector, graph, fused = report.run_documents(three(fused=[1, 1, 1, 0]))
    assert "versus" not in graph
    assert fused["versus"]["run"] == "graph"
    assert fused["versus"]["recall@5"]["mean"] == 0.25
    assert (fused["versus"]["recall@5"]["wins"], fused["versus"]["recall@5"]["losses"]) == (1, 0)
    assert vector["versus"]["recall@5"]["mean"] == -0.25
    assert fused["metrics"]["recall@5"] == 0.75
    assert fused["metrics"]["cost_per_query"] == pytest.approx(0.02)
    assert fused["metrics"]["stage_ms_p50/fuse"] == 2.0
    assert fused["counts"] == {"recall@5": 4, "answer@5": 3}
    json.dumps(report.document("set", Settings(), [vector, graph, fused]))


@pytest.mark.parametrize(
    ("fused", "harmless"), [([1.0, 1.0, 0.0, 0.0], True), ([0.5, 0.47, 1.0, 0.0], True), ([1.0, 0.0, 0.9, 0.0], False)]
)
def test_the_fused_list_may_fall_one_point_below_the_best_source(fused: list[float], *, harmless: bool) -> None:
    (row,) = report.summary([("set", three(fused=fused))])
    assert (row["best_source"], row["measure"], row["harmless"]) == ("graph", "recall@5", harmless)
    assert ("ok" in shown(report.summary_table([row]))) is harmless


def test_relation_paths_are_shown_by_hops() -> None:
    values = {"path_exact@1": [1.0, 0.0], "path_exact@5": [1.0, 1.0], "path_exact@1/2-hop": [0.0], "path_exact@5/2-hop": [1.0]}
    by_question = {name: {str(number): value for number, value in enumerate(column)} for name, column in values.items()}
    run = report.run_document(Measured(Run("relation paths", Options(sources=("graph",))), by_question, [1.0, 1.0]))
    lines = shown(report.paths_table("t", run)).splitlines()
    assert [[cell.strip() for cell in line.split("│")[1:3]] for line in lines if line.startswith("│")] == [["all", "2"], ["2-hop", "1"]]
    assert "path_exact@1 " in lines[2]
    assert "50.0 ±" in lines[4]


def test_tables_show_percent_points_and_milliseconds() -> None:
    runs = three(fused=[1, 1, 1, 0])
    documents = report.run_documents(runs)
    assert "75.0 ±" in shown(report.table("t", documents))
    assert "stage" not in shown(report.table("t", documents))
    assert "2.0" in shown(report.stages_table("t", documents))
    differences = shown(report.differences_table("t", runs, runs[1]))
    assert "+25.0 [" in differences
    assert "1/0" in differences
