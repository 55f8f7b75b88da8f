"""Rules that make a follow-up question standalone: what it leaves out or points to is taken from the turns before it.

Two things make a question lean on the conversation. It is only a piece of a question ("And in 2019?", "What about Oslo?", "Why?"): then
the question before it is asked again, with the piece in the place of its like. Or it points at something by a pronoun that nothing in the
question itself explains ("Who is her manager?", "How heavy is it?"): then what the pronoun may mean is added in parentheses. A question
that does neither stays as it is, word for word.

The rules read English by its small words; a whole question in another language stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from router.spacy import STOP_WORDS
from router.types import Turn

MAX_TURNS = 4
"""Earlier questions that are looked at."""
MAX_NAMES = 3
MAX_TOPIC_WORDS = 10
MAX_PIECE_WORDS = 6
"""A longer piece without a verb is rather a search by keywords,"""
MAX_UNOPENED_WORDS = 3
"""and so is a shorter one that begins with no `and` and no preposition."""
MAX_CONTEXT_CHARS = 200

_WH = r"who|whom|whose|what|which|when|where|why|how"
_AUXILIARY = (
    r"is|are|was|were|am|be|been|do|does|did|has|have|had|can|could|will|would|shall|should|may|might|must|isn't|aren't|wasn't|weren't|"
    r"don't|doesn't|didn't|can't|won't"
)
_IMPERATIVE = (
    r"list|show|tell|give|name|explain|describe|compare|summarise|summarize|find|search|check|write|translate|define|calculate|count"
)
_PREPOSITION = r"in|on|at|for|from|to|with|without|by|during|before|after|since|until|under|over|about|of|near|between|than|as|per"

_OPENER = re.compile(r"^(?:(?:and|but|or|so|also|then|now|ok|okay|well|yes|no|right|thanks|thank you|great)\b[\s,.!]*)+", re.IGNORECASE)
_ABOUT = re.compile(r"^(?:(?:what|how) about|(?:is it |is that )?the same (?:for|with|in|at)|same (?:for|with|in|at))\s+", re.IGNORECASE)
_BARE = re.compile(
    rf"(?:(?:{_WH})(?: (?:not|so|come|else|exactly|then|ones?|many|much|often|long|far|big|old|high|late|early))*|since when|until when|"
    r"what for|how so|really|such as|like what|for example|(?:tell me |say |any )?more(?: details?| information)?|go on|continue|explain|"
    r"elaborate|any(?:thing|one|body) else|(?:any |the )?others?|are you sure|and)(?: please)?",
    re.IGNORECASE,
)
_CLAUSE = re.compile(rf"\b(?:{_WH}|{_AUXILIARY})\b|^(?:{_IMPERATIVE})\b", re.IGNORECASE)
_TAIL = re.compile(
    rf"\b(?:{_PREPOSITION}|is|are|was|were)(?: \(\w+\))? ((?:(?!(?:{_WH}|{_AUXILIARY}|{_PREPOSITION})\b)[\w'’-]+ ?){{1,6}})(?=\s*[?.!]*$)",
    re.IGNORECASE,
)
_STARTS_WITH_PREPOSITION = re.compile(rf"^({_PREPOSITION})\s", re.IGNORECASE)

# Uses of the pronouns' words that point at nothing in the conversation.
_EMPTY_USES = re.compile(
    r"\b(?:is|are|was|were|will|would|can|could|has|have)\s+(?:there)\b(?!\s*[?.!]*$)|\bthere\s+(?:is|are|was|were|will|would|has|have)\b|"
    r"\bthere's\b|(?<=\bmany )\w+ are there\b|"
    r"\bit\s+(?:take|takes|took|cost|costs)\s+(?:\w+\s+){0,3}to\b|"
    r"\b(?:is|was|would)\s+it\s+(?:be\s+)?(?:not\s+)?\w+\s+(?:to|that|if|for|when)\b|"
    r"\bit\s+(?:is|was|would be)\s+(?:not\s+)?\w+\s+(?:to|that|if|for)\b|"
    r"\bis it (?:true|correct|raining|snowing|open)\b|\b(?:what|which) (?:time|day|date|year) is it\b|"
    r"\bthis (?:year|month|week|weekend|morning|afternoon|evening|quarter|time|season|summer|autumn|fall|winter|spring|century|decade)\b|"
    r"\bthese days\b|\b(?:those|these) (?:who|that|which|of|in|with|whose)\b|\bthat is(?=,)",
    re.IGNORECASE,
)
_POSSESSIVE = r"its|his|her|their"
_PERSONAL = r"he|him|she|it|they|them|himself|herself|itself|themselves|hers|theirs"
_POINTER = re.compile(
    rf"\b(?:(?P<personal>{_PERSONAL}|{_POSSESSIVE})|(?P<shown>this|these|those|(?:the )?(?:former|latter)|the same|"
    r"(?:that|the (?:first|second|third|last|next|other|previous|new|old|newer|older|small|smaller|big|bigger|cheaper)) ones?|"
    r"the others?(?=\s*[?.!]*$)|"
    r"(?:(?<=\bis )|(?<=\bwas )|(?<=\bare )|(?<=\bdoes )|(?<=\bdid )|(?<=\bdo )|(?<=\babout )|(?<=\bof )|(?<=\bfor )|(?<=\bwith )|"
    r"(?<=\bafter )|(?<=\bbefore )|(?<=\bby )|(?<=\bon )|(?<=\blike )|(?<=\bfrom )|(?<=\bthan )|(?<=\bwhy )|(?<=\bcan )|(?<=\bcould )|"
    r"(?<=\bwill )|(?<=\bhas )|(?<=\bhow ))that|"
    r"(?:since|by|until|before|back|just) then)|(?P<place>there))\b",
    re.IGNORECASE,
)
_PERSON = frozenset({"he", "him", "his", "she", "her", "hers", "himself", "herself"})
_NOUN_PHRASE = re.compile(
    rf"\b(?:the|an?|our|your|my|each|every|any|some|which|what|all)\s+(?!(?:{_AUXILIARY}|{_POSSESSIVE}|about|of)\b)[a-z]\w+", re.IGNORECASE
)
_NEW_CLAUSE = re.compile(
    r",|;|\b(?:and|but|when|if|because|before|after|once|while|who|which|that|until|since|although|so)\b", re.IGNORECASE
)
_OF = re.compile(r"\b(?:about|of|on)\s+$", re.IGNORECASE)

_QUOTED = re.compile(r"[\"“‘«]([^\"”’»\n]{2,60})[\"”’»]")
_WORD_OF_NAME = r"(?:[A-Z][\w&’'-]*|\d[\w.-]*)"
_NAME = re.compile(
    rf"\b[A-Z][\w&’'-]*(?:\s+(?:(?:of|the|and|de|la|van|von|der|for)\s+)*{_WORD_OF_NAME})*|\b\w*[a-z][A-Z]\w*|\b[A-Za-z]+-?\d[\w-]*"
)
_POSSESSIVE_ENDING = re.compile(r"['’]s?$")
_YEAR_OR_NUMBER = re.compile(r"\b\d[\d.,:/-]*\b")
_SENTENCE = re.compile(r"[^.!?\n]+[.!?]*")
_NOT_NAMES = STOP_WORDS | set(
    f"{_WH}|{_AUXILIARY}|{_IMPERATIVE}|{_PREPOSITION}|hello|hi|thanks|please|yes|no|ok|okay|also|i|i'm|sorry|sure".split("|")
)
_ASKS_FOR_NAME = re.compile(r"\b(?:who|whom|whose|which|where|name)\b|\bwhat\s+(?!is\b|are\b|was\b|were\b|do|did)\w+", re.IGNORECASE)
_MARKS = re.compile(r"\[\d+\]")


def standalone(question: str, history: Sequence[Turn]) -> str:
    """The question as it would be asked without the conversation; the same string when it leans on nothing."""
    before, said = "", ""
    questions = [number for number, turn in enumerate(history) if turn.role == "user"]
    for turn in history[questions[-MAX_TURNS] if len(questions) > MAX_TURNS else 0 :]:
        if turn.role == "user":
            before, said = _joined(turn.text, before, said), ""
        else:
            said = _MARKS.sub("", turn.text)
    return _joined(question, before, said)


def leans(question: str) -> bool:
    """Whether the question is a piece of one, or points at something outside itself."""
    return bool(_is_piece(question) or _pointer(question))


def names(text: str) -> list[str]:
    """Names and quoted titles in their order, once each: runs of capitalised words, codes such as `INC-7`."""
    found = [match[1].strip() for match in _QUOTED.finditer(text)]
    for match in _NAME.finditer(text):
        words = match[0].split()
        while words and words[0].casefold() in _NOT_NAMES:
            words = words[1:]
        if words:
            found.append(_POSSESSIVE_ENDING.sub("", " ".join(words)))
    return list(dict.fromkeys(found))


def numbers(text: str) -> list[str]:
    return list(dict.fromkeys(match[0].rstrip(".,:/-") for match in _YEAR_OR_NUMBER.finditer(text)))


# --- one step of the conversation -----------------------------------------------------------------------------------


def _joined(question: str, before: str, said: str) -> str:
    """One question made standalone by the (standalone) question before it and what was said to that."""
    if not before:
        return question
    if _is_piece(question):
        return _asked_again(question, before, said)
    pointer = _pointer(question)
    context = _context(pointer, question, before, said) if pointer else ""
    return f"{question.strip()} ({context})" if context else question


def _is_piece(question: str) -> bool:
    words, was_opened = _stripped(question)
    if _ABOUT.match(words) or not words or _BARE.fullmatch(words):
        return True
    if _CLAUSE.search(words) or len(words.split()) > MAX_PIECE_WORDS:
        return False
    is_short = len(words.split()) <= MAX_UNOPENED_WORDS and question.rstrip().endswith("?")
    return was_opened or bool(_STARTS_WITH_PREPOSITION.match(words)) or is_short


def _asked_again(question: str, before: str, said: str) -> str:
    """The question before, with the piece in the place of its like, or followed by it."""
    piece = _ABOUT.sub("", _stripped(question)[0])
    if not piece or _BARE.fullmatch(piece):
        context = _context("that", question, before, said)
        return f"{question.strip()} ({context})" if context else question
    preposition = _STARTS_WITH_PREPOSITION.match(piece)
    bare = piece[preposition.end() :] if preposition else piece
    place = _like(bare, preposition[1].casefold() if preposition else "", before)
    return f"{before.strip()} {question.strip()}" if place is None else f"{before[: place[0]]}{bare}{before[place[1] :]}"


def _like(piece: str, preposition: str, before: str) -> tuple[int, int] | None:
    """Where the thing stands that the piece takes the place of: a number for a number, a name for a name, after the same preposition.

    None where the piece is neither, or where it is not clear which one is meant.
    """
    if not preposition and not names(piece) and not numbers(piece):
        return _end_of(before)
    found = names(before) if [piece] == names(piece) else numbers(before) if [piece] == numbers(piece) else []
    places = [(start, start + len(words)) for words in found if (start := before.find(words)) >= 0]
    same = [place for place in places if _preposition_before(before, place[0]) == preposition]
    if preposition:
        return same[-1] if same else None
    return places[0] if len(places) == 1 else None


def _end_of(question: str) -> tuple[int, int] | None:
    """Where the plain words stand that a question ends with, below its last preposition or its `is`."""
    match = _TAIL.search(question)
    is_plain = match is not None and not names(match[1]) and not numbers(match[1])
    return match.span(1) if match is not None and is_plain else None


def _preposition_before(text: str, place: int) -> str:
    match = re.search(rf"\b({_PREPOSITION})\s+(?:the\s+)?$", text[:place], re.IGNORECASE)
    return match[1].casefold() if match else ""


def _pointer(question: str) -> str:
    """The word that points outside the question, in lower case; empty when none does."""
    text = _EMPTY_USES.sub(lambda match: "_" * len(match[0]), question)
    for match in _POINTER.finditer(text):
        if not (match["personal"] and _is_explained(text, match)):
            return match[0].casefold()
    return ""


def _is_explained(question: str, match: re.Match[str]) -> bool:
    """Whether the question itself says before the pronoun whom or what it means."""
    before = question[: match.start()]
    if not (names(before) or _NOUN_PHRASE.search(before)):
        return False
    is_possessive = bool(re.match(rf"(?:{_POSSESSIVE})\s+\w", question[match.start() :], re.IGNORECASE))
    if is_possessive:
        return not _OF.search(before)
    last = max((name_end for name_end in _ends(before)), default=0)
    return bool(_NEW_CLAUSE.search(before[last:]))


def _ends(text: str) -> Iterator[int]:
    yield from (text.rfind(name) + len(name) for name in names(text))
    yield from (match.end() for match in _NOUN_PHRASE.finditer(text))


def _context(pointer: str, question: str, before: str, said: str) -> str:
    """What the pointer may mean, likeliest first."""
    own = names(question)
    answer = _SENTENCE.search(said)
    new = [name for name in names(answer[0] if answer else "") if name.casefold() not in before.casefold()]
    told = new[:2] if _ASKS_FOR_NAME.search(before) else []
    if pointer in _PERSON:
        found = told[:1] or names(before)[:MAX_NAMES] or new[:1]
        return _listed(found, own)
    if pointer == "there":
        return _listed(told or names(before)[:MAX_NAMES], own) or _topic(before)
    return _listed([*told, _topic(before)], own)


def _topic(question: str) -> str:
    """What a question is about: its words in their order, without the small ones."""
    words = [word.strip('?!.,;:()"“”') for word in question.split()]
    kept = [word for word in words if word and word.casefold() not in _NOT_NAMES]
    return " ".join(dict.fromkeys(kept[:MAX_TOPIC_WORDS]))


def _listed(found: Sequence[str], own: Sequence[str]) -> str:
    return "; ".join(dict.fromkeys(name for name in found if name and name not in own))[:MAX_CONTEXT_CHARS]


def _stripped(question: str) -> tuple[str, bool]:
    """Without its opening words and closing signs, and whether it was opened with `and` or the like."""
    words = _OPENER.sub("", question.strip())
    return words.rstrip(" ?!.…").strip(), words != question.strip()
