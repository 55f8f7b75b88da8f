"""Vectors of chunks in Milvus."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import numpy as np

from router.errors import InternalError, InvalidInput
from router.settings import MilvusSettings
from router.stores.base import Scored
from router.stores.milvus import lite
from router.stores.milvus.batching import SearchBatcher, SearchShape
from router.stores.milvus.collection import collection_name, ensure_collection
from router.stores.milvus.connection import Around, MilvusConnection
from router.stores.milvus.expression import expression, metadata_keys
from router.stores.milvus.index import VectorIndex, check_reading, checked_index
from router.stores.milvus.rows import ExactRows, Row
from router.types import NO_FILTER, Chunk, Filter, Matrix, Vector

MAX_LIMIT = 16_000
"""Milvus gives at most 16,384 hits."""
TIE_MARGIN = 8
"""Hits asked for beyond the limit, so that equal scores at the cut are settled by id and not by where Milvus keeps the row."""
ROWS_PER_CALL = 256
ROWS_PER_PAGE = 10_000
UNFLUSHED_ROWS = 256
"""Milvus Lite searches rows that are not flushed one by one in Python: 30 ms per thousand. A flush of so few takes 25 ms."""
SCORE_DECIMALS = 6
"""Cosines in float32 are good to about 1e-7, and that last digit depends on how many vectors share a call."""


class MilvusVectorStore:
    """Use `open`. The rows of all tenants share a collection; every expression begins with the tenant."""

    def __init__(
        self, connection: MilvusConnection, collection: str, index: VectorIndex, dimension: int, *, has_text: bool, database: str
    ) -> None:
        self.connection = connection
        self.collection = collection
        self._database = database
        self.has_text = has_text
        self._index = index
        self._dimension = dimension
        self._batcher = SearchBatcher(self._search_many)
        self._unflushed = 0
        self._flushing = asyncio.Lock()

    @classmethod
    async def open(
        cls, settings: MilvusSettings, data_dir: Path, *, space: str, dimension: int, beside: MilvusVectorStore | None = None
    ) -> MilvusVectorStore:
        """Connect, and create or check the collection of the embedding space.

        Args:
            settings: Where Milvus is and how it indexes.
            data_dir: Folder of the Milvus Lite file, when no server is named.
            space: Name of the embedding space.
            dimension: Length of its vectors.
            beside: A store whose connection is shared, and which closes it.

        Raises:
            ConfigurationError: A setting that this backend does not support, or that contradicts the collection that is there.
            Conflict: Another process holds the Lite file.
            StoreUnavailable: Nothing answers.
        """
        connection = beside.connection if beside is not None else await MilvusConnection.open(settings, data_dir)
        try:
            index = checked_index(settings.index, is_lite=connection.is_lite, version=connection.version, dimension=dimension)
            name = collection_name(settings.collection_prefix, space)
            await ensure_collection(connection, name, settings=settings, index=index, dimension=dimension)
            store = cls(connection, name, index, dimension, has_text=settings.lexical == "milvus", database=settings.database)
            await store._keep_rows()
        except BaseException:
            if beside is None:
                await connection.aclose()
            raise
        return store

    async def upsert(self, tenant: str, chunks: Sequence[Chunk], vectors: Matrix) -> None:
        if vectors.shape != (len(chunks), self._dimension):
            raise InternalError(f"vectors of shape {vectors.shape} for {len(chunks)} chunks of dimension {self._dimension}")
        for start in range(0, len(chunks), ROWS_PER_CALL):
            part = slice(start, start + ROWS_PER_CALL)
            await self._write(tenant, list(zip(chunks[part], vectors[part], strict=True)))

    async def _write(self, tenant: str, written: Sequence[tuple[Chunk, Vector]]) -> None:
        kept = [Row(tenant, chunk.id, chunk.document_id, chunk.collection, vector) for chunk, vector in written]
        around = self._around(lambda rows: rows.put(kept))
        data = [self._row(tenant, chunk, vector) for chunk, vector in written]
        await self.connection.write(self._replace, self.collection, around=around, data=data)
        await self._flush_often(len(written))

    async def search(
        self, tenant: str, vector: Vector, limit: int, *, collection: str | None = None, where: Filter = NO_FILTER
    ) -> list[Scored]:
        if vector.shape != (self._dimension,):
            raise InternalError(f"a vector of shape {vector.shape} in a space of dimension {self._dimension}")
        check_limit(limit)
        if not where and (rows := self._kept) is not None:
            found = await self.connection.run(partial(rows.search, tenant, vector, limit, collection, SCORE_DECIMALS))
            if found is not None:
                return [Scored(chunk_id, cosine) for chunk_id, cosine in found]
        return await self._batcher.search(SearchShape(expression(where, tenant=tenant, collection=collection), limit), vector)

    async def vectors(self, tenant: str, chunk_ids: Sequence[str]) -> dict[str, Vector]:
        if (rows := self._kept) is not None:
            kept = await self.connection.run(partial(rows.vectors, tenant, chunk_ids))
            if kept is not None:
                return kept
        found = await self._read(tenant, chunk_ids, "Session")
        missing = [chunk for chunk in chunk_ids if chunk not in found]
        if missing and not self.connection.is_lite:
            # Session sees what this client wrote; an earlier process' last writes may still be on their way. What is told to be missing
            # is indexed again, so the server is made to look at all of them.
            found |= await self._read(tenant, missing, "Strong")
        return found

    async def check_reading(self) -> None:
        """Before vectors are read: some servers destroy them thereby.

        Raises:
            ConfigurationError: This server would, with the index of the collection.
        """
        described = await self.connection.call("describe_index", self.collection, index_name="vector")
        check_reading(str(described["index_type"]), is_lite=self.connection.is_lite, version=self.connection.version)

    async def _read(self, tenant: str, chunk_ids: Sequence[str], consistency: str) -> dict[str, Vector]:
        found: dict[str, Vector] = {}
        for start in range(0, len(chunk_ids), ROWS_PER_CALL):
            # The tenant is in the primary key, so no other tenant's row can be named.
            keys = [row_id(tenant, chunk) for chunk in chunk_ids[start : start + ROWS_PER_CALL]]
            fields = ["id", "vector"]
            rows = await self.connection.call("get", self.collection, ids=keys, output_fields=fields, consistency_level=consistency)
            found.update({chunk_id(row["id"]): np.asarray(row["vector"], dtype=np.float32) for row in rows})
        return found

    async def delete_document(self, tenant: str, document_id: str) -> None:
        rows = expression(NO_FILTER, tenant=tenant, document_id=document_id)
        around = self._around(lambda kept: kept.remove(tenant, document_id))
        await self.connection.write("delete", self.collection, around=around, filter=rows)
        if not self.connection.is_lite:
            # A delete by expression tells the client no timestamp (Milvus 2.3.5), so that Session reads would still find the rows.
            # A Strong read waits until the delete has arrived. tests/contract/test_vector_store.py fails without it on such a server.
            await self.connection.call("query", self.collection, filter=rows, output_fields=["id"], limit=1, consistency_level="Strong")

    async def count(self, tenant: str) -> int:
        rows = expression(NO_FILTER, tenant=tenant)
        found = await self.connection.call("query", self.collection, filter=rows, output_fields=["count(*)"], consistency_level="Session")
        return int(found[0]["count(*)"])

    async def ping(self) -> None:
        await self.connection.ping()

    async def aclose(self) -> None:
        await self.connection.aclose()

    @property
    def _kept(self) -> ExactRows | None:
        file = self.connection.lite_file
        return None if file is None else lite.rows_of(file, self._database, self.collection)

    def _around(self, change: Callable[[ExactRows], None]) -> Around | None:
        """Brings a change to the rows in this process, after Milvus has taken it."""
        rows = self._kept
        return None if rows is None else partial(rows.after, change=partial(change, rows))

    async def _keep_rows(self) -> None:
        """Read what is there, so that searches need not ask Milvus Lite: where the index would look at every row too."""
        file = self.connection.lite_file
        if file is None or (self._index.type, self._index.metric) != ("FLAT", "COSINE") or self._kept is not None:
            return
        rows = ExactRows(self._dimension)
        await self.connection.run(partial(self._read_rows, rows))
        counted = await self.connection.call("query", self.collection, filter='id != ""', output_fields=["count(*)"])
        if int(counted[0]["count(*)"]) != rows.count:
            rows.let_go()
        lite.keep_rows(file, self._database, self.collection, rows)

    def _read_rows(self, rows: ExactRows) -> None:
        columns = ["id", "document_id", "collection", "vector"]
        pages = self.connection.client.query_iterator(self.collection, batch_size=ROWS_PER_PAGE, output_fields=columns)
        while rows.are_whole and (page := pages.next()):
            rows.put([Row(*tenant_and_chunk(row["id"]), row["document_id"], row["collection"], row["vector"]) for row in page])
        pages.close()

    def _row(self, tenant: str, chunk: Chunk, vector: Vector) -> dict[str, Any]:
        row: dict[str, Any] = {
            "id": row_id(tenant, chunk.id),
            "tenant": tenant,
            "collection": chunk.collection,
            "document_id": chunk.document_id,
            "vector": vector,
            **metadata_keys(chunk.metadata),
        }
        return {**row, "text": f"{chunk.label}. {chunk.text}"} if self.has_text else row

    @property
    def _replace(self) -> str:
        # Milvus Lite 3.2.2 upserts by merging into the old row, so that keys of old metadata survive; its insert of a known primary
        # key replaces the row. On a server an insert would double it. The contract's test_an_upsert_replaces fails with the other.
        return "insert" if self.connection.is_lite else "upsert"

    async def _flush_often(self, written: int) -> None:
        """Servers flush by themselves and limit how often they are asked to."""
        self._unflushed += written
        if not self.connection.is_lite or self._unflushed < UNFLUSHED_ROWS:
            return
        async with self._flushing:
            if self._unflushed >= UNFLUSHED_ROWS:
                self._unflushed = 0
                await self.connection.write("flush", self.collection)

    async def _search_many(self, shape: SearchShape, vectors: list[Vector]) -> list[list[Scored]]:
        hits = await self._ask(shape, vectors, self._index.search_parameters(shape.limit + TIE_MARGIN))
        short = [position for position, found in enumerate(hits) if len(found) < shape.limit]
        if short and self._index.may_miss_rows:
            exhaustive = self._index.exhaustive_parameters(await self._rows())
            again = await self._ask(shape, [vectors[position] for position in short], exhaustive)
            for position, found in zip(short, again, strict=True):
                hits[position] = found
        return hits

    async def _ask(self, shape: SearchShape, vectors: list[Vector], parameters: dict[str, int | str]) -> list[list[Scored]]:
        found = await self.connection.call(
            "search",
            self.collection,
            data=vectors,
            filter=shape.expression,
            limit=shape.limit + TIE_MARGIN,
            anns_field="vector",
            search_params={"metric_type": self._index.metric, "params": parameters},
            # Milvus Lite would read every field of each hit otherwise, and send it.
            output_fields=["id"],
            consistency_level="Session",
        )
        return [self._ranked(hits, shape.limit) for hits in found]

    def _ranked(self, hits: Sequence[Any], limit: int) -> list[Scored]:
        scored = [Scored(chunk_id(hit["id"]), self._cosine(float(hit["distance"]))) for hit in hits]
        return sorted(scored, key=lambda hit: (-hit.score, hit.chunk_id))[:limit]

    def _cosine(self, distance: float) -> float:
        """Of unit vectors. COSINE and IP are it; L2 is the squared distance."""
        if self._index.metric == "L2":
            distance = 1 - distance / 2
        return round(float(np.clip(distance, -1, 1)), SCORE_DECIMALS)

    async def _rows(self) -> int:
        return int((await self.connection.call("get_collection_stats", self.collection))["row_count"])


def check_limit(limit: int) -> None:
    if not 1 <= limit <= MAX_LIMIT:
        raise InvalidInput(f"limit: {limit} hits; ask for 1 to {MAX_LIMIT}", field="limit")


def row_id(tenant: str, chunk: str) -> str:
    """Primary key: two tenants may hold the same chunk id. Quoted, so that no tenant's name reaches into another's keys."""
    return f"{quote(tenant, safe='')}/{chunk}"


def chunk_id(row: str) -> str:
    return tenant_and_chunk(row)[1]


def tenant_and_chunk(row: str) -> tuple[str, str]:
    tenant, chunk = row.split("/", 1)
    return unquote(tenant), chunk
