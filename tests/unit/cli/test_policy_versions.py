"""`policy versions|compare|promote|rollback` over a real data folder."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from router.cli.main import app
from router.routing.versions import PolicyVersions
from tests.unit.experiments.test_version_comparison import explored
from tests.unit.routing.weights import sure_of


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("ROUTER_DATA_DIR", str(tmp_path / "data"))
    versions = PolicyVersions(tmp_path / "data")
    versions.add("web", sure_of("web", "web"))
    versions.add("vector", sure_of("vector", "vector"))
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in explored(1500, 0.2)))

    def invoke(*arguments: str) -> Any:
        return CliRunner().invoke(app, ["policy", *arguments], env={"COLUMNS": "200", "TERM": "dumb"})

    return invoke


def test_from_a_log_to_a_promotion_and_back(run, tmp_path) -> None:
    log = ("--log", str(tmp_path / "log.jsonl"))
    refused = run("promote", "web")
    assert (refused.exit_code, "not compared with 'shipped'" in refused.stderr) == (4, True)
    compared = run("compare", "web", "shipped", *log)
    assert compared.exit_code == 0, compared.output
    assert "web against shipped: +" in compared.stdout
    assert "policy" in compared.stdout
    promoted = run("promote", "web")
    assert promoted.exit_code == 0, promoted.output
    assert promoted.stdout.startswith("web is live: web against shipped: +")

    document = json.loads(run("compare", "vector", "web", *log, "--json").stdout)
    assert document["comparison"]["high"] < 0
    assert [one["name"] for one in document["judged"]] == ["vector", "web"]
    worse = run("promote", "vector")
    assert worse.exit_code == 4
    assert f"[{document['comparison']['low']:+.4f}, {document['comparison']['high']:+.4f}]" in worse.stderr

    listed = json.loads(run("versions", "--json").stdout)
    assert (listed["live"], set(listed["versions"])) == ("web", {"web", "vector"})
    assert listed["versions"]["web"]["comparison"]["against"] == "shipped"
    assert "web (live)" in run("versions").stdout
    back = run("rollback", "--set", "routing.model=other.json")
    assert (back.exit_code, back.stdout) == (0, "shipped is live\n")
    assert "routing.model names other.json" in back.stderr
    assert run("rollback").exit_code == 4


@pytest.mark.parametrize("arguments", [("compare",), ("compare", "web", "--log", "LOG"), ("compare", "web", "vector")])
def test_half_a_comparison_is_wrong_usage(run, tmp_path, arguments) -> None:
    given = [str(tmp_path / "log.jsonl") if argument == "LOG" else argument for argument in arguments]
    assert run(*given).exit_code == 2


def test_a_name_that_is_taken_is_refused_before_anything_is_measured(run, tmp_path) -> None:
    taken = run("train", str(tmp_path), "--version", "web")
    assert (taken.exit_code, "there is a version 'web' already" in taken.stderr) == (4, True)
