"""Results as JSON and as tables."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from rich.table import Table

from router import __version__
from router.experiments import routing_report
from router.experiments.comparison import SEED, Difference, paired_difference
from router.experiments.metrics import half_width, mean, percentile
from router.experiments.paths import PATH_EXACT
from router.experiments.retrieval import FUSED, Measured
from router.settings import Settings

PACKAGES = ("pymilvus", "milvus-lite", "neo4j", "arcadedb-embedded", "onnxruntime", "spacy", "llama-index-core", "ir-measures")
HARMLESS = 0.01
"""How far the fused list may fall below the best single source."""
ON_PAPER = {"sources", "ece_decision", "tokens", "evidence_ms_p50"}
"""Of the routing scores those that the screen has no room for."""
STAGE = "stage_ms_p50/"
LABELS = {"latency_ms_p50": "p50 ms", "latency_ms_p99": "p99 ms", "cost_per_query": "cost"}
"""How a table names what would make a column wide."""


def document(dataset: str, settings: Settings, runs: Sequence[Mapping[str, Any]], **more: Any) -> dict[str, Any]:
    """One JSON document: dataset, settings, versions, the seed of the resampled intervals, runs."""
    return {
        "dataset": dataset,
        **more,
        "settings": settings.model_dump(mode="json"),
        "versions": {"graphrag-router": __version__, "python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "seed": SEED,
        "runs": list(runs),
    }


def run_document(measured: Measured) -> dict[str, Any]:
    """One run: metrics (means), intervals (half-widths at 95 %), the values behind them, and what was asked."""
    metrics = {name: mean(column.values()) for name, column in measured.values.items()}
    metrics |= {"latency_ms_p50": percentile(measured.latencies_ms, 0.50), "latency_ms_p99": percentile(measured.latencies_ms, 0.99)}
    metrics |= {f"{STAGE}{stage}": percentile(times, 0.50) for stage, times in measured.stages_ms.items()}
    if measured.costs:
        metrics["cost_per_query"] = mean(measured.costs)
    if measured.llm.calls:
        metrics |= {f"llm_{name}_per_query": count / len(measured.latencies_ms) for name, count in asdict(measured.llm).items()}
    return {
        "name": measured.name,
        "sources": list(measured.run.options.sources),
        "policy": measured.run.options.policy,
        "queries": len(measured.latencies_ms),
        "metrics": metrics,
        "intervals": {name: half_width(column.values()) for name, column in measured.values.items()},
        "counts": {name: len(column) for name, column in measured.values.items()},
        "chosen": measured.chosen,
        "trouble": measured.trouble,
        "values": measured.values,
    }


def run_documents(runs: Sequence[Measured]) -> list[dict[str, Any]]:
    """All runs of one set, each with its paired differences from the best single source."""
    best = best_single_source(runs)
    documents = [run_document(run) for run in runs]
    for run, written in zip(runs, documents, strict=True):
        if best is not None and run is not best and run.values.keys() & best.values.keys():
            written["versus"] = {"run": best.name, **{name: asdict(found) for name, found in differences(run, best).items()}}
    return documents


def differences(run: Measured, against: Measured) -> dict[str, Difference]:
    """By measure that both have."""
    return {name: paired_difference(column, against.values[name]) for name, column in run.values.items() if name in against.values}


def main_measure(runs: Sequence[Measured]) -> str | None:
    """What a set is judged by: recall where it names gold passages, else the answer measure that fits most of its questions."""
    counts: dict[str, int] = {}
    for run in runs:
        for name, column in run.values.items():
            counts[name] = max(counts.get(name, 0), len(column))
    recall = next((name for name in counts if name.startswith("recall@")), None)
    answers = [name for name in counts if name.startswith("answer")]
    return recall or max(answers, key=lambda name: counts[name], default=None)


def best_single_source(runs: Sequence[Measured]) -> Measured | None:
    """By the measure that the set is judged by; None when no source was run alone."""
    measure = main_measure(runs)
    alone = [run for run in runs if run.run.is_single_source and measure in run.values]
    return max(alone, key=lambda run: mean(run.values[str(measure)].values()), default=None)


# --- tables ---------------------------------------------------------------------------------------------------------


def table(title: str, runs: Sequence[Mapping[str, Any]]) -> Table:
    """Runs as rows, metrics as columns; shares in percent, with the half-width of their 95 % interval. Stages have a table of their own."""
    columns = [name for name in dict.fromkeys(name for run in runs for name in run["metrics"]) if not name.startswith(STAGE)]
    shown = _empty(title, columns)
    for run in runs:
        shown.add_row(run["name"], *(_cell(run, name) for name in columns))
    return shown


def routing_table(title: str, runs: Sequence[Mapping[str, Any]]) -> Table:
    """Runs as rows, scores as columns; the reports and the JSON have more of them."""
    names = [name for name in routing_report.columns(runs) if name not in ON_PAPER]
    shown = Table(title=title)
    shown.add_column("run", no_wrap=True)
    for name in names:
        shown.add_column(routing_report.COLUMNS[name], justify="right")
    for run in runs:
        shown.add_row(run["name"], *(routing_report.cell(run["metrics"], name) for name in names))
    return shown


def differences_table(title: str, runs: Sequence[Measured], against: Measured) -> Table:
    """The run that the others are compared with in percent, theirs as points: mean difference [95 % interval] questions won/lost."""
    columns = list(dict.fromkeys(name for run in runs for name in run.values if name in against.values))
    shown = _empty(title, [*columns, "latency_ms_p50"])
    means = (f"{100 * mean(against.values[name].values()):.1f}" for name in columns)
    shown.add_row(against.name, *means, f"{percentile(against.latencies_ms, 0.5):.1f}")
    for run in runs:
        if run is against or not run.values.keys() & against.values.keys():
            continue
        found = differences(run, against)
        cells = (_difference(found[name]) if name in found else "-" for name in columns)
        shown.add_row(run.name, *cells, f"{percentile(run.latencies_ms, 0.5):.1f}")
    return shown


def task_table(title: str, runs: Sequence[Mapping[str, Any]], task: str) -> Table:
    """Runs as rows, the measures of one task as columns, in percent with the half-width of their 95 % interval."""
    names = list(dict.fromkeys(name for run in runs for name in run["intervals"] if name.rpartition("/")[0] == task))
    shown = _empty(title, [name.rpartition("/")[2] for name in names])
    for run in runs:
        if any(name in run["metrics"] for name in names):
            shown.add_row(run["name"], *(_cell(run, name) for name in names))
    return shown


def stages_table(title: str, runs: Sequence[Mapping[str, Any]]) -> Table:
    """Runs as rows, stages of the engine as columns, in milliseconds."""
    columns = list(dict.fromkeys(name for run in runs for name in run["metrics"] if name.startswith(STAGE)))
    shown = _empty(title, [name.removeprefix(STAGE) for name in columns])
    for run in runs:
        if any(name in run["metrics"] for name in columns):
            shown.add_row(run["name"], *(f"{run['metrics'][name]:.1f}" if name in run["metrics"] else "-" for name in columns))
    return shown


def paths_table(title: str, run: Mapping[str, Any]) -> Table:
    """Hops as rows, cuts as columns; in percent with the half-width of the 95 % interval."""
    exact = [name for name in run["metrics"] if name.startswith(PATH_EXACT)]
    cuts = list(dict.fromkeys(name.partition("/")[0] for name in exact))
    shown = _empty(title, ["questions", *cuts], first="hops")
    for hops in sorted({name.partition("/")[2] for name in exact}):
        names = [f"{cut}/{hops}" if hops else cut for cut in cuts]
        shown.add_row(hops or "all", str(run["counts"][names[0]]), *(_cell(run, name) for name in names))
    return shown


def summary(sets: Sequence[tuple[str, Sequence[Measured]]]) -> list[dict[str, Any]]:
    """Per set: what it is judged by, every run's mean, and whether the fused list harms nothing."""
    rows = []
    for name, runs in sets:
        measure, best = main_measure(runs), best_single_source(runs)
        if measure is None:
            continue
        means = {run.name: mean(run.values[measure].values()) for run in runs if measure in run.values}
        row: dict[str, Any] = {"dataset": name, "measure": measure, "means": means}
        if best is not None and FUSED in means:
            row |= {"best_source": best.name, "fused_minus_best": means[FUSED] - means[best.name]}
            row["harmless"] = row["fused_minus_best"] >= -HARMLESS
        rows.append(row)
    return rows


