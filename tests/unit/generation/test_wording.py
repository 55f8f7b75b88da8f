"""Evidence that holds an answer's words."""

from __future__ import annotations

import pytest

from router.generation.prompt import NOT_FOUND
from router.generation.wording import evidence_of_wording
from router.types import Evidence, EvidenceKind, Provenance


def item(number: int, title: str, text: str) -> Evidence:
    return Evidence(str(number), EvidenceKind.PASSAGE, title, text, (Provenance("vector", number, 1.0, "hybrid"),))


EVIDENCE = (
    item(1, "Expenses", "Meals are paid at a flat rate of 34 crowns a day. Receipts are kept for six years."),
    item(2, "Canteen", "The canteen serves lentil soup on Mondays."),
)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("Meals are paid at a flat rate of 34 crowns a day.", [1]),
        ("Meals are paid at a flat rate of 34 crowns. The canteen serves lentil soup on Mondays.", [1, 2]),
        ("The canteen serves lentil soup on Mondays. Receipts are kept for six years. Receipts are kept six years.", [2, 1]),
        ("Meals are paid at a flat rate of 40 euros a week.", []),
        ("Meals are paid at a flat rate of 34 crowns a day. The moon is made of green cheese.", []),
        ("It does.", []),
        (f"Meals are paid at a flat rate of 34 crowns a day. {NOT_FOUND}", [1]),
        ("", []),
    ],
)
def test_only_what_is_held_word_for_word_is_named(text: str, numbers: list[int]) -> None:
    assert evidence_of_wording(text, EVIDENCE) == numbers


def test_without_evidence_nothing_is_named() -> None:
    assert evidence_of_wording("Meals are paid at a flat rate.", ()) == []
