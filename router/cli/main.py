"""The command and its parts."""

from __future__ import annotations

from typing import Annotated

import typer

from router import __version__
from router.cli import ask, config, corpus, doctor, ingest, learning, serve
from router.cli.failures import EXPLAINED, told

app = typer.Typer(
    name="graphrag-router",
    no_args_is_help=True,
    # A traceback must not show local variables: they hold questions, documents and keys.
    pretty_exceptions_enable=False,
    help="Decides where an answer lives, fetches the evidence and answers with citations.",
    epilog=EXPLAINED,
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", is_eager=True, help="Print the version.", callback=_print_version)] = False,
) -> None: ...


@app.command(
    "eval",
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
)
def evaluate(context: typer.Context) -> None:
    """Measure retrieval and routing on a data set."""
    # Imported here: it brings every backend, which the other commands need not wait for.
    from router.experiments.cli import app as experiments

    with told():
        experiments(args=context.args, prog_name="graphrag-router eval")


app.command(epilog=EXPLAINED)(serve.serve)
app.command(epilog=EXPLAINED)(ingest.ingest)
app.command(epilog=EXPLAINED)(ask.ask)
app.command(epilog=EXPLAINED)(ask.route)
app.command(epilog=EXPLAINED)(ask.retrieve)
app.command(epilog=EXPLAINED)(learning.feedback)
app.add_typer(learning.app, name="policy")
app.add_typer(corpus.app, name="corpus")
app.command(epilog=EXPLAINED)(doctor.doctor)
app.add_typer(config.app, name="config")


def main() -> None:
    app()
