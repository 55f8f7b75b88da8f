"""Fingerprints of pictures, in the journal's database, and the same in this process, where those that nearly agree are found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import numpy as np
from sqlalchemy import Column, LargeBinary, PrimaryKeyConstraint, String, Table, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from router.stores.journal_schema import tables

Connections = Callable[[], AbstractAsyncContextManager[AsyncConnection]]

MAX_DISTANCE = 24
"""Bits, of 256, in which fingerprints of one photo differ at most. Of copies at half the size, at JPEG quality 30, 30 % darker or with 30 %
more contrast 99 to 100 of 100 are within it, of those made 20 % brighter 94, where light parts are cut off."""
FIRST_ROWS = 64

# A table of its own: pictures that were ingested by a release without it simply are not in it.
fingerprints_table = Table(
    "picture_fingerprints",
    tables,
    Column("tenant", String(63), nullable=False),
    Column("picture_id", String(64), nullable=False),
    Column("fingerprint", LargeBinary, nullable=False),
    PrimaryKeyConstraint("tenant", "picture_id"),
)


class FingerprintStore:
    """Made by the journal, whose connections it takes; raises StoreUnavailable when the database does not answer."""

    def __init__(self, read: Connections, write: Connections, insert: Callable[[Table], Any]) -> None:
        self._read = read
        self._write = write
        upsert = insert(fingerprints_table)
        self._upsert = upsert.on_conflict_do_update(
            index_elements=["tenant", "picture_id"], set_={"fingerprint": upsert.excluded.fingerprint}
        )

    async def keep(self, tenant: str, fingerprints: Mapping[str, bytes]) -> None:
        """By picture id, in place of earlier ones."""
        rows = [{"tenant": tenant, "picture_id": picture_id, "fingerprint": value} for picture_id, value in fingerprints.items()]
        if rows:
            async with self._write() as connection:
                await connection.execute(self._upsert, rows)

    async def forget(self, tenant: str, picture_id: str) -> None:
        table = fingerprints_table.c
        async with self._write() as connection:
            await connection.execute(delete(fingerprints_table).where(table.tenant == tenant, table.picture_id == picture_id))

    async def all(self, tenant: str) -> dict[str, bytes]:
        table = fingerprints_table.c
        async with self._read() as connection:
            rows = await connection.execute(select(table.picture_id, table.fingerprint).where(table.tenant == tenant))
            return {row.picture_id: row.fingerprint for row in rows}


class NearDuplicates:
    """Which pictures of a tenant show one photo. 32 bytes a picture; a look costs 2 ms with 100,000 of them."""

    def __init__(self) -> None:
        self._tenants: dict[str, _Fingerprints] = {}

    def put(self, tenant: str, fingerprints: Mapping[str, bytes]) -> None:
        """By picture id; empty ones are like nothing."""
        known = self._tenants.setdefault(tenant, _Fingerprints())
        for picture_id, value in fingerprints.items():
            known.remove(picture_id)
            if value:
                known.put(picture_id, value)

    def remove(self, tenant: str, picture_id: str) -> None:
        if tenant in self._tenants:
            self._tenants[tenant].remove(picture_id)

    def of(self, tenant: str, picture_id: str) -> tuple[str, ...]:
        """Ids of the others, the likest first; empty where there are none, or the picture has no fingerprint."""
        return self._tenants[tenant].near(picture_id) if tenant in self._tenants else ()


class _Fingerprints:
    """A table that grows; the last row takes the place of one that goes."""

    def __init__(self) -> None:
        self._rows = np.zeros((FIRST_ROWS, 4), dtype=np.uint64)
        self._ids: list[str] = []
        self._place: dict[str, int] = {}

    def put(self, picture_id: str, value: bytes) -> None:
        place = len(self._ids)
        if place == len(self._rows):
            self._rows = np.concatenate([self._rows, np.zeros_like(self._rows)])
        self._rows[place] = np.frombuffer(value, dtype=np.uint64)
        self._ids.append(picture_id)
        self._place[picture_id] = place

    def remove(self, picture_id: str) -> None:
        place = self._place.pop(picture_id, None)
        if place is None:
            return
        last = self._ids.pop()
        if last != picture_id:
            self._rows[place] = self._rows[len(self._ids)]
            self._ids[place] = last
            self._place[last] = place

    def near(self, picture_id: str) -> tuple[str, ...]:
        place = self._place.get(picture_id)
        if place is None:
            return ()
        distances = np.bitwise_count(self._rows[: len(self._ids)] ^ self._rows[place]).sum(axis=1)
        found = sorted((int(distances[other]), self._ids[other]) for other in np.flatnonzero(distances <= MAX_DISTANCE) if other != place)
        return tuple(other_id for _, other_id in found)
