"""Plots of routing results as SVG, drawn by matplotlib from the JSON document."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from router.errors import MissingExtra

SIZE = (6.2, 4.0)
"""Inches."""
Runs = Sequence[Mapping[str, Any]]


def require_matplotlib() -> None:
    """Raise MissingExtra unless it is installed: before anything is measured for a report that cannot be drawn."""
    if find_spec("matplotlib") is None:
        raise MissingExtra("bench", "the HTML report")


def plots(document: Mapping[str, Any]) -> dict[str, str]:
    """Title -> SVG, for everything that the document has values for.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    require_matplotlib()
    runs: Runs = document["runs"]
    drawn = {
        "Quality against cost": _pareto(runs, document["pareto"]) if document["pareto"] else "",
        "Reliability: does a probability come true as often as it says?": _reliability(runs),
        "Risk against coverage: the most confident decisions first": _risk_coverage(runs),
        "Utility by origin": _origins(runs),
    }
    return {title: svg for title, svg in drawn.items() if svg}


def _pareto(runs: Runs, front: Sequence[str]) -> str:
    figure, axes = _figure()
    points = {run["name"]: (run["metrics"]["cost"], run["metrics"]["quality"]) for run in runs if "quality" in run["metrics"]}
    policies = [run["name"] for run in runs if run["name"] in points and not run["is_fixed"]]
    fixed = [name for name in points if name not in policies]
    for names, marker, label in ((fixed, "s", "always the same set"), (policies, "o", "policies")):
        if names:
            axes.scatter(*zip(*(points[name] for name in names), strict=True), marker=marker, label=label, zorder=3)
    axes.plot(*zip(*(points[name] for name in front), strict=True), drawstyle="steps-post", color="0.5", linewidth=1, label="Pareto front")
    for point in dict.fromkeys(points.values()):
        label = ", ".join(name.removeprefix("always ") for name in points if points[name] == point)
        axes.annotate(label, point, xytext=(4, 4), textcoords="offset points", fontsize=8)
    axes.margins(x=0.2)
    axes.set_xlabel("cost (prices of the sources asked)")
    axes.set_ylabel("quality")
    return _svg(figure, "pareto")


def _reliability(runs: Runs) -> str:
    figure, axes = _figure()
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    shown = [run for run in runs if run.get("calibration")]
    for run in shown:
        bins = run["calibration"]["bins"]
        label = f"{run['name']} (ECE {run['calibration']['ece']:.3f})"
        axes.plot([one["predicted"] for one in bins], [one["observed"] for one in bins], marker="o", markersize=4, label=label)
    axes.set_xlabel("probability that the source carries")
    axes.set_ylabel("share that did")
    return _svg(figure, "reliability") if shown else ""


def _risk_coverage(runs: Runs) -> str:
    figure, axes = _figure()
    shown = [run for run in runs if run.get("risk_coverage")]
    for run in shown:
        curve = run["risk_coverage"]
        axes.plot(*zip(*curve["points"], strict=True), marker=".", label=f"{run['name']} (area {curve['area']:.3f})")
        axes.set_ylabel(f"mean {curve['risk']}")
    axes.set_xlabel("share of the questions")
    return _svg(figure, "risk-coverage") if shown else ""


def _origins(runs: Runs) -> str:
    shown = [run for run in runs if not run["is_fixed"] and any("utility" in part for part in run.get("by_origin", {}).values())]
    if not shown:
        return ""
    origins = [origin for origin, part in shown[0]["by_origin"].items() if "utility" in part]
    figure, axes = _figure()
    width = 0.8 / len(shown)
    for number, run in enumerate(shown):
        places = [place + width * (number - (len(shown) - 1) / 2) for place in range(len(origins))]
        axes.bar(places, [run["by_origin"][origin].get("utility", 0.0) for origin in origins], width, label=run["name"])
    axes.set_xticks(range(len(origins)), [origin or "(none)" for origin in origins], rotation=20 if len(origins) > 4 else 0)
    axes.axhline(0, color="0.5", linewidth=0.8)
    axes.set_ylabel("utility")
    return _svg(figure, "origins")


def _figure() -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.add_subplot()
    axes.grid(color="0.92")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _svg(figure: Any, salt: str) -> str:
    """The figure as an element that stands in a page: text stays text, and the same values give the same file."""
    import matplotlib as mpl

    figure.legend(loc="outside upper center", ncols=3, fontsize=8, frameon=False)  # beside the data, which it would cover
    written = io.StringIO()
    # The salt keeps the ids of several figures of one page apart.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt, "font.family": "sans-serif"}):
        figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = written.getvalue()
    return text[text.index("<svg") :]
