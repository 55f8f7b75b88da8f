"""The sentence of not finding, held back at the end of a reply."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from router.generation.closing import ClosingSentence
from router.generation.prompt import NOT_FOUND

WORDS = st.sampled_from(["The", "The evidence", "Jonas Weld", " ", ". ", "\n", NOT_FOUND, NOT_FOUND[:9], NOT_FOUND[9:], "T"])


def passed(pieces: list[str]) -> tuple[str, bool]:
    closing = ClosingSentence()
    free = "".join(closing.feed(piece) for piece in pieces)
    held = closing.finish()
    return (free, True) if held.strip() == NOT_FOUND else (free + held, False)


@given(st.lists(WORDS, max_size=8))
@example([NOT_FOUND])
@example(["Yes. ", NOT_FOUND, NOT_FOUND])
def test_however_it_is_cut_the_same_comes_out_and_only_the_sentence_is_missing(words: list[str]) -> None:
    whole = "".join(words)
    text, doubts = passed([whole])
    assert passed(list(whole)) == passed(words) == (text, doubts)
    if doubts:
        assert text.strip()
        assert whole.startswith(text)
        assert whole[len(text) :].strip() == NOT_FOUND
    else:
        assert text == whole


def test_a_reply_that_is_the_sentence_goes_on_while_it_is_written() -> None:
    closing = ClosingSentence()
    assert [closing.feed(piece) for piece in ("The ", "evidence ")] == ["The", " evidence"]


def test_other_text_is_held_for_a_few_characters_only() -> None:
    closing = ClosingSentence()
    assert [closing.feed(piece) for piece in ("Yes. ", "The e", "ngine runs.")] == ["Yes.", "", " The engine runs."]
