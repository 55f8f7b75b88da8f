"""Reading data sets: the layout, its variants, and files that are not of it."""

from __future__ import annotations

import gzip
import json

import pytest

from router.errors import InvalidInput
from router.experiments.dataset import load_csv, load_dataset


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


def test_one_answer_and_the_hops_are_read(tmp_path) -> None:
    rows = [{"id": "1", "question": "who?", "answer": "x", "hops": 2}, {"id": "2", "question": "what?", "hops": "many"}]
    (tmp_path / "queries.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert [(question.answers, question.hops) for question in load_dataset(tmp_path).questions] == [(("x",), 2), ((), None)]


def test_stripped_titles_make_another_corpus(tmp_path) -> None:
    write(tmp_path)
    titled = load_dataset(tmp_path)
    stripped = titled.without_titles()
    assert [(passage.id, passage.title, passage.text) for passage in stripped.passages()] == [("p1", "", "x"), ("p2", "", "y")]
    assert stripped.content_hash() != titled.content_hash()
    assert stripped.questions == titled.questions


def test_halves_share_nothing_and_a_limit_is_spread_over_the_file(tmp_path) -> None:
    (tmp_path / "queries.jsonl").write_text("\n".join(json.dumps({"_id": str(n), "text": "?"}) for n in range(11)))
    dataset = load_dataset(tmp_path)

    def ids(**chosen) -> list[int]:
        return [int(question.id) for question in dataset.some_questions(**chosen)]

    assert ids() == list(range(11))
    assert (ids(half="even"), ids(half="odd")) == ([0, 2, 4, 6, 8, 10], [1, 3, 5, 7, 9])
    assert ids(limit=3) == [0, 3, 7]
    assert ids(half="odd", limit=2) == [1, 5]
    assert ids(limit=99) == list(range(11))


def test_grades_and_the_sources_that_labels_name_are_read(tmp_path) -> None:
    rows = [
        {"_id": "1", "text": "a?", "metadata": {"routes": ["table"], "utility": {"vector": 0, "table": 4}}},
        {"_id": "2", "text": "b?", "metadata": {"routes": [["graph", "web"]]}},
    ]
    (tmp_path / "queries.jsonl").write_text("\n".join(map(json.dumps, rows)))
    dataset = load_dataset(tmp_path)
    assert [question.utility for question in dataset.questions] == [{"vector": 0.0, "table": 4.0}, {}]
    assert dataset.labelled_sources == ("graph", "table", "vector", "web")
    assert not dataset.has_evidence


def test_a_split_is_a_sub_folder_that_shares_the_corpus(tmp_path) -> None:
    (tmp_path / "corpus.jsonl").write_text(json.dumps({"_id": "p1", "title": "T", "text": "x"}))
    for split in ("train", "dev"):
        (tmp_path / split / "qrels").mkdir(parents=True)
        (tmp_path / split / "queries.jsonl").write_text(json.dumps({"_id": f"{split}-1", "text": "what?"}))
    (tmp_path / "dev" / "qrels" / "test.tsv").write_text("dev-1\tp1\t1\n")
    dataset = load_dataset(tmp_path, "dev")
    assert [(question.id, set(question.gold)) for question in dataset.questions] == [("dev-1", {"p1"})]
    assert (dataset.name, dataset.split, dataset.corpus) == (tmp_path.name, "dev", tmp_path / "corpus.jsonl")
    with pytest.raises(InvalidInput, match="dev, train: name one with --split"):
        load_dataset(tmp_path)


def test_a_split_is_what_its_qrels_judge(tmp_path) -> None:
    (tmp_path / "queries.jsonl").write_text("\n".join(json.dumps({"_id": str(n), "text": "?"}) for n in range(3)))
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "dev.tsv").write_text("query-id\tcorpus-id\tscore\n1\tp\t1\n")
    assert [question.id for question in load_dataset(tmp_path, "dev").questions] == ["1"]
    assert len(load_dataset(tmp_path).questions) == 3
    with pytest.raises(InvalidInput, match=r"qrels/train\.tsv"):
        load_dataset(tmp_path, "train")


def test_questions_of_a_csv_file(tmp_path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text('id,text,routes,answers,utility.vector\na,who?,vector|graph+web,Ada|Ada L.,2\nb,"why, then?",,,\n')
    first, second = load_csv(file).questions
    assert (first.id, first.routes) == ("a", (frozenset({"vector"}), frozenset({"graph", "web"})))
    assert (first.answers, first.utility) == (("Ada", "Ada L."), {"vector": 2.0})
    assert (second.text, second.routes, second.answers, second.utility) == ("why, then?", (), (), {})
    (tmp_path / "queries.csv").write_text("question,answers\nwho?,Ada\n")
    assert [(question.id, question.answers) for question in load_dataset(tmp_path).questions] == [("1", ("Ada",))]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("id,words\n1,x\n", "`text` or `question`"),
        ('text\n""\n', "line 2"),
        ("text,utility.web\nx,much\n", "'much'"),
        ("text\n", "no questions"),
    ],
)
def test_what_is_wrong_with_a_csv_file_is_told(tmp_path, content: str, told: str) -> None:
    (tmp_path / "x.csv").write_text(content)
    with pytest.raises(InvalidInput, match=told):
        load_csv(tmp_path / "x.csv")


def test_what_is_no_data_set_is_named(tmp_path) -> None:
    with pytest.raises(InvalidInput, match=r"queries\.jsonl"):
        load_dataset(tmp_path)
    (tmp_path / "queries.jsonl").write_text('{"_id": "q", "text": "a"}\nnot json\n')
    with pytest.raises(InvalidInput, match="line 2"):
        load_dataset(tmp_path)
    with pytest.raises(InvalidInput, match="not a folder"):
        load_dataset(tmp_path / "nowhere")
