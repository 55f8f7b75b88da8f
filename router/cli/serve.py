"""`serve`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import structlog
import typer

from router.cli.failures import told
from router.cli.options import Config, Overrides, overrides_of
from router.configuration import load_settings
from router.errors import ConfigurationError
from router.settings import ReplayProvider, Settings, WebSource
from router.telemetry import configure_logging

_log = structlog.get_logger(__name__)


def serve(
    config: Config = None,
    overrides: Overrides = None,
    record: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Append every web search and its pages to this file, to be replayed later.")
    ] = None,
) -> None:
    """Run the service until SIGTERM or Ctrl-C; running calls may finish first."""
    with told():
        settings = load_settings(config, overrides_of(overrides))
        if record is not None:
            settings = _recording(settings, record)
        configure_logging(settings.log)
        asyncio.run(_serve(settings))


def _recording(settings: Settings, file: Path) -> Settings:
    """The settings with every web source that searches (a replayed one does not) recorded to the file."""
    sources = {
        name: source.model_copy(update={"record": file.absolute()})
        if isinstance(source, WebSource) and not isinstance(source.search, ReplayProvider)
        else source
        for name, source in settings.sources.items()
    }
    if sources == settings.sources:
        raise ConfigurationError("--record: no configured source searches the web", field="sources")
    return settings.model_copy(update={"sources": sources})


async def _serve(settings: Settings) -> None:
    # Imported here: these bring every backend, which the other commands need not wait for.
    from router.api.health import examine_all
    from router.api.server import serving, until_signal
    from router.app import open_app

    async with open_app(settings) as app:
        for finding in await examine_all(app.components):
            tell = _log.info if finding.ok else _log.warning
            tell("component", name=finding.component.name, state="up" if finding.ok else "down", says=finding.message)
        async with serving(app, settings.server) as server:
            _log.info("ready", host=settings.server.host, port=server.port)
            await until_signal()
            _log.info("stopping", grace_s=settings.server.graceful_stop_s)
    _log.info("stopped")
