"""The rows of a Milvus Lite collection that this process serves, ready for an exact search.

Milvus Lite 3.2.2 searches in Python, row by row: of 3,000 passages a search takes some 20 ms of processor time and its way over gRPC as
much again; one matrix product over the same rows takes less than one. It stays the store: rows come from it when it is opened and
change after it has taken a change, and a search with a filter is its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from router.types import Matrix, Vector

MAX_ROWS = 50_000
"""Of all tenants (77 MB at 384 dimensions). Milvus Lite is for fewer; with more, it is asked."""
FIRST_ROWS = 256
BLOCK = 256
"""Rows that are compared at a time: of so few the product is not shared out to threads, which waits for a core that others use (12 ms for
3,000 rows, against 0.3)."""

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Row:
    tenant: str
    chunk_id: str
    document_id: str
    collection: str
    vector: Vector


class ExactRows:
    """By tenant. Every method may be called in any thread.

    Args:
        dimension: Length of the vectors.
        max_rows: Of all tenants; with more, the rows are let go.
    """

    def __init__(self, dimension: int, max_rows: int = MAX_ROWS) -> None:
        self._dimension = dimension
        self._max_rows = max_rows
        self._lock = threading.Lock()
        self._tenants: dict[str, _Table] = {}
        self._are_whole = True

    @property
    def are_whole(self) -> bool:
        """Whether they are what Milvus has. Once they are not, they never are again."""
        return self._are_whole

    @property
    def count(self) -> int:
        with self._lock:
            return sum(table.count for table in self._tenants.values())

    def let_go(self) -> None:
        """Milvus has to be asked from now on."""
        with self._lock:
            self._forget()

    def after(self, write: Callable[[], Result], change: Callable[[], None]) -> Result:
        """The change, once Milvus has taken the write; when it may have taken it or not, the rows are let go."""
        try:
            result = write()
        except BaseException:
            self.let_go()
            raise
        change()
        return result

    def put(self, rows: Sequence[Row]) -> None:
        with self._lock:
            if not self._are_whole:
                return
            for row in rows:
                self._table(row.tenant).put(row)
            if sum(table.count for table in self._tenants.values()) > self._max_rows:
                self._forget()

    def remove(self, tenant: str, document_id: str) -> None:
        with self._lock:
            self._table(tenant).remove(document_id)

    def search(self, tenant: str, vector: Vector, limit: int, collection: str | None, decimals: int) -> list[tuple[str, float]] | None:
        """Id and cosine of the nearest, best first, equal ones by id; None when the rows were let go.

        Args:
            tenant: Whose rows.
            vector: What they are compared with.
            limit: So many at most.
            collection: Only rows of it; None for all.
            decimals: Cosines that agree to so many are equal.
        """
        with self._lock:
            return self._table(tenant).search(vector, limit, collection, decimals) if self._are_whole else None

    def vectors(self, tenant: str, chunk_ids: Sequence[str]) -> dict[str, Vector] | None:
        """As they were given; None when the rows were let go."""
        with self._lock:
            return self._table(tenant).vectors(chunk_ids) if self._are_whole else None

    def _table(self, tenant: str) -> _Table:
        return self._tenants.get(tenant) or self._tenants.setdefault(tenant, _Table(self._dimension))

    def _forget(self) -> None:
        self._are_whole = False
        self._tenants.clear()


class _Table:
    """One tenant's rows without holes: the last row takes the place of one that goes."""

    def __init__(self, dimension: int) -> None:
        self._vectors: Matrix = np.zeros((FIRST_ROWS, dimension), np.float32)
        self._lengths: NDArray[np.float32] = np.ones(FIRST_ROWS, np.float32)
        self._ids: list[str] = []
        self._documents: list[str] = []
        self._collections: list[str] = []
        self._place_of: dict[str, int] = {}
        self._of_document: dict[str, set[str]] = {}

    @property
    def count(self) -> int:
        return len(self._ids)

    def put(self, row: Row) -> None:
        self._take_out(row.chunk_id)
        if self.count == len(self._vectors):
            self._vectors = np.concatenate([self._vectors, np.zeros_like(self._vectors)])
            self._lengths = np.concatenate([self._lengths, np.ones_like(self._lengths)])
        self._place_of[row.chunk_id] = self.count
        self._of_document.setdefault(row.document_id, set()).add(row.chunk_id)
        self._vectors[self.count] = row.vector
        # Nothing is near a vector of zeros, as Milvus has it too.
        self._lengths[self.count] = float(np.linalg.norm(self._vectors[self.count])) or 1.0
        self._ids.append(row.chunk_id)
        self._documents.append(row.document_id)
        self._collections.append(row.collection)

    def remove(self, document_id: str) -> None:
        for chunk_id in list(self._of_document.get(document_id, ())):
            self._take_out(chunk_id)

    def search(self, vector: Vector, limit: int, collection: str | None, decimals: int) -> list[tuple[str, float]]:
        cosines = self._products(vector) / self._lengths[: self.count] / (float(np.linalg.norm(vector)) or 1.0)
        places = np.arange(self.count)
        if collection is not None:
            places = places[np.fromiter((name == collection for name in self._collections), bool, self.count)]
        if len(places) > limit:
            # All that are equal to the last one: which of them stay is settled by id.
            last = np.partition(cosines[places], -limit)[-limit]
            places = places[cosines[places] >= last - 10.0**-decimals]
        scored = [(self._ids[place], round(max(-1.0, min(1.0, float(cosines[place]))), decimals)) for place in places.tolist()]
        return sorted(scored, key=lambda hit: (-hit[1], hit[0]))[:limit]

    def _products(self, vector: Vector) -> NDArray[np.float32]:
        asked, products = vector.astype(np.float32, copy=False), np.empty(self.count, np.float32)
        for start in range(0, self.count, BLOCK):
            rows = self._vectors[start : min(start + BLOCK, self.count)]
            np.dot(rows, asked, out=products[start : start + BLOCK])
        return products

    def vectors(self, chunk_ids: Sequence[str]) -> dict[str, Vector]:
        places = {chunk_id: self._place_of[chunk_id] for chunk_id in chunk_ids if chunk_id in self._place_of}
        return {chunk_id: self._vectors[place].copy() for chunk_id, place in places.items()}

    def _take_out(self, chunk_id: str) -> None:
        place = self._place_of.pop(chunk_id, None)
        if place is None:
            return
        of_document = self._of_document[self._documents[place]]
        of_document.discard(chunk_id)
        if not of_document:
            del self._of_document[self._documents[place]]
        last = self.count - 1
        for column in (self._ids, self._documents, self._collections):
            column[place] = column[last]
            column.pop()
        self._vectors[place], self._lengths[place] = self._vectors[last], self._lengths[last]
        if place != last:
            self._place_of[self._ids[place]] = place
