"""`feedback` and `policy train|versions|compare|promote|rollback|log`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from router.cli import documents, render
from router.cli.failures import told
from router.cli.options import (
    DEFAULT_TARGET,
    DEFAULT_TIMEOUT_S,
    Config,
    Json,
    Key,
    Overrides,
    Target,
    Timeout,
    Tls,
    connected,
    overrides_of,
    print_json,
)
from router.experiments.result_file import writable
from router.telemetry import configure_logging
from router.types import LoggedDecision

if TYPE_CHECKING:
    from router.experiments.arms import ArmDifference, ArmResult
    from router.experiments.version_comparison import Judged
    from router.routing.versions import Comparison

app = typer.Typer(no_args_is_help=True, help="Train, compare and promote what the routing policies learn; show what they decided.")

RequestId = Annotated[str, typer.Argument(metavar="REQUEST_ID", help="The call that is judged, as `ask` shows it.")]
_THUMBS = {None: "", True: "helpful", False: "not helpful"}


def feedback(
    request_id: RequestId,
    helpful: Annotated[bool | None, typer.Option("--helpful/--not-helpful", help="Whether the answer was good.")] = None,
    source: Annotated[
        list[str] | None, typer.Option("--source", metavar="NAME", help="A source that would have been right; repeatable.")
    ] = None,
    answer: Annotated[str, typer.Option(metavar="TEXT", help="What the answer should have been.")] = "",
    clicked: Annotated[
        list[int] | None, typer.Option("--clicked", metavar="N", help="A citation that was followed, by its number; repeatable.")
    ] = None,
    target: Target = DEFAULT_TARGET,
    api_key: Key = None,
    tls: Tls = False,
    timeout: Timeout = DEFAULT_TIMEOUT_S,
    as_json: Json = False,
) -> None:
    """Tell what you thought of an answer; what was said of it before is replaced."""
    with connected(target, api_key, tls, timeout, as_json) as client:
        client.record_feedback(
            request_id, helpful=helpful, corrected_answer=answer, clicked_citations=clicked or (), correct_sources=source or ()
        )
    if as_json:
        print_json({"request_id": request_id})
    else:
        typer.echo("kept")


@app.command("train")
def train(
    folders: Annotated[list[Path], typer.Argument(exists=True, file_okay=False, help="Data sets as `eval` reads them.")],
    version: Annotated[str, typer.Option(help="Name of the model; decisions and the log carry it.")],
    out: Annotated[
        Path | None,
        typer.Option(
            callback=writable,
            help="File to write, which the setting `routing.model` names. Default: a version in the data folder, to promote.",
        ),
    ] = None,
    k: Annotated[int, typer.Option("--k", min=1, max=100, help="Items of evidence that count.")] = 5,
    limit: Annotated[int | None, typer.Option(min=1, help="Only N questions of each set, spread evenly over the file.")] = None,
    untitled: Annotated[bool, typer.Option("--untitled", help="Ask each set a second time, over documents without their titles.")] = False,
    as_measured: Annotated[
        bool, typer.Option("--as-measured", help="Leave the feature `recent` as it is in the sets instead of setting it as in life.")
    ] = False,
    strength: Annotated[
        float | None, typer.Option(min=1e-6, help="Inverse strength of the regularisation; default: the best on origins left out.")
    ] = None,
    lessons: Annotated[
        Path | None, typer.Option(help="Folder that keeps what was measured, a file for each set: it is not measured again.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Settings file.")] = None,
) -> None:
    """Train the policy `learned`: run every set of sources on data sets, and write readable weights."""
    with told():
        # Imported here: it brings every backend, which the other commands need not wait for.
        from router.configuration import load_settings
        from router.experiments.training import train_policy
        from router.routing.versions import PolicyVersions

        settings = load_settings(config)
        versions = PolicyVersions(settings.data_dir)
        if out is None:
            versions.check_free(version)
        text = train_policy(
            settings, folders, version, k=k, limit=limit, untitled=untitled, as_measured=as_measured, strength=strength, kept=lessons
        )
        if out is None:
            out = versions.add(version, text)
        else:
            out.write_text(text, encoding="utf-8")
        typer.echo(f"{out}: version {version}")


@app.command("versions")
def versions_command(config: Config = None, overrides: Overrides = None, as_json: Json = False) -> None:
    """List the versions of `learned` in the data folder, which is live, and what was promoted when."""
    with told(as_json):
        from router.configuration import load_settings
        from router.routing.versions import SHIPPED, PolicyVersions

        versions = PolicyVersions(load_settings(config, overrides_of(overrides)).data_dir)
        manifest = versions.manifest()
        compared = {version: versions.comparison(version) for version in manifest.versions}
        if as_json:
            document = {
                "live": manifest.live,
                "versions": {
                    version: {
                        **kept.model_dump(mode="json"),
                        "comparison": None if (found := compared[version]) is None else found.model_dump(mode="json"),
                    }
                    for version, kept in manifest.versions.items()
                },
                "history": [step.model_dump(mode="json") for step in manifest.history],
            }
            print_json(document)
            return
        table = _table("version", "made", "sha256", "compared")
        for version in (SHIPPED, *manifest.versions):
            named = f"{version} (live)" if version == manifest.live else version
            kept, found = manifest.versions.get(version), compared.get(version)
            made = (f"{kept.made_at:%Y-%m-%d %H:%M}", kept.sha256[:12]) if kept else ("", versions.sha256(version)[:12])
            table.add_row(named, *made, Text("" if found is None else str(found)))
        console = render.screen()
        console.print(table)
        for step in manifest.history:
            console.print(f"{step.at:%Y-%m-%d %H:%M} {step.action}: {step.version} is live")


@app.command("compare")
def compare(
    version: Annotated[
        str | None, typer.Argument(metavar="VERSION", help="The version that may become live; `shipped` is the release's.")
    ] = None,
    against: Annotated[str | None, typer.Argument(metavar="AGAINST", help="What it is compared with, such as the live one.")] = None,
    folders: Annotated[
        list[Path] | None, typer.Argument(metavar="DATASET...", exists=True, file_okay=False, help="Data sets as `eval` reads them.")
    ] = None,
    log_file: Annotated[
        Path | None,
        typer.Option("--log", exists=True, dir_okay=False, metavar="FILE", help="Judge by this export of `policy log --json` instead."),
    ] = None,
    k: Annotated[int, typer.Option("--k", min=1, max=100, help="Items of evidence that count.")] = 5,
    limit: Annotated[int | None, typer.Option(min=1, help="Only N questions of each set, spread evenly over the file.")] = None,
    tables: Annotated[
        Path | None, typer.Option(help="Folder of tables of what every set of sources is worth: read where they are there, else written.")
    ] = None,
    config: Config = None,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Say which version of `learned` is worth more per question, with a 95 % interval; kept beside VERSION for `policy promote`.

    By data sets: the utility of what each chooses, paired by question. By a log: off-policy estimates, also of the shadow policies in it,
    and the arms of experiments with their differences, for which no versions need be named. Where two arms were just these versions, their
    difference is what is kept.
    """
    if bool(folders) == (log_file is not None):
        raise typer.BadParameter("give data sets, or a log by --log", param_hint="DATASET...")
    if (version is None) != (against is None) or (version is None and log_file is None):
        raise typer.BadParameter("name two versions", param_hint="VERSION AGAINST")
    with told(as_json):
        from router.configuration import load_settings
        from router.experiments import version_comparison
        from router.experiments.arms import judge_arms, judge_differences
        from router.routing.base import SourceProfile
        from router.routing.versions import PolicyVersions

        settings = load_settings(config, overrides_of(overrides))
        configure_logging(settings.log)  # standard output is for the result
        versions = PolicyVersions(settings.data_dir)
        pair = None if version is None or against is None else version_comparison.Pair.open(versions, version, against)
        comparison: Comparison | None = None
        off_policy: Comparison | None = None
        judged: list[Judged] = []
        arms: list[ArmResult] = []
        differences: list[ArmDifference] = []
        if log_file is not None:
            rows = version_comparison.read_log(log_file)
            calls, experiment = version_comparison.calls_of_arms(rows), settings.routing.experiment
            if pair is not None:
                sources = [SourceProfile(name, one.kind, one.description, one.cost) for name, one in settings.sources.items()]
                off_policy, judged = version_comparison.judge_versions(rows, pair, sources)
                comparison = version_comparison.judge_trial(calls, pair, experiment) or off_policy
            judged += version_comparison.judge_shadows(rows)
            arms, differences = judge_arms(calls), judge_differences(calls, experiment)
        elif pair is not None:
            comparison = version_comparison.compared_on_sets(settings, pair, folders or (), k=k, limit=limit, tables=tables)
        if comparison is not None and comparison.version in versions.manifest().versions:
            versions.keep_comparison(comparison)
        if as_json:
            document = {
                "comparison": None if comparison is None else comparison.model_dump(mode="json"),
                "off_policy": None if off_policy is None else off_policy.model_dump(mode="json"),
                "judged": [asdict(one) for one in judged],
                "arms": [asdict(one) for one in arms],
                "differences": [asdict(one) for one in differences],
            }
            print_json(document)
            return
        _show_judged(judged)
        for told_of in (*arms, *differences):
            typer.echo(str(told_of))
        if off_policy is not None and off_policy is not comparison:
            typer.echo(f"off-policy, not kept: {off_policy}")
        if comparison is not None:
            typer.echo(str(comparison))


