"""`feedback`, `policy train` and `policy log`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from router.cli import documents, render
from router.cli.failures import told
from router.cli.options import DEFAULT_TARGET, DEFAULT_TIMEOUT_S, Json, Key, Target, Timeout, Tls, connected, print_json
from router.types import LoggedDecision

app = typer.Typer(no_args_is_help=True, help="What the routing policies decided.")

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
    out: Annotated[Path, typer.Option(help="File to write; the setting `routing.model` names it.")],
    version: Annotated[str, typer.Option(help="Name of the model; decisions and the log carry it.")],
    k: Annotated[int, typer.Option("--k", min=1, max=100, help="Items of evidence that count.")] = 5,
    limit: Annotated[int | None, typer.Option(min=1, help="Only N questions of each set, spread evenly over the file.")] = None,
    as_measured: Annotated[
        bool, typer.Option("--as-measured", help="Leave the feature `recent` as it is in the sets instead of setting it as in life.")
    ] = False,
    strength: Annotated[
        float | None, typer.Option(min=1e-6, help="Inverse strength of the regularisation; default: the best on origins left out.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Settings file.")] = None,
) -> None:
    """Train the policy `learned`: run every set of sources on data sets, and write readable weights."""
    with told():
        # Imported here: it brings every backend, which the other commands need not wait for.
        from router.configuration import load_settings
        from router.experiments.training import train_policy

        text = train_policy(load_settings(config), folders, version, k=k, limit=limit, as_measured=as_measured, strength=strength)
        out.write_text(text, encoding="utf-8")
        typer.echo(f"{out}: version {version}")


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
