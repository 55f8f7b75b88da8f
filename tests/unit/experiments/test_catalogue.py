"""What a reference of a data set names, sets of ir_datasets among them."""

from __future__ import annotations

import pytest

from router.errors import InvalidInput, MissingExtra
from router.experiments import irds
from router.experiments.catalogue import open_dataset


def test_a_csv_file_and_a_folder(tmp_path) -> None:
    (tmp_path / "queries.csv").write_text("text\nwho?\n")
    assert open_dataset(str(tmp_path)).name == tmp_path.name
    assert open_dataset(str(tmp_path / "queries.csv")).name == "queries"
    with pytest.raises(InvalidInput, match="--split is for folders"):
        open_dataset(str(tmp_path / "queries.csv"), "dev")


def test_a_missing_library_is_told_with_its_extra(monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ir_datasets", None)
    with pytest.raises(MissingExtra, match=r"graphrag-router\[bench\]"):
        open_dataset("irds:nowhere/at-all")


def test_a_set_of_the_library_is_kept_as_a_folder(tmp_path, monkeypatch) -> None:
    ir_datasets = pytest.importorskip("ir_datasets")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "docs.tsv").write_text("d1\tAster Foundry casts pump housings.\nd2\tSoup on Mondays.\n")
    (tmp_path / "queries.tsv").write_text("q1\twho casts housings?\nq2\tnot judged\n")
    (tmp_path / "qrels").write_text("q1 0 d1 1\nq1 0 d2 0\n")
    made = ir_datasets.create_dataset(*(str(tmp_path / name) for name in ("docs.tsv", "queries.tsv", "qrels")))
    ir_datasets.registry.register("small/test", made)
    dataset = open_dataset("irds:small/test")
    (question,) = dataset.questions
    assert (dataset.name, question.id, set(question.gold)) == ("irds-small--test", "q1", {"d1"})
    passage = next(dataset.passages())
    assert (passage.id, passage.title, passage.text) == ("d1", "", "Aster Foundry casts pump housings.")
    monkeypatch.setattr(irds, "_library_dataset", lambda name: pytest.fail("it was written before"))
    assert open_dataset("irds:small/test").questions == dataset.questions


def test_a_set_that_the_library_does_not_know() -> None:
    pytest.importorskip("ir_datasets")
    with pytest.raises(InvalidInput, match="knows no set 'nowhere/at-all'"):
        open_dataset("irds:nowhere/at-all")
