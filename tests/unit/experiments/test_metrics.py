"""The figures that everything else is judged by, against counts made by hand."""

from __future__ import annotations

import pytest

from router.experiments.dataset import Question
from router.experiments.metrics import answer_metrics, carries, documents, half_width, has_answer, percentile, ranking_metrics
from router.types import Evidence, EvidenceKind, Provenance


def question(identity: str, *gold: str, answers: tuple[str, ...] = ()) -> Question:
    return Question(identity, "text", frozenset(gold), answers, (), "")


def item(name: str, text: str = "") -> Evidence:
    return Evidence(
        f"chunk-{name}", EvidenceKind.PASSAGE, name, text, (Provenance("vector", 1, 1.0, "cosine"),), document_id=name, uri=name
    )


def test_recall_and_all_gold_by_hand() -> None:
    questions = [question("1", "a", "b"), question("2", "c"), question("3", "x"), question("unjudged")]
    values = ranking_metrics({"1": ["a", "z", "y", "w", "v", "b"], "2": ["c"]}, questions, 5)
    assert values["recall@5"] == {"1": 0.5, "2": 1.0, "3": 0.0}
    assert values["all_gold@5"] == {"1": 0.0, "2": 1.0, "3": 0.0}
    assert values["ndcg@10"]["2"] == 1.0
    assert 0 < values["ndcg@10"]["1"] < 1


def test_the_order_of_the_list_counts() -> None:
    asked = [question("1", "a")]
    first = ranking_metrics({"1": ["a", *"bcdefghij"]}, asked, 5)["ndcg@10"]["1"]
    last = ranking_metrics({"1": [*"bcdefghij", "a"]}, asked, 5)["ndcg@10"]["1"]
    assert first == 1.0
    assert last == pytest.approx(1 / 3.459, abs=1e-3)


def test_several_passages_of_a_document_count_once() -> None:
    assert documents([item("a"), item("a"), item("b")]) == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "answer", "found"),
    [
        ("In 1956, the year of …", "1956", True),
        ("in 19562", "1956", False),
        ("Señor García's office", "senor garcia", True),
        ("the U.S. Army", "us army", False),
        ("anything", "", False),
    ],
)
def test_answers_are_found_word_for_word(text: str, answer: str, *, found: bool) -> None:
    assert has_answer([item("t", text)], [answer]) is found


def test_a_short_answer_is_looked_for_as_it_stands() -> None:
    asked = question("1", answers=("Jonas Weld", "the head of the harbour office in those days"))
    assert answer_metrics([item("a"), item("b", "signed: Jonas Weld")], asked, 2) == {"answer@2": 1.0}
    assert answer_metrics([item("a"), item("b", "signed: Jonas Weld")], asked, 1) == {"answer@1": 0.0}


def test_a_long_answer_is_looked_for_by_the_words_that_the_question_does_not_have() -> None:
    asked = Question(
        "1", "How is a leaking pump repaired?", frozenset(), ("A leaking pump is repaired by replacing its seals and bearings",), (), ""
    )
    # What the answer adds: replace, seal, bearing. Endings do not count; the question's own words are worth nothing.
    assert answer_metrics([item("a", "A leaking pump is repaired.")], asked, 5) == {"answer_words@5": 0.0}
    found = answer_metrics([item("a", "Replace the seal."), item("b", "Nothing.")], asked, 5)
    assert found == {"answer_words@5": pytest.approx(2 / 3)}
    assert answer_metrics([item("a", "Replace the seal."), item("b", "Bearings.")], asked, 5) == {"answer_words@5": 1.0}
    assert answer_metrics([item("b"), item("a", "Replace the seal.")], asked, 1) == {"answer_words@1": 0.0}


@pytest.mark.parametrize("answers", [(), ("yes",), ("No.", "false"), ("?",)])
def test_a_mere_verdict_is_not_measured(answers: tuple[str, ...]) -> None:
    assert answer_metrics([item("a", "yes and no")], question("1", answers=answers), 5) == {}
    assert carries([item("a", "yes and no")], question("1", answers=answers), 5) == 0.0


def test_what_carries() -> None:
    evidence = [item("a", "the answer is Hall"), item("b"), item("c")]
    assert carries(evidence, question("1", "b", "z"), 2) == 0.5
    assert carries(evidence, question("1", "z", answers=("Hall",)), 2) == 1.0
    assert carries(evidence, question("1", "c"), 2) == 0.0
    assert carries(evidence, question("1"), 2) == 0.0


def test_intervals_and_percentiles() -> None:
    assert half_width([1.0]) == 0.0
    assert half_width([0.0, 1.0] * 50) == pytest.approx(0.0985, abs=1e-3)
    assert percentile([5.0, 1.0, 3.0], 0.5) == 3.0
    assert percentile([], 0.5) == 0.0
