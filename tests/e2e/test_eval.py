"""The commands from end to end, over a small set with passages and facts: the real engine, a scratch corpus of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import structlog
from typer.testing import CliRunner

from router.cli.main import app as command
from router.errors import Conflict
from router.experiments.cli import app
from router.routing.versions import PolicyVersions
from tests.unit.routing.weights import sure_of

ROOT = Path(__file__).resolve().parents[2]
ORIGINS = {"q1": "text", "q2": "text", "q3": "films", "q4": "films"}
PASSAGES = [
    {"_id": "d1", "title": "Aster Foundry", "text": "Aster Foundry casts the pump housings. The account is held by Jonas Weld."},
    {"_id": "d2", "title": "Jonas Weld", "text": "He works in the Harbour Office on the second floor."},
    {"_id": "d3", "title": "Canteen Menu", "text": "Soup on Mondays, fish on Fridays."},
]
QUERIES = [
    {"_id": "q1", "text": "Who holds the account of Aster Foundry?", "metadata": {"answers": ["Jonas Weld"]}},
    {"_id": "q2", "text": "Where does Jonas Weld work?", "metadata": {"answers": ["Harbour Office"]}},
    {"_id": "q3", "text": "Who directed Night Ferry?", "metadata": {"answers": ["mara holt"], "hops": 1}},
    {
        "_id": "q4",
        "text": "In which years were the films by the director of Night Ferry released?",
        "metadata": {"answers": ["1971"], "hops": 2},
    },
]
FACTS = [
    ("Night Ferry", "directed_by", "Mara Holt"),
    ("Stone Harbour", "directed_by", "Mara Holt"),
    ("Night Ferry", "release_year", "1962"),
    ("Stone Harbour", "release_year", "1971"),
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made = tmp_path / "small"
    (made / "qrels").mkdir(parents=True)
    for name, rows in (("corpus.jsonl", PASSAGES), ("queries.jsonl", QUERIES)):
        (made / name).write_text("\n".join(map(json.dumps, rows)))
    (made / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td2\t1\n")
    (made / "triples.tsv").write_text("\n".join("\t".join(fact) for fact in FACTS))
    return made


def test_sets_are_measured_and_their_corpora_kept(folder, tmp_path) -> None:
    def run(*arguments: str) -> dict:
        out = tmp_path / "out.json"
        done = CliRunner().invoke(app, [*arguments, "--json", str(out)])
        assert done.exit_code == 0, done.output
        return json.loads(out.read_text())

    # The same passages as one book that is judged by its answers only.
    book = tmp_path / "book"
    book.mkdir()
    text = "\n\n".join(passage["text"] for passage in PASSAGES)
    (book / "corpus.jsonl").write_text(json.dumps({"_id": "b", "title": "Book", "text": text}))
    (book / "queries.jsonl").write_text("\n".join(json.dumps(query) for query in QUERIES[:2]))

    both = run("retrieval", str(folder), str(book))
    small, of_book = both["datasets"]
    runs = {one["name"]: one for one in small["runs"]}
    assert list(runs) == ["vector", "graph", "fused", "relation paths"]
    assert runs["fused"]["metrics"]["recall@5"] == 1.0
    assert runs["fused"]["metrics"]["cost_per_query"] == pytest.approx(0.04)
    assert runs["fused"]["versus"]["recall@5"]["questions"] == 2
    paths = runs["relation paths"]
    assert paths["counts"]["path_exact@1"] == 4
    assert paths["metrics"]["path_exact@5/1-hop"] == 1.0
    assert paths["metrics"].keys() >= {"path_exact@1", "path_exact@1/1-hop", "path_exact@5/2-hop"}
    assert small["ingested"]["documents"] == 4
    assert [one["name"] for one in of_book["runs"]] == ["vector", "graph", "fused"]
    assert [(row["dataset"], row["measure"], row["harmless"]) for row in both["summary"]] == [
        ("small", "recall@5", True),
        ("book", "answer@5", True),
    ]

    removed = run("ablation", str(folder), "--only", "no walk: rrf")
    assert [one["name"] for one in removed["runs"]] == ["full", "no walk: rrf"]
    assert removed["runs"][1]["overrides"] == {"fusion.method": "rrf"}
    assert removed["runs"][1]["versus"]["run"] == "full"
    assert removed["runs"][0]["values"]["recall@5"] == runs["fused"]["values"]["recall@5"]
    assert len(list((tmp_path / "cache" / "graphrag-router" / "eval").glob("small-*"))) == 1  # every variant on the one corpus


def test_routing_is_measured_once_and_scored_again_from_its_table(folder, tmp_path) -> None:
    queries = [{**query, "metadata": {**query["metadata"], "origin": ORIGINS[query["_id"]], "routes": [["graph"]]}} for query in QUERIES]
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)))
    out, table, page = tmp_path / "out.json", tmp_path / "utilities.parquet", tmp_path / "report.md"

    def run(*arguments: str) -> dict:
        done = CliRunner().invoke(app, ["routing", str(folder), "--table", str(table), "--json", str(out), *arguments])
        assert done.exit_code == 0, done.output
        return json.loads(out.read_text())

    first = run("--peer", "llama-index-embedding", "--markdown", str(page))
    runs = {one["name"]: one for one in first["runs"]}
    assert list(runs) == [
        *("always none", "always vector", "always graph", "always vector+graph"),
        *("fixed", "all", "rules", "learned", "llama-index-embedding"),
    ]
    assert runs["rules"]["metrics"].keys() >= {
        *("utility", "utility_kept", "regret", "accuracy", "macro_f1", "ece", "brier", "aurc", "cost", "latency_ms_p50")
    }
    assert runs["always graph"]["metrics"]["accuracy"] == 1.0
    assert set(runs["rules"]["by_origin"]) == {"text", "films"}
    assert first["oracle"]["utility"] == pytest.approx(0.98)
    assert "always graph" in first["pareto"]
    assert "| rules |" in page.read_text()

    written = table.stat().st_mtime_ns
    dear = run("--price", "graph=0.5", "--limit", "2")
    assert table.stat().st_mtime_ns == written
    priced = {one["name"]: one for one in dear["runs"]}
    assert priced["always graph"]["metrics"]["cost"] == 0.5
    assert priced["always graph"]["metrics"]["quality"] == 1.0

    changed = CliRunner().invoke(app, ["routing", str(folder), "--table", str(table), "--k", "2"])
    assert isinstance(changed.exception, Conflict)
    assert "k (5 there, 2 here)" in str(changed.exception)


def test_a_reranker_is_trained_on_what_the_engine_finds(folder, tmp_path) -> None:
    out = tmp_path / "new" / "learned.json"
    subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "train_reranker"), str(folder), "--out", str(out)], check=True, capture_output=True
    )
    trained = json.loads(out.read_text())
    assert trained["trained_on"]["sets"] == ["small"]
    assert trained["trained_on"]["pairs"] >= 2  # of two judged questions, each with a right and a wrong passage
    shipped = json.loads((ROOT / "router" / "ranking" / "learned.json").read_text())
    assert trained["weights"].keys() == shipped["weights"].keys()


def test_decisions_are_kept_as_they_come_and_not_asked_for_again(folder, tmp_path) -> None:
    out, kept, table = tmp_path / "out.json", tmp_path / "decisions.jsonl", tmp_path / "utilities.parquet"

    def run(*arguments: str) -> dict[str, float]:
        files = ["--table", str(table), "--decisions", str(kept), "--json", str(out)]
        done = CliRunner().invoke(app, ["routing", str(folder), *files, *arguments])
        assert done.exit_code == 0, done.output
        return {one["name"]: one["metrics"] for one in json.loads(out.read_text())["runs"] if not one["is_fixed"]}

    run("--policy", "rules", "--limit", "2")
    table.unlink()  # it is of two questions only
    assert len(kept.read_text().splitlines()) == 1 + 2
    with kept.open("a") as file:
        file.write('{"policy": "rules", "quest')  # a run that was killed
    more = run("--policy", "rules", "--policy", "learned")
    lines = [json.loads(line) for line in kept.read_text().splitlines()]
    asked = [(line["policy"], line["question"]) for line in lines[1:]]
    assert sorted(asked) == sorted({(policy, query["_id"]) for policy in ("rules", "learned") for query in QUERIES})
    again = run("--policy", "rules", "--policy", "learned")
    assert again == more  # latencies too: nothing was asked

    changed = CliRunner().invoke(app, ["routing", str(folder), "--decisions", str(kept), "--price", "graph=0.5"])
    assert isinstance(changed.exception, Conflict)
    assert "sources.graph.cost" in str(changed.exception)


def test_a_set_of_labels_is_scored_without_a_corpus(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file, out = tmp_path / "labels.csv", tmp_path / "out.json"
    rows = [f"what does the manual say about part {n},vector,0,2" for n in range(8)]
    rows += [f"who is connected to person {n},table,3,1" for n in range(8)]
    file.write_text("\n".join(["text,routes,utility.table,utility.vector", *rows]))
    done = CliRunner().invoke(app, ["routing", str(file), "--train", str(file), "--peer", "tfidf-svm", "--json", str(out)])
    assert done.exit_code == 0, done.output
    found = json.loads(out.read_text())
    runs = {one["name"]: one["metrics"] for one in found["runs"]}
    assert found["sources"] == ["vector", "table"]
    assert (runs["tfidf-svm"]["accuracy"], runs["tfidf-svm"]["regret"]) == (1.0, 0.0)
    assert (runs["always vector"]["accuracy"], runs["always vector"]["utility"]) == (0.5, 1.5)
    assert "quality" not in runs["rules"]
    assert found["oracle"]["utility"] == 2.5
    assert found["pareto"] == []


def test_two_versions_are_compared_by_what_their_choices_were_measured_to_be_worth(folder, tmp_path, monkeypatch, request) -> None:
    monkeypatch.setenv("ROUTER_DATA_DIR", str(tmp_path / "data"))
    versions = PolicyVersions(tmp_path / "data")
    versions.add("graph", sure_of("graph", "graph"))
    versions.add("vector", sure_of("vector", "vector", sets=["small"]))
    tables = tmp_path / "tables"
    # The command sets logging up for a process of its own.
    monkeypatch.setattr(
        "router.cli.learning.configure_logging", lambda _: structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    )
    request.addfinalizer(structlog.reset_defaults)

    def compared(version: str, against: str) -> dict:
        arguments = ["policy", "compare", version, against, str(folder), "--tables", str(tables), "--json"]
        done = CliRunner().invoke(command, arguments)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)["comparison"]

    found = compared("graph", "vector")
    # Of the four questions the graph carries all, and the passages those two that are about them.
    assert (found["mean"], found["questions"]) == (pytest.approx(0.5), 4)
    assert found["doubts"] == ["4 questions are too few to tell: at least 50"]
    assert versions.comparison("graph") is not None
    written = (tables / "small.parquet").stat().st_mtime_ns
    turned = compared("vector", "graph")
    assert turned["mean"] == pytest.approx(-0.5)
    assert turned["doubts"][1:] == ["version 'vector' was trained on small"]
    assert (tables / "small.parquet").stat().st_mtime_ns == written


def test_knn_learns_from_another_set_whose_sources_are_asked_first(folder, tmp_path) -> None:
    training = tmp_path / "training"
    training.mkdir()
    (training / "corpus.jsonl").write_text("\n".join(map(json.dumps, PASSAGES)))
    (training / "queries.jsonl").write_text("\n".join(map(json.dumps, QUERIES[:2])))
    out = tmp_path / "out.json"
    arguments = ["routing", str(folder), "--policy", "learned", "--peer", "knn", "--train", str(training), "--json", str(out)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    runs = {one["name"]: one for one in json.loads(out.read_text())["runs"]}
    assert runs["knn"]["metrics"]["could_not_decide"] == 0
    assert sum(runs["knn"]["chosen"].values()) == 4
    untrained = CliRunner().invoke(app, ["routing", str(folder), "--peer", "knn"])
    assert "name a data set with --train" in str(untrained.exception)
