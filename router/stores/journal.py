"""The journal: every document that was acknowledged, its stored text and its passages. The other stores can be made again from it.

A document's way: put (DURABLE) -> written to the other stores -> SEARCHABLE, or FAILED; begin_delete -> removed from them -> finish_delete.
Each put raises the document's revision, so that work on an older one cannot mark the newer.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import Column, Table, and_, bindparam, delete, exists, func, insert, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from router.errors import Conflict, InternalError, InvalidInput, NotFound, RouterError
from router.settings import JournalSettings
from router.stores.database import database_errors, make_engine
from router.stores.decisions import DecisionStore
from router.stores.documents import DocumentPage, DocumentRecord, DocumentState, Failure, NewDocument, Standing
from router.stores.fingerprints import FingerprintStore
from router.stores.journal_schema import (
    DELETING,
    RECORD_COLUMNS,
    REPLACED_COLUMNS,
    SCHEMA_VERSION,
    SELECT_CHUNKS,
    STANDING_COLUMNS,
    chunk_values,
    chunks_table,
    document_values,
    documents_table,
    label_values,
    picture_labels_table,
    picture_regions_table,
    picture_values,
    pictures_table,
    region_values,
    schema_table,
    tables,
    to_chunk,
    to_record,
    to_regions,
    to_standing,
)
from router.stores.page_token import make_page_token, name_of_page_token
from router.stores.statements import StatementStore
from router.types import Chunk, Picture, Span, TextRegion

MAX_PAGE_SIZE = 1000
_UNFINISHED = (DocumentState.DURABLE.value, DELETING)
_IDS_PER_QUERY = 5_000
"""SQLite takes 32,766 values in one statement, PostgreSQL 32,767."""
_CHUNKS_PER_READ = 1_000
_DOCUMENTS_PER_COMMIT = 64
_DELETE_CHUNKS = delete(chunks_table).where(
    chunks_table.c.tenant == bindparam("of_tenant"), chunks_table.c.document_id == bindparam("of_document")
)
_MARK_SEARCHABLE = (
    update(documents_table)
    .where(
        documents_table.c.tenant == bindparam("of_tenant"),
        documents_table.c.id == bindparam("of_document"),
        documents_table.c.revision == bindparam("at_revision"),
        documents_table.c.state == DocumentState.DURABLE.value,
    )
    .values(state=DocumentState.SEARCHABLE.value, stale=False)
)
_PASSAGE_IS_THERE = exists().where(chunks_table.c.tenant == pictures_table.c.tenant, chunks_table.c.id == pictures_table.c.chunk_id)
_REGIONS_OF_PICTURE = and_(
    picture_regions_table.c.tenant == pictures_table.c.tenant, picture_regions_table.c.chunk_id == pictures_table.c.chunk_id
)
_log = structlog.get_logger(__name__)

_UPSERTS: Mapping[str, Callable[[Table], Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


class Journal:
    """See the module. It is a PassageStore. Every method takes the tenant; raises StoreUnavailable when the database does not answer."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._reader = engine.execution_options(isolation_level="AUTOCOMMIT")
        self.statements = StatementStore(self._read, self._write)
        """What is stated about the passages."""
        self.decisions = DecisionStore(self._read, self._write, engine.dialect.name)
        """What calls decided, and the feedback on it."""
        self.fingerprints = FingerprintStore(self._read, self._write, _UPSERTS[engine.dialect.name])
        """Of the pictures."""
        self._upsert_documents = _upsert_documents(engine.dialect.name)
        self._insert_pictures = _UPSERTS[engine.dialect.name](pictures_table).on_conflict_do_nothing()
        self._one_writer = asyncio.Lock()  # SQLite has one; waiting here costs less than its busy handler
        self._waiting: list[_Put] = []
        self._committer: asyncio.Task[None] | None = None

    async def aclose(self) -> None:
        if self._committer is not None:
            await self._committer
        await self._engine.dispose()

    async def ping(self) -> None:
        """Raise StoreUnavailable unless the database answers."""
        async with self._read() as connection:
            await connection.execute(select(1))

    # --- writing ----------------------------------------------------------------------------------------------------

    async def put(self, tenant: str, document: NewDocument) -> None:
        """Make a document durable, in place of an earlier one of its id.

        Calls that come while a commit is under way share the next one (a commit costs an fsync however much is in it).
        """
        put = _Put(tenant, document, asyncio.get_running_loop().create_future())
        self._waiting.append(put)
        if self._committer is None or self._committer.done():
            self._committer = asyncio.create_task(self._commit_waiting())
        await put.done

    async def _commit_waiting(self) -> None:
        while self._waiting:
            group = self._next_group()
            error: RouterError | None = InternalError("the journal stopped while it wrote; the document may have to be sent again")
            try:
                async with self._write() as connection:
                    await self._put(connection, [(put.tenant, put.document) for put in group])
                error = None
            except RouterError as failure:
                error = failure
            except Exception:  # noqa: BLE001 - a bug; its puts are told of it, and those behind them are written all the same
                _log.exception("a commit of the journal failed", documents=len(group))
            finally:
                for put in group:
                    if put.done.done():
                        continue  # its caller left
                    if error is None:
                        put.done.set_result(None)
                    else:
                        put.done.set_exception(error)

    def _next_group(self) -> list[_Put]:
        """What comes next, in its order, each document once."""
        group: dict[tuple[str, str], _Put] = {}
        for put in self._waiting[:_DOCUMENTS_PER_COMMIT]:
            if (put.tenant, put.document.id) in group:
                break
            group[put.tenant, put.document.id] = put
        del self._waiting[: len(group)]
        return list(group.values())

    async def _put(self, connection: AsyncConnection, documents: Sequence[tuple[str, NewDocument]]) -> None:
        # Three statements for the whole group: the way to the database's thread and back costs more than a statement.
        await connection.execute(self._upsert_documents, [document_values(tenant, document) for tenant, document in documents])
        await connection.execute(_DELETE_CHUNKS, [{"of_tenant": tenant, "of_document": document.id} for tenant, document in documents])
        if chunks := [chunk_values(tenant, chunk) for tenant, document in documents for chunk in document.chunks]:
            await connection.execute(insert(chunks_table), chunks)
        pictures = [
            (tenant, chunk, chunk.picture) for tenant, document in documents for chunk in document.chunks if chunk.picture is not None
        ]
        if pictures:
            await connection.execute(self._insert_pictures, [picture_values(*pictured) for pictured in pictures])
        if regions := [region_values(tenant, chunk, picture.regions) for tenant, chunk, picture in pictures if picture.regions]:
            await connection.execute(insert(picture_regions_table), regions)

    async def mark_searchable(self, tenant: str, revisions: Mapping[str, int]) -> None:
        """Say that the other stores hold these revisions (document id -> revision); a document that has moved on is left alone."""
        marked = [{"of_tenant": tenant, "of_document": document_id, "at_revision": at} for document_id, at in revisions.items()]
        async with self._write() as connection:
            await connection.execute(_MARK_SEARCHABLE, marked)

    async def mark_failed(self, tenant: str, document_id: str, revision: int, failure: Failure) -> None:
        """Say that this revision cannot be made searchable. Its passages go; the other stores may hold some of them."""
        async with self._write() as connection:
            marked = await connection.execute(
                update(documents_table)
                .where(*_at_revision(tenant, document_id, revision), documents_table.c.state == DocumentState.DURABLE.value)
                .values(state=DocumentState.FAILED.value, stale=True, chunk_count=0, failure=json.dumps(asdict(failure)))
            )
            if marked.rowcount:
                await connection.execute(delete(chunks_table).where(*_of_document(chunks_table.c.document_id, tenant, document_id)))

    async def begin_delete(self, tenant: str, document_id: str) -> int:
        """Take a document out of every reader's sight; how many passages it had. What other stores hold of it is to be removed next.

        Raises:
            NotFound: There is no such document.
        """
        async with self._write() as connection:
            row = (
                await connection.execute(
                    update(documents_table)
                    .where(*_of_document(documents_table.c.id, tenant, document_id))
                    .values(state=DELETING, revision=documents_table.c.revision + 1, text="")
                    .returning(documents_table.c.chunk_count)
                )
            ).first()
            if row is None:
                raise _not_found(document_id)
            await connection.execute(delete(chunks_table).where(*_of_document(chunks_table.c.document_id, tenant, document_id)))
            return int(row.chunk_count)

    async def finish_delete(self, tenant: str, document_id: str, revision: int) -> None:
        """Forget a document that the other stores no longer hold, unless it came again meanwhile."""
        async with self._write() as connection:
            await connection.execute(
                delete(documents_table).where(*_at_revision(tenant, document_id, revision), documents_table.c.state == DELETING)
            )

    async def label_pictures(self, tenant: str, chunks: Sequence[Chunk]) -> None:
        """Keep the labels of the pictures of some passages, as long as the passages are there, in place of earlier ones."""
        labelled = {chunk.id: chunk.picture.labels for chunk in chunks if chunk.picture is not None and chunk.picture.labels}
        here = chunks_table.c.tenant == tenant, chunks_table.c.id.in_(labelled)
        async with self._write() as connection:
            await connection.execute(
                delete(picture_labels_table).where(
                    picture_labels_table.c.tenant == tenant, picture_labels_table.c.chunk_id.in_([chunk.id for chunk in chunks])
                )
            )
            # A passage may have been replaced while its picture was looked at.
            there = (await connection.execute(select(chunks_table.c.id).where(*here))).scalars()
            rows = [{"tenant": tenant, "chunk_id": key, "labels": label_values(labelled[key])} for key in there]
            if rows:
                await connection.execute(insert(picture_labels_table), rows)

    async def forget_pictures(self, tenant: str, chunk_ids: Collection[str]) -> None:
        """Forget pictures of passages that are gone, once their files have been seen to."""
        async with self._write() as connection:
            await connection.execute(
                delete(pictures_table).where(pictures_table.c.tenant == tenant, pictures_table.c.chunk_id.in_(chunk_ids))
            )

    # --- reading ----------------------------------------------------------------------------------------------------

    async def picture(self, tenant: str, picture_id: str) -> Picture | None:
        """A picture of some passage of the tenant, with what is written in it; None when no passage has it."""
        statement = (
            select(pictures_table, picture_regions_table.c.regions)
            .outerjoin(picture_regions_table, _REGIONS_OF_PICTURE)
            .where(pictures_table.c.tenant == tenant, pictures_table.c.id == picture_id, _PASSAGE_IS_THERE)
        )
        async with self._read() as connection:
            row = (await connection.execute(statement.limit(1))).first()
        return None if row is None else Picture(row.id, row.mime_type, row.width, row.height, regions=to_regions(row.regions))

    async def picture_regions(self, tenant: str, chunk_ids: Collection[str]) -> dict[str, tuple[TextRegion, ...]]:
        """What is written in the pictures of some passages, in reading order; a passage without such lines is absent."""
        statement = select(picture_regions_table).where(
            picture_regions_table.c.tenant == tenant, picture_regions_table.c.chunk_id.in_(chunk_ids)
        )
        async with self._read() as connection:
            return {row.chunk_id: to_regions(row.regions) for row in await connection.execute(statement)}

    async def left_pictures(self, tenant: str, document_id: str) -> dict[str, str]:
        """Pictures of a document's passages that are gone: chunk id -> picture id."""
        where = _of_document(pictures_table.c.document_id, tenant, document_id)
        async with self._read() as connection:
            rows = await connection.execute(select(pictures_table).where(*where, ~_PASSAGE_IS_THERE))
            return {row.chunk_id: row.id for row in rows}

    async def picture_ids(self, tenant: str) -> set[str]:
        """Every picture whose file may be in the store, also those of passages that are gone."""
        async with self._read() as connection:
            return set((await connection.execute(select(pictures_table.c.id).where(pictures_table.c.tenant == tenant))).scalars())

    async def chunks(self, tenant: str, ids: Collection[str]) -> dict[str, Chunk]:
        wanted = iter(set(ids))
        found: dict[str, Chunk] = {}
        async with self._read() as connection:
            while some := list(islice(wanted, _IDS_PER_QUERY)):
                rows = await connection.execute(SELECT_CHUNKS.where(chunks_table.c.tenant == tenant, chunks_table.c.id.in_(some)))
                found |= {row.id: to_chunk(row) for row in rows}
        return found

    async def document_chunks(self, tenant: str, document_ids: Sequence[str]) -> list[Chunk]:
        """All passages of some documents, document after document, each in its order."""
        found: list[Chunk] = []
        async with self._read() as connection:
            for document_id in document_ids:
                where = _of_document(chunks_table.c.document_id, tenant, document_id)
                rows = await connection.execute(SELECT_CHUNKS.where(*where).order_by(chunks_table.c.ordinal))
                found += [to_chunk(row) for row in rows]
        return found

    async def chunks_at(self, tenant: str, document_id: str, ordinals: Collection[int]) -> list[Chunk]:
        """Some passages of a document by their places, in their order; places that it does not have are left out."""
        statement = SELECT_CHUNKS.where(
            *_of_document(chunks_table.c.document_id, tenant, document_id), chunks_table.c.ordinal.in_(ordinals)
        ).order_by(chunks_table.c.ordinal)
        async with self._read() as connection:
            return [to_chunk(row) for row in await connection.execute(statement)]

    async def excerpt(self, tenant: str, document_id: str, span: Span) -> str:
        """The stored text between two places; shorter where the document ends before, empty when there is none."""
        text = func.substr(documents_table.c.text, span.start + 1, span.end - span.start)
        statement = select(text).where(*_of_document(documents_table.c.id, tenant, document_id), documents_table.c.state != DELETING)
        async with self._read() as connection:
            return (await connection.scalar(statement)) or ""

    async def all_chunks(self, tenant: str) -> AsyncIterator[Sequence[Chunk]]:
        """All passages of the tenant, some at a time, also of documents that are not searchable yet.

        Each part is read by itself, so a long iteration blocks no writer; what is put meanwhile may be missed.
        """
        after = ("", -1)
        order = (chunks_table.c.document_id, chunks_table.c.ordinal)
        while True:
            statement = SELECT_CHUNKS.where(chunks_table.c.tenant == tenant, tuple_(*order) > tuple_(*after)).order_by(*order)
            async with self._read() as connection:
                some = [to_chunk(row) for row in await connection.execute(statement.limit(_CHUNKS_PER_READ))]
            if not some:
                return
            yield some
            after = (some[-1].document_id, some[-1].ordinal)

    async def tenants(self) -> list[str]:
        """Every tenant that has documents."""
        statement = select(documents_table.c.tenant).distinct().order_by(documents_table.c.tenant)
        async with self._read() as connection:
            return list((await connection.execute(statement)).scalars())

    async def unfinished(self, tenant: str) -> dict[str, int]:
        """Documents that are durable but not searchable, or whose deletion has begun: id -> number of passages; oldest first."""
        statement = select(documents_table.c.id, documents_table.c.chunk_count).where(
            documents_table.c.tenant == tenant, documents_table.c.state.in_(_UNFINISHED)
        )
        async with self._read() as connection:
            rows = await connection.execute(statement.order_by(documents_table.c.ingested_at, documents_table.c.id))
            return {row.id: row.chunk_count for row in rows}

    async def standings(self, tenant: str, document_ids: Sequence[str]) -> dict[str, Standing]:
        """Where some documents stand; those that do not exist are absent."""
        statement = select(*STANDING_COLUMNS).where(documents_table.c.tenant == tenant, documents_table.c.id.in_(document_ids))
        async with self._read() as connection:
            return {row.id: to_standing(row) for row in await connection.execute(statement)}

    async def get(self, tenant: str, document_id: str) -> tuple[DocumentRecord, str]:
        """A document and its stored text. Raises NotFound."""
        statement = select(*RECORD_COLUMNS, documents_table.c.text).where(
            *_of_document(documents_table.c.id, tenant, document_id), documents_table.c.state != DELETING
        )
        async with self._read() as connection:
            row = (await connection.execute(statement)).first()
        if row is None:
            raise _not_found(document_id)
        return to_record(row), row.text

    async def page(self, tenant: str, *, page_size: int = 100, page_token: str = "", collection: str = "") -> DocumentPage:
        """Documents by name. Raises InvalidInput for a page size out of range or a token of another list."""
        if not 1 <= page_size <= MAX_PAGE_SIZE:
            raise InvalidInput(f"the page size is {page_size}; 1 to {MAX_PAGE_SIZE} are allowed", field="page_size")
        statement = select(*RECORD_COLUMNS).where(documents_table.c.tenant == tenant, documents_table.c.state != DELETING)
        if collection:
            statement = statement.where(documents_table.c.collection == collection)
        if page_token:
            statement = statement.where(documents_table.c.name > name_of_page_token(page_token, tenant, collection))
        async with self._read() as connection:
            rows = (await connection.execute(statement.order_by(documents_table.c.name).limit(page_size + 1))).all()
        records = tuple(to_record(row) for row in rows[:page_size])
        return DocumentPage(records, make_page_token(tenant, collection, records[-1].name) if len(rows) > page_size else "")

    async def counts(self, tenant: str) -> tuple[dict[str, int], int]:
        """Documents by state's value, and passages."""
        statement = (
            select(documents_table.c.state, func.count().label("documents"), func.sum(documents_table.c.chunk_count).label("chunks"))
            .where(documents_table.c.tenant == tenant, documents_table.c.state != DELETING)
            .group_by(documents_table.c.state)
        )
        async with self._read() as connection:
            rows = (await connection.execute(statement)).all()
        return {row.state: row.documents for row in rows}, sum(int(row.chunks) for row in rows)

    # --- connections ------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _read(self) -> AsyncIterator[AsyncConnection]:
        with database_errors("the journal"):
            async with self._reader.connect() as connection:
                yield connection

    @asynccontextmanager
    async def _write(self) -> AsyncIterator[AsyncConnection]:
        """One transaction, committed at the end."""
        with database_errors("the journal"):
            async with self._one_writer, self._engine.begin() as connection:
                yield connection


