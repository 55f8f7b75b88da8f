"""The commands from end to end, over a small set with passages and facts: the real engine, a scratch corpus of its own."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from router.experiments.cli import app

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
