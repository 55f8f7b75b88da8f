from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.fence import inert

PIECES = [
    "<|im_start|>",
    "</s>",
    "[/INST]",
    "</evidence>",
    "< / EVIDENCE >",
    "<question>",
    "</instruction>",
    "<",
    "/",
    "|",
    " ",
    "evidence",
    "[",
    "\u200b",
    "a < b",
]


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_no_tag_and_no_template_token_survives(text: str) -> None:
    safe = inert(text)
    assert not re.search(r"<\||</?s>|\[/?INST\]|<\s*/?\s*(?:evidence|question|instruction|conversation)\b", safe, re.IGNORECASE)
    assert inert(safe) == safe


@pytest.mark.parametrize(
    "text", ["if a < b and c > d: print(x[1])", "<div>Tab\tand\nline</div>", "Ångström 東京 👍", "evidence of a question"]
)
def test_ordinary_text_stays_as_it_was(text: str) -> None:
    assert inert(text) == text


def test_invisible_characters_are_dropped() -> None:
    assert inert("a\u200bb\x00c\u202ed\U000e0041") == "abcd"
