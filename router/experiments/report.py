"""Results as JSON and as tables."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from rich.table import Table

from router import __version__
from router.settings import Settings

PACKAGES = ("pymilvus", "milvus-lite", "neo4j", "arcadedb-embedded", "onnxruntime", "spacy", "llama-index-core", "ir-measures")


def document(dataset: str, settings: Settings, runs: Sequence[Mapping[str, Any]], **more: Any) -> dict[str, Any]:
    """One JSON document: dataset, settings, versions, runs. Nothing here is random, so there is no seed to keep."""
    return {
        "dataset": dataset,
        **more,
        "settings": settings.model_dump(mode="json"),
        "versions": {"graphrag-router": __version__, "python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "seed": None,
        "runs": list(runs),
    }


def table(title: str, runs: Sequence[Mapping[str, Any]]) -> Table:
    """Runs as rows, metrics as columns; shares in percent, with the half-width of their 95 % interval."""
    columns = list(dict.fromkeys(name for run in runs for name in run["metrics"]))
    shown = Table(title=title)
    shown.add_column("run")
    for name in columns:
        shown.add_column(name, justify="right")
    for run in runs:
        shown.add_row(run["name"], *(_cell(run, name) for name in columns))
    return shown


def _cell(run: Mapping[str, Any], name: str) -> str:
    if name not in run["metrics"]:
        return "-"
    value = run["metrics"][name]
    if name in run.get("intervals", {}):
        return f"{100 * value:.1f} ±{100 * run['intervals'][name]:.1f}"
    return f"{value:.1f}" if name.startswith(("latency", "could")) else f"{value:.3f}"
