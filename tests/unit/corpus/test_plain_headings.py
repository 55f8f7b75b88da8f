"""Headings of plain text: told where it is safe, and nowhere else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.corpus.formats import read_plain
from router.corpus.plain_headings import plain_headings

PARAGRAPH = "The canal was dug by hand over eleven winters, and nobody wrote down who had the idea of it first."


def headings(text: str) -> list[tuple[int, str]]:
    return [(heading.level, heading.text) for heading in plain_headings(text)]


def test_a_short_line_right_above_a_paragraph() -> None:
    text = f"{PARAGRAPH}\n\nEarly years\n{PARAGRAPH}\n\n21st century\n{PARAGRAPH}\n{PARAGRAPH}"
    assert headings(text) == [(1, "Early years"), (1, "21st century")]
    for heading in plain_headings(text):
        assert text[heading.span.start : heading.span.end] == heading.text


def test_headings_with_nothing_between_them_are_one_path() -> None:
    assert headings(f"{PARAGRAPH}\n\nHistory\nFirst locks (1893-1898)\n{PARAGRAPH}") == [(1, "History: First locks (1893-1898)")]


def test_numbered_headings_are_as_deep_as_their_number() -> None:
    text = f"Manual\n\n1 Scope\n\n{PARAGRAPH}\n\n1.1 What it covers\n\n{PARAGRAPH}\n\n2. Terms\n\n{PARAGRAPH}"
    assert headings(text) == [(1, "1 Scope"), (2, "1.1 What it covers"), (1, "2. Terms")]


def test_titles_between_empty_lines_count_where_there_are_several() -> None:
    part = "\n\n{}\n\n" + PARAGRAPH
    three = PARAGRAPH + "".join(part.format(title) for title in ("Terms of Payment", "Place of Delivery", "Returned Goods"))
    assert [title for _, title in headings(three)] == ["Terms of Payment", "Place of Delivery", "Returned Goods"]
    assert headings(PARAGRAPH + part.format("The Amber Courier")) == []
    assert headings(PARAGRAPH + "".join(part.format(f"photo of lock {number}") for number in "abc")) == []


@pytest.mark.parametrize(
    "text",
    [
        f"The First Line\n{PARAGRAPH}",  # may be a title, and is no heading of a part
        f"{PARAGRAPH}\n\nDear Mr Weld,\n{PARAGRAPH}",
        f"{PARAGRAPH}\n\nIt rained.\n{PARAGRAPH}",
        f"{PARAGRAPH}\n\nIn detail:\n{PARAGRAPH}",
        f"{PARAGRAPH}\nEarly years\n{PARAGRAPH}",  # no empty line above it
        f"{PARAGRAPH}\n\nearly years\n{PARAGRAPH}",
        f"{PARAGRAPH}\n\n- Early years\n{PARAGRAPH}",
        f"{PARAGRAPH}\n\nPart | Price\n{PARAGRAPH}",
        f"{PARAGRAPH}\n\n    Early years\n{PARAGRAPH}",
        f"{PARAGRAPH}\n\nOne\nTwo\nThree\nFour\n{PARAGRAPH}",  # a list
        f"{PARAGRAPH}\n\nEdda Nordhelm\nRope Street 4\nPort Ammel\n\n{PARAGRAPH}",  # an address
        f"{PARAGRAPH}\n\nRoses are red\nViolets are blue\n\n{PARAGRAPH}",
        f"{PARAGRAPH}\n\nYours sincerely\nEdda",
        "Some words at the beginning\n\n"
        "The pump is lifted out of its shaft by the crane on the quay and is\n"
        "set down on two beams, so that the inlet can be seen from below. The\n"
        "seal comes out last.\n\n"
        "A second person holds the cable while the pump is turned around and\n"
        "looks for cuts in it, since a cut cable is not repaired but replaced.\n",
    ],
)
def test_what_is_no_heading(text: str) -> None:
    assert headings(text) == []


@given(
    st.lists(st.sampled_from(["", " ", "Early years", "1.2 Scope", PARAGRAPH, "- x", "what?", "東京の歴史"]), max_size=25).map("\n".join)
    | st.text()
)
def test_spans_are_lines_in_their_order(text: str) -> None:
    end = 0
    for heading in plain_headings(text):
        assert heading.span.start >= end
        assert heading.span.start == 0 or text[heading.span.start - 1] == "\n"
        assert heading.text.replace(": ", " ").split() == text[heading.span.start : heading.span.end].replace(": ", " ").split()
        end = heading.span.end


def test_plain_files_have_them() -> None:
    document = read_plain(f"Canals\n\nEarly years\n{PARAGRAPH}".encode(), 10_000)
    assert document.title == "Canals"
    assert [heading.text for heading in document.headings] == ["Early years"]
