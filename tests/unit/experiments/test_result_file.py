"""A command that works for long asks first whether its results can be written."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from router.experiments.cli import app
from router.experiments.result_file import writable


def test_nothing_named_is_nothing() -> None:
    assert writable(None) is None


def test_a_missing_folder_is_made_and_no_file_yet(tmp_path: Path) -> None:
    assert writable(tmp_path / "new" / "deep" / "out.json") == tmp_path / "new" / "deep" / "out.json"
    assert list((tmp_path / "new" / "deep").iterdir()) == []


def test_a_file_of_before_is_left_until_there_are_results(tmp_path: Path) -> None:
    (tmp_path / "out.json").write_text("before")
    writable(tmp_path / "out.json")
    assert (tmp_path / "out.json").read_text() == "before"


@pytest.mark.parametrize(("name", "reason"), [("file/out.json", "Not a directory|File exists"), ("", "is a folder")])
def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(typer.BadParameter, match=reason):
        writable(tmp_path / name)


@pytest.mark.parametrize("option", ["--json", "--markdown", "--html"])
def test_the_bench_refuses_before_it_reads_anything(tmp_path: Path, option: str) -> None:
    (tmp_path / "file").write_text("no folder")
    refused = CliRunner().invoke(app, ["routing", str(tmp_path / "no set"), option, str(tmp_path / "file" / "out")])
    assert refused.exit_code == 2
    assert option in refused.output
