"""The first step of every question: is it one that can be answered at all?"""

from __future__ import annotations

from router.errors import InvalidInput, NotImplementedYet
from router.filters import check_filter
from router.types import Query, TextPart

MAX_PARTS = 16
MAX_TEXT_CHARS = 8_000
MAX_TURNS = 64
MAX_TURN_CHARS = 32_000


def check_query(query: Query) -> None:
    """Refuse what cannot be asked.

    Raises:
        InvalidInput: Names the field and the remedy.
        NotImplementedYet: The query has a picture; this release reads words.
    """
    if not query.parts:
        raise InvalidInput("the query has no parts: send at least one text part", field="query.parts")
    if len(query.parts) > MAX_PARTS:
        raise InvalidInput(f"the query has {len(query.parts)} parts; at most {MAX_PARTS} are taken", field="query.parts")
    for number, part in enumerate(query.parts):
        if not isinstance(part, TextPart):
            raise NotImplementedYet(
                "this release answers questions in words; pictures are not embedded yet",
                reason="PICTURES_NOT_EMBEDDED",
                field=f"query.parts[{number}]",
            )
        if not part.text.strip():
            raise InvalidInput("the text is empty: write a question", field=f"query.parts[{number}].text")
    if len(query.text) > MAX_TEXT_CHARS:
        raise InvalidInput(f"the question has {len(query.text)} characters; at most {MAX_TEXT_CHARS} are taken", field="query.parts")
    if len(query.history) > MAX_TURNS:
        raise InvalidInput(f"the history has {len(query.history)} turns; send the last {MAX_TURNS}", field="query.history")
    for number, turn in enumerate(query.history):
        if len(turn.text) > MAX_TURN_CHARS:
            raise InvalidInput(
                f"the turn has {len(turn.text)} characters; at most {MAX_TURN_CHARS} are taken", field=f"query.history[{number}].text"
            )
    check_filter(query.filter, "query.filter")
