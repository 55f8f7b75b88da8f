"""The passages' vectors in this process, a byte a number: what the walk compares with the question at every step.

Derived state: it follows the corpus as its observer and is read from the vector store at start. 388 bytes a passage at 384 dimensions.
Whole numbers and one scale a row, since they become single precision eight times as fast as half precision does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from router.stores.base import GraphBatch, VectorStore
from router.types import Chunk, Matrix, Vector

FIRST_ROWS = 256
BLOCK = 512
"""Rows that are compared at a time; so many stay in the processor's cache."""
LARGEST = 127
"""Of the whole numbers of a row."""


class PassageVectors:
    """By tenant. A CorpusObserver."""

    def __init__(self, dimension: int) -> None:
        self._dimension = dimension
        self._tenants: dict[str, _Rows] = {}

    async def load(self, tenant: str, store: VectorStore, chunks: Sequence[Chunk]) -> Counter[str]:
        """Read the vectors of some passages from the store; how many it does not have, by document: they come when they are written.

        Raises:
            StoreUnavailable: The store is down.
        """
        found = await store.vectors(tenant, [chunk.id for chunk in chunks])
        for chunk in chunks:
            if chunk.id in found:
                self._rows(tenant).put(chunk.id, chunk.document_id, found[chunk.id])
        return Counter(chunk.document_id for chunk in chunks if chunk.id not in found)

    async def on_written(self, tenant: str, chunks: Sequence[Chunk], vectors: Matrix, batch: GraphBatch) -> None:
        del batch
        for chunk, vector in zip(chunks, vectors, strict=True):
            self._rows(tenant).put(chunk.id, chunk.document_id, vector)

    async def on_deleted(self, tenant: str, document_id: str) -> None:
        self._rows(tenant).remove(document_id)

    def cosines(self, tenant: str, vector: Vector, chunk_ids: Sequence[str]) -> NDArray[np.float32]:
        """Cosine of a vector and each passage, shape (len(chunk_ids),); 0 for a passage that is not known.

        A passage's numbers are good to half of 1/127 of its largest, which makes about 1e-3 of the cosine at 384 dimensions.
        """
        return self._rows(tenant).products(chunk_ids, vector)

    def vectors(self, tenant: str, chunk_ids: Sequence[str]) -> Matrix:
        """Shape (len(chunk_ids), dimension), float32; zeros for a passage that is not known."""
        return self._rows(tenant).vectors(chunk_ids)

    def count(self, tenant: str) -> int:
        """Passages that are known."""
        return self._rows(tenant).count

    def sample(self, tenant: str, size: int) -> Matrix:
        """Some passages' vectors, the same ones as long as nothing is written. Shape (at most size, dimension), float32."""
        return self._rows(tenant).sample(size)

    def _rows(self, tenant: str) -> _Rows:
        return self._tenants.setdefault(tenant, _Rows(self._dimension))


class _Rows:
    """A table that grows; rows of deleted passages are used again. Row 0 stays zero, for what is not known."""

    def __init__(self, dimension: int) -> None:
        self._table = np.zeros((FIRST_ROWS, dimension), dtype=np.int8)
        self._scale = np.zeros(FIRST_ROWS, dtype=np.float32)
        self._row_of: dict[str, int] = {}
        self._of_document: dict[str, set[str]] = {}
        self._free: list[int] = []
        self._used = 1

    def put(self, chunk_id: str, document_id: str, vector: Vector) -> None:
        row = self._row_of.get(chunk_id)
        if row is None:
            row = self._free.pop() if self._free else self._next()
            self._row_of[chunk_id] = row
            self._of_document.setdefault(document_id, set()).add(chunk_id)
        scale = float(np.abs(vector).max()) / LARGEST
        self._scale[row] = scale
        self._table[row] = np.rint(vector / scale) if scale > 0 else 0

    def remove(self, document_id: str) -> None:
        self._free += [self._row_of.pop(chunk_id) for chunk_id in self._of_document.pop(document_id, ())]

    def vectors(self, chunk_ids: Sequence[str]) -> Matrix:
        rows = self._rows_of(chunk_ids)
        return self._table[rows].astype(np.float32) * self._scale[rows, np.newaxis]

    @property
    def count(self) -> int:
        return len(self._row_of)

    def sample(self, size: int) -> Matrix:
        if self.count <= size:
            rows = np.fromiter(self._row_of.values(), dtype=np.int64, count=self.count)
        else:
            # Row 0 is no passage's; the few that are free for now were passages a moment ago.
            rows = np.random.default_rng(0).integers(1, self._used, size)
        return self._table[rows].astype(np.float32) * self._scale[rows, np.newaxis]

    def products(self, chunk_ids: Sequence[str], vector: Vector) -> NDArray[np.float32]:
        rows, asked = self._rows_of(chunk_ids), vector.astype(np.float32, copy=False)
        found = np.empty(len(rows), dtype=np.float32)
        for start in range(0, len(rows), BLOCK):
            some = self._table.take(rows[start : start + BLOCK], axis=0)
            np.dot(some.astype(np.float32), asked, out=found[start : start + BLOCK])
        return found * self._scale[rows]

    def _rows_of(self, chunk_ids: Sequence[str]) -> NDArray[np.int64]:
        return np.fromiter(map(self._row_of.get, chunk_ids, repeat(0)), dtype=np.int64, count=len(chunk_ids))

    def _next(self) -> int:
        if self._used == len(self._table):
            self._table = np.concatenate([self._table, np.zeros_like(self._table)])
            self._scale = np.concatenate([self._scale, np.zeros_like(self._scale)])
        self._used += 1
        return self._used - 1
