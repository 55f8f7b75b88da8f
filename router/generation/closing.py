"""Holds back the sentence of not finding where a model writes it below an answer."""

from __future__ import annotations

from router.generation.prompt import NOT_FOUND


class ClosingSentence:
    """A filter over the pieces of a reply: text goes on as soon as it cannot be the agreed sentence at the end.

    A reply that begins with the sentence goes on as it is. However the text is cut into pieces, the same text comes out.
    """

    def __init__(self) -> None:
        self._begun = False
        self._held = ""

    def feed(self, piece: str) -> str:
        """What the piece sets free."""
        text = self._held + piece
        start = next(place for place in range(len(text) + 1) if self._may_be_it(text, place))
        free, self._held = text[:start], text[start:]
        self._begun = self._begun or bool(free.strip())
        return free

    def finish(self) -> str:
        """What was held back: the sentence, what only begins like it, or nothing."""
        held, self._held = self._held, ""
        return held

    def _may_be_it(self, text: str, place: int) -> bool:
        rest = text[place:].lstrip()
        below_an_answer = self._begun or bool(text[:place].strip())
        return place == len(text) or (below_an_answer and (NOT_FOUND.startswith(rest) or rest.rstrip() == NOT_FOUND))