def summary_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Sets as rows, runs as columns, in percent."""
    columns = list(dict.fromkeys(name for row in rows for name in row["means"]))
    shown = _empty("all sets", ["measure", *columns, "fused - best source"], first="set")
    for row in rows:
        cells = [f"{100 * row['means'][name]:.1f}" if name in row["means"] else "-" for name in columns]
        verdict = "-"
        if "harmless" in row:
            within = "ok" if row["harmless"] else f"more than {100 * HARMLESS:.0f} point below"
            verdict = f"{100 * row['fused_minus_best']:+.1f} {row['best_source']}: {within}"
        shown.add_row(row["dataset"], row["measure"], *cells, verdict)
    return shown


def _empty(title: str, columns: Sequence[str], first: str = "run") -> Table:
    shown = Table(title=title)
    shown.add_column(first)
    for name in columns:
        shown.add_column(LABELS.get(name, name), justify="right")
    return shown


def _cell(run: Mapping[str, Any], name: str) -> str:
    if name not in run["metrics"]:
        return "-"
    value = run["metrics"][name]
    if name in run.get("intervals", {}):
        return f"{100 * value:.1f} ±{100 * run['intervals'][name]:.1f}"
    return f"{value:.1f}" if name.startswith(("latency", "could", "llm")) else f"{value:.3f}"


def _difference(found: Difference) -> str:
    return f"{100 * found.mean:+.1f} [{100 * found.low:+.1f}, {100 * found.high:+.1f}] {found.wins}/{found.losses}"
