from __future__ import annotations

import pytest

from router.generation.sentences import MAX_SENTENCE_CHARS, sentences
from router.types import PathStep
from tests.unit.generation.passages import FOUNDRY, fact, passage


def split(text: str, title: str = "T", **fields) -> list[str]:
    return sentences(passage("p", title, text, **fields))


def test_headings_and_footnote_marks_are_left_out() -> None:
    assert sentences(FOUNDRY) == [
        "Aster Foundry casts pump housings in Halden.",
        "It was founded by Jonas Weld in 1987.",
        "The canteen serves soup on Fridays.",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Dr. Weld met Mr. Lund at 5 p.m. in Oslo. They talked.", ["Dr. Weld met Mr. Lund at 5 p.m. in Oslo."]),
        ("The line was\nfull here, so it goes on. And one more line.", ["The line was full here, so it goes on.", "And one more line."]),
        ("Safety rules\n\nWear goggles in the hall.", ["Wear goggles in the hall."]),
        ("## Safety rules\nWear goggles in the hall.", ["Wear goggles in the hall."]),
        ("- Wear goggles in the hall.\n- Never run near furnaces.", ["Wear goggles in the hall.", "Never run near furnaces."]),
        ("Opening hours: 8 to 17", ["Opening hours: 8 to 17."]),
        ("| Kiln | max temperature 900 °C |", ["Kiln | max temperature 900 °C."]),
        ("Is it true? Yes, it certainly is!", ["Yes, it certainly is!"]),
        ("", []),
    ],
)
def test_splitting(text: str, expected: list[str]) -> None:
    assert split(text) == expected


def test_the_passages_own_headings_are_known() -> None:
    text = "Cooling of the large castings in the northern hall\nWait for six hours before moving."
    assert split(text, headings=("Cooling of the large castings in the northern hall",)) == ["Wait for six hours before moving."]


def test_a_very_long_sentence_is_cut_at_a_word() -> None:
    (sentence,) = split("word " * 200)
    assert len(sentence) <= MAX_SENTENCE_CHARS + 2
    assert sentence.endswith("word …")


def test_a_single_relation_is_a_sentence() -> None:
    item = fact("f", "Kiln-7: designed by: Petra Lund.", PathStep("Kiln-7", "designed_by", "Petra Lund"))
    assert sentences(item) == ["Kiln-7 designed by Petra Lund."]


@pytest.mark.parametrize(
    "steps",
    [
        (PathStep("Kiln-7", "designed_by", "..."), PathStep("...", "born_in", "Oslo")),
        (PathStep("Kiln-7", "used_by", "3 entities"),),
    ],
)
def test_a_longer_or_wider_path_keeps_its_own_words(steps) -> None:
    item = fact("f", "Kiln-7: used by: A, B, C.", *steps)
    assert sentences(item) == ["Kiln-7: used by: A, B, C."]
