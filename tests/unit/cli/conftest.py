from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def _quiet_logs() -> Iterator[None]:
    """The server runs in this process: its lines are kept off the output of the command, and a command's set-up from other tests."""
    root, handlers, level = logging.getLogger(), logging.getLogger().handlers[:], logging.getLogger().level
    with structlog.testing.capture_logs():
        yield
    structlog.reset_defaults()
    root.handlers, root.level = handlers, level
    logging.getLogger("router").setLevel(logging.NOTSET)
