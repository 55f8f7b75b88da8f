"""`doctor`."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass
from typing import Annotated

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from router.cli import render
from router.cli.failures import FAILED, told
from router.cli.options import Config, Json, Key, Overrides, Tls, overrides_of, print_json
from router.client import UNREACHABLE, RouterClient
from router.configuration import load_settings
from router.errors import RouterError, Unavailable
from router.settings import LogSettings, Settings
from router.telemetry import configure_logging

PATIENCE_S = 10.0
FIGURES = frozenset({"OPENIE_COST", "OPENIE_CHECKED", "VECTORS_RESTORED"})
"""Notices of the corpus that tell of no trouble."""


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    ok: bool
    needed: bool
    """Whether the service as a whole cannot do without it."""
    message: str
    """What is there; or what is wrong and what to do."""


def doctor(
    config: Config = None,
    overrides: Overrides = None,
    target: Annotated[
        str | None,
        typer.Option(
            envvar="GRAPHRAG_ROUTER_TARGET", metavar="HOST:PORT", help="The service to ask. Default: the address in the settings."
        ),
    ] = None,
    api_key: Key = None,
    tls: Tls = False,
    as_json: Json = False,
) -> None:
    """Say what is reachable, what is not, and what to do about it.

    Asks the running service; when there is none, opens everything that the settings name, once. Exit code 1: something needed is down.
    """
    with told(as_json):
        settings = load_settings(config, overrides_of(overrides))
        address = target or f"{settings.server.host}:{settings.server.port}"
        checks = _ask_service(address, api_key, tls)
        running = checks is not None
        if checks is None:
            configure_logging(LogSettings(level="error"))
            checks = asyncio.run(_examine(settings))
    failed = any(check.needed and not check.ok for check in checks)
    if as_json:
        print_json({"ok": not failed, "service": {"target": address, "running": running}, "checks": [asdict(check) for check in checks]})
    else:
        _show(address, running, checks)
    if failed:
        raise typer.Exit(FAILED)


def _ask_service(address: str, api_key: str | None, tls: bool) -> list[Check] | None:
    """What the running service says of itself; None when there is none."""
    with RouterClient(address, api_key=api_key, tls=tls, timeout_s=PATIENCE_S) as client:
        try:
            parts = client.health()
        except Unavailable as error:
            if error.reason == UNREACHABLE:
                return None
            raise
        try:
            told_more = [Check(notice.reason, notice.reason in FIGURES, False, notice.message) for notice in client.corpus_stats().notices]
        except RouterError as error:
            told_more = [Check("corpus", False, True, error.message)]
    down = "cannot serve now: the service's log names the component that is down and the remedy"
    checks = [
        Check(name or "service", serving, not name.startswith("source/"), "serving" if serving else down)
        for name, serving in sorted(parts.items())
    ]
    return checks + told_more


async def _examine(settings: Settings) -> list[Check]:
    """Open what the settings name, as `serve` would, and check every component."""
    from router.api.health import examine_all
    from router.app import open_app

    try:
        async with open_app(settings) as app:
            findings = await examine_all(app.components)
    except RouterError as error:
        return [Check("start", False, True, f"{error.field}: {error.message}" if error.field else error.message)]
    return [Check(finding.component.name, finding.ok, not finding.component.source, finding.message) for finding in findings]


def _show(address: str, running: bool, checks: list[Check]) -> None:
    console = render.screen()
    console.print(f"The service at {address} is running." if running else f"No service runs at {address}; checked what it would need:")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("part", "state", "what"):
        table.add_column(heading)
    for check in checks:
        state = Text("ok", "green") if check.ok else Text("down", "red" if check.needed else "yellow")
        table.add_row(check.name, state, Text(render.printable(check.message)))
    console.print(table)
