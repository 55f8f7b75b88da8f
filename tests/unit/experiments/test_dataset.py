"""Reading data sets: the layout, its variants, and files that are not of it."""

from __future__ import annotations

import gzip
import json

import pytest

from router.errors import InvalidInput
from router.experiments.dataset import load_dataset


def write(folder, *, compressed: bool = False) -> None:
    rows = [{"_id": "p1", "title": "T", "text": "x", "metadata": {"year": 2020}}, {"_id": "p2", "title": "", "text": "y"}]
    corpus = "\n".join(json.dumps(row) for row in rows) + "\n"
    if compressed:
        with gzip.open(folder / "corpus.jsonl.gz", "wt") as file:
            file.write(corpus)
    else:
        (folder / "corpus.jsonl").write_text(corpus)
    query = {"_id": "q1", "text": "what?", "metadata": {"answers": ["a"], "routes": ["vector", ["vector", "graph"]], "origin": "here"}}
    (folder / "queries.jsonl").write_text(json.dumps(query) + "\n")
    (folder / "qrels").mkdir()
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\tp1\t1\nq1\tp2\t0\n")


@pytest.mark.parametrize("compressed", [False, True])
def test_the_layout(tmp_path, *, compressed: bool) -> None:
    write(tmp_path, compressed=compressed)
    dataset = load_dataset(tmp_path)
    (question,) = dataset.questions
    assert question.gold == {"p1"}
    assert question.answers == ("a",)
    assert question.routes == (frozenset({"vector"}), frozenset({"vector", "graph"}))
    assert question.origin == "here"
    assert [passage.id for passage in dataset.passages()] == ["p1", "p2"]
    assert dataset.facts is None


def test_the_hash_follows_the_content(tmp_path) -> None:
    write(tmp_path)
    before = load_dataset(tmp_path).content_hash()
    assert load_dataset(tmp_path).content_hash() == before
    (tmp_path / "triples.tsv").write_text("a\tb\tc\n")
    assert load_dataset(tmp_path).content_hash() != before


def test_fields_of_another_layout_are_read(tmp_path) -> None:
    (tmp_path / "queries.jsonl").write_text(json.dumps({"id": "q", "question": "who?", "answers": ["x"]}))
    (question,) = load_dataset(tmp_path).questions
    assert (question.id, question.text, question.answers) == ("q", "who?", ("x",))


def test_what_is_no_data_set_is_named(tmp_path) -> None:
    with pytest.raises(InvalidInput, match=r"queries\.jsonl"):
        load_dataset(tmp_path)
    (tmp_path / "queries.jsonl").write_text('{"_id": "q", "text": "a"}\nnot json\n')
    with pytest.raises(InvalidInput, match="line 2"):
        load_dataset(tmp_path)
    with pytest.raises(InvalidInput, match="not a folder"):
        load_dataset(tmp_path / "nowhere")
