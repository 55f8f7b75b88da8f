"""Which lines of a picture are marked."""

from __future__ import annotations

import pytest

from router.retrieval.regions import marked
from router.types import TextRegion


def region(text: str) -> TextRegion:
    return TextRegion(text, 0.1, 0.2, 0.3, 0.05, 0.9)


@pytest.mark.parametrize(
    ("line", "question", "matches"),
    [
        ("SEAL KIT 4711", "Which kit seals the pump?", True),  # stems, whatever the case
        ("Prüfdruck 6 bar", "prufdruck", True),
        ("PRESSNINE", "Where is press four?", True),  # the reader drops spaces
        ("OIL-PRESSNINE", "nine?", True),
        ("KITCHEN", "Which kit?", False),
        ("what is the", "What is the pressure?", False),  # no content
        ("Ada", "Who keeps the lantern?", False),
        ("Ada", "", False),
    ],
)
def test_a_line_is_marked_by_a_content_word(line: str, question: str, matches: bool) -> None:
    assert marked([region(line)], question)[0].matches is matches


def test_nothing_but_the_mark_changes_and_none_is_left_out() -> None:
    lines = [region("B seal"), region("A"), region("C seal")]
    found = marked(lines, "seal")
    assert [line.text for line in found] == ["B seal", "A", "C seal"]
    assert [line.matches for line in found] == [True, False, True]
    assert found[1] == lines[1]
