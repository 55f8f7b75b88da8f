"""The table of what every set of sources is worth: measured on a real engine over lists, kept as Parquet, refused where it does not fit."""

from __future__ import annotations

from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from router.configuration import overridden
from router.errors import AllSourcesUnavailable, Conflict, InvalidInput, StoreUnavailable
from router.experiments.dataset import Dataset, Question
from router.experiments.made import Made
from router.experiments.utilities import (
    LLMPrice,
    UtilityTable,
    made_of,
    measure_sets,
    read_table,
    set_name,
    shaping,
    write_table,
)
from router.routing.source_sets import source_sets
from router.settings import OpenAILLM, Settings
from router.testing.engine import ListRetriever, small_engine
from router.types import Evidence, EvidenceKind, Provenance

VECTOR, GRAPH, BOTH = frozenset({"vector"}), frozenset({"graph"}), frozenset({"vector", "graph"})
PRICES = {"vector": 0.02, "graph": 0.25}


def passage(document: str, text: str = "") -> Evidence:
    return Evidence(document, EvidenceKind.PASSAGE, "", text, (Provenance("list", 1, 1.0, "cosine"),), document_id=document, uri=document)


def questions() -> tuple[Question, ...]:
    return (
        Question("q1", "who?", frozenset({"a"}), ("Jonas Weld",), (), "here"),
        Question("q2", "both?", frozenset({"a", "b"}), (), (), "there"),
        Question("q3", "no gold, no answer", frozenset(), (), (), ""),
    )


def dataset(tmp_path) -> Dataset:
    return Dataset("small", tmp_path, questions(), None, None, None)


def made(tmp_path, settings: Settings | None = None, k: int = 5) -> Made:
    return made_of(dataset(tmp_path), ("vector", "graph"), k, settings or Settings())


async def measured(tmp_path) -> UtilityTable:
    engine = small_engine({"vector": ListRetriever([passage("a", "Jonas Weld")]), "graph": ListRetriever([passage("b", "two words")])})
    return await measure_sets(engine, made(tmp_path), questions(), lambda: None)


async def test_every_set_is_run_for_every_question_with_a_measure(tmp_path) -> None:
    table = await measured(tmp_path)
    assert list(table.outcomes) == ["q1", "q2"]
    row = table.outcomes["q2"]
    assert {set_name(chosen): outcome.quality for chosen, outcome in row.items()} == {
        "": 0.0,
        "vector": 0.5,
        "graph": 0.5,
        "graph+vector": 1.0,
    }
    assert [row[chosen].recall for chosen in (VECTOR, GRAPH, BOTH)] == [0.5, 0.5, 1.0]
    assert row[BOTH].answer_in_evidence is None
    assert row[BOTH].tokens == 4
    assert [table.outcomes["q1"][chosen].answer_in_evidence for chosen in (VECTOR, GRAPH, frozenset())] == [True, False, False]
    assert table.sets == (frozenset(), GRAPH, VECTOR, BOTH)


async def test_trouble_beside_a_source_that_serves_is_noted_and_a_lone_dead_source_stops_the_run(tmp_path) -> None:
    engine = small_engine({"vector": ListRetriever([passage("a")]), "graph": ListRetriever(degraded="an old snapshot")})
    table = await measure_sets(engine, made(tmp_path), questions()[:1], lambda: None)
    assert table.trouble() == {"graph: degraded": 2}
    dead = small_engine({"vector": ListRetriever([passage("a")]), "graph": ListRetriever(error=StoreUnavailable("gone"))})
    with pytest.raises(AllSourcesUnavailable):
        await measure_sets(dead, made(tmp_path), questions(), lambda: None)


