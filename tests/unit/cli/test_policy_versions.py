"""`policy versions|compare|promote|rollback` over a real data folder."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from router.cli.main import app
from router.routing.value import open_model
from router.routing.versions import PolicyVersions
from tests.unit.experiments.test_version_comparison import dealt, explored
from tests.unit.routing.weights import sure_of

SHARES = ("--set", "routing.experiment={name: trial, arms: {learned: 0.5, learned@web: 0.5}}")


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


def test_an_experiment_goes_before_what_is_guessed_of_its_log(run, tmp_path) -> None:
    live = open_model(None, "version").version

    def compared(better: float, *, keys: int = 100, as_json: tuple[str, ...] = (), **more: object) -> str:
        rows = dealt({"learned": (live, 0.4), "learned@web": ("web", better)}, keys=keys, **more)
        (tmp_path / "trial.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return run("compare", "web", "shipped", "--log", str(tmp_path / "trial.jsonl"), *SHARES, *as_json).stdout

    document, shown = json.loads(compared(0.9, as_json=("--json",))), compared(0.9)
    kept, (told,) = document["comparison"], document["differences"]
    assert kept["by"] == "judged calls of the experiment 'trial'"
    assert (told["arm"], told["against"], told["doubts"]) == ("learned@web", "learned", [])
    assert [kept[name] for name in ("mean", "low", "high")] == [told[name] for name in ("mean", "low", "high")]
    assert document["off_policy"]["by"].startswith("judged decisions of 300 in the log")
    for line in ("trial, arm learned@web against learned: +", "off-policy, not kept: web against shipped: ", "\nweb against shipped: +"):
        assert line in shown
    assert run("promote", "web").exit_code == 0
    assert run("rollback").exit_code == 0

    for better, more, reason in ((0.4, {}, "web is not surely better"), (0.95, {"keys": 24}, "buckets of keys: at least 20 are needed")):
        compared(better, **more)
        refused = run("promote", "web")
        assert (refused.exit_code, reason.replace("web is", "version 'web' is") in refused.stderr) == (4, True)
    # Of keys that are unknown nothing is told by their arms, and the guess stands.
    shown = compared(0.9, bucket=None)
    assert ("kept no bucket" in shown, "not kept" in shown, "judged decisions of 300 in the log" in shown) == (True, False, True)


@pytest.mark.parametrize("arguments", [("compare",), ("compare", "web", "--log", "LOG"), ("compare", "web", "vector")])
def test_half_a_comparison_is_wrong_usage(run, tmp_path, arguments) -> None:
    given = [str(tmp_path / "log.jsonl") if argument == "LOG" else argument for argument in arguments]
    assert run(*given).exit_code == 2


def test_a_name_that_is_taken_is_refused_before_anything_is_measured(run, tmp_path) -> None:
    taken = run("train", str(tmp_path), "--version", "web")
    assert (taken.exit_code, "there is a version 'web' already" in taken.stderr) == (4, True)
