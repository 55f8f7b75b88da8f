"""The first step of every question: is it one that can be answered at all?"""

from __future__ import annotations

from router.errors import InvalidInput
from router.filters import check_filter
from router.types import ImagePart, ImageUriPart, Query, TextPart

MAX_PARTS = 16
MAX_PICTURES = 4
MAX_PICTURE_BYTES = 16 * 1024 * 1024
MAX_TEXT_CHARS = 8_000
MAX_TURNS = 64
MAX_TURN_CHARS = 32_000


def check_query(query: Query) -> None:
    """Refuse what cannot be asked.

    Raises:
        InvalidInput: Names the field and the remedy.
    """
    if query.instruction:
        _check_instruction(query)
    if not query.parts:
        raise InvalidInput("the query has no parts: send at least one part, words or a picture", field="query.parts")
    if len(query.parts) > MAX_PARTS:
        raise InvalidInput(f"the query has {len(query.parts)} parts; at most {MAX_PARTS} are taken", field="query.parts")
    for number, part in enumerate(query.parts):
        match part:
            case TextPart(text) if not text.strip():
                raise InvalidInput("the text is empty: write a question", field=f"query.parts[{number}].text")
            case ImagePart(data) if not data or len(data) > MAX_PICTURE_BYTES:
                message = f"the picture has {len(data):,} bytes; 1 to {MAX_PICTURE_BYTES:,} are taken"
                raise InvalidInput(message, field=f"query.parts[{number}].image.data")
            case ImageUriPart(uri) if not uri.strip():
                raise InvalidInput("the address is empty", field=f"query.parts[{number}].image_uri")
    if sum(not isinstance(part, TextPart) for part in query.parts) > MAX_PICTURES:
        raise InvalidInput(f"at most {MAX_PICTURES} pictures are taken", field="query.parts")
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


def _check_instruction(query: Query) -> None:
    field = "query.instruction"
    if not query.instruction.strip():
        raise InvalidInput("the instruction is empty: leave it out", field=field)
    if len(query.instruction) > MAX_TEXT_CHARS:
        raise InvalidInput(f"the instruction has {len(query.instruction)} characters; at most {MAX_TEXT_CHARS} are taken", field=field)
    if not query.parts:
        raise InvalidInput("the instruction has nothing to refer to: send a part too, words or a picture", field=field)
