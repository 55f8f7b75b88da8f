"""What a passage is about."""

from __future__ import annotations

import pytest

from router.corpus.subjects import NO_SUBJECTS, subjects_of
from router.models.base import Recognised, RecognisedSubject
from router.types import Chunk, Span

NOTHING = Recognised((), ())
PUMP = Recognised((), (), (RecognisedSubject("Pump 7", 0.8), RecognisedSubject("Hall 3", 0.1)))


def chunk(text: str = "Text.", *, title: str = "", headings: tuple[str, ...] = (), name: str = "17", ordinal: int = 0) -> Chunk:
    return Chunk("c", "d", "main", ordinal, title, headings, text, Span(0, len(text)), document_name=name)


def test_a_title_is_certain_and_nothing_is_guessed_beside_it() -> None:
    assert subjects_of(chunk(title="Pump Manual (draft)"), PUMP, {"Opening": 0.9}) == {"Pump Manual": 1.0}


def test_without_a_title_the_grammar_speaks() -> None:
    assert subjects_of(chunk(), PUMP, NO_SUBJECTS) == {"Pump 7": 0.8, "Hall 3": 0.1}


def test_later_passages_are_about_what_the_first_is_about() -> None:
    assert subjects_of(chunk(ordinal=3), NOTHING, {"Pump 7": 0.8}) == {"Pump 7": 0.4}
    assert subjects_of(chunk(ordinal=3), PUMP, {"pump 7": 0.9, "Boiler": 0.6}) == {"Pump 7": 0.8, "Hall 3": 0.1, "Boiler": 0.3}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("maintenance-plan.md", {"maintenance plan": 0.4}),
        ("hr/leave_policy_2024.pdf", {"leave policy 2024": 0.4}),
        ("17", {}),
        ("doc-12.txt", {}),
        ("d_ab12", {}),
    ],
)
def test_a_file_name_counts_when_it_is_words(name: str, expected: dict[str, float]) -> None:
    assert subjects_of(chunk(name=name), NOTHING, NO_SUBJECTS) == expected


def test_headings_of_several_words_and_defined_terms_count_beside_a_title() -> None:
    text = '“Business Day” means a day on which banks are open. "Fee" refers to the amount in Annex 2.'
    found = subjects_of(chunk(text, title="Supply Contract", headings=("Terms", "Notice and termination")), PUMP, NO_SUBJECTS)
    assert found == {"Supply Contract": 1.0, "Notice and termination": 0.5, "Business Day": 0.6, "Fee": 0.6}
    assert subjects_of(chunk(title="Supply Contract", headings=("Scope",)), PUMP, NO_SUBJECTS) == {"Supply Contract": 1.0}
