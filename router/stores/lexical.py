"""BM25 in this process, per tenant, rebuilt when the corpus has changed."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice

import bm25s
import numpy as np
import Stemmer
from bm25s.stopwords import STOPWORDS_EN
from numpy.typing import NDArray

from router.errors import InvalidInput
from router.filters import matches
from router.stores.base import GraphBatch, Scored
from router.types import NO_FILTER, Chunk, Filter, Matrix, Metadata

K1, B = 1.5, 0.75
"""Usual values (Robertson and Zaragoza 2009, section 3); the method of bm25s is Lucene's, whose scores are never negative."""

_WORD = re.compile(r"\w\w+")
_STOP_WORDS = frozenset(STOPWORDS_EN)


@dataclass(frozen=True, slots=True)
class _Passage:
    id: str
    document_id: str
    collection: str
    metadata: Metadata
    terms: list[int]
    """Numbers of the tenant's vocabulary; computed once per chunk."""


@dataclass(frozen=True, slots=True)
class _Built:
    """An index as it was at one moment; never changed, so that searches need no lock."""

    passages: tuple[_Passage, ...]
    """By id."""
    bm25: bm25s.BM25 | None
    """None when there is not one word to find."""
    term_count: int


@dataclass(slots=True)
class _TenantTexts:
    passages: dict[str, _Passage] = field(default_factory=dict)
    vocabulary: dict[str, int] = field(default_factory=dict)
    built: _Built | None = None
    """None after a change."""
    lock: threading.Lock = field(default_factory=threading.Lock)


class MemoryLexicalIndex:
    """BM25 over "title. text" of all chunks, with English stems and stop words.

    It follows the corpus as its observer. A change only marks the tenant's index as old; the next search builds it anew, in a
    thread. Searches that run meanwhile finish on the index that they began with.
    """

    def __init__(self) -> None:
        self._tenants: dict[str, _TenantTexts] = {}

    async def search(self, tenant: str, text: str, limit: int, *, collection: str | None = None, where: Filter = NO_FILTER) -> list[Scored]:
        if limit < 1:
            raise InvalidInput(f"limit: {limit} hits; ask for at least 1", field="limit")
        if tenant not in self._tenants:
            return []
        return await asyncio.to_thread(self._search, self._tenants[tenant], text, limit, collection, where)

    async def load(self, tenant: str, chunks: Iterable[Chunk]) -> None:
        """Take what a corpus holds at start-up, and build the index."""
        await asyncio.to_thread(self.add, tenant, chunks)
        await asyncio.to_thread(_built, self._tenants[tenant])

    async def on_written(self, tenant: str, chunks: Sequence[Chunk], vectors: Matrix, batch: GraphBatch) -> None:
        await asyncio.to_thread(self.add, tenant, chunks)

    async def on_deleted(self, tenant: str, document_id: str) -> None:
        await asyncio.to_thread(self.remove_document, tenant, document_id)

    def add(self, tenant: str, chunks: Iterable[Chunk]) -> None:
        """Add chunks; one whose id is known is replaced."""
        texts = self._tenants.setdefault(tenant, _TenantTexts())
        stemmer = Stemmer.Stemmer("english")  # holds a buffer: one per thread
        stemmed = [(chunk, _stems(f"{chunk.label}. {chunk.text}", stemmer)) for chunk in chunks]
        with texts.lock:
            for chunk, words in stemmed:
                terms = [texts.vocabulary.setdefault(word, len(texts.vocabulary)) for word in words]
                texts.passages[chunk.id] = _Passage(chunk.id, chunk.document_id, chunk.collection, chunk.metadata, terms)
            texts.built = None

    def remove_document(self, tenant: str, document_id: str) -> None:
        """Remove a document's chunks. Removing what is not there is fine."""
        if tenant not in self._tenants:
            return
        texts = self._tenants[tenant]
        with texts.lock:
            kept = {chunk_id: passage for chunk_id, passage in texts.passages.items() if passage.document_id != document_id}
            if len(kept) < len(texts.passages):
                texts.passages, texts.built = kept, None

    @staticmethod
    def _search(texts: _TenantTexts, text: str, limit: int, collection: str | None, where: Filter) -> list[Scored]:
        index = _built(texts)
        words = _stems(text, Stemmer.Stemmer("english"))
        # Words that came into the vocabulary after the index was built are not in it.
        terms = [term for word in words if (term := texts.vocabulary.get(word)) is not None and term < index.term_count]
        if index.bm25 is None or not terms:
            return []
        scores: NDArray[np.float32] = index.bm25.get_scores_from_ids(terms)
        best_first = np.argsort(-scores, kind="stable")  # equal scores stay in the order of the passages, which is by id
        found = (
            Scored(passage.id, float(scores[position]))
            for position in best_first[: np.count_nonzero(scores > 0)]
            if _passes(passage := index.passages[position], collection, where)
        )
        return list(islice(found, limit))


def _built(texts: _TenantTexts) -> _Built:
    """The tenant's index as it is now; of several searches that find it old, one builds it and the others wait."""
    with texts.lock:
        if texts.built is None:
            texts.built = _build(tuple(sorted(texts.passages.values(), key=lambda passage: passage.id)), texts.vocabulary)
        return texts.built


def _build(passages: tuple[_Passage, ...], vocabulary: dict[str, int]) -> _Built:
    if not any(passage.terms for passage in passages):
        return _Built(passages, None, 0)
    bm25 = bm25s.BM25(k1=K1, b=B)
    bm25.index(([passage.terms for passage in passages], dict(vocabulary)), create_empty_token=False, show_progress=False)
    return _Built(passages, bm25, len(vocabulary))


def _passes(passage: _Passage, collection: str | None, where: Filter) -> bool:
    return (collection is None or passage.collection == collection) and matches(where, passage.metadata)


def _stems(text: str, stemmer: Stemmer.Stemmer) -> list[str]:
    stems: list[str] = stemmer.stemWords([word for word in _WORD.findall(text.lower()) if word not in _STOP_WORDS])
    return stems
