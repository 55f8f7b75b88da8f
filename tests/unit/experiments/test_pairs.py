"""Pairs become a retrieval set that `load_dataset` reads."""

from __future__ import annotations

import csv
import gzip
import json

import pytest

from router.errors import InvalidInput
from router.experiments.dataset import load_dataset
from router.experiments.pairs import import_pairs

ROWS = [
    {"id": "1", "question": "Who runs line four?", "title": "Line Four", "positives": ["Mara Holt runs it."], "negatives": ["It is long."]},
    # The same passage, named by its own title; a passage that is another row's negative.
    {
        "id": "2",
        "question": "Is it long?",
        "titles": ["Line Four"],
        "positives": ["It is long."],
        "negatives": ["Mara Holt runs it."],
        "answer": True,
    },
    {
        "id": "3",
        "question": "And line five?",
        "title": "Line\nFive",
        "positives": ["Nobody does."],
        "negative_refs": ["1", "gone"],
        "answers": ["nobody"],
    },
    # A text without a title that stands there with one; a positive that the row also lists as a negative.
    {
        "id": "4",
        "question": "Who?",
        "positives": ["Mara Holt runs it."],
        "negatives": ["Mara Holt runs it.", "x"],
        "negative_titles": ["", "Else"],
    },
]


def pairs(folder, rows, name: str = "pairs.jsonl") -> None:
    text = "\n".join(map(json.dumps, rows))
    (folder / name).write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())


@pytest.mark.parametrize("name", ["pairs.jsonl", "pairs.jsonl.gz"])
def test_pairs_become_a_data_set(tmp_path, name: str) -> None:
    pairs(tmp_path, ROWS, name)
    counts = import_pairs(tmp_path, tmp_path / "out")
    dataset = load_dataset(tmp_path / "out")
    passages = {passage.id: (passage.title, passage.text) for passage in dataset.passages()}
    assert sorted(passages.values()) == [
        ("Else", "x"),
        ("Line Five", "Nobody does."),
        ("Line Four", "It is long."),
        ("Line Four", "Mara Holt runs it."),
    ]
    gold = {question.id: [passages[passage][1] for passage in question.gold] for question in dataset.questions}
    assert gold == {"1": ["Mara Holt runs it."], "2": ["It is long."], "3": ["Nobody does."], "4": ["Mara Holt runs it."]}
    assert [question.answers for question in dataset.questions] == [(), ("yes",), ("nobody",), ()]
    assert (counts.passages, counts.queries, counts.relevant, counts.near_misses) == (4, 4, 4, 4)


def test_near_misses_are_judged_not_relevant(tmp_path) -> None:
    pairs(tmp_path, ROWS)
    import_pairs(tmp_path, tmp_path / "out")
    texts = {passage.id: passage.text for passage in load_dataset(tmp_path / "out").passages()}
    with (tmp_path / "out" / "qrels" / "test.tsv").open() as file:
        judged = {(row["query-id"], texts[row["corpus-id"]]): row["score"] for row in csv.DictReader(file, delimiter="\t")}
    assert judged["1", "It is long."] == "0"
    assert judged["3", "Mara Holt runs it."] == "0"
    assert judged["4", "Mara Holt runs it."] == "1"


def test_the_same_pairs_give_the_same_ids(tmp_path) -> None:
    pairs(tmp_path, ROWS)
    import_pairs(tmp_path, tmp_path / "one")
    pairs(tmp_path, ROWS[::-1])
    import_pairs(tmp_path, tmp_path / "two")
    one, two = ({passage.id for passage in load_dataset(tmp_path / name).passages()} for name in ("one", "two"))
    assert one == two


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([{"id": "1", "question": "?"}], "pair 1 needs"),
        ([ROWS[0], ROWS[0]], "comes twice"),
        ([{**ROWS[0], "negative_titles": ["a", "b"]}], "`negative_titles` must be as many"),
    ],
)
def test_what_is_no_pair_is_named(tmp_path, rows, problem: str) -> None:
    pairs(tmp_path, rows)
    with pytest.raises(InvalidInput, match=problem):
        import_pairs(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_is_overwritten(tmp_path) -> None:
    pairs(tmp_path, ROWS)
    with pytest.raises(InvalidInput, match="not empty"):
        import_pairs(tmp_path, tmp_path)
    with pytest.raises(InvalidInput, match=r"no pairs\.jsonl"):
        import_pairs(tmp_path / "nowhere", tmp_path / "out")
