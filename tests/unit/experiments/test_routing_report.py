"""Reports of routing results: tables in Markdown, and one page that loads nothing."""

from __future__ import annotations

import re
import sys

import pytest

from router.errors import MissingExtra
from router.experiments import report
from router.experiments.plots import require_matplotlib
from router.experiments.routing import Measured, Run, fixed_runs, oracle, pareto, run_documents
from router.experiments.routing_report import html, markdown
from router.settings import Settings
from tests.unit.experiments.test_routing import GOOD, POOR, PRICES, QUESTIONS, TABLE

EVIL = Run("<script>", GOOD.decisions)


def document(**more) -> dict:
    runs = run_documents([*fixed_runs(("vector", "graph"), QUESTIONS), GOOD, POOR, EVIL], QUESTIONS, Measured(TABLE, PRICES))
    told = {"split": "dev", "questions": 3, "k": 5, "sources": ["vector", "graph"], "pareto": pareto(runs), **more}
    return report.document("small", Settings(), runs, oracle=oracle(Measured(TABLE, PRICES), QUESTIONS), **told)


def test_markdown_has_a_row_for_every_run_and_tables_by_origin() -> None:
    text = markdown(document())
    assert text.startswith("# Routing on small, dev\n\n3 questions; sources vector, graph; k = 5.\nThe oracle's utility is 0.800.\n")
    tables = [[line for line in block.splitlines() if line.startswith("|")] for block in text.split("\n\n")]
    runs, *by_origin = [table for table in tables if table]
    assert [line.split("|")[1].strip() for line in runs[2:]] == [
        *("always none", "always vector", "always graph", "always vector+graph", "good", "poor", "<script>")
    ]
    assert len({line.count("|") for line in runs}) == 1
    assert [line.split("|")[1].strip() for line in by_origin[0]] == ["utility by origin", "---", "good", "poor", "<script>"]
    assert "- poor: +" in text
    assert "Pareto front" in text


def test_a_set_with_labels_only_has_a_report_too() -> None:
    labels = [{"name": "p", "is_fixed": False, "metrics": {"accuracy": 0.5}, "versus": None}]
    told = {"split": "", "questions": 2, "k": 5, "sources": ["vector"], "pareto": [], "oracle": {"utility": None}}
    text = markdown(report.document("labels", Settings(), labels, **told))
    assert "| p | 0.500 |" in text
    assert "oracle" not in text


def test_without_matplotlib_the_extra_is_named(monkeypatch) -> None:
    monkeypatch.setattr("router.experiments.plots.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install 'graphrag-router\[bench\]'"):
        require_matplotlib()


def test_the_page_stands_alone_and_is_the_same_each_time() -> None:
    pytest.importorskip("matplotlib")
    page = html(document())
    assert page == html(document())
    assert page.count("<svg") == 4
    assert "matplotlib.pyplot" not in sys.modules  # no window system and no global state
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!#)|@import|url\((?!#)""", page)
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
