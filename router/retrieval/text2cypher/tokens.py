"""Cypher's text as tokens: only plain characters, no comments, no quoted names, no escapes that hide what is written."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Literal, NoReturn

from router.errors import InvalidInput

MAX_CHARS = 4_000
MAX_TOKENS = 800

TokenKind = Literal["word", "number", "string", "parameter", "sign", "end"]


@dataclass(frozen=True, slots=True)
class Token:
    """`text` is as written; of a string it is the value."""

    kind: TokenKind
    text: str
    at: int

    def is_word(self, word: str) -> bool:
        return self.kind == "word" and self.text.upper() == word

    def is_sign(self, sign: str) -> bool:
        return self.kind == "sign" and self.text == sign


def refuse(reason: str, message: str) -> NoReturn:
    """Raise the typed error of a statement that does not pass; `reason` names the rule."""
    raise InvalidInput(message, reason=f"CYPHER_{reason}")


_SPACE = re.compile(r"[ \t\r\n]+")
_TOKEN = re.compile(
    r"""
    (?P<number>\d+(?:\.\d+(?:[eE][+-]?\d+)?)?(?![A-Za-z_]))
    | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<parameter>\$[A-Za-z][A-Za-z0-9_]*)
    | (?P<string>'(?:[^'\\]|\\['"\\])*'|"(?:[^"\\]|\\['"\\])*")
    | (?P<sign><=|>=|<>|=~|\.\.|[-+*/%^=<>()\[\]{}:.,|;])
    """,
    re.VERBOSE | re.ASCII,
)
_ESCAPE = re.compile(r"\\(.)")


def tokens_of(text: str) -> list[Token]:
    """The tokens, with an `end` behind them.

    Raises:
        InvalidInput: CYPHER_TOO_LARGE, CYPHER_COMMENT, CYPHER_QUOTED_NAME, CYPHER_ESCAPE or CYPHER_CHARACTER.
    """
    if len(text) > MAX_CHARS:
        refuse("TOO_LARGE", f"the statement is longer than {MAX_CHARS} characters")
    tokens: list[Token] = []
    at = 0
    while at < len(text):
        if space := _SPACE.match(text, at):
            at = space.end()
            continue
        if text.startswith(("//", "/*"), at):
            refuse("COMMENT", "comments are not allowed")
        found = _TOKEN.match(text, at)
        if found is None:
            _refuse_character(text, at)
        tokens.append(_token(found))
        at = found.end()
        if len(tokens) > MAX_TOKENS:
            refuse("TOO_LARGE", f"the statement has more than {MAX_TOKENS} tokens")
    return [*tokens, Token("end", "", len(text))]


def _token(found: re.Match[str]) -> Token:
    kind = found.lastgroup
    written = found.group()
    if kind == "string":
        hidden = next((character for character in written if not _is_visible(character)), None)
        if hidden is not None:
            refuse("CHARACTER", f"a string holds the invisible character U+{ord(hidden):04X}")
        return Token("string", _ESCAPE.sub(r"\1", written[1:-1]), found.start())
    assert kind in ("word", "number", "parameter", "sign")
    return Token(kind, written, found.start())  # type: ignore[arg-type]


def _is_visible(character: str) -> bool:
    # Control and format characters, surrogates, private use and unassigned ones, and the separators but for the plain space.
    return character == " " or unicodedata.category(character)[0] not in "CZ"


def _refuse_character(text: str, at: int) -> NoReturn:
    character = text[at]
    if character == "`":
        refuse("QUOTED_NAME", "names in backticks are not allowed; names are plain identifiers")
    if character == "\\":
        refuse("ESCAPE", "escapes outside of strings are not allowed")
    if character in "'\"":
        escaped = "\\" in text[at:]
        refuse(
            "ESCAPE" if escaped else "SYNTAX",
            "a string has no end, or an escape other than \\' \\\" and \\\\: put the text into a parameter",
        )
    if character.isdigit() and character.isascii():
        refuse("SYNTAX", f"{text[at : at + 12]!r} is no number that is allowed here: plain decimal figures only")
    refuse("CHARACTER", f"the character U+{ord(character):04X} is not allowed outside of strings")
