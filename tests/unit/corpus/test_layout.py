"""The layout that is read from the lines of a text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.corpus.layout import MAX_HEADER_CHARS, Layout, blocks, divided, header_of, last_sentences, sentences

LINES = st.sampled_from(
    ["", " ", "Words here.", "more", "- item", "  1. item", "a | b", "| a | b |", "|---|---|", "```", "~~~", "\tcode", "。東京"]
)
TEXTS = st.lists(LINES, max_size=30).map("\n".join) | st.text(max_size=200)


def found(text: str) -> list[tuple[Layout, str]]:
    return [(block.layout, text[block.span.start : block.span.end].strip("\n")) for block in blocks(text)]


@given(TEXTS)
def test_blocks_parts_and_sentences_are_the_text_again(text: str) -> None:
    assert "".join(text[block.span.start : block.span.end] for block in blocks(text)) == text
    assert "".join(divided(text)) == text
    assert "".join(sentences(text)) == text
    assert text.endswith("".join(last_sentences(text)))


@given(TEXTS)
def test_dividing_comes_to_an_end(text: str) -> None:
    assert all(part and (len(part) < len(text) or part == text) for part in divided(text)) or not text


def test_blocks_are_told_apart() -> None:
    text = (
        "A paragraph\nof two lines.\n\nAnother one:\n- first item\n  goes on\n- second item\n\n"
        "| a | b |\n|---|---|\n| 1 | 2 |\nWords right below.\n```sh\ncat x | grep y\n\n- no item\n```\nThe end."
    )
    assert found(text) == [
        (Layout.PROSE, "A paragraph\nof two lines."),
        (Layout.PROSE, "Another one:"),
        (Layout.ITEM, "- first item\n  goes on"),
        (Layout.ITEM, "- second item"),
        (Layout.TABLE, "| a | b |\n|---|---|\n| 1 | 2 |"),
        (Layout.PROSE, "Words right below."),
        (Layout.CODE, "```sh\ncat x | grep y\n\n- no item\n```"),
        (Layout.PROSE, "The end."),
    ]


def test_rows_with_empty_cells_are_rows() -> None:
    assert found("a | b | c\n| b\na |\na |  | c\n| | c") == [(Layout.TABLE, "a | b | c\n| b\na |\na |  | c\n| | c")]
    assert found("if a || b\nthen a|b") == [(Layout.PROSE, "if a || b\nthen a|b")]


def test_a_listing_that_is_not_closed_goes_to_the_end() -> None:
    assert found("Words.\n~~~\na | b\n\n``` is no end") == [(Layout.PROSE, "Words."), (Layout.CODE, "~~~\na | b\n\n``` is no end")]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a | b\n1 | 2\n3 | 4", ["a | b\n1 | 2\n", "3 | 4"]),
        ("| a | b |\n|---|---|\n| 1 | 2 |", ["| a | b |\n|---|---|\n", "| 1 | 2 |"]),
        ("a | b", ["a | b"]),
        ("One. Two! Three", ["One. ", "Two! ", "Three"]),
        ("no end\nof a sentence", ["no end\n", "of a sentence"]),
        ("```\nx\ny\n```", ["```\n", "x\n", "y\n", "```"]),
        ("word", ["word"]),
    ],
)
def test_what_is_too_long_is_divided_where_it_hurts_least(text: str, parts: list[str]) -> None:
    assert divided(text) == parts


def test_headers() -> None:
    assert header_of("| Part |  Price |\n|---|---|\n| bolt | 1 |") == "Part | Price"
    assert header_of("Part | Price\nbolt | 1") == "Part | Price"
    assert header_of("Part | Price") == ""
    assert header_of("x | " * MAX_HEADER_CHARS + "\na | b") == ""


def test_only_prose_at_the_end_is_said_again() -> None:
    assert last_sentences("One. Two.\n\nThree.") == ["One. ", "Two.\n\n", "Three."]
    assert last_sentences("One. Two.\n- item.") == []
    assert last_sentences("a | b\nc | d\nOne. Two.") == ["One. ", "Two."]
