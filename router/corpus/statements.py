"""What a passage states, as a language model or an imported file says: believed as far as the passage's own words bear it out."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import structlog

from router.corpus.chunk import embedded_text
from router.corpus.openie import MAX_FACTS, FactExtractor
from router.corpus.openie_import import names_of
from router.corpus.subjects import is_name
from router.models.base import Recognised, RecognisedName, RecognisedRelation
from router.names import bare_name, folded, name_key, without_article
from router.stores.statements import Statement, StatementStore
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
    """The first `limit` statements whose two ends stand in the passage, or in its title or headings, in whatever case and accents."""
    find = partial(_places, folded(chunk.text))
    shown = folded(embedded_text(chunk))
    names: dict[RecognisedName, None] = {}
    relations: dict[tuple[str, str, str], RecognisedRelation] = {}
    left_out: Counter[str] = Counter()
    for said in statements:
        subject, end = without_article(bare_name(said[0])), without_article(bare_name(said[2]))
        relation = " ".join(said[1].split())
        key = (name_key(subject), relation.casefold(), name_key(end))
        fault = _fault(subject, relation, end) or next(
            (fault for name in (subject, end) if (fault := _not_borne_out(chunk, shown, name))), ""
        )
        if not fault and key not in relations and len(relations) >= limit:
            fault = "TOO_MANY"
        if fault:
            left_out[fault] += 1
            continue
        (subject_name, *more_subjects), (end_name, *more_ends) = (_written(chunk, name, find(name)) for name in (subject, end))
        relations.setdefault(key, RecognisedRelation(subject_name, relation, end_name))
        names.update(dict.fromkeys(name for name in (subject_name, *more_subjects, end_name, *more_ends) if name.span != _NOWHERE))
    return Checked(tuple(names), tuple(relations.values()), left_out)


def with_statements(recognised: Recognised, stated: Checked) -> Recognised:
    """Both; what the recogniser calls a name keeps the recogniser's kind."""
    return Recognised((*recognised.names, *stated.names), (*recognised.relations, *stated.relations), recognised.subjects)


_NOWHERE = Span(0, 0)
"""Of a name that stands in the title or a heading only."""


def _fault(subject: str, relation: str, end: str) -> str:
    if not (is_name(subject) and is_name(end) and relation):
        return "EMPTY"
    if name_key(subject) in _PRONOUNS or name_key(end) in _PRONOUNS:
        return "PRONOUN"
    if not (_is_like_a_name(subject) and _is_like_a_name(end)):
        return "NOT_A_NAME"
    if (
        max(len(subject.split()), len(end.split())) > MAX_END_WORDS
        or len(relation) > MAX_RELATION_CHARS
        or len(relation.split()) > MAX_RELATION_WORDS
    ):
        return "TOO_LONG"
    return "SAME_ENDS" if name_key(subject) == name_key(end) else ""


def _is_like_a_name(text: str) -> bool:
    """Whether it has letters, and a capital among them where its script has any: no bare number, and no ordinary words."""
    return any(map(str.isalpha, text)) and (text != text.lower() or text == text.upper())


def _not_borne_out(chunk: Chunk, shown: str, name: str) -> str:
    if not _places(shown, name):
        return "NOT_IN_PASSAGE"
    return "SENTENCE" if len(name.split()) >= SENTENCE_WORDS and _is_sentence(chunk.text, name) else ""


def _is_sentence(text: str, name: str) -> bool:
    for place in _places(folded(text), name):
        before, after = text[: place.start].rstrip()[-1:], text[place.end : place.end + 1]
        if before in ("", ".", "!", "?") and after in (".", "!", "?"):
            return True
    return False


def _places(text: str, name: str) -> list[Span]:
    """Where a name stands in a folded text, at word boundaries."""
    words = r"\s+".join(map(re.escape, folded(name).split()))
    return [Span(*match.span()) for match in re.finditer(rf"(?<!\w){words}(?!\w)", text, re.IGNORECASE)]


def _written(chunk: Chunk, name: str, places: Sequence[Span]) -> list[RecognisedName]:
    """The name as the passage writes it, wherever it does."""
    found = [RecognisedName(" ".join(chunk.text[place.start : place.end].split()), STATED, place) for place in places]
    return found or [RecognisedName(name, STATED, _NOWHERE)]
