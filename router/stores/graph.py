"""The graph store over Bolt: one store, two dialects (Neo4j and ArcadeDB).

    (:Chunk {key, tenant, id, document_key, ...})-[:SUBJECT]->(:Entity {key, tenant, id, name, kind})
    (:Chunk)-[:MENTIONS {start, end}]->(:Entity)-[:FACT {id, relation, ...}]->(:Entity)

`key` is tenant and id in one, unique, so that no statement can reach another tenant's node by id.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any, LiteralString

import neo4j
from neo4j import AsyncGraphDatabase, exceptions

from router.child_process import SupervisedChild
from router.errors import ConfigurationError, Conflict, InternalError, RouterError, StoreUnavailable
from router.settings import GraphSettings
from router.stores.arcadedb import DATABASE as EMBEDDED_DATABASE
from router.stores.arcadedb import USER as EMBEDDED_USER
from router.stores.arcadedb import open_arcadedb
from router.stores.base import GraphBatch, GraphContent, GraphNodeChunk, Subject
from router.types import Chunk, Entity, Fact, Mention, Span

Row = dict[str, Any]

ROWS_PER_WRITE = 2_000
"""Rows of one transaction: measured on ArcadeDB, 7,000 edges/s at 2,000, no faster above."""
RETRY_S = 3.0
"""How long the driver repeats a transaction that it calls retryable (a deadlock, a lost leader)."""
CONNECT_S = 3.0

SCHEMA: Sequence[LiteralString] = (
    "CREATE CONSTRAINT chunk_key IF NOT EXISTS FOR (c:Chunk) REQUIRE c.key IS UNIQUE",
    "CREATE CONSTRAINT entity_key IF NOT EXISTS FOR (e:Entity) REQUIRE e.key IS UNIQUE",
    "CREATE INDEX chunk_tenant IF NOT EXISTS FOR (c:Chunk) ON (c.tenant)",
    "CREATE INDEX chunk_document IF NOT EXISTS FOR (c:Chunk) ON (c.document_key)",
    "CREATE INDEX entity_tenant IF NOT EXISTS FOR (e:Entity) ON (e.tenant)",
)

WRITE_CHUNKS: LiteralString = "UNWIND $rows AS row MERGE (c:Chunk {key: row.key}) SET c += row.properties"
WRITE_ENTITIES: LiteralString = "UNWIND $rows AS row MERGE (e:Entity {key: row.key}) SET e += row.properties"
WRITE_SUBJECTS: LiteralString = (
    "UNWIND $rows AS row MATCH (c:Chunk {key: row.chunk}) MATCH (e:Entity {key: row.entity}) MERGE (c)-[:SUBJECT]->(e)"
)
WRITE_MENTIONS: LiteralString = (
    "UNWIND $rows AS row MATCH (c:Chunk {key: row.chunk}) MATCH (e:Entity {key: row.entity}) "
    "MERGE (c)-[m:MENTIONS {start: row.start}]->(e) SET m.end = row.end"
)
WRITE_FACTS: LiteralString = (
    "UNWIND $rows AS row MATCH (s:Entity {key: row.subject}) MATCH (o:Entity {key: row.object}) "
    "MERGE (s)-[f:FACT {id: row.id}]->(o) SET f += row.properties"
)

READ_CHUNKS: LiteralString = (
    "MATCH (c:Chunk {tenant: $tenant}) "
    "RETURN c.id AS id, c.document_id AS document_id, c.collection AS collection, c.ordinal AS ordinal, c.title AS title"
)
READ_ENTITIES: LiteralString = "MATCH (e:Entity {tenant: $tenant}) RETURN e.id AS id, e.name AS name, e.kind AS kind"
READ_SUBJECTS: LiteralString = "MATCH (c:Chunk {tenant: $tenant})-[:SUBJECT]->(e:Entity) RETURN c.id AS chunk_id, e.id AS entity_id"
READ_MENTIONS: LiteralString = (
    "MATCH (c:Chunk {tenant: $tenant})-[m:MENTIONS]->(e:Entity) RETURN c.id AS chunk_id, e.id AS entity_id, m.start AS start, m.end AS end"
)
FACT_COLUMNS: LiteralString = (
    "RETURN f.id AS id, s.id AS subject_id, f.relation AS relation, o.id AS object_id, f.document_id AS document_id, f.chunk_id AS chunk_id"
)
READ_FACTS: LiteralString = "MATCH (s:Entity {tenant: $tenant})-[f:FACT]->(o:Entity) " + FACT_COLUMNS
READ_NEIGHBOURS: LiteralString = (
    "MATCH (e:Entity)-[f:FACT]-() WHERE e.key IN $keys WITH DISTINCT f, startNode(f) AS s, endNode(f) AS o "
    + FACT_COLUMNS
    + " ORDER BY id LIMIT $limit"
)

TOUCHED_BY_DOCUMENT: LiteralString = (
    "MATCH (c:Chunk {document_key: $document})-[:MENTIONS|SUBJECT]->(e:Entity) RETURN DISTINCT e.key AS key"
)
OBJECTS_OF_TEXT: LiteralString = (
    "MATCH (c:Chunk {document_key: $document})-[:MENTIONS]->(s:Entity) WITH DISTINCT s "
    "MATCH (s)-[f:FACT {document_key: $document}]->(o:Entity) RETURN DISTINCT o.key AS key"
)
# The facts of a text lie between names of that text, so they are found from its passages. A file of facts has no passages.
DELETE_FACTS_OF_TEXT: LiteralString = (
    "MATCH (c:Chunk {document_key: $document})-[:MENTIONS]->(s:Entity) WITH DISTINCT s "
    "MATCH (s)-[f:FACT {document_key: $document}]->() DELETE f"
)
TOUCHED_BY_FACTS: LiteralString = (
    "MATCH (s:Entity {tenant: $tenant})-[f:FACT {document_key: $document}]->(o:Entity) RETURN DISTINCT s.key AS subject, o.key AS object"
)
DELETE_FACTS: LiteralString = "UNWIND $rows AS row MATCH (s:Entity {key: row.key})-[f:FACT {document_key: $document}]->() DELETE f"
DELETE_CHUNKS: LiteralString = "MATCH (c:Chunk {document_key: $document}) DETACH DELETE c"
DELETE_ORPHANS: LiteralString = "UNWIND $rows AS row MATCH (e:Entity {key: row.key}) WHERE NOT (e)--() DELETE e"

COUNTS: Mapping[str, LiteralString] = {
    "chunks": "MATCH (c:Chunk {tenant: $tenant}) RETURN count(c) AS n",
    "entities": "MATCH (e:Entity {tenant: $tenant}) RETURN count(e) AS n",
    "mentions": "MATCH (c:Chunk {tenant: $tenant})-[m:MENTIONS]->() RETURN count(m) AS n",
    "facts": "MATCH (e:Entity {tenant: $tenant})-[f:FACT]->() RETURN count(f) AS n",
}

UNREACHABLE = (
    exceptions.ServiceUnavailable,
    exceptions.SessionExpired,
    exceptions.TransientError,
    exceptions.ConnectionAcquisitionTimeoutError,
    exceptions.IncompleteCommit,
    exceptions.ReadServiceUnavailable,
    exceptions.WriteServiceUnavailable,
    exceptions.RoutingServiceUnavailable,
    exceptions.DatabaseUnavailable,
    exceptions.NotALeader,
    exceptions.ForbiddenOnReadOnlyDatabase,
    exceptions.ResultFailedError,
    exceptions.TransactionError,
)
"""Passing trouble: asking again may help."""
REFUSED = (exceptions.AuthError, exceptions.AuthConfigurationError, exceptions.ConfigurationError, exceptions.CertificateConfigurationError)
"""Wrong settings: asking again does not help."""
TIMED_OUT = "TransactionTimedOut"
GONE_CODES = ("DatabaseNotFound", "DatabaseUnavailable", "AuthenticationRateLimit", TIMED_OUT)


class BoltGraphStore:
    """A GraphStore behind any server that speaks Bolt.

    Opening connects lazily: a database that is down is met at the first call, not at the start.
    """

    def __init__(self, driver: neo4j.AsyncDriver, database: str, timeout_s: float, child: SupervisedChild | None = None) -> None:
        self._driver = driver
        self._database = database
        self._timeout_s = timeout_s
        self._child = child
        self._schema_is_there = False
        # One writer at a time: two would meet in locks (deadlocks on Neo4j, lost races on ArcadeDB's unique keys) and only retry.
        self._writing = asyncio.Lock()

    async def upsert(self, tenant: str, batch: GraphBatch) -> None:
        """Write a batch; nodes before edges, so that every edge finds its ends."""
        async with self._writing:
            await self._ensure_schema()
            await self._write(WRITE_CHUNKS, [_chunk_row(tenant, chunk) for chunk in batch.chunks])
            await self._write(WRITE_ENTITIES, [_entity_row(tenant, entity) for entity in batch.entities])
            await self._write(WRITE_SUBJECTS, [_subject_row(tenant, subject) for subject in batch.subjects])
            await self._write(WRITE_MENTIONS, [_mention_row(tenant, mention) for mention in batch.mentions])
            await self._write(WRITE_FACTS, [_fact_row(tenant, fact) for fact in batch.facts])

    async def delete_document(self, tenant: str, document_id: str) -> None:
        document = _key(tenant, document_id)
        async with self._writing:
            await self._ensure_schema()
            touched = {row["key"] for row in await self._read(TOUCHED_BY_DOCUMENT, document=document)}
            if touched:
                touched.update(row["key"] for row in await self._read(OBJECTS_OF_TEXT, document=document))
                await self._execute(DELETE_FACTS_OF_TEXT, document=document)
            else:
                pairs = await self._read(TOUCHED_BY_FACTS, tenant=tenant, document=document)
                touched = {end for pair in pairs for end in pair.values()}
                await self._write(DELETE_FACTS, [{"key": key} for key in sorted({pair["subject"] for pair in pairs})], document=document)
            await self._execute(DELETE_CHUNKS, document=document)
            await self._write(DELETE_ORPHANS, [{"key": key} for key in sorted(touched)])

    async def load(self, tenant: str) -> GraphContent:
        await self._ensure_schema()
        chunks = [GraphNodeChunk(**row) for row in await self._read(READ_CHUNKS, tenant=tenant)]
        entities = [Entity(**row) for row in await self._read(READ_ENTITIES, tenant=tenant)]
        subjects = [Subject(**row) for row in await self._read(READ_SUBJECTS, tenant=tenant)]
        mentions = [
            Mention(row["chunk_id"], row["entity_id"], Span(row["start"], row["end"]))
            for row in await self._read(READ_MENTIONS, tenant=tenant)
        ]
        facts = [Fact(**row) for row in await self._read(READ_FACTS, tenant=tenant)]
        return GraphContent(
            tuple(sorted(chunks, key=lambda chunk: chunk.id)),
            tuple(sorted(entities, key=lambda entity: entity.id)),
            tuple(sorted(subjects, key=lambda subject: (subject.entity_id, subject.chunk_id))),
            tuple(sorted(mentions, key=lambda mention: (mention.chunk_id, mention.span.start, mention.entity_id))),
            tuple(sorted(facts, key=lambda fact: fact.id)),
        )

    async def neighbours(self, tenant: str, entity_ids: Collection[str], limit: int) -> list[Fact]:
        keys = [_key(tenant, entity_id) for entity_id in sorted(entity_ids)]
        return [Fact(**row) for row in await self._read(READ_NEIGHBOURS, keys=keys, limit=limit)]

    async def counts(self, tenant: str) -> Mapping[str, int]:
        return {name: int((await self._read(statement, tenant=tenant))[0]["n"]) for name, statement in COUNTS.items()}

    async def ping(self) -> None:
        await self._read("RETURN 1 AS alive")

    async def aclose(self) -> None:
        await self._driver.close()
        if self._child is not None:
            await self._child.aclose()

    @property
    def child(self) -> SupervisedChild | None:
        """The embedded server's process; None for a server that others run."""
        return self._child

    async def _ensure_schema(self) -> None:
        if not self._schema_is_there:
            for statement in SCHEMA:
                await self._execute(statement)
            self._schema_is_there = True

    async def _write(self, statement: LiteralString, rows: Sequence[Row], **parameters: Any) -> None:
        for some in _slices(rows, ROWS_PER_WRITE):
            await self._execute(statement, rows=some, **parameters)

    async def _execute(self, statement: LiteralString, **parameters: Any) -> None:
        # Always a managed transaction: an auto-commit write on ArcadeDB can deadlock and leave part of its rows.
        @neo4j.unit_of_work(timeout=self._timeout_s)
        async def work(transaction: neo4j.AsyncManagedTransaction) -> None:
            await (await transaction.run(statement, parameters)).consume()

        with bolt_errors():
            async with asyncio.timeout(self._patience_s), self._driver.session(database=self._database) as session:
                await session.execute_write(work)

    async def _read(self, statement: LiteralString, **parameters: Any) -> list[Row]:
        @neo4j.unit_of_work(timeout=self._timeout_s)
        async def work(transaction: neo4j.AsyncManagedTransaction) -> list[Row]:
            return await (await transaction.run(statement, parameters)).data()

        with bolt_errors():
            async with asyncio.timeout(self._patience_s), self._driver.session(database=self._database) as session:
                return await session.execute_read(work)

    @property
    def _patience_s(self) -> float:
        # ArcadeDB does not enforce the timeout of a transaction, and a stopped server answers nothing at all.
        return self._timeout_s + RETRY_S