@app.command("promote")
def promote(
    version: Annotated[
        str, typer.Argument(metavar="VERSION", help="A version that `policy compare` found surely better than the live one.")
    ],
    config: Config = None,
    overrides: Overrides = None,
) -> None:
    """Make a version of `learned` live. A running service takes it up with its next decision."""
    with told():
        from router.configuration import load_settings
        from router.routing.versions import PolicyVersions

        settings = load_settings(config, overrides_of(overrides))
        typer.echo(f"{version} is live: {PolicyVersions(settings.data_dir).promote(version)}")
        _tell_if_unused(settings.routing.model)


@app.command("rollback")
def rollback(config: Config = None, overrides: Overrides = None) -> None:
    """Go back to the version of `learned` that was live before. A running service takes it up with its next decision."""
    with told():
        from router.configuration import load_settings
        from router.routing.versions import PolicyVersions

        settings = load_settings(config, overrides_of(overrides))
        typer.echo(f"{PolicyVersions(settings.data_dir).rollback()} is live")
        _tell_if_unused(settings.routing.model)


def _tell_if_unused(model: Path | None) -> None:
    if model is not None:
        typer.echo(f"routing.model names {model}, so the service goes on with that file", err=True)


def _show_judged(judged: Sequence[Judged]) -> None:
    if not judged:
        return
    table = _table(
        "policy", "decisions", "as the live one", "utility (doubly robust)", "utility (SNIPS)", "effective", "of which to beware"
    )
    for one in judged:
        values = [f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]" for found in one.estimates] or ["", ""]
        effective = f"{one.estimates[0].effective_decisions:.1f} of {one.estimates[0].decisions}" if one.estimates else ""
        doubts = "; ".join(dict.fromkeys(warning.message for found in one.estimates for warning in found.warnings))
        table.add_row(one.name, str(one.decisions), f"{one.agreement:.1%}", *values, effective, Text(doubts or one.trouble))
    render.screen().print(table)


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


