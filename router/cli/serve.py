"""`serve`."""

from __future__ import annotations

import asyncio

import structlog

from router.cli.failures import told
from router.cli.options import Config, Overrides, overrides_of
from router.configuration import load_settings
from router.settings import Settings
from router.telemetry import configure_logging

_log = structlog.get_logger(__name__)


def serve(config: Config = None, overrides: Overrides = None) -> None:
    """Run the service until SIGTERM or Ctrl-C; running calls may finish first."""
    with told():
        settings = load_settings(config, overrides_of(overrides))
        configure_logging(settings.log)
        asyncio.run(_serve(settings))


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
