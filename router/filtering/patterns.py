r"""Regular expressions that take linear time whatever they are matched with: RE2, which pyarrow carries.

Questions and answers are written by strangers; with an engine that backtracks, one question could hold the service for minutes.
RE2's syntax has no look-around and no back-references; `\w`, `\d` and `\b` know ASCII only; `(?i)` in front ignores case.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from router.types import Span


class Pattern:
    """One expression.

    Raises:
        ValueError: It is not of RE2's syntax, or matches the empty text.
    """

    def __init__(self, expression: str) -> None:
        self._expression = expression
        try:
            empty = self.matches("")
        except pa.ArrowInvalid as error:
            raise ValueError(f"{expression!r} is no expression of RE2 ({error})") from error
        if empty:
            raise ValueError(f"{expression!r} matches everywhere, also where there is nothing: let it match at least one character")

    def matches(self, text: str) -> bool:
        return bool(pc.match_substring_regex(pa.scalar(_encodable(text)), self._expression).as_py())


class SpanPattern(Pattern):
    """One expression whose matches can be found.

    Raises:
        ValueError: As `Pattern`; or it has groups that capture, which the search needs for itself.
    """

    def __init__(self, expression: str) -> None:
        super().__init__(expression)
        try:
            self.first("", 0)
        except pa.ArrowInvalid as error:
            raise ValueError(f"{expression!r}: write (?:...) instead of (...) ({error})") from error

    def first(self, text: str, start: int) -> Span | None:
        r"""The leftmost match that begins at `start` or later and is not empty. The character before `start` counts for `\b`."""
        text = _encodable(text)
        while start <= len(text):
            # A shortest beginning of at least the one character of context, then the match: so no match can begin in the context.
            context = min(start, 1)
            found = pc.extract_regex_span(
                pa.scalar(text[start - context :]), pattern=rf"^(?s:.{{{context},}}?)(?P<m>{self._expression})"
            ).as_py()
            if found is None:
                return None
            begin, length = _characters(text[start - context :], *found["m"])
            at = start - context + begin
            if length:
                return Span(at, at + length)
            start = at + 1
        return None


def _encodable(text: str) -> str:
    """As long as it was: half of a surrogate pair becomes a question mark."""
    return text.encode("utf-8", "replace").decode()


def _characters(text: str, begin: int, length: int) -> tuple[int, int]:
    """RE2 counts bytes."""
    encoded = text.encode()
    return len(encoded[:begin].decode()), len(encoded[begin : begin + length].decode())
