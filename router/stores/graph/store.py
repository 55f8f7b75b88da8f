"""A property graph behind any server that speaks Bolt."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Concatenate, LiteralString, ParamSpec, TypeVar
from urllib.parse import quote

import httpx
import neo4j
import structlog
from neo4j import AsyncGraphDatabase, AsyncManagedTransaction

from router.child_process import SupervisedChild
from router.errors import ConfigurationError
from router.settings import GraphSettings
from router.stores.arcadedb import DATABASE as EMBEDDED_DATABASE
from router.stores.arcadedb import READER, open_arcadedb
from router.stores.arcadedb import USER as EMBEDDED_USER
from router.stores.base import GraphBatch, GraphContent, GraphNodeChunk, GraphReader, Subject
from router.stores.graph import dialect as cypher
from router.stores.graph.dialect import ARCADEDB, Dialect, dialect_of
from router.stores.graph.errors import bolt_errors
from router.stores.graph.reader import ArcadeReader, Neo4jReader
from router.types import Chunk, Entity, Fact, Mention, Span

log = structlog.get_logger()

Row = dict[str, Any]
P = ParamSpec("P")
T = TypeVar("T")

SCHEMES = ("bolt", "bolt+s", "bolt+ssc", "neo4j", "neo4j+s", "neo4j+ssc")
ROWS_PER_WRITE = 2_000
"""Rows of one transaction; no faster above, measured on ArcadeDB."""
CHUNKS_PER_DELETE = 200
RETRY_S = 1.0
"""How long the driver repeats a transaction that it calls retryable (a deadlock, a lost leader, a dead connection)."""
FIRST_RETRY_S = 0.1
CONNECT_S = 2.0
PING_S = 2.5
"""Longer than a connection may take to be made: one that is cancelled meanwhile leaves its socket to the garbage collector."""
LOAD_FACTOR = 60
"""How much longer than another transaction a load may take in all."""
FETCH_ROWS = 1_000
"""Records per trip; a load that does not bring that many within the timeout of a transaction is given up."""


class BoltGraphStore:
    """A GraphStore behind any server that speaks Bolt.

    An edge is written when both its ends are there. A fact's id covers all its fields, so a fact that is there is not rewritten.
    """

    def __init__(
        self,
        driver: neo4j.AsyncDriver,
        dialect: Dialect,
        database: str,
        timeout_s: float,
        child: SupervisedChild | None = None,
        reader: ArcadeReader | None = None,
    ) -> None:
        self._driver = driver
        self._dialect = dialect
        self._database = database
        self._timeout_s = timeout_s
        self._child = child
        self._arcade_reader = reader
        self._schema_is_there = False
        # One writer at a time: two would meet in locks (deadlocks on Neo4j, lost races on ArcadeDB's unique keys) and only retry.
        self._writing = asyncio.Lock()

    @property
    def child(self) -> SupervisedChild | None:
        """The embedded server's process; None for a server that others run."""
        return self._child

    @property
    def reader(self) -> GraphReader:
        """Runs queries that a model has written.

        Raises:
            ConfigurationError: An ArcadeDB that others run: over Bolt it keeps no bounds, and of its HTTP interface we know nothing.
        """
        if self._arcade_reader is not None:
            return self._arcade_reader
        if self._dialect is ARCADEDB:
            raise ConfigurationError(
                "generated Cypher runs on Neo4j and on the embedded ArcadeDB, not on an ArcadeDB at graph.uri", field="graph.dialect"
            )
        return Neo4jReader(self._driver, self._database)

    async def upsert(self, tenant: str, batch: GraphBatch) -> None:
        """Write a batch; nodes before edges, so that every edge finds its ends."""
        documents = sorted({fact.document_id for fact in batch.facts})
        async with self._writing:
            await self._ensure_schema()
            await self._write_rows(cypher.WRITE_CHUNKS, [_chunk_row(tenant, chunk) for chunk in batch.chunks])
            await self._write_rows(cypher.WRITE_ENTITIES, [_entity_row(tenant, entity) for entity in batch.entities])
            await self._write_rows(cypher.WRITE_SUBJECTS, [_subject_row(tenant, subject) for subject in batch.subjects])
            await self._write_rows(cypher.WRITE_MENTIONS, [_mention_row(tenant, mention) for mention in batch.mentions])
            await self._write_facts(
                [_document_row(tenant, document_id) for document_id in documents],
                list({fact.id: _fact_row(tenant, fact) for fact in batch.facts}.values()),
            )

    async def delete_document(self, tenant: str, document_id: str) -> None:
        """Some facts and passages per transaction, each with the entities that it leaves alone: a repeat finishes what an error cut."""
        document = _key(tenant, document_id)

        async def delete_facts(transaction: AsyncManagedTransaction) -> bool:
            ends = await _rows(transaction, cypher.DELETE_FACTS, document=document, limit=ROWS_PER_WRITE)
            touched = {end for pair in ends for end in pair}
            await _run(transaction, cypher.DELETE_ORPHANS, keys=sorted(touched))
            return len(ends) == ROWS_PER_WRITE

        async def delete_chunks(transaction: AsyncManagedTransaction) -> bool:
            chunks = [key for (key,) in await _rows(transaction, cypher.SOME_CHUNKS, document=document, limit=CHUNKS_PER_DELETE)]
            touched = {entity for (entity,) in await _rows(transaction, cypher.TOUCHED_BY_CHUNKS, keys=chunks)}
            await _run(transaction, cypher.DELETE_CHUNKS, keys=chunks)
            await _run(transaction, cypher.DELETE_ORPHANS, keys=sorted(touched))
            return len(chunks) == CHUNKS_PER_DELETE

        async with self._writing:
            while await self._write(delete_facts):
                pass
            while await self._write(delete_chunks):
                pass
            await self._write(_run, cypher.DELETE_DOCUMENT, document=document)

    async def load(self, tenant: str) -> GraphContent:
        """Everything of the tenant; an edge is left out when one of its ends appeared or went while this was read."""
        chunks = {row[0]: GraphNodeChunk(*row) for row in await self._stream(cypher.READ_CHUNKS, tenant)}
        entities = {row[0]: Entity(*row) for row in await self._stream(cypher.READ_ENTITIES, tenant)}
        subjects = [Subject(*row) for row in await self._stream(cypher.READ_SUBJECTS, tenant)]
        mentions = [
            Mention(chunk_id, entity_id, Span(start, end))
            for chunk_id, entity_id, start, end in await self._stream(cypher.READ_MENTIONS, tenant)
        ]
        facts = [Fact(*row) for row in await self._stream(cypher.READ_FACTS, tenant)]
        subjects = [edge for edge in subjects if edge.chunk_id in chunks and edge.entity_id in entities]
        mentions = [edge for edge in mentions if edge.chunk_id in chunks and edge.entity_id in entities]
        facts = [edge for edge in facts if edge.subject_id in entities and edge.object_id in entities]
        return GraphContent(
            tuple(chunks[key] for key in sorted(chunks)),
            tuple(entities[key] for key in sorted(entities)),
            tuple(sorted(subjects, key=lambda subject: (subject.entity_id, subject.chunk_id))),
            tuple(sorted(mentions, key=lambda mention: (mention.chunk_id, mention.span.start, mention.entity_id))),
            tuple(sorted(facts, key=lambda fact: fact.id)),
        )

    async def neighbours(self, tenant: str, entity_ids: Collection[str], limit: int) -> list[Fact]:
        keys = sorted({_key(tenant, entity_id) for entity_id in entity_ids})
        return [Fact(*row) for row in await self._read(cypher.READ_NEIGHBOURS, keys=keys, limit=limit)]

    async def counts(self, tenant: str) -> Mapping[str, int]:
        return {name: int((await self._read(statement, tenant=tenant))[0][0]) for name, statement in cypher.COUNTS.items()}

    async def ping(self) -> None:
        # Outside a managed transaction, so that a database that is down is not asked twice.
        patience_s = min(PING_S, self._timeout_s)
        with bolt_errors():
            async with asyncio.timeout(patience_s), self._session() as session:
                await (await session.run(neo4j.Query("RETURN 1", timeout=patience_s))).consume()

    async def aclose(self) -> None:
        try:
            await self._driver.close()
            if self._arcade_reader is not None:
                await self._arcade_reader.aclose()
        finally:
            if self._child is not None:
                await self._child.aclose()

    async def _ensure_schema(self) -> None:
        if not self._schema_is_there:
            for statement in cypher.SCHEMA:
                await self._write(_run, statement)
            self._schema_is_there = True

    async def _write_rows(self, statement: LiteralString, rows: Sequence[Row]) -> None:
        for some in _slices(rows):
            written = await self._write(_rows, statement, rows=some)
            _warn_of_loose_ends(len(some) - written[0][0])

    async def _write_facts(self, documents: Sequence[Row], rows: Sequence[Row]) -> None:
        known = {key for (key,) in await self._read(cypher.KNOWN_DOCUMENTS, keys=[row["key"] for row in documents])} if documents else set()
        await self._write_rows(cypher.WRITE_DOCUMENTS, documents)
        for some in _slices(rows):
            _warn_of_loose_ends(await self._write(self._write_some_facts, some, known))

    async def _write_some_facts(self, transaction: AsyncManagedTransaction, /, rows: Sequence[Row], known: Collection[str]) -> int:
        """Write facts of which those of `known` documents may be there; the number of those without ends."""
        if self._dialect.find_facts is not None:
            written_before = [row for row in rows if row["document"] in known]
            subjects, keys = (sorted({row[name] for row in written_before}) for name in ("subject", "document"))
            there = {fact_id for (fact_id,) in await _rows(transaction, self._dialect.find_facts, subjects=subjects, documents=keys)}
            rows = [row for row in rows if row["id"] not in there]
        written: int = (await _rows(transaction, self._dialect.write_facts, rows=rows))[0][0]
        stated = sorted({(row["document"], row["subject"]) for row in rows})
        await _run(transaction, self._dialect.write_stated, rows=[{"document": one, "subject": other} for one, other in stated])
        return len(rows) - written

    async def _write(self, work: Callable[Concatenate[AsyncManagedTransaction, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        # Always a managed transaction: an auto-commit write on ArcadeDB can deadlock and leave part of its rows.
        with bolt_errors():
            async with asyncio.timeout(self._patience_s), self._session() as session:
                return await session.execute_write(neo4j.unit_of_work(timeout=self._timeout_s)(work), *args, **kwargs)

    async def _read(self, statement: LiteralString, **parameters: Any) -> list[list[Any]]:
        with bolt_errors():
            async with asyncio.timeout(self._patience_s), self._session() as session:
                return await session.execute_read(neo4j.unit_of_work(timeout=self._timeout_s)(_rows), statement, **parameters)

    async def _stream(self, statement: LiteralString, tenant: str) -> list[list[Any]]:
        """All rows of a read that grows with the corpus: the timeout is for each thousand rows, not for the whole."""
        loop = asyncio.get_running_loop()
        with bolt_errors():
            async with asyncio.timeout(self._patience_s) as patience, self._session() as session:

                @neo4j.unit_of_work(timeout=LOAD_FACTOR * self._timeout_s)
                async def work(transaction: AsyncManagedTransaction) -> list[list[Any]]:
                    rows: list[list[Any]] = []
                    async for record in await transaction.run(statement, tenant=tenant):
                        rows.append(record.values())
                        if len(rows) % FETCH_ROWS == 0:
                            patience.reschedule(loop.time() + self._patience_s)
                    return rows

                return await session.execute_read(work)

    def _session(self) -> neo4j.AsyncSession:
        return self._driver.session(database=self._database, fetch_size=FETCH_ROWS)

    @property
    def _patience_s(self) -> float:
        # ArcadeDB does not enforce the timeout of a transaction, and a stopped server answers nothing at all.
        return self._timeout_s + RETRY_S


async def open_graph_store(settings: GraphSettings, data_dir: Path) -> BoltGraphStore:
    """The store at `settings.uri`, or the embedded one.

    A server is connected to lazily: one that is down, or refuses the password, is met at the first call.

    Raises:
        ConfigurationError: An address that is not one of Bolt, no password, or the embedded server's package is missing.
        Unavailable: The embedded server did not start.
    """
    if settings.uri is None:
        return await open_embedded(settings, data_dir)
    if settings.password is None:
        raise ConfigurationError("graph.uri needs a password: set graph.password or ROUTER_GRAPH__PASSWORD", field="graph.password")
    scheme = settings.uri.partition("://")[0]
    if scheme not in SCHEMES:
        raise ConfigurationError(f"graph.uri has the scheme {scheme!r}; allowed are {', '.join(SCHEMES)}", field="graph.uri")
    driver = _driver(settings.uri, settings.user, settings.password.get_secret_value())
    return BoltGraphStore(driver, dialect_of(settings), settings.database, settings.timeout_s)


async def open_embedded(settings: GraphSettings, data_dir: Path) -> BoltGraphStore:
    """Start an ArcadeDB of our own and wait until it answers. Raises as `open_graph_store` does."""
    async with AsyncExitStack() as stack:
        embedded = await open_arcadedb(settings.embedded, data_dir, _answers)
        stack.push_async_callback(embedded.child.aclose)
        driver = _driver(embedded.uri, EMBEDDED_USER, embedded.password)
        stack.pop_all()
    # Not through a proxy of the environment: it is a child of ours on this machine.
    client = httpx.AsyncClient(
        base_url=embedded.http_url, auth=(READER, embedded.reader_password), timeout=settings.timeout_s, trust_env=False
    )
    reader = ArcadeReader(client, EMBEDDED_DATABASE)
    return BoltGraphStore(driver, ARCADEDB, EMBEDDED_DATABASE, settings.timeout_s, embedded.child, reader)


def _driver(uri: str, user: str, password: str) -> neo4j.AsyncDriver:
    with bolt_errors():
        return AsyncGraphDatabase.driver(
            uri,
            auth=(user, password),
            connection_timeout=CONNECT_S,
            connection_acquisition_timeout=CONNECT_S,
            max_transaction_retry_time=RETRY_S,
            initial_retry_delay=FIRST_RETRY_S,
            # Notifications (an index that exists already, a label not seen yet) are no news.
            notifications_min_severity="OFF",
        )


async def _answers(uri: str, password: str) -> None:
    driver = AsyncGraphDatabase.driver(uri, auth=(EMBEDDED_USER, password), connection_timeout=1.0, max_transaction_retry_time=0.0)
    with bolt_errors():
        async with driver, driver.session(database=EMBEDDED_DATABASE) as session:
            # Auto-commit, since the driver logs every retry of a managed transaction, and this one fails until the database is there.
            await (await session.run("RETURN 1")).consume()


async def _rows(transaction: AsyncManagedTransaction, /, statement: LiteralString, **parameters: Any) -> list[list[Any]]:
    return await (await transaction.run(statement, parameters)).values()


async def _run(transaction: AsyncManagedTransaction, /, statement: LiteralString, **parameters: Any) -> None:
    await (await transaction.run(statement, parameters)).consume()


def _warn_of_loose_ends(count: int) -> None:
    if count:
        log.warning("graph edges left out, since an end of theirs is not there", count=count)


def _slices(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    for start in range(0, len(rows), ROWS_PER_WRITE):
        yield rows[start : start + ROWS_PER_WRITE]


def _key(tenant: str, identity: str) -> str:
    # A tenant's slash is escaped, so that no two pairs make one key.
    return f"{quote(tenant, safe='')}/{identity}"


def _document_row(tenant: str, document_id: str) -> Row:
    return {"key": _key(tenant, document_id), "properties": {"tenant": tenant, "id": document_id}}


def _chunk_row(tenant: str, chunk: Chunk) -> Row:
    properties = {
        "tenant": tenant,
        "id": chunk.id,
        "document_id": chunk.document_id,
        "document_key": _key(tenant, chunk.document_id),
        "collection": chunk.collection,
        "ordinal": chunk.ordinal,
        "title": chunk.label,
    }
    return {"key": _key(tenant, chunk.id), "properties": properties}


def _entity_row(tenant: str, entity: Entity) -> Row:
    return {
        "key": _key(tenant, entity.id),
        "properties": {"tenant": tenant, "id": entity.id, "name": entity.name, "kind": entity.kind},
    }


def _subject_row(tenant: str, subject: Subject) -> Row:
    return {"chunk": _key(tenant, subject.chunk_id), "entity": _key(tenant, subject.entity_id), "confidence": subject.confidence}


def _mention_row(tenant: str, mention: Mention) -> Row:
    return {
        "chunk": _key(tenant, mention.chunk_id),
        "entity": _key(tenant, mention.entity_id),
        "start": mention.span.start,
        "end": mention.span.end,
    }


def _fact_row(tenant: str, fact: Fact) -> Row:
    document = _key(tenant, fact.document_id)
    return {
        "id": fact.id,
        "subject": _key(tenant, fact.subject_id),
        "object": _key(tenant, fact.object_id),
        "document": document,
        "properties": {
            "relation": fact.relation,
            "document_id": fact.document_id,
            "document_key": document,
            "chunk_id": fact.chunk_id,
        },
    }