@dataclass(frozen=True, slots=True)
class _Put:
    tenant: str
    document: NewDocument
    done: asyncio.Future[None]


async def open_journal(settings: JournalSettings, data_dir: Path) -> Journal:
    """Open the journal, and make it when there is none.

    Raises:
        ConfigurationError: The URL is wrong or its driver is not installed.
        Conflict: A newer release wrote this journal, or the file is no database.
        StoreUnavailable: The database does not answer.
    """
    if settings.url is None:
        await asyncio.to_thread(data_dir.mkdir, parents=True, exist_ok=True)
        url = f"sqlite+aiosqlite:///{data_dir / 'journal.db'}"
    else:
        url = settings.url.get_secret_value()
    engine = make_engine(url, "journal.url")
    try:
        with database_errors("opening the journal", "journal.url"):
            async with engine.begin() as connection:
                await connection.run_sync(tables.create_all)
                await _check_schema(connection)
    except BaseException:
        await engine.dispose()
        # aiosqlite's thread of a connection that failed answers once more, unawaited, and prints a traceback if the loop is closed by then.
        await asyncio.sleep(0.05)
        raise
    return Journal(engine)


async def _check_schema(connection: AsyncConnection) -> None:
    version = await connection.scalar(select(schema_table.c.version))
    if version is None:
        await connection.execute(insert(schema_table).values(version=SCHEMA_VERSION))
    elif version != SCHEMA_VERSION:
        raise Conflict(
            f"the journal has schema {version}, this release knows {SCHEMA_VERSION}: "
            "upgrade graphrag-router, or set data_dir or journal.url to another",
            reason="JOURNAL_SCHEMA",
            field="journal.url",
        )


def _upsert_documents(dialect: str) -> Any:
    upsert = _UPSERTS[dialect](documents_table)
    replacement = {name: upsert.excluded[name] for name in REPLACED_COLUMNS}
    replacement |= {"revision": documents_table.c.revision + 1, "stale": True}
    return upsert.on_conflict_do_update(index_elements=["tenant", "id"], set_=replacement)


def _of_document(column: Column[Any], tenant: str, document_id: str) -> tuple[Any, Any]:
    return column.table.c.tenant == tenant, column == document_id


def _at_revision(tenant: str, document_id: str, revision: int) -> tuple[Any, ...]:
    return (*_of_document(documents_table.c.id, tenant, document_id), documents_table.c.revision == revision)


def _not_found(document_id: str) -> NotFound:
    return NotFound(f"there is no document {document_id!r}", field="document_id")
