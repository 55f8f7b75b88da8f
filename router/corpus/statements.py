"""What a passage states, as a language model or an imported file says: believed as far as the passage's own words bear it out."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from router.corpus.chunk import embedded_text
from router.corpus.openie import MAX_FACTS, FactExtractor
from router.corpus.openie_import import names_of
from router.corpus.subjects import is_name
from router.models.base import Recognised, RecognisedName, RecognisedRelation
from router.names import bare_name, folded, name_key, without_article
from router.stores.base import Statement
from router.stores.statements import StatementStore
from router.types import Chunk, Notice, Span

STATED = "STATED"
"""Kind of a name that nobody but a statement calls one."""
MAX_END_WORDS = 12
MAX_RELATION_WORDS = 12
MAX_RELATION_CHARS = 100
KEPT = "KEPT"
SENTENCE_WORDS = 4
"""An end of so many words that is a whole sentence of the passage is no name."""
# fmt: off
_PRONOUNS = frozenset({
    "i", "me", "we", "us", "you", "he", "him", "she", "her", "it", "they", "them", "this", "that", "these", "those", "who", "whom",
    "which", "what", "there", "here", "one", "others", "his", "hers", "its", "their", "theirs", "someone", "something", "everyone",
})
# fmt: on
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Checked:
    """The statements of a passage that it bears out."""

    names: tuple[RecognisedName, ...] = ()
    relations: tuple[RecognisedRelation, ...] = ()
    left_out: Counter[str] = field(default_factory=Counter)
    """Why the others were left out."""


NOTHING_STATED = Checked()


class PassageStatements:
    """What imported files and, where there is one, a language model state about passages, checked."""

    def __init__(self, store: StatementStore, extractor: FactExtractor | None) -> None:
        self._store = store
        self._extractor = extractor
        self._counts: dict[str, Counter[str]] = {}

    async def of(self, tenant: str, chunks: Sequence[Chunk]) -> list[Checked]:
        """In the order of the passages. Raises StoreUnavailable; a language model that is gone is no error here (see openie.py)."""
        read = await self._extractor.facts(tenant, chunks) if self._extractor is not None else {}
        named = {chunk.id: list(names_of(chunk)) for chunk in chunks}
        imported = await self._store.imported(tenant, {name: chunk.document_id for chunk in chunks for name in named[chunk.id]})
        stated = {
            chunk.id: (*(fact for name in named[chunk.id] for fact in imported.get(name, ())), *read.get(chunk.id, ())) for chunk in chunks
        }
        if not any(stated.values()):
            return [NOTHING_STATED] * len(chunks)
        found = await asyncio.to_thread(lambda: [checked(chunk, stated[chunk.id]) for chunk in chunks])
        left_out = sum((item.left_out for item in found), Counter[str]())
        kept = sum(len(item.relations) for item in found)
        self._counts.setdefault(tenant, Counter()).update({KEPT: kept, **left_out})
        _log.info("facts_checked", tenant=tenant, kept=kept, left_out=dict(left_out))
        return found

    async def notices(self, tenant: str) -> tuple[Notice, ...]:
        """For those who ask how the corpus stands: costs, what is missing, what was not believed."""
        notices = list(await self._extractor.notices(tenant)) if self._extractor is not None else []
        if counts := self._counts.get(tenant):
            why = ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items()) if reason != KEPT)
            notices.append(Notice("OPENIE_CHECKED", f"since the start {counts[KEPT]} facts were kept; left out: {why or 'none'}"))
        for name, (unmatched, rows) in (await self._store.unmatched(tenant)).items():
            message = f"{unmatched} of {rows} rows of {name} belong to no passage; they will when it is ingested"
            notices.append(Notice("OPENIE_UNMATCHED", message))
        return tuple(notices)


def checked(chunk: Chunk, statements: Sequence[Statement], limit: int = MAX_FACTS) -> Checked:
    """The first `limit` statements between names that stand in the passage, or in its title or headings, in whatever case and accents."""
    places = _Places(chunk)
    names: dict[RecognisedName, None] = {}
    relations: dict[tuple[str, str, str], RecognisedRelation] = {}
    left_out: Counter[str] = Counter()
    for said in statements:
        subject, end = without_article(bare_name(said[0])), without_article(bare_name(said[2]))
        relation = " ".join(said[1].split())
        fault = _fault(subject, relation, end) or places.fault(subject) or places.fault(end)
        key = (name_key(subject), relation.casefold(), name_key(end))
        if not fault and key not in relations and len(relations) >= limit:
            fault = "TOO_MANY"
        if fault:
            left_out[fault] += 1
            continue
        ends = places.of(subject), places.of(end)
        relations.setdefault(key, RecognisedRelation(ends[0][0], relation, ends[1][0]))
        names.update(dict.fromkeys(name for found in ends for name in found if name.span != _NOWHERE))
    return Checked(tuple(names), tuple(relations.values()), left_out)


def with_statements(recognised: Recognised, stated: Checked) -> Recognised:
    """Both; what the recogniser calls a name keeps the recogniser's kind."""
    return Recognised((*recognised.names, *stated.names), (*recognised.relations, *stated.relations), recognised.subjects)


