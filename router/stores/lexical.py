"""BM25 in this process, per tenant, rebuilt when the corpus has changed."""

from __future__ import annotations

import asyncio
import math
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
    passages_with: NDArray[np.int64]
    """By term, how many passages have it."""

    def idf(self, term: int | None) -> float:
        """log((N + 1) / n), more than 0; of a term that none has as of one that a single passage has."""
        count = int(self.passages_with[term]) if term is not None and term < self.term_count else 1
        return math.log((len(self.passages) + 2) / max(1, count))


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

    def coverage(self, tenant: str, text: str, chunk_ids: Sequence[str]) -> tuple[float, ...]:
        """The share of the text's words that stand in each chunk, 0 to 1, by their idf; after them the share that stands in any.

        A word that no chunk has counts like the rarest. Empty when the text has no words.
        """
        texts = self._tenants.setdefault(tenant, _TenantTexts())
        words = set(_stems(text, Stemmer.Stemmer("english")))
        if not words:
            return ()
        index = _built(texts)
        held = [set(texts.passages[chunk_id].terms) if chunk_id in texts.passages else set[int]() for chunk_id in chunk_ids]
        terms = [texts.vocabulary.get(word) for word in words]
        weights = [index.idf(term) for term in terms]
        total = sum(weights)
        shares = [
            sum(weight for term, weight in zip(terms, weights, strict=True) if term in some) / total
            for some in (*held, set[int]().union(*held))
        ]
        return tuple(shares)

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
        return _Built(passages, None, 0, np.zeros(0, dtype=np.int64))
    bm25 = bm25s.BM25(k1=K1, b=B)
    bm25.index(([passage.terms for passage in passages], dict(vocabulary)), create_empty_token=False, show_progress=False)
    passages_with = np.bincount([term for passage in passages for term in set(passage.terms)], minlength=len(vocabulary))
    return _Built(passages, bm25, len(vocabulary), passages_with)


def _passes(passage: _Passage, collection: str | None, where: Filter) -> bool:
    return (collection is None or passage.collection == collection) and matches(where, passage.metadata)


def _stems(text: str, stemmer: Stemmer.Stemmer) -> list[str]:
    stems: list[str] = stemmer.stemWords([word for word in _WORD.findall(text.lower()) if word not in _STOP_WORDS])
    return stems
