"""Other names that a text gives to a thing: acronyms, `also known as`, the surname of a person named in full."""

from __future__ import annotations

import re
from collections.abc import Iterator

from router.models.base import Recognised
from router.names import bare_name, name_key

PERSON = "PERSON"
_NAME = r"[A-Z0-9][\w.'’&-]*(?:\s+(?:(?:of|the|and|for|in|on|to|de|la|van|von|der)\s+)*[A-Z0-9][\w.'’&-]*)*"
_ACRONYM = re.compile(r"([^\s(][^().;:!?\n]{3,80})\s\(\s?[\"“]?([A-Z][A-Za-z0-9&.-]{1,9})[\"”]?\s?\)")
_ALSO = re.compile(
    rf"({_NAME})(?:,|\s\()?\s*(?:\(?\s*(?:also|commonly|formerly|better|previously|sometimes|usually|widely)\s+(?:known|called|referred to)"
    rf"(?:\s+as)?)\s+[\"“'‘]?(?:the\s+)?({_NAME})"
)
_SMALL = frozenset({"of", "the", "and", "for", "in", "on", "to", "a", "an", "de", "la", "&"})


def aliases_of(text: str, recognised: Recognised) -> dict[tuple[str, str], None]:
    """Pairs (other or short name, full name) that the text states, in its order."""
    pairs = ((bare_name(short), bare_name(full)) for short, full in _pairs(text, recognised))
    return dict.fromkeys((short, full) for short, full in pairs if name_key(short) != name_key(full))


def _pairs(text: str, recognised: Recognised) -> Iterator[tuple[str, str]]:
    for match in _ACRONYM.finditer(text):
        full = _spelled_out(match.group(1), match.group(2))
        if full:
            yield match.group(2), full
    for match in _ALSO.finditer(text):
        yield match.group(2), match.group(1)
    people = [name.text for name in recognised.names if name.kind == PERSON]
    alone = {name for name in people if " " not in name}
    for name in people:
        words = name.split()
        if len(words) > 1 and words[-1] in alone:
            yield words[-1], name


def _spelled_out(before: str, acronym: str) -> str:
    """The last words of `before` whose first letters make the acronym, small words skipped; empty when they do not.

    Source: the idea of Schwartz and Hearst, PSB 2003, held to the first letters of words.
    """
    letters = [letter.casefold() for letter in acronym if letter.isalnum()]
    words = before.split()
    place = len(words)
    while letters and place:
        place -= 1
        if words[place].casefold() in _SMALL and words[place][0].casefold() != letters[-1]:
            continue
        if words[place][0].casefold() != letters.pop():
            return ""
    return "" if letters or place == len(words) else " ".join(words[place:])