async def open_graph_store(settings: GraphSettings, data_dir: Path) -> BoltGraphStore:
    """The store at `settings.uri`, or the embedded server.

    Raises:
        ConfigurationError: No password for a server, or the embedded server's package is missing.
        Unavailable: The embedded server did not start.
    """
    if settings.uri is not None:
        if settings.password is None:
            raise ConfigurationError("graph.uri needs a password: set graph.password or ROUTER_GRAPH__PASSWORD", field="graph.password")
        driver = _driver(settings.uri, settings.user, settings.password.get_secret_value())
        return BoltGraphStore(driver, settings.database, settings.timeout_s)
    async with AsyncExitStack() as stack:
        embedded = await open_arcadedb(settings.embedded, data_dir, _answers)
        stack.push_async_callback(embedded.child.aclose)
        driver = _driver(embedded.uri, EMBEDDED_USER, embedded.password)
        stack.pop_all()
    return BoltGraphStore(driver, EMBEDDED_DATABASE, settings.timeout_s, embedded.child)


class GraphMonitor:
    """Asks the database again and again whether it lives, so that no question has to wait to find out."""

    def __init__(self, store: BoltGraphStore, interval_s: float) -> None:
        self._store = store
        self._interval_s = interval_s
        self._task: asyncio.Task[None] | None = None
        self.is_up = False
        self.last_seen: float | None = None
        self.last_error = "not asked yet"

    async def start(self) -> None:
        """Ask once, then keep asking in the background."""
        await self._ask()
        self._task = asyncio.create_task(self._keep_asking(), name="graph monitor")

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _keep_asking(self) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            await self._ask()

    async def _ask(self) -> None:
        try:
            await self._store.ping()
        except RouterError as error:
            self.is_up, self.last_error = False, error.message
        else:
            self.is_up, self.last_seen, self.last_error = True, time.monotonic(), ""


