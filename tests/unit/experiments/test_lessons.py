"""Lessons: every source is asked once per question, and every set is judged."""

from __future__ import annotations

from router.experiments.dataset import Question
from router.experiments.lessons import lessons
from router.testing.engine import ListRetriever, small_engine
from router.types import Evidence, EvidenceKind, Provenance

VECTOR = frozenset(["vector"])


def found(text: str) -> tuple[Evidence, ...]:
    return (Evidence("e1", EvidenceKind.PASSAGE, "Note", text, (Provenance("vector", 1, 1.0, "hybrid"),), document_id="d1", uri="note"),)


def asked(identity: str, *, gold: frozenset[str] = frozenset(), answers: tuple[str, ...] = ()) -> Question:
    return Question(identity, "Who holds the account?", gold, answers, (), "made-up")


async def test_what_a_question_teaches() -> None:
    source = ListRetriever(found("Jonas Weld holds the account."))
    engine = small_engine({"vector": source})
    steps: list[int] = []
    questions = [asked("held", answers=("Jonas Weld",)), asked("missed", gold=frozenset(["other"])), asked("unmeasured")]
    learned = await lessons(engine, "made-up", questions, 5, lambda: steps.append(1))
    assert [(one.example.id, one.example.qualities) for one in learned] == [("held", {VECTOR: 1.0}), ("missed", {VECTOR: 0.0})]
    assert learned[0].evidence[VECTOR]["held_best"] > 0
    assert len(source.callers) == 2, "one look-up per question that can be measured"
    assert len(steps) == 3
