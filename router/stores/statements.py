"""What language models and imported files state about passages. It stands in the journal's database.

A model's replies are kept by tenant, so that a passage which is written again, or moved, costs nothing. Tenants do not share them, though
what a model says of a text does not depend on who asks: a reply that costs nothing would tell one tenant what another one has. Each goes
with the document whose passage it was asked for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy import (
    Column,
    ForeignKeyConstraint,
    Index,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    and_,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from router.stores.base import Statement
from router.stores.documents import DocumentState
from router.stores.journal_schema import DELETING, documents_table, tables

Connections = Callable[[], AbstractAsyncContextManager[AsyncConnection]]
_KEYS_PER_QUERY = 5_000

replies_table = Table(
    "statement_replies",
    tables,
    Column("tenant", String(63), nullable=False),
    Column("model", Text, nullable=False),
    Column("passage", String(64), nullable=False),  # hash of what the model was shown
    Column("document_id", String(32), nullable=False),
    Column("statements", Text),  # JSON; null when it was asked in vain
    PrimaryKeyConstraint("tenant", "model", "passage"),
    ForeignKeyConstraint(["tenant", "document_id"], ["documents.tenant", "documents.id"], ondelete="CASCADE"),
    Index("statement_replies_by_document", "tenant", "document_id"),
)
imports_table = Table(
    "statement_imports",
    tables,
    Column("tenant", String(63), nullable=False),
    Column("import_id", String(32), nullable=False),  # the imported file, a document too
    Column("passage", Text, nullable=False),  # how the file names it
    Column("document_id", String(32)),  # the one with that passage; null when there is none
    Column("statements", Text, nullable=False),  # JSON
    PrimaryKeyConstraint("tenant", "import_id", "passage"),
    ForeignKeyConstraint(["tenant", "import_id"], ["documents.tenant", "documents.id"], ondelete="CASCADE"),
    Index("statement_imports_by_passage", "tenant", "passage"),
)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model said of a passage; None when it was asked in vain."""

    passage: str
    document_id: str
    statements: Sequence[Statement] | None


