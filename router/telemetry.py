"""Structured logs: one event with its values per line, the request id bound by the call that a line belongs to.

Texts of questions and documents are not logged.
"""

from __future__ import annotations

import logging
import sys

import structlog

from router.settings import LogSettings


def configure_logging(settings: LogSettings) -> None:
    """Send our lines, and warnings of libraries, to standard error in one form."""
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    before: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        # Plain tracebacks: local variables, which prettier ones show, hold questions and documents.
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*before, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(level),
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=before, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _renderer(settings)]
        )
    )
    # Some libraries set the level of their own loggers to debug, past the root's.
    handler.addFilter(lambda record: record.name.startswith("router") or record.levelno >= logging.WARNING)
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("router").setLevel(level)


def _renderer(settings: LogSettings) -> structlog.typing.Processor:
    if settings.format == "json":
        return structlog.processors.JSONRenderer()
    return structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
