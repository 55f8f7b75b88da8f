from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from router.settings import LogSettings
from router.telemetry import configure_logging


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root, handlers, level = logging.getLogger(), logging.getLogger().handlers[:], logging.getLogger().level
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    root.handlers, root.level = handlers, level
    for name in ("router", "library"):
        logging.getLogger(name).setLevel(logging.NOTSET)


def _fail(question: str) -> None:
    raise ValueError("wrong")


def _write_all() -> None:
    log = structlog.get_logger("router.test")
    structlog.contextvars.bind_contextvars(request_id="r-1")
    log.debug("small")
    log.info("call", code="OK")
    try:
        _fail("the secret question")
    except ValueError:
        log.exception("failed")
    library = logging.getLogger("library")
    library.setLevel(logging.DEBUG)
    library.debug("chatter")
    library.warning("careful")


def _lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return [json.loads(line) for line in captured.err.splitlines()]


def test_json_lines_have_level_time_and_request_id(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogSettings(format="json"))
    _write_all()
    lines = _lines(capsys)
    assert [(line["event"], line["level"]) for line in lines] == [("call", "info"), ("failed", "error"), ("careful", "warning")]
    assert {line["request_id"] for line in lines} == {"r-1"}
    assert all(line["timestamp"].endswith("Z") for line in lines)


@pytest.mark.parametrize("form", ["json", "console"])
def test_tracebacks_hold_no_local_variables(form: Any, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogSettings(format=form))
    _write_all()
    written = capsys.readouterr().err
    assert "ValueError: wrong" in written
    assert "the secret question" not in written.replace('_fail("the secret question")', "").replace('_fail(\\"the secret question\\")', "")


@pytest.mark.parametrize(("level", "events"), [("debug", ["small", "call", "failed", "careful"]), ("warning", ["failed", "careful"])])
def test_the_level_is_that_of_our_lines(level: Any, events: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogSettings(format="json", level=level))
    _write_all()
    assert [line["event"] for line in _lines(capsys)] == events
