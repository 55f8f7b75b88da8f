"""Lessons: every source is asked once per question, and every set is judged."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from router.experiments.dataset import Dataset, Question
from router.experiments.lessons import lessons, open_lessons
from router.settings import Settings
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


async def test_lessons_in_a_file_are_not_measured_again(tmp_path: Path) -> None:
    source = ListRetriever(found("Jonas Weld holds the account."))
    engine = small_engine({"vector": source, "graph": ListRetriever()})
    questions = (asked("held", answers=("Jonas Weld",)), asked("missed", gold=frozenset(["other"])))
    dataset = Dataset("made-up", tmp_path, questions, None, None, None)
    opened = partial(open_lessons, tmp_path / "lessons", dataset, ("vector", "graph"), 5, Settings())
    with opened() as known:
        first = await lessons(engine, "made-up", questions[:1], 5, lambda: None, known)
    with opened() as known:
        both = await lessons(engine, "made-up", questions, 5, lambda: None, known)
    assert len(source.callers) == 2
    assert [one.example for one in both[:1]] == [one.example for one in first]
    assert both[0].evidence == first[0].evidence
    assert both[0].vector.dtype == np.float32
    assert np.array_equal(both[0].vector, first[0].vector)
    assert [path.name for path in (tmp_path / "lessons").iterdir()] == ["made-up.jsonl"]
    with open_lessons(tmp_path / "lessons", dataset.without_titles(), ("vector", "graph"), 5, Settings()) as untitled:
        assert not untitled
