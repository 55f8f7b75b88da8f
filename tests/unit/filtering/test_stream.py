"""Redaction while an answer is written: the same however it is cut, and with citations that stay right."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from hypothesis import given
from hypothesis import strategies as st

from router.filtering.policy_file import RedactRule
from router.filtering.redaction import RedactionRules
from router.filtering.stream import LONGEST, STEP, filtered
from router.generation.base import GeneratorEvent, Written
from router.generation.citations import CitationChecker
from router.types import Citation, Notice, Token

MAIL = RedactRule(name="mail", patterns=(r"\b\w+@\w+\.org\b",), replacement="<mail>")
DIGITS = RedactRule(name="digits", patterns=(r"\d+",), replacement="#")


async def written_in(pieces: Sequence[str]) -> AsyncIterator[GeneratorEvent]:
    """As the generator of a language model: tokens, each citation after the token that ends with its marker."""
    checker = CitationChecker(["a", "b", "c"])
    for piece in pieces:
        for event in checker.feed(piece):
            yield event
    for event in checker.finish():
        yield event
    yield Written(checker.text, True, tuple(checker.citations), "model", tuple(checker.notices))


async def through(pieces: Sequence[str], *rules: RedactRule) -> tuple[list[GeneratorEvent], Written]:
    events = [event async for event in filtered(written_in(pieces), [RedactionRules(rules)])]
    written = events[-1]
    assert isinstance(written, Written)
    assert "".join(event.text for event in events if isinstance(event, Token)) == written.text
    assert tuple(event for event in events if isinstance(event, Citation)) == written.citations
    for citation in written.citations:
        assert written.text[citation.span.start : citation.span.end] == f"[{citation.marker}]"
    return events, written


async def test_a_match_that_straddles_pieces_is_redacted_and_told() -> None:
    events, written = await through(["Write to a", "da@ex", "ample.o", "rg today [1", "]."], MAIL)
    assert written.text == "Write to <mail> today [1]."
    assert written.notices == (Notice("REDACTED", "1 place of the answer redacted by the rule 'mail'"),)
    assert written.notices[0] in events
    assert [citation.evidence_id for citation in written.citations] == ["a"]


async def test_what_is_fine_is_told_as_it_is_while_it_is_written() -> None:
    text = "Ada keeps the lantern lit [2]. " * 40
    events, written = await through(text.split(" "), MAIL)
    assert written.text == "".join(text.split())
    tokens = [event for event in events if isinstance(event, Token)]
    assert len(tokens) > 10
    assert len(tokens[-1].text) <= LONGEST + STEP


async def test_markers_of_citations_are_no_part_of_a_match() -> None:
    _, written = await through(["Room 12", " [1] has 3", "4 seats [2][3]"], DIGITS)
    assert written.text == "Room # [1] has # seats [2][3]"
    _, written = await through(["secret [1] stuff [2] end"], RedactRule(name="x", patterns=(r"secret.*stuff \[",), replacement="..."))
    assert written.text == "...[1][2] end"


async def test_a_stretch_longer_than_the_window_is_redacted_in_whole() -> None:
    _, written = await through(["key "] + ["a1b2"] * 500 + [" end"], RedactRule(name="key", patterns=(r"[a-z0-9]{20,}",)))
    assert written.text == "key [redacted] end"


async def test_wherever_a_window_ends_a_match_is_seen_with_what_stands_around_it() -> None:
    cat = RedactRule(name="cat", patterns=(r"\bcat\b",), replacement="#")
    key = RedactRule(name="key", patterns=(r"key-\w+(?: secret)?",), replacement="#")
    for length in range(LONGEST + 2 * STEP):
        before, after = "." * length, " word" * 100
        _, written = await through([f"{before}concat, cat{after}"], cat)
        assert written.text == f"{before}concat, #{after}"
        _, written = await through([f"{before}key-abc secret{after}"], key)
        assert written.text == f"{before}#{after}"


async def test_an_answer_is_ended_before_what_must_not_be_told() -> None:
    stop = RedactRule(name="code", patterns=("(?i)code ?word",), stop=True)
    events, written = await through(["It is safe [1]. The co", "de word is fish [2]. ", "More [3]."], stop)
    assert written.text == "It is safe [1]. The "
    assert [citation.marker for citation in written.citations] == [1]
    assert written.notices == (Notice("ANSWER_STOPPED", "the answer was ended by the rule 'code'"),)
    assert (written.found, written.generator) == (True, "model")
    assert isinstance(events[-2], Notice)


WORDS = st.sampled_from(["ada@lit.org", "ada@", "lit.org", "x", " ", "[1]", "[2]", "[9]", "7", "12", "@", "word " * 30, "Ω", "[", "]"])


@given(st.lists(WORDS, max_size=40).map("".join), st.data())
async def test_however_the_text_is_cut_the_same_comes_out(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=20)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    (_, whole), (_, cut) = await through([text], MAIL, DIGITS), await through(pieces, MAIL, DIGITS)
    assert cut == whole
    kept = whole.text
    for citation in reversed(whole.citations):
        kept = kept[: citation.span.start] + kept[citation.span.end :]
    assert not any(character.isdigit() for character in kept)
    before = [event async for event in written_in([text])][-1]
    assert isinstance(before, Written)
    assert [citation.marker for citation in whole.citations] == [citation.marker for citation in before.citations]
