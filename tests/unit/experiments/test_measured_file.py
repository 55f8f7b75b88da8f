"""Measurements that outlive the run that made them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from router.errors import Conflict, InvalidInput
from router.experiments.made import Made
from router.experiments.measured_file import MeasuredFile

MADE = Made("small", "corpus", "questions", ("vector",), 5, {"routing": {"policies": ["llm"]}})


def opened(path: Path, made: Made = MADE) -> MeasuredFile[str, float]:
    def line(name: str, value: float) -> Mapping[str, Any] | None:
        return {"name": name, "value": value} if value >= 0 else None

    return MeasuredFile(path, made, "numbers", lambda line: (line["name"], line["value"]), line)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "kept" / "numbers.jsonl"


def test_what_was_measured_is_there_for_the_next_run(path: Path) -> None:
    with opened(path) as measured:
        measured["a"] = 0.1
        measured["b"] = 2
        measured["none"] = -1
        with opened(path) as of_another:
            assert of_another == {"a": 0.1, "b": 2}  # it stands in the file at once
        assert measured["none"] == -1
    with opened(path) as measured:
        measured["c"] = 3
    with opened(path) as measured:
        assert measured == {"a": 0.1, "b": 2, "c": 3}


@pytest.mark.parametrize("cut", range(1, 28, 3))
def test_a_line_that_was_cut_off_is_dropped(path: Path, cut: int) -> None:
    with opened(path) as measured:
        measured["a"] = 0.1
        measured["b"] = 22.5
    path.write_bytes(path.read_bytes()[:-cut])
    with opened(path) as measured:
        assert measured == {"a": 0.1}
        measured["c"] = 3
    with opened(path) as measured:
        assert measured == {"a": 0.1, "c": 3}


def test_numbers_that_were_made_otherwise_are_refused_with_what_differs(path: Path) -> None:
    opened(path).__exit__()
    content = path.read_bytes()
    other = replace(MADE, settings={"routing": {"policies": ["rules"]}}, content="another")
    with pytest.raises(Conflict, match=r"the corpus; routing\.policies") as refused:
        opened(path, other)
    assert (refused.value.reason, refused.value.field) == ("NUMBERS_DO_NOT_FIT", "numbers")
    assert path.read_bytes() == content


@pytest.mark.parametrize("content", ["", "words", "words\n", "{}\n", '{"made": {}}\n', '{"made": 1}\n'])
def test_another_file_is_left_as_it_is(path: Path, content: str) -> None:
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(InvalidInput, match="no file of numbers"):
        opened(path)
    assert path.read_text() == content


@pytest.mark.parametrize("name", ["file/numbers.jsonl", "."])
def test_a_place_that_cannot_be_written_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(InvalidInput, match="cannot be read and written") as refused:
        opened(tmp_path / name)
    assert refused.value.field == "numbers"


def test_a_line_of_something_else_is_told(path: Path) -> None:
    opened(path).__exit__()
    with path.open("a") as file:
        file.write('{"name": "d"}\n')
    with pytest.raises(InvalidInput, match="no file of numbers"):
        opened(path)