@contextmanager
def bolt_errors() -> Iterator[None]:
    """The one map from the driver's errors to ours."""
    try:
        yield
    except TimeoutError as error:
        raise StoreUnavailable("the graph database did not answer in time", retry_after_s=1.0) from error
    except REFUSED as error:
        raise ConfigurationError(
            f"the graph database refuses the connection ({_first_line(error)}): check graph.user and graph.password", field="graph"
        ) from error
    except exceptions.ConstraintError as error:
        raise Conflict(f"the graph database refuses the write: {_first_line(error)}") from error
    except UNREACHABLE as error:
        raise StoreUnavailable(f"the graph database cannot be reached: {_first_line(error)}", retry_after_s=1.0) from error
    except exceptions.Neo4jError as error:
        if any(code in (error.code or "") for code in GONE_CODES):
            raise StoreUnavailable(f"the graph database cannot serve: {_first_line(error)}", retry_after_s=1.0) from error
        raise InternalError(f"the graph database refuses a statement: {_first_line(error)}") from error
    except exceptions.DriverError as error:
        raise InternalError(f"the graph driver failed: {_first_line(error)}") from error
    except OSError as error:
        raise StoreUnavailable(f"the graph database cannot be reached: {error}", retry_after_s=1.0) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", maxsplit=1)[0][:300]