class StatementStore:
    """See the module. Made by the journal, whose connections it takes; raises StoreUnavailable when the database does not answer."""

    def __init__(self, read: Connections, write: Connections) -> None:
        self._read = read
        self._write = write

    # --- replies of models ------------------------------------------------------------------------------------------

    async def replies(self, tenant: str, model: str, passages: Collection[str]) -> dict[str, tuple[Statement, ...]]:
        """What the model said of these passages; those that it was asked for in vain, or never, are absent."""
        found: dict[str, tuple[Statement, ...]] = {}
        table = replies_table.c
        async with self._read() as connection:
            for some in _parts(passages):
                of_model = and_(table.tenant == tenant, table.model == model, table.passage.in_(some), table.statements.is_not(None))
                rows = await connection.execute(select(table.passage, table.statements).where(of_model))
                found |= {row.passage: _from_json(row.statements) for row in rows}
        return found

    async def keep(self, tenant: str, model: str, replies: Sequence[Reply]) -> None:
        """In place of what the model said of these passages before."""
        if not replies:
            return
        table = replies_table.c
        values = [
            {"passage": reply.passage, "document_id": reply.document_id, "statements": _to_json(reply.statements)} for reply in replies
        ]
        known = and_(table.tenant == tenant, table.model == model, table.passage == bindparam("of_passage"))
        async with self._write() as connection:
            await connection.execute(delete(replies_table).where(known), [{"of_passage": reply.passage} for reply in replies])
            await connection.execute(insert(replies_table), [{"tenant": tenant, "model": model, **value} for value in values])

    async def in_vain(self, tenant: str, model: str, document_id: str = "") -> int:
        """How many passages (of a document, or of all) the model was asked for in vain."""
        table = replies_table.c
        asked = and_(table.tenant == tenant, table.model == model, table.statements.is_(None))
        if document_id:
            asked = and_(asked, table.document_id == document_id)
        async with self._read() as connection:
            return int(await connection.scalar(select(func.count()).select_from(replies_table).where(asked)) or 0)

    # --- imports ----------------------------------------------------------------------------------------------------

    async def replace_import(
        self, tenant: str, import_id: str, rows: Mapping[str, Sequence[Statement]], documents: Mapping[str, Collection[str]]
    ) -> dict[str, int]:
        """Keep what a file states, instead of what it stated before, and open again the documents for which that makes a difference.

        Args:
            tenant: Whose.
            import_id: The file.
            rows: By the name that the file gives to a passage; none when the file is to be forgotten.
            documents: Documents that have a passage of such a name.

        Returns:
            The opened documents, with their numbers of passages; they are DURABLE now, so that they will be written again.
        """
        table = imports_table.c
        of_import = and_(table.tenant == tenant, table.import_id == import_id)
        new = {passage: _to_json(statements) for passage, statements in rows.items()}
        async with self._write() as connection:
            old = {row.passage: row for row in await connection.execute(select(imports_table).where(of_import))}
            changed = {passage for passage, row in old.items() if new.get(passage) != row.statements}
            gained = {passage for passage in new if passage not in old or passage in changed or old[passage].document_id is None}
            lost = {old[passage].document_id for passage in changed} - {None}
            opened = lost | {identity for passage in gained for identity in documents.get(passage, ())}
            await connection.execute(delete(imports_table).where(of_import))
            if new:
                at = {passage: min(documents.get(passage, ()), default=None) for passage in new}
                values = [{"passage": passage, "document_id": at[passage], "statements": text} for passage, text in new.items()]
                await connection.execute(insert(imports_table), [{"tenant": tenant, "import_id": import_id, **row} for row in values])
            return await _opened(connection, tenant, opened, stale=lost)

    async def imported(self, tenant: str, passages: Mapping[str, str]) -> dict[str, tuple[Statement, ...]]:
        """What files state, by the names that they give to passages.

        Args:
            tenant: Whose.
            passages: Names of passages, with the document that has the passage: from now on the file's rows belong to it.
        """
        found: dict[str, tuple[Statement, ...]] = {}
        homeless = []
        table = imports_table.c
        async with self._read() as connection:
            for some in _parts(passages):
                wanted = and_(table.tenant == tenant, table.passage.in_(some))
                for row in await connection.execute(select(imports_table).where(wanted).order_by(table.import_id)):
                    found[row.passage] = (*found.get(row.passage, ()), *_from_json(row.statements))
                    if row.document_id is None:
                        homeless.append({"of_passage": row.passage, "has_it": passages[row.passage]})
        if homeless:
            named = and_(table.tenant == tenant, table.passage == bindparam("of_passage"), table.document_id.is_(None))
            async with self._write() as connection:
                await connection.execute(update(imports_table).where(named).values(document_id=bindparam("has_it")), homeless)
        return found

    async def unmatched(self, tenant: str) -> dict[str, tuple[int, int]]:
        """By file, how many of its rows belong to no passage, and how many rows it has; files that match throughout are absent."""
        table, file, home = imports_table.c, documents_table.alias("file"), documents_table.alias("home")
        of_home = and_(home.c.tenant == table.tenant, home.c.id == table.document_id, home.c.state != DELETING)
        of_file = and_(file.c.tenant == table.tenant, file.c.id == table.import_id, file.c.state != DELETING)
        counted = (
            select(file.c.name, func.count().label("rows"), func.count(home.c.id).label("matched"))
            .select_from(imports_table.join(file, of_file).outerjoin(home, of_home))
            .where(table.tenant == tenant)
            .group_by(file.c.name)
            .order_by(file.c.name)
        )
        async with self._read() as connection:
            found = (await connection.execute(counted)).all()
        return {row.name: (row.rows - row.matched, row.rows) for row in found if row.matched < row.rows}

    async def open_again(self, tenant: str, document_ids: Collection[str]) -> dict[str, int]:
        """Have documents written again, those of them that are searchable: id -> number of passages."""
        async with self._write() as connection:
            return await _opened(connection, tenant, document_ids, stale=())


async def _opened(connection: AsyncConnection, tenant: str, documents: Collection[str], stale: Collection[str]) -> dict[str, int]:
    table = documents_table.c
    found: dict[str, int] = {}
    for some in _parts(documents):
        searchable = and_(table.tenant == tenant, table.id.in_(some), table.state == DocumentState.SEARCHABLE.value)
        opened = update(documents_table).where(searchable).values(state=DocumentState.DURABLE.value).returning(table.id, table.chunk_count)
        found |= {row.id: row.chunk_count for row in await connection.execute(opened)}
    for some in _parts(stale):
        await connection.execute(update(documents_table).where(table.tenant == tenant, table.id.in_(some)).values(stale=True))
    return found


def _parts(keys: Collection[str]) -> Iterator[list[str]]:
    remaining = iter(sorted(keys))
    while some := list(islice(remaining, _KEYS_PER_QUERY)):
        yield some


def _to_json(statements: Sequence[Statement] | None) -> str | None:
    return None if statements is None else json.dumps(statements, ensure_ascii=False)


def _from_json(text: Any) -> tuple[Statement, ...]:
    return tuple((subject, relation, end) for subject, relation, end in json.loads(text))
