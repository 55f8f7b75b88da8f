"""The results of `eval routing` for people: Markdown, and one HTML page that loads nothing from elsewhere. Both come from the JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import markupsafe

from router.experiments.plots import plots

TEMPLATES = Path(__file__).with_name("templates")
COLUMNS: Mapping[str, str] = {
    "utility": "utility",
    "regret": "regret",
    "utility_kept": "utility kept",
    "quality": "quality",
    "cost": "cost",
    "sources": "sources asked",
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "ece": "ECE",
    "brier": "Brier",
    "ece_decision": "ECE of decisions",
    "aurc": "risk area",
    "tokens": "words of evidence",
    "money": "money",
    "latency_ms_p50": "decision p50 ms",
    "evidence_ms_p50": "evidence p50 ms",
    "could_not_decide": "could not decide",
    "sets_not_run": "sets not run",
}
"""Metrics that are shown, in this order, where any run has them."""
BY_ORIGIN = ("utility", "regret", "accuracy", "ece")
PLACES: Mapping[str, int] = {"tokens": 0, "latency_ms_p50": 1, "evidence_ms_p50": 1, "could_not_decide": 0, "sets_not_run": 0, "money": 5}
"""Decimal places; three where nothing else is said."""


def markdown(document: Mapping[str, Any]) -> str:
    return _environment().get_template("routing.md.j2").render(**_told(document))


def html(document: Mapping[str, Any]) -> str:
    """Raises MissingExtra when matplotlib is not installed."""
    drawn = {title: markupsafe.Markup(svg) for title, svg in plots(document).items()}  # noqa: S704 - drawn by us
    return _environment().get_template("routing.html.j2").render(plots=drawn, **_told(document))


def cell(metrics: Mapping[str, Any], name: str) -> str:
    return "-" if metrics.get(name) is None else f"{metrics[name]:.{PLACES.get(name, 3)}f}"


def versus(run: Mapping[str, Any]) -> str:
    """The paired difference in words; empty for a run without one."""
    found = run.get("versus")
    if not found:
        return ""
    regret = found["regret"]
    interval = f"{regret['mean']:+.3f} [{regret['low']:+.3f}, {regret['high']:+.3f}]"
    return f"{interval} against {found['run']} ({regret['questions']} questions)"


def columns(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    return [name for name in COLUMNS if any(name in run["metrics"] for run in runs)]


def _told(document: Mapping[str, Any]) -> dict[str, Any]:
    runs = document["runs"]
    by_origin = [run for run in runs if not run["is_fixed"] and run.get("by_origin")]
    parts = [part for run in by_origin for part in run["by_origin"].values()]
    return {
        "document": document,
        "runs": runs,
        "policies": [run for run in runs if not run["is_fixed"]],
        "columns": columns(runs),
        "labels": COLUMNS,
        "origins": list(by_origin[0]["by_origin"]) if by_origin else [],
        "by_origin": by_origin,
        "origin_columns": [name for name in BY_ORIGIN if any(name in part for part in parts)],
        "cell": cell,
        "versus": versus,
    }


def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=jinja2.select_autoescape(enabled_extensions=("html.j2",), default_for_string=False),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
