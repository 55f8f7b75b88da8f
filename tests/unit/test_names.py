"""Names as text: identity, and finding them."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.names import Found, NameFinder, bare_name, entity_id, folded, is_findable, longest, name_key
from router.types import Span


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


# Letters that meet in many ways: case, a letter that grows in small letters, marks, blanks, an underscore, digits.
TEXTS = st.text(alphabet="aAbBİß'-_.+2 \n", max_size=24)
NAMES = st.text(alphabet="aAbBİß'-_.+2 ", min_size=1, max_size=9)


def occurrences(names: set[str], text: str) -> list[Found]:
    """What stands in the text, tried at every place for every name."""
    found = []
    lowered = small(text)
    for bare in {bare_name(name) for name in names}:
        for start in range(len(text)):
            end = start + len(bare)
            if not is_findable(bare) or lowered[start:end] != small(bare):
                continue
            if start > 0 and text[start - 1].isalnum() and text[start].isalnum():
                continue
            if end < len(text) and text[end].isalnum() and text[end - 1].isalnum():
                continue
            if " " in bare or text[start:end] == bare:
                found.append(Found(entity_id(bare), Span(start, end)))
    return longest(found)


def small(text: str) -> str:
    return "".join(letter.lower() if len(letter.lower()) == 1 else letter for letter in text)


@given(st.sets(NAMES, max_size=8), TEXTS, st.data())
def test_names_are_found_wherever_they_stand(names: set[str], text: str, data) -> None:
    planted = data.draw(st.sampled_from(sorted(names))) if names else ""
    for whole in (text, f"{text} {planted}", f"{planted}{text}", f"{text} {planted.upper()} b"):
        assert NameFinder(names).find(whole) == occurrences(names, whole)


@given(st.lists(st.tuples(st.booleans(), NAMES), max_size=12), st.lists(NAMES, max_size=6))
def test_names_come_and_go_as_if_the_finder_were_made_anew(changes: list[tuple[bool, str]], words: list[str]) -> None:
    text = " ".join(words + [name for _, name in changes])
    finder, held = NameFinder(), set()
    for is_added, name in changes:
        if is_added:
            finder.add(name)
            held.add(name)
        else:
            held.discard(name)
        assert finder.find(text, lambda _, one: one in held) == NameFinder(held).find(text)


def test_a_name_of_another_entity_can_hide_in_the_same_letters() -> None:
    finder = NameFinder()
    finder.add("OPAL", "system")
    finder.add("Opal", "person")
    assert [found.entity_id for found in finder.find("Opal runs the OPAL.")] == ["person", "system"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Aschenbrödel", "aschenbrodel"),
        ("Tekezé River", "Tekeze River"),
        ("O’Neill & Sons", "O'Neill & Sons"),
        ("Kosić–Levin", "Kosic-Levin"),
    ],
)
def test_accents_and_typographic_signs_do_not_count(one: str, other: str) -> None:
    assert name_key(one) == name_key(other)
    text = f"They met {other} there, and {one.upper() if ' ' in one else one} too."
    assert [found.entity_id for found in NameFinder([one]).find(text.replace("aschenbrodel", "Aschenbrodel"))] == [entity_id(one)] * 2


@given(st.text())
def test_folding_keeps_every_place(text: str) -> None:
    assert len(folded(text)) == len(text)
    assert folded(folded(text)) == folded(text)