async def test_what_is_written_is_read(tmp_path) -> None:
    table = await measured(tmp_path)
    table = UtilityTable(
        table.made, {**table.outcomes, "q1": {**table.outcomes["q1"], BOTH: replace(table.outcomes["q1"][BOTH], prompt_tokens=500_000)}}
    )
    file = tmp_path / "t.parquet"
    write_table(file, table, questions(), PRICES, LLMPrice(prompt=2.0))
    assert read_table(file, made(tmp_path), questions()) == table
    rows = {(row["question"], row["set"]): row for row in pq.read_table(file).to_pylist()}
    assert rows["q1", "graph+vector"]["cost"] == pytest.approx(0.27)
    assert rows["q1", "graph+vector"]["money"] == pytest.approx(1.0)
    assert (rows["q2", "vector"]["origin"], rows["q2", "vector"]["recall"], rows["q2", "vector"]["answer_in_evidence"]) == (
        "there",
        0.5,
        None,
    )
    assert [path.name for path in tmp_path.iterdir()] == ["t.parquet"]
    assert list(read_table(file, made(tmp_path), questions()[1:]).outcomes) == ["q2"]


async def test_a_table_that_does_not_fit_is_refused_with_what_differs(tmp_path) -> None:
    file = tmp_path / "t.parquet"
    write_table(file, await measured(tmp_path), questions(), PRICES)
    changed = overridden(Settings(), {"fusion.method": "rrf"})
    with pytest.raises(Conflict, match=r"fusion\.method \(walk there, rrf here\)") as error:
        read_table(file, made(tmp_path, changed), questions())
    assert (error.value.reason, error.value.field) == ("TABLE_DOES_NOT_FIT", "table")
    with pytest.raises(Conflict, match=r"k \(5 there, 3 here\)"):
        read_table(file, made(tmp_path, k=3), questions())
    with pytest.raises(Conflict, match="the sources"):
        read_table(file, replace(made(tmp_path), sources=("vector",)), questions())
    with pytest.raises(Conflict, match="the corpus"):
        read_table(file, replace(made(tmp_path), content="another"), questions())
    other = replace(dataset(tmp_path), questions=(*questions(), Question("q4", "new?", frozenset({"a"}), (), (), "")))
    with pytest.raises(Conflict, match="the questions"):
        read_table(file, made_of(other, ("vector", "graph"), 5, Settings()), other.questions)


async def test_a_table_of_some_questions_says_how_many_are_missing(tmp_path) -> None:
    file = tmp_path / "t.parquet"
    table = await measured(tmp_path)
    write_table(file, UtilityTable(table.made, {"q1": table.outcomes["q1"]}), questions(), PRICES)
    with pytest.raises(Conflict, match="1 of 2 questions are not in it, such as q2"):
        read_table(file, made(tmp_path), questions())


def test_other_files_are_no_tables(tmp_path) -> None:
    file = tmp_path / "t.parquet"
    file.write_text("words")
    with pytest.raises(InvalidInput, match="cannot be read as Parquet"):
        read_table(file, made(tmp_path), questions())
    pq.write_table(pq.read_table.__globals__["pa"].table({"question": ["q1"]}), file)
    with pytest.raises(InvalidInput, match="no utility table"):
        read_table(file, made(tmp_path), questions())


def test_neither_prices_nor_who_decides_shape_the_evidence() -> None:
    llm = OpenAILLM(kind="openai", base_url="http://127.0.0.1:1/v1", model="m")
    plain = Settings()
    priced = overridden(plain, {"sources.web.cost": "0.9", "sources.web.description": "other", "routing.fixed_sources": "[graph]"})
    decides = plain.model_copy(update={"models": plain.models.model_copy(update={"llm": llm})})
    assert shaping(priced) == shaping(plain) == shaping(decides)
    assert shaping(overridden(plain, {"sources.vector.candidates": "40"})) != shaping(plain)
    assert shaping(overridden(decides, {"sources.graph.text2cypher.enabled": "true"}))["models"]["llm"]["model"] == "m"


def test_many_sources_are_run_alone_in_pairs_and_together() -> None:
    assert len(source_sets("abc")) == 8
    assert {len(chosen) for chosen in source_sets("abcdef")} == {0, 1, 2, 6}
