"""Other names that a text gives to a thing."""

from __future__ import annotations

import pytest

from router.corpus.aliases import aliases_of
from router.models.base import Recognised, RecognisedName
from router.types import Span

NOTHING = Recognised((), ())


def people(*names: str) -> Recognised:
    return Recognised(tuple(RecognisedName(name, "PERSON", Span(0, len(name))) for name in names), ())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The World Health Organization (WHO) met.", [("WHO", "World Health Organization")]),
        ("It is run by the Department of Defense (DOD).", [("DOD", "Department of Defense")]),
        ("We use optical character recognition (OCR) here.", [("OCR", "optical character recognition")]),
        ("The office (open on Mondays) is small.", []),
        ("The plant (PLT) failed.", []),
        ("Sales rose (Q3).", []),
        ("The Harbour Annex, also known as the Blue House, is empty.", [("Blue House", "The Harbour Annex")]),
        ("Burma (formerly known as Myanmar Union) signed.", [("Myanmar Union", "Burma")]),
        ("It is also known as a risk.", []),
    ],
)
def test_what_the_text_states(text: str, expected: list[tuple[str, str]]) -> None:
    assert list(aliases_of(text, NOTHING)) == expected


def test_a_surname_alone_means_the_person_named_in_full_in_the_same_text() -> None:
    assert list(aliases_of("", people("Jonas Weld", "Weld", "Mara Holt"))) == [("Weld", "Jonas Weld")]
    assert list(aliases_of("", people("Jonas Weld", "Ida Weld", "Weld"))) == [("Weld", "Jonas Weld"), ("Weld", "Ida Weld")]
    assert list(aliases_of("", people("Weld"))) == []
