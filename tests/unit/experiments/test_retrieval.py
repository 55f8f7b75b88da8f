"""What a run over questions notes, on a real engine over lists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from router.call import Options
from router.engine import Engine
from router.errors import InvalidInput, StoreUnavailable
from router.experiments.dataset import Question
from router.experiments.retrieval import FUSED, Run, measure, planned_runs
from router.gathering import Source
from router.testing.engine import ListRetriever, small_engine
from router.types import Evidence, EvidenceKind, Provenance


def passage(document: str, number: int = 0, text: str = "") -> Evidence:
    # Small scores would sort by id; the rank decides here.
    return Evidence(
        f"{document}-{number}", EvidenceKind.PASSAGE, "", text, (Provenance("list", 1, 1.0, "cosine"),), document_id=document, uri=document
    )


def asked(identity: str, *gold: str, answers: tuple[str, ...] = ()) -> Question:
    return Question(identity, "what?", frozenset(gold), answers, (), "")


def nothing() -> None: ...


def priced(engine: Engine, **prices: float) -> Engine:
    for name, price in prices.items():
        source = engine.sources[name]
        engine.sources[name] = Source(replace(source.profile, cost=price), source.retriever)
    return engine


def alone(name: str) -> Run:
    return Run(name, Options(sources=(name,)))


async def test_quality_time_and_price_are_noted_by_question() -> None:
    engine = small_engine({"list": ListRetriever([passage("a", text="Jonas Weld"), passage("b")]), "other": ListRetriever([passage("c")])})
    questions = [asked("1", "a", answers=("Jonas Weld",)), asked("2", "z", answers=("nobody",))]
    measured = await measure(priced(engine, list=0.25, other=0.5), questions, planned_runs(engine, (), ())[-1], 5, nothing)
    assert measured.name == FUSED
    assert measured.values["recall@5"] == {"1": 1.0, "2": 0.0}
    assert measured.values["answer@5"] == {"1": 1.0, "2": 0.0}
    assert measured.costs == [0.75, 0.75]
    assert len(measured.latencies_ms) == 2
    assert {"embed", "retrieve", "fuse"} <= measured.stages_ms.keys()
    assert all(len(times) == 2 for times in measured.stages_ms.values())
    assert measured.llm.calls == 0


async def test_documents_behind_a_long_one_are_reached() -> None:
    evidence: Sequence[Evidence] = [*(passage("book", number) for number in range(40)), passage("leaflet"), passage("card")]
    engine = small_engine({"list": ListRetriever(evidence)})
    measured = await measure(engine, [asked("1", "leaflet"), asked("2", "card", "book")], alone("list"), 5, nothing)
    assert measured.values["recall@5"] == {"1": 1.0, "2": 1.0}
    # The answer is looked for in the items that a caller gets, not in the longer list.
    assert len(measured.latencies_ms) == 2


async def test_documents_keep_the_order_of_their_first_passage() -> None:
    names = ["b", "a", "b", "c", "a", "d", "e", "f"]
    engine = small_engine({"list": ListRetriever([passage(name, number) for number, name in enumerate(names)])})
    measured = await measure(engine, [asked("1", "f"), asked("2", "e")], alone("list"), 5, nothing)
    assert measured.values["recall@5"] == {"1": 0.0, "2": 1.0}


async def test_an_answer_measure_that_fits_hardly_any_question_is_left_out() -> None:
    engine = small_engine({"list": ListRetriever([passage("a", text="Jonas Weld")])})
    sentence = "the valve was opened by the night shift without a permit"
    questions = [asked("short", answers=("Jonas Weld",)), *(asked(str(number), answers=(sentence,)) for number in range(30))]
    measured = await measure(engine, questions, alone("list"), 5, nothing)
    assert measured.values.keys() == {"answer_words@5"}


async def test_a_source_in_trouble_is_counted() -> None:
    down = ListRetriever(error=StoreUnavailable("gone"))
    engine = small_engine({"list": ListRetriever([passage("a")]), "down": down})
    measured = await measure(engine, [asked("1", "a")], planned_runs(engine, (), ())[-1], 5, nothing)
    assert measured.trouble == {"down: unavailable": 1}
    assert measured.chosen == {"list": 1, "down": 1}


def test_what_is_run() -> None:
    engine = small_engine({"one": ListRetriever(), "two": ListRetriever()})
    assert [run.name for run in planned_runs(engine, (), ("all",))] == ["one", "two", FUSED, "policy:all"]
    assert [run.name for run in planned_runs(engine, ("two",), ())] == ["two"]
    with pytest.raises(InvalidInput, match="three"):
        planned_runs(engine, ("three",), ())
