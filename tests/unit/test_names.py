"""Names as text: identity, and finding them."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.names import NameFinder, bare_name, entity_id, is_findable, name_key


@pytest.mark.parametrize(
    ("one", "other"),
    [("Mercury (planet)", "Mercury"), ("The Beatles", "Beatles"), ("ACME  Ltd", "acme ltd"), ("“Weld”", "Weld"), ("A Hat", "hat")],
)
def test_names_that_differ_only_in_form_are_one_entity(one: str, other: str) -> None:
    assert name_key(one) == name_key(other)
    assert entity_id(one) == entity_id(other)


def test_different_names_are_different_entities() -> None:
    assert entity_id("Jonas Weld") != entity_id("Jonas Wells")
    assert name_key("The") == "the"
    assert bare_name("(only parentheses)") == "(only parentheses)"


def surfaces(names: list[str], text: str) -> list[str]:
    return [text[found.span.start : found.span.end] for found in NameFinder(names).find(text)]


def test_longest_name_wins_and_nothing_overlaps() -> None:
    names = ["New York", "New York City", "City"]
    assert surfaces(names, "He left New York City in new york.") == ["New York City", "new york"]


def test_one_word_needs_its_case_and_four_letters() -> None:
    assert surfaces(["Mercury", "It", "may"], "Mercury and mercury. It may be.") == ["Mercury"]
    assert surfaces(["ERP"], "the ERP runs, the erp walks") == ["ERP"]
    assert not is_findable("It")


def test_names_stand_at_word_boundaries() -> None:
    assert surfaces(["Anna", "C++ Guild"], "Annabel, Joanna, Anna's C++ Guild.") == ["Anna", "C++ Guild"]
    assert surfaces(["INC-204"], "INC-2041 is not INC-204") == ["INC-204"]


def test_spans_are_exact_where_lower_case_is_longer() -> None:
    text = "İstanbul Depot, then Aster Foundry"
    assert surfaces(["Aster Foundry"], text) == ["Aster Foundry"]


def test_without_names_nothing_is_found() -> None:
    assert NameFinder([]).find("anything") == []


@given(st.lists(st.from_regex(r"[A-Z][a-z]{3,6}( [A-Z][a-z]{2,5})?", fullmatch=True), min_size=1, max_size=6), st.text(max_size=60))
def test_found_spans_never_overlap_and_carry_a_known_name(names: list[str], noise: str) -> None:
    text = f"{noise} {names[0]} {noise}"
    known = {entity_id(name) for name in names}
    found = NameFinder(names).find(text)
    assert all(item.entity_id in known and entity_id(text[item.span.start : item.span.end]) == item.entity_id for item in found)
    assert all(one.span.end <= other.span.start for one, other in itertools.pairwise(found))
    assert found, "the planted name is found"
