"""What a question says about the chain that it asks for."""

from __future__ import annotations

import pytest

from router.retrieval.relation_question import AnswerKind, asked_chain


@pytest.mark.parametrize(
    ("question", "kind", "noun"),
    [
        ("who directed NAME", AnswerKind.PERSON, ""),
        ("the film NAME was written by whom", AnswerKind.PERSON, ""),
        ("when was NAME opened", AnswerKind.TIME, ""),
        ("which person leads NAME", AnswerKind.PERSON, ""),
        ("which films did NAME direct", None, "films"),
        ("what is the language of NAME", None, "language"),
        ("what product line is NAME in", None, "line"),
        ("what did NAME make", None, ""),
        ("name the author of NAME", None, ""),
    ],
)
def test_the_kind_of_answer(question: str, kind: AnswerKind | None, noun: str) -> None:
    asked = asked_chain(question, "NAME")
    assert (asked.kind, asked.noun) == (kind, noun)


def test_words_stand_where_they_are_said_and_the_name_counts_as_one() -> None:
    asked = asked_chain("Who leads the team operating Kellby Lock now?", "Kellby Lock")
    assert [(word.text, word.place) for word in asked.words] == [("leads", 1), ("team", 3), ("operating", 4), ("now", 6)]
    assert (asked.question_place, asked.name_place) == (0, 5)


@pytest.mark.parametrize(
    ("question", "again"), [("who also wrote NAME", True), ("films that share actors with NAME", True), ("who wrote NAME", False)]
)
def test_words_of_repetition(question: str, again: bool) -> None:
    assert asked_chain(question, "NAME").says_again is again
