"""Checks the citations of an answer while it is written.

What counts as a citation: one or more numbers of one to three digits in square brackets, separated by commas, semicolons or hyphens
(a range): `[1]`, `[1, 2]`, `[1][2]`, `[2-4]`; also with a footnote's caret (`[^1]`), with a word (`[evidence 1]`), and in the brackets
and digits of East Asian typography (`【1】`, `［１］`). All are written anew as `[1][2]`, so that each has a span of its own.
What stays text: `[sic]`, `[2024]` (four digits are a year), `(1)` (lists are written so). `[0]` is an invented citation.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from router.types import Citation, Notice, Span, Token

_WORDS = ("evidence", "source", "sources", "passage", "passages")
_BEGUN_WORDS = "|".join(sorted({word[:length] for word in _WORDS for length in range(1, len(word) + 1)}, key=len, reverse=True))
_OPEN, _CLOSE = r"[\[［【]", "]］】"
_NUMBER = r"\d{1,3}"
_GROUP = re.compile(
    rf"{_OPEN}\s*(?:(?:{'|'.join(_WORDS)})\s*)?\^?\s*({_NUMBER}(?:\s*[,;–-]\s*\^?{_NUMBER})*)\s*[{_CLOSE}]\Z", re.IGNORECASE
)
# A little more than what can still become a group, and groups that began inside one another: if an inner one is removed, what stands
# before it and what comes after it must not make up a citation that nobody checked (`[[9]9]`).
_UNDECIDED = re.compile(rf"\s*(?:{_OPEN}[\s^]*(?:{_BEGUN_WORDS})?[\s^\d,;–-]*)*\Z", re.IGNORECASE)
_ITEM = re.compile(rf"({_NUMBER})(?:\s*[–-]\s*\^?({_NUMBER}))?")
_NO_SPACE_BEFORE = ".,;:!?)"

Checked = Token | Citation | Notice


def without_citations(text: str) -> str:
    """The text without anything that would be taken for a citation (footnote marks in a quoted sentence)."""
    checker = CitationChecker(())
    checker.feed(text)
    checker.finish()
    return checker.text


class CitationChecker:
    """A filter over the pieces of an answer: text goes on as soon as it cannot be part of a citation.

    However the text is cut into pieces, the same text, citations and notices come out. White space at both ends is dropped.

    Args:
        evidence_ids: Number n stands for the n-th of them.
    """

    def __init__(self, evidence_ids: Sequence[str]) -> None:
        self._ids = tuple(evidence_ids)
        self._undecided = ""
        self._just_removed = False
        self._reported: set[int] = set()
        self._pieces: list[str] = []
        self._length = 0
        self.citations: list[Citation] = []
        self.notices: list[Notice] = []

    @property
    def text(self) -> str:
        """What was passed on so far; the spans of the citations count its characters."""
        return "".join(self._pieces)

    def feed(self, piece: str) -> list[Checked]:
        """What the piece sets free, in the order of the text."""
        events: list[Checked] = []
        for character in piece:
            self._take(character, events)
        return _joined(events)

    def finish(self) -> list[Checked]:
        """What was held back: a bracket that never closed."""
        events: list[Checked] = []
        self._pass_on(self._undecided.rstrip(), events)
        self._undecided = ""
        return _joined(events)

    def _take(self, character: str, events: list[Checked]) -> None:
        if self._just_removed and self._undecided[-1:].isspace():
            # The white space before a removed citation and the one after it become one; before a full stop there is none.
            if character.isspace():
                return
            if character in _NO_SPACE_BEFORE:
                self._undecided = self._undecided.rstrip()
        self._just_removed = False
        self._undecided += character
        group = _GROUP.search(self._undecided) if character in _CLOSE else None
        if group is not None:
            self._resolve(group, events)
        else:
            decided = _UNDECIDED.search(self._undecided)
            assert decided is not None, "the pattern matches the empty end. This is a bug."
            self._pass_on(self._undecided[: decided.start()], events)
            self._undecided = decided[0]

    def _resolve(self, group: re.Match[str], events: list[Checked]) -> None:
        before = self._undecided[: group.start()]
        known: list[int] = []
        for first, last in _ITEM.findall(group[1]):
            low, high = int(first), int(last or first)
            known += range(max(low, 1), min(high, len(self._ids)) + 1)
            for end in dict.fromkeys((low, high)):
                if not 1 <= end <= len(self._ids):
                    self._report(end, events)
        if known:
            self._pass_on(before, events)
            for number in dict.fromkeys(known):
                self._cite(number, events)
            self._undecided = ""
        else:
            self._undecided = before
            self._just_removed = True

    def _report(self, number: int, events: list[Checked]) -> None:
        if number not in self._reported:
            self._reported.add(number)
            notice = Notice("CITATION_REMOVED", f"the citation [{number}] was removed: there are {len(self._ids)} pieces of evidence")
            self.notices.append(notice)
            events.append(notice)

    def _cite(self, number: int, events: list[Checked]) -> None:
        self._pass_on(f"[{number}]", events)
        citation = Citation(number, self._ids[number - 1], Span(self._length - len(f"[{number}]"), self._length))
        self.citations.append(citation)
        events.append(citation)

    def _pass_on(self, text: str, events: list[Checked]) -> None:
        text = text if self._length else text.lstrip()
        if text:
            self._pieces.append(text)
            self._length += len(text)
            events.append(Token(text))


def _joined(events: Sequence[Checked]) -> list[Checked]:
    """Neighbouring tokens as one."""
    joined: list[Checked] = []
    for event in events:
        if isinstance(event, Token) and joined and isinstance(last := joined[-1], Token):
            joined[-1] = Token(last.text + event.text)
        else:
            joined.append(event)
    return joined
