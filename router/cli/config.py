"""`config show`, `check` and `schema`."""

from __future__ import annotations

import typer

from router.cli.failures import told
from router.cli.options import Config, Json, Overrides, overrides_of, print_json
from router.configuration import load_settings, shown
from router.settings import Settings

app = typer.Typer(no_args_is_help=True, help="The settings: file, ROUTER_* environment variables and --set, in rising order.")


@app.command()
def show(config: Config = None, overrides: Overrides = None, as_json: Json = False) -> None:
    """Print the settings in effect, secrets masked."""
    with told(as_json):
        settings = load_settings(config, overrides_of(overrides))
    if as_json:
        print_json(settings.model_dump(mode="json"))
    else:
        typer.echo(shown(settings), nl=False)


@app.command()
def check(config: Config = None, overrides: Overrides = None, as_json: Json = False) -> None:
    """Say whether the settings are valid; name the path of what is not, and what is allowed."""
    with told(as_json):
        load_settings(config, overrides_of(overrides))
    if as_json:
        print_json({"valid": True})
    else:
        typer.echo("the settings are valid")


@app.command()
def schema() -> None:
    """Print the JSON schema of the settings: every key with its meaning, type and default."""
    print_json(Settings.model_json_schema())
