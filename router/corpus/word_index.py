"""Which passages have which words: so that a new name is looked for only where all its words are."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np
from numpy.typing import NDArray

from router.names import words_of
from router.types import Chunk

Numbers = NDArray[np.uint64]

MERGED_AT = 4
"""Two neighbouring parts become one when the earlier is not this many times larger: few parts, and each row is moved few times."""
_NUMBER = np.uint64(0xFFFFFFFF)


class WordIndex:
    """Words by their hash, so it may name a passage that lacks a word, but never misses one: 8 bytes per passage and distinct word.

    One row is hash << 32 | number of the passage; rows are in sorted parts that are merged as they grow (O'Neil et al., The
    log-structured merge-tree, 1996). A passage is not taken out: one that is gone is not found in the journal any more.
    """

    def __init__(self) -> None:
        self._ids: list[str] = []
        self._known: set[str] = set()
        self._parts: list[Numbers] = []

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def nbytes(self) -> int:
        """Memory of the rows, without the ids."""
        return sum(part.nbytes for part in self._parts)

    def add(self, chunks: Iterable[Chunk]) -> None:
        """Add passages; those that are there already are passed over."""
        rows: list[int] = []
        for chunk in chunks:
            if chunk.id not in self._known:
                number = len(self._ids)
                self._ids.append(chunk.id)
                self._known.add(chunk.id)
                rows += [_hash(word) << 32 | number for word in set(words_of(chunk.text))]
        if rows:
            self._parts.append(np.sort(np.array(rows, dtype=np.uint64)))
        while len(self._parts) > 1 and len(self._parts[-2]) < MERGED_AT * len(self._parts[-1]):
            last = self._parts.pop()
            # A stable sort merges two sorted runs in one pass.
            self._parts[-1] = np.sort(np.concatenate([self._parts[-1], last]), kind="stable")

    def having(self, names: Collection[str]) -> list[str]:
        """Ids of the passages that have all words of at least one of the names, in the order in which they came."""
        found = [self._having_all(words_of(name)) for name in names]
        return [self._ids[number] for number in np.unique(np.concatenate(found))] if found else []

    def _having_all(self, words: Collection[str]) -> Numbers:
        if not words:
            return np.arange(len(self._ids), dtype=np.uint64)
        postings = sorted((self._posting(_hash(word)) for word in set(words)), key=len)
        numbers = postings[0]
        for posting in postings[1:]:
            places = np.minimum(np.searchsorted(posting, numbers), len(posting) - 1)
            numbers = numbers[posting[places] == numbers]
        return numbers

    def _posting(self, word: int) -> Numbers:
        some = []
        for part in self._parts:
            first, end = np.searchsorted(part, np.array([word << 32, (word + 1) << 32], dtype=np.uint64))
            some.append(part[first:end] & _NUMBER)
        # Later parts have later passages, so this is sorted.
        return np.concatenate(some) if some else np.empty(0, dtype=np.uint64)


def _hash(word: str) -> int:
    # (word + 1) << 32 must fit into 64 bits, so one bit less than there is room for.
    return hash(word) & 0x7FFFFFFF
