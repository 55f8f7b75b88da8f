"""Files of facts that somebody else read from passages, a passage a line: `{"doc_id": ..., "triples": [[subject, relation, object], ...]}`.

Instead of `doc_id`, which is a document's name or identity or a passage's identity, a row may have the `passage` itself: its words.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Protocol

from router.corpus.base import Triple
from router.corpus.text import LoadedDocument, check_length, decode, normalise, rejected
from router.stores.base import Statement
from router.types import Chunk

Rows = dict[str, tuple[Statement, ...]]
"""By the name that the file gives to a passage."""


class AllPassages(Protocol):
    def all_chunks(self, tenant: str) -> AsyncIterator[Sequence[Chunk]]: ...


def read_openie(content: bytes, max_chars: int) -> LoadedDocument:
    text = normalise(decode(content))
    check_length(text, max_chars)
    triples = tuple(Triple(*fact) for facts in parse_openie(text).values() for fact in facts)
    if not triples:
        raise rejected("EMPTY", "there is no fact in it")
    return LoadedDocument(text, triples=triples)


def parse_openie(text: str) -> Rows:
    """The rows of a stored text. Triples that have not three parts, such as a model writes now and then, are left out.

    Raises:
        DocumentRejected: BROKEN, naming the first line that is not of the form.
    """
    rows: Rows = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            passage, triples = _row(line, number)
            rows[passage] = (*rows.get(passage, ()), *triples)
    return rows


def names_of(chunk: Chunk) -> Iterator[str]:
    """What a row may call the passage."""
    yield from (chunk.document_name, chunk.document_id, chunk.id, _by_words(chunk.text))
    if chunk.title:
        yield _by_words(f"{chunk.title} {chunk.text}")


async def documents_named(tenant: str, rows: Rows, passages: AllPassages) -> dict[str, set[str]]:
    """Documents that have a passage which a row names, by that name."""
    found: dict[str, set[str]] = {}
    async for some in passages.all_chunks(tenant):
        for chunk in some:
            for name in names_of(chunk):
                if name in rows:
                    found.setdefault(name, set()).add(chunk.document_id)
    return found


def _row(line: str, number: int) -> tuple[str, Iterator[Statement]]:
    try:
        row = json.loads(line)
    except ValueError as exc:
        raise rejected("BROKEN", f"line {number} is not JSON: {line[:80]!r}") from exc
    named = row.get("doc_id", row.get("passage")) if isinstance(row, dict) else None
    triples = row.get("triples") if isinstance(row, dict) else None
    if not isinstance(named, str) or not named.strip() or not isinstance(triples, list):
        form = '{"doc_id" or "passage": text, "triples": [[subject, relation, object], ...]}'
        raise rejected("BROKEN", f"line {number} is not a row of facts read from a passage, {form}: {line[:80]!r}")
    return named if "doc_id" in row else _by_words(named), (_statement(triple) for triple in triples if _is_statement(triple))


def _is_statement(triple: Any) -> bool:
    return isinstance(triple, list) and len(triple) == 3 and all(isinstance(part, str) and part.strip() for part in triple)


def _statement(triple: Sequence[str]) -> Statement:
    subject, relation, end = (" ".join(part.split()) for part in triple)
    return subject, relation, end


def _by_words(text: str) -> str:
    return f"sha256:{hashlib.sha256(' '.join(normalise(text).split()).encode()).hexdigest()}"
