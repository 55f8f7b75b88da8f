"""Whether a question asks about the corpus as a whole instead of something in it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from router.spacy import STOP_WORDS
from router.types import Query

_CORPUS = re.compile(
    r"\b(?:corpus|corpora|documents|docs|files|texts|articles|papers|collection|data ?set|data|knowledge (?:base|graph)|everything)\b"
)
"""What stands for the whole. Words that a company uses for one of its things (library, archive, database) are not among them."""
_THEMES = (
    r"(?:main|major|key|central|principal|important|overall|dominant|recurring|common|general|top) (?:\d+ )?(?:topics|themes|subjects)"
)
_OVERVIEW = re.compile(rf"\b(?:overview|gist|big picture|{_THEMES}|(?:topics|themes) (?:are|is|run|appear|come up))\b")
"""Asks for an overview by itself."""
_WHAT_IS_IN_IT = re.compile(
    r"\b(?:about|(?:what is|what's) in|summari[sz]e|summary|describe|topics|themes|subjects|know|say"
    r"|contains?|covers?|covered|includes?|discuss(?:es|ed)?|deals? with|kinds?|sorts?|types?)\b"
)
"""Asks for an overview where the whole is named."""
_OF_A_SUBJECT = re.compile(
    rf"\b(?:(?:overview|{_THEMES})(?: \w+){{0,4}}? (?:of|over|on|about|in|across|around|for|regarding|within)"
    r"|summar(?:i[sz]e|y of) (?:what|everything|all)\b.*? (?:about|on|regarding)) (?P<subject>.+)"
)
_ASKS_FOR_ONE_THING = re.compile(r"(?:and |so )?(?:who|whose|whom|when|where|why|how)\b")
_SAYS_NO_SUBJECT = re.compile(
    r"""about | answer | areas? | ask | available | big | bit | brief(?:ly)? | bullet | common | concise | contain(?:s|ed)? | contents?
      | cover(?:s|ed)? | deals? | dealt | describe | detailed | different | discuss(?:es|ed)? | dominant | explain | follow | general
      | gist | help | high | important | include[sd]? | information | ingested | indexed | key | kinds? | known? | knows | learn | level
      | like | list | loaded | main(?:ly)? | major | mostly | need | outline | overall | overview | paragraphs? | picture | points?
      | principal | provided? | quick(?:ly)? | recurring | rough(?:ly)? | runs? | says? | sentences? | short(?:ly)? | sorts? | stored
      | subjects? | summar(?:y|ies|i[sz]e) | talk | tell | texts? | themes? | things? | topics? | treat(?:s|ed)? | types? | understand
      | uploaded | want | with | words? | write | \d+""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Overview:
    """What an overview is asked of."""

    subject: str
    """The words that name it; empty: the whole corpus."""

    @property
    def is_of_all(self) -> bool:
        return not self.subject


def overview_asked(query: Query) -> Overview | None:
    """Recognises a question for an overview, by its words (English); None for any other question.

    * Of all: it asks for an overview, or for the main topics, or what is in the corpus ("documents", "files", "everything", ...), and
      every other word is a stop word or says how the overview shall look. So no name of a thing can stand in it.
    * Of a subject: "an overview of ...", "the main topics in ...", "summarise what we know about ...".

    "Summarise the annual report" and "What does the handbook contain?" ask for one document, which is an ordinary question.
    In a conversation, "an overview, please" is about what was said, so the whole must be named there.
    """
    text = " ".join(re.findall(r"[\w']+", query.text.replace("’", "'").casefold()))
    if _ASKS_FOR_ONE_THING.match(text):
        return None
    names_whole = _CORPUS.search(text) is not None
    if _subject(text):
        asked = _OF_A_SUBJECT.search(text)
        subject = _subject(asked["subject"]) if asked else ""
        return Overview(subject) if subject else None
    if names_whole and (_OVERVIEW.search(text) or _WHAT_IS_IN_IT.search(text)):
        return Overview("")
    return Overview("") if _OVERVIEW.search(text) and not query.history else None


def _subject(text: str) -> str:
    """The words that name something in the corpus."""
    words = (word.partition("'")[0] for word in _CORPUS.sub(" ", text).split())
    return " ".join(word for word in words if word not in STOP_WORDS and not _SAYS_NO_SUBJECT.fullmatch(word))