def _driver(uri: str, user: str, password: str) -> neo4j.AsyncDriver:
    return AsyncGraphDatabase.driver(
        uri,
        auth=(user, password),
        connection_timeout=CONNECT_S,
        connection_acquisition_timeout=CONNECT_S,
        max_transaction_retry_time=RETRY_S,
        # Notifications (an index that exists already, a label not seen yet) are no news.
        notifications_min_severity="OFF",
    )


async def _answers(uri: str, password: str) -> None:
    driver = AsyncGraphDatabase.driver(uri, auth=(EMBEDDED_USER, password), connection_timeout=1.0, max_transaction_retry_time=0.0)
    with bolt_errors():
        async with driver, driver.session(database=EMBEDDED_DATABASE) as session:
            # Auto-commit, since the driver logs every retry of a managed transaction, and this one fails until the database is there.
            await (await session.run("RETURN 1")).consume()


def _key(tenant: str, identity: str) -> str:
    # No tenant has a slash in its name, so that no two pairs make one key.
    return f"{tenant}/{identity}"


def _chunk_row(tenant: str, chunk: Chunk) -> Row:
    properties = {
        "tenant": tenant,
        "id": chunk.id,
        "document_id": chunk.document_id,
        "document_key": _key(tenant, chunk.document_id),
        "collection": chunk.collection,
        "ordinal": chunk.ordinal,
        "title": chunk.title,
    }
    return {"key": _key(tenant, chunk.id), "properties": properties}


def _entity_row(tenant: str, entity: Entity) -> Row:
    return {
        "key": _key(tenant, entity.id),
        "properties": {"tenant": tenant, "id": entity.id, "name": entity.name, "kind": entity.kind},
    }


def _subject_row(tenant: str, subject: Subject) -> Row:
    return {"chunk": _key(tenant, subject.chunk_id), "entity": _key(tenant, subject.entity_id)}


def _mention_row(tenant: str, mention: Mention) -> Row:
    return {
        "chunk": _key(tenant, mention.chunk_id),
        "entity": _key(tenant, mention.entity_id),
        "start": mention.span.start,
        "end": mention.span.end,
    }


def _fact_row(tenant: str, fact: Fact) -> Row:
    properties = {
        "relation": fact.relation,
        "document_id": fact.document_id,
        "document_key": _key(tenant, fact.document_id),
        "chunk_id": fact.chunk_id,
    }
    return {"id": fact.id, "subject": _key(tenant, fact.subject_id), "object": _key(tenant, fact.object_id), "properties": properties}


def _slices(rows: Sequence[Row], size: int) -> Iterator[Sequence[Row]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