@app.command("log")
def log(
    file: Annotated[
        typer.FileTextWrite | None,
        typer.Option("--json", metavar="FILE", lazy=True, help="Write one JSON line per decision to this file; - is standard output."),
    ] = None,
    target: Target = DEFAULT_TARGET,
    api_key: Key = None,
    tls: Tls = False,
    timeout: Timeout = DEFAULT_TIMEOUT_S,
) -> None:
    """Show the logged decisions with the feedback on them, the oldest first; or export them for off-policy evaluation."""
    with connected(target, api_key, tls, timeout, as_json=False) as client:
        decisions = client.list_decisions()
        if file is None:
            _show(decisions)
            return
        for decision in decisions:
            file.write(json.dumps(documents.of_logged(decision), ensure_ascii=False) + "\n")


def _show(decisions: Iterable[LoggedDecision]) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("time")
    table.add_column("request", overflow="fold")
    table.add_column("policy", overflow="fold")
    table.add_column("asked", overflow="fold")
    table.add_column("found")
    table.add_column("feedback", overflow="fold")
    for decision in decisions:
        found = {None: "", True: "yes", False: "no"}[decision.outcome.found if decision.outcome else None]
        said = _THUMBS[decision.feedback.helpful] or "given" if decision.feedback else ""
        asked = Text(", ".join(decision.chosen) or "none")
        table.add_row(f"{decision.decided_at:%Y-%m-%d %H:%M}", decision.request_id, Text(decision.policy), asked, found, said)
    console = render.screen()
    console.print(table)
    console.print(f"{table.row_count} decisions")
