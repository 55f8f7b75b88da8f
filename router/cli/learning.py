"""`feedback` and `policy log`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Annotated

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from router.cli import documents, render
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