_NOWHERE = Span(0, 0)
"""Of a name that stands in the title or a heading only."""


def _fault(subject: str, relation: str, end: str) -> str:
    """Why this cannot be a fact, whatever the passage says; empty when it can."""
    if not (is_name(subject) and is_name(end) and relation):
        return "EMPTY"
    if name_key(subject) in _PRONOUNS or name_key(end) in _PRONOUNS:
        return "PRONOUN"
    words = max(len(subject.split()), len(end.split()))
    if words > MAX_END_WORDS or len(relation) > MAX_RELATION_CHARS or len(relation.split()) > MAX_RELATION_WORDS:
        return "TOO_LONG"
    return "SAME_ENDS" if name_key(subject) == name_key(end) else ""


class _Places:
    """Where names stand in a passage."""

    def __init__(self, chunk: Chunk) -> None:
        self._text = chunk.text
        self._shown = embedded_text(chunk)
        self._folded = {text: folded(text) for text in (self._text, self._shown)}

    def of(self, name: str) -> list[RecognisedName]:
        """The name as the passage writes it, wherever it does; if nowhere, as the title or a heading does."""
        if spans := self._spans(self._text, name):
            return [RecognisedName(self._words(self._text, span), STATED, span) for span in spans]
        return [RecognisedName(self._words(self._shown, span), STATED, _NOWHERE) for span in self._spans(self._shown, name)[:1]]

    def fault(self, name: str) -> str:
        """Why the passage does not bear the name out; empty when it does."""
        found = self.of(name)
        if not found:
            return "NOT_IN_PASSAGE"
        if not any(_is_like_a_name(written.text) for written in found):
            return "NOT_A_NAME"
        return "SENTENCE" if len(name.split()) >= SENTENCE_WORDS and any(map(self._is_sentence, found)) else ""

    def _is_sentence(self, written: RecognisedName) -> bool:
        place = written.span
        before, after = self._text[: place.start].rstrip()[-1:], self._text[place.end : place.end + 1]
        return place != _NOWHERE and before in ("", ".", "!", "?") and after in (".", "!", "?")

    def _spans(self, text: str, name: str) -> list[Span]:
        """At word boundaries."""
        words = r"\s+".join(map(re.escape, folded(name).split()))
        return [Span(*match.span()) for match in re.finditer(rf"(?<!\w){words}(?!\w)", self._folded[text], re.IGNORECASE)]

    def _words(self, text: str, span: Span) -> str:
        return " ".join(text[span.start : span.end].split())


def _is_like_a_name(text: str) -> bool:
    """Whether it has letters, and a capital among them where its script has any: no bare number, and no ordinary words."""
    return any(map(str.isalpha, text)) and (text != text.lower() or text == text.upper())
