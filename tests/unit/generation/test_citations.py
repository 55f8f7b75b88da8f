from __future__ import annotations

import re
from collections.abc import Iterable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from router.generation.citations import CitationChecker, without_citations
from router.types import Citation, Notice, Token

IDS = ("a", "b", "c")


def check(pieces: Iterable[str], ids=IDS):
    """(text, citations, notices) as the events tell them."""
    checker = CitationChecker(ids)
    events = [event for piece in pieces for event in checker.feed(piece)] + checker.finish()
    text = "".join(event.text for event in events if isinstance(event, Token))
    citations = [event for event in events if isinstance(event, Citation)]
    notices = [event for event in events if isinstance(event, Notice)]
    assert (checker.text, checker.citations, checker.notices) == (text, citations, notices)
    return text, citations, notices


@pytest.mark.parametrize(
    ("written", "passed", "markers"),
    [
        ("Paris [1].", "Paris [1].", [1]),
        ("Paris [1, 2].", "Paris [1][2].", [1, 2]),
        ("Paris [1][3].", "Paris [1][3].", [1, 3]),
        ("Paris [1; 2]", "Paris [1][2]", [1, 2]),
        ("Paris [1-3].", "Paris [1][2][3].", [1, 2, 3]),
        ("Paris [2–9].", "Paris [2][3].", [2, 3]),
        ("Paris [^2].", "Paris [2].", [2]),
        ("Paris [Evidence 2].", "Paris [2].", [2]),
        ("Paris 【2】", "Paris [2]", [2]),
        ("Paris ［２］", "Paris [2]", [2]),
        ("Paris [ 1 ]", "Paris [1]", [1]),
        ("Paris [1, 9].", "Paris [1].", [1]),
        ("Paris [9].", "Paris.", []),
        ("Paris [9] is", "Paris is", []),
        ("Paris [9][1] is", "Paris [1] is", [1]),
        ("Paris[7]!", "Paris!", []),
        ("Paris [0].", "Paris.", []),
        ("[9] Paris", "Paris", []),
        ("[[9]9]", "", []),
        ("[[9]1]", "[1]", [1]),
        ("[1[9]", "[1", []),
        ("[[1]]", "[[1]]", [1]),
        ("so [sic] it is", "so [sic] it is", []),
        ("in [2024]", "in [2024]", []),
        ("(1) first (9) last", "(1) first (9) last", []),
        ("an open [ bracket", "an open [ bracket", []),
        ("it ends in [1", "it ends in [1", []),
        ("[source code]", "[source code]", []),
        ("  two ends \n", "two ends", []),
        ("", "", []),
    ],
)
def test_what_is_a_citation(written: str, passed: str, markers: list[int]) -> None:
    text, citations, _ = check([written])
    assert text == passed
    assert [citation.marker for citation in citations] == markers
    assert [citation.evidence_id for citation in citations] == [IDS[marker - 1] for marker in markers]


def test_an_invented_citation_is_reported_once() -> None:
    _, _, notices = check(["a [9] b [9] c [12]"])
    assert [notice.reason for notice in notices] == ["CITATION_REMOVED"] * 2
    assert notices[0].message == "the citation [9] was removed: there are 3 pieces of evidence"


def test_text_goes_on_as_soon_as_it_cannot_be_a_citation() -> None:
    checker = CitationChecker(IDS)
    assert checker.feed("Paris") == [Token("Paris")]
    assert checker.feed(" [") == []
    assert checker.feed("1") == []
    assert [type(event) for event in checker.feed("] and")] == [Token, Citation, Token]
    assert checker.feed(" [s") == []
    assert checker.feed("i") == [Token(" [si")]


def test_marks_of_a_quoted_sentence_are_taken_out() -> None:
    assert without_citations("It was built[12] in 1901 [3, 4].") == "It was built in 1901."


PIECES = st.sampled_from(
    ["[", "]", "［", "】", "1", "2", "9", "12", "2024", ",", "-", " ", "^", "a", "evidence", ".", "\n", "[1]", "[9]", "[1, 9]"]
)
TEXTS = st.lists(PIECES, max_size=24).map("".join) | st.text(max_size=40)


@given(TEXTS, st.data())
@example("[[9]9]", None)
@example("x [9] [9] .", None)
def test_however_it_is_cut_the_same_comes_out(text: str, data) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8))) if data is not None else list(range(len(text)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert check(pieces) == check([text])


@given(TEXTS, st.integers(0, 12))
def test_no_invented_citation_survives_and_spans_are_exact(text: str, count: int) -> None:
    passed, citations, _ = check([text], tuple(f"id{number}" for number in range(1, count + 1)))
    for citation in citations:
        assert passed[citation.span.start : citation.span.end] == f"[{citation.marker}]"
        assert 1 <= citation.marker <= count
        assert citation.evidence_id == f"id{citation.marker}"
    in_text = [match.start() for match in re.finditer(r"[\[［【]\s*\^?\s*\d{1,3}\s*[\]］】]", passed)]
    assert in_text == [citation.span.start for citation in citations]


@given(st.text(alphabet=st.characters(exclude_characters="[]［］【】"), max_size=60))
def test_text_without_brackets_stays_as_it_is(text: str) -> None:
    assert check([text]) == (text.strip(), [], [])
