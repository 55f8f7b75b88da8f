"""Which sources the policies of a bench are offered."""

from __future__ import annotations

import pytest

from router.errors import InvalidInput
from router.experiments.bench import Plan, candidates, offered_sources, run_bench
from router.experiments.dataset import Dataset, Question
from router.settings import Settings
from router.testing.engine import ListRetriever, small_engine


def dataset(tmp_path, *routes: str, evidence: bool = False) -> Dataset:
    questions = tuple(Question(route, "?", frozenset(), (), (frozenset({route}),), "") for route in routes)
    return Dataset("small", tmp_path, questions, tmp_path if evidence else None, None, None)


def test_a_set_with_labels_only_is_about_what_its_labels_name(tmp_path) -> None:
    engine = small_engine({"vector": ListRetriever(), "web": ListRetriever()})
    offered, known = offered_sources(engine, dataset(tmp_path, "table", "vector"))
    assert ([source.name for source in offered], [source.name for source in known]) == (["vector", "table"], ["vector"])
    with_evidence, _ = offered_sources(engine, dataset(tmp_path, "table", evidence=True))
    assert [source.name for source in with_evidence] == ["vector", "web"]
    unlabelled, _ = offered_sources(engine, dataset(tmp_path))
    assert [source.name for source in unlabelled] == ["vector", "web"]


def test_an_unknown_policy_is_told(tmp_path) -> None:
    engine = small_engine({"vector": ListRetriever()})
    assert list(candidates(engine, (), ())) == ["all"]
    with pytest.raises(InvalidInput, match=r"no policy 'best'; available are \['all'\]"):
        candidates(engine, ("best",), ())


async def test_a_set_without_evidence_has_no_table(tmp_path) -> None:
    with pytest.raises(InvalidInput, match="nothing to retrieve") as error:
        await run_bench(Settings(data_dir=tmp_path), dataset(tmp_path, "vector"), Plan(table=tmp_path / "t"), lambda *_: lambda _: None)
    assert error.value.field == "table"
