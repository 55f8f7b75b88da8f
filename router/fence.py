"""Text of strangers (questions, evidence, history) made harmless before it stands in a prompt."""

from __future__ import annotations

import re

# Tokens by which chat templates tell who speaks. A server that reads them inside a message would let a passage speak as the system.
_TEMPLATE_TOKEN = re.compile(r"<(?=\||/?s>|(?:start|end)_of_turn>|</?SYS>)|\[(?=/?INST\])")
# Our own tags, however they are written: `</evidence>`, `< / Evidence`, `<EVIDENCE number=...`.
_OUR_TAG = re.compile(r"<(?=\s*/?\s*(?:evidence|question|instruction|conversation)\b)", re.IGNORECASE)
_INVISIBLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f]")


def inert(text: str) -> str:
    """The text with everything disarmed that could end its fence or pose as another speaker; otherwise as it was.

    The sign that opens a tag becomes a look-alike (`‹evidence>`), so a reader still sees what was written. Control characters and
    invisible ones, in which instructions can hide, are dropped.
    """
    visible = _INVISIBLE.sub("", text)
    return _OUR_TAG.sub("‹", _TEMPLATE_TOKEN.sub("‹", visible))
