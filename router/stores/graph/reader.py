"""Runs generated queries: planned first, refused when the plan does more than read, stopped in time, with capped rows.

Two ways, since the two servers guard in different ways:

- Neo4j over Bolt: a transaction in READ mode with a timeout, which the server enforces; `EXPLAIN` must say `r` and its plan may hold only
  operators of an allow-list. Community has no user that may only read.
- ArcadeDB over HTTP, as a user that may only read: its `query` endpoint takes statements without effects only, and stops one whose caller
  hangs up. Over Bolt it would run on (seen: 131 s after the driver had given up), and no timeout of a transaction is enforced.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
import neo4j
from neo4j import exceptions
from neo4j.graph import Node, Path, Relationship

from router.errors import DeadlineExceeded, InternalError, InvalidInput, StoreUnavailable
from router.stores.base import GraphNodeChunk, ReadStatement, Relation, Rows, Value
from router.stores.graph.errors import MAX_CAUSE_CHARS, RETRY_AFTER_S, bolt_errors
from router.types import Entity

PATIENCE_S = 0.5
"""How much longer than the timeout the server's own stop may take."""
NEO4J_OPERATORS = frozenset(
    (
        *("ProduceResults", "Projection", "Filter", "Argument", "Apply", "Optional", "Limit", "Skip", "Sort", "PartialSort", "Top"),
        *("PartialTop", "Distinct", "OrderedDistinct", "EagerAggregation", "OrderedAggregation", "Aggregation", "Eager", "Unwind"),
        *("UnwindCollection", "CacheProperties", "Union", "OrderedUnion", "RollUpApply", "SelectOrSemiApply", "SelectOrAntiSemiApply"),
        *("SemiApply", "AntiSemiApply", "LetSemiApply", "LetAntiSemiApply", "LetSelectOrSemiApply", "LetSelectOrAntiSemiApply"),
        *("ConditionalApply", "AntiConditionalApply", "NodeByLabelScan", "NodeIndexSeek", "NodeUniqueIndexSeek", "NodeIndexScan"),
        *("NodeIndexContainsScan", "NodeIndexEndsWithScan", "NodeIndexSeekByRange", "UnionNodeByLabelsScan", "MultiNodeIndexSeek"),
        *("IntersectionNodeByLabelsScan", "SubtractionNodeByLabelsScan", "PartitionedNodeByLabelScan"),
        *("PartitionedNodeIndexSeek", "PartitionedUnwind", "DirectedRelationshipTypeScan", "UndirectedRelationshipTypeScan"),
        *("DirectedUnionRelationshipTypesScan", "UndirectedUnionRelationshipTypesScan", "Expand(All)", "Expand(Into)"),
        *("OptionalExpand(All)", "OptionalExpand(Into)", "VarLengthExpand(All)", "VarLengthExpand(Into)", "VarLengthExpand(Pruning)"),
        *("VarLengthExpand(Pruning,BFS)", "VarLengthExpand(Pruning,BFS,All)", "VarLengthExpand(Pruning,BFS,Into)"),
        *("BFSPruningVarLengthExpand", "ProjectEndpoints", "ShortestPath", "AllShortestPaths", "StatefulShortestPath(All)"),
        *("StatefulShortestPath(Into)", "NodeHashJoin", "ValueHashJoin", "LeftOuterHashJoin", "RightOuterHashJoin", "AssertSameNode"),
        *("CartesianProduct", "EmptyResult", "EmptyRow", "Repeat(Trail)", "ExhaustiveLimit"),
    )
)
"""Operators of plans that read by label, index and pattern. Not among them: whatever writes, calls, loads, scans all nodes, or answers from
the counts of the whole database, which belong to all tenants."""
ARCADEDB_STEPS = frozenset(
    (
        *("AggregationStep", "CSRCountStep", "CountChainedEdgesStep", "CountEdgesReturnStep", "CountEdgesStep", "DummyRowStep"),
        *("EagerStep", "ExpandIntoStep", "ExpandPathStep", "FilterPropertiesStep", "FinalProjectionStep", "GAVOneHopScanStep"),
        *("GroupByAggregationStep", "IndexSeekStep", "LimitStep", "MatchEdgeByIndexStep", "MatchNodeStep", "MatchRelationshipStep"),
        *("OptimizedMatchStep", "OptionalMatchStep", "OrderByStep", "ProjectReturnStep", "ShortestPathStep", "SkipStep", "UnionStep"),
        *("UnwindStep", "VariableProjectionStep", "WithStep", "ZeroLengthPathStep"),
    )
)
"""Steps of ArcadeDB's plans that do likewise."""


class Neo4jReader:
    """A GraphReader over Bolt.

    Args:
        driver: Shared with the store, which closes it.
        database: Which one is read.
    """

    def __init__(self, driver: neo4j.AsyncDriver, database: str) -> None:
        self._driver = driver
        self._database = database

    async def read(self, tenant: str, statement: ReadStatement, timeout_s: float) -> Rows:
        parameters = _parameters(tenant, statement)
        with bolt_errors(), _refusals(timeout_s):
            async with (
                asyncio.timeout(timeout_s + PATIENCE_S),
                self._driver.session(
                    database=self._database, default_access_mode=neo4j.READ_ACCESS, fetch_size=statement.limit + 1
                ) as session,
                await session.begin_transaction(timeout=timeout_s) as transaction,
            ):
                _check_plan(await (await transaction.run(f"EXPLAIN {statement.cypher}", parameters)).consume())
                records = await (await transaction.run(statement.cypher, parameters)).fetch(statement.limit + 1)
                return _rows(statement, [[_bolt_value(value, tenant) for value in record.values()] for record in records])


@contextmanager
def _refusals(timeout_s: float) -> Iterator[None]:
    """Tell a statement at fault from a database at fault."""
    try:
        yield
    except TimeoutError as error:
        raise _too_slow(timeout_s) from error
    except exceptions.ClientError as error:
        code = error.code or ""
        if "TransactionTimedOut" in code:
            raise _too_slow(timeout_s) from error
        if ".Statement." in code:
            raise _rejected(error.message or code) from error
        raise


def _too_slow(timeout_s: float) -> DeadlineExceeded:
    return DeadlineExceeded(f"the query took longer than {timeout_s:g} s and was stopped", reason="CYPHER_TOO_SLOW")


def _rejected(cause: str) -> InvalidInput:
    return InvalidInput(f"the database refuses the query: {cause[:MAX_CAUSE_CHARS]}", reason="CYPHER_REJECTED")


def _check_plan(summary: neo4j.ResultSummary) -> None:
    if summary.query_type != "r" or summary.plan is None:
        raise _rejected(f"its type is {summary.query_type!r}, and only 'r' may run")
    unknown = sorted({operator for operator in _operators(summary.plan) if operator not in NEO4J_OPERATORS})
    if unknown:
        raise _rejected(f"its plan holds {', '.join(unknown)}")


def _operators(plan: Mapping[str, Any]) -> Iterator[str]:
    yield str(plan["operatorType"]).partition("@")[0]
    for child in plan.get("children", ()):
        yield from _operators(child)


def _bolt_value(value: Any, tenant: str) -> Value:
    match value:
        case Node():
            return _node(next(iter(value.labels), ""), dict(value.items()), tenant)
        case Relationship():
            return Relation(str(value.get("relation", value.type)))
        case Path():
            first, *others = value.nodes
            steps = [part for edge, node in zip(value.relationships, others, strict=True) for part in (edge, node)]
            return tuple(_bolt_value(part, tenant) for part in (first, *steps))
        case list():
            return tuple(_bolt_value(item, tenant) for item in value)
        case dict():
            return {str(key): _bolt_value(item, tenant) for key, item in value.items()}
        case None | bool() | int() | float() | str():
            return value
    raise InternalError(f"a row holds a {type(value).__name__}, which no allowed query makes")


class ArcadeReader:
    """A GraphReader over ArcadeDB's HTTP interface.

    Args:
        client: Knows the server's address and the reader's password.
        database: Which one is read.
    """

    def __init__(self, client: httpx.AsyncClient, database: str) -> None:
        self._client = client
        self._database = database

    async def aclose(self) -> None:
        await self._client.aclose()

    async def read(self, tenant: str, statement: ReadStatement, timeout_s: float) -> Rows:
        try:
            # Leaving it hangs up, which stops the statement.
            async with asyncio.timeout(timeout_s):
                plan = await self._ask(tenant, statement, "EXPLAIN ")
                _check_steps(plan["explainPlan"]["steps"])
                reply = await self._ask(tenant, statement)
        except (TimeoutError, httpx.TimeoutException) as error:
            raise _too_slow(timeout_s) from error
        except httpx.HTTPError as error:
            raise StoreUnavailable(f"the graph database does not answer: {error}", retry_after_s=RETRY_AFTER_S) from error
        except (KeyError, ValueError) as error:
            raise InternalError("a reply of the graph database is not understood") from error
        return _rows(statement, [[_json_value(value, tenant) for value in _cells(row, len(statement.columns))] for row in reply["result"]])

    async def _ask(self, tenant: str, statement: ReadStatement, prefix: str = "") -> dict[str, Any]:
        body = {
            "language": "opencypher",
            "command": prefix + statement.cypher,
            "params": _parameters(tenant, statement),
            "limit": statement.limit + 1,
            "serializer": "record",
        }
        response = await self._client.post(f"/api/v1/query/{self._database}", json=body)
        reply = response.json()
        if response.is_success and isinstance(reply, dict):
            return reply
        # In production mode the server tells the class of the error only.
        cause = str(reply.get("exception", "")).rpartition(".")[2] or reply.get("error", response.status_code)
        if response.status_code == httpx.codes.BAD_REQUEST or "Security" in str(cause):
            raise _rejected(str(cause))
        raise StoreUnavailable(f"the graph database cannot serve now: {cause}", retry_after_s=RETRY_AFTER_S)


def _check_steps(steps: Sequence[Mapping[str, Any]] | None) -> None:
    if not steps:
        raise _rejected("it has no plan, as commands to the server have none")
    unknown = sorted({str(step["name"]) for step in _all_steps(steps)} - ARCADEDB_STEPS)
    if unknown:
        raise _rejected(f"its plan holds {', '.join(unknown)}")


def _all_steps(steps: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for step in steps:
        yield step
        yield from _all_steps(step.get("subSteps") or ())


def _cells(row: Mapping[str, Any], columns: int) -> list[Any]:
    """A row of one node or edge comes as that record itself, without the column's name; a value that is null may be left out."""
    return [row] if columns == 1 and "@cat" in row else [row.get(f"c{column}") for column in range(columns)]


def _json_value(value: Any, tenant: str) -> Value:
    match value:
        case {"@cat": "v", "@type": label}:
            return _node(str(label), value, tenant)
        case {"@cat": "e", "@type": kind}:
            return Relation(str(value.get("relation", kind)))
        case {"_type": "path", "nodes": [first, *others], "relationships": edges}:
            steps = [part for edge, node in zip(edges, others, strict=True) for part in (edge, node)]
            return tuple(_json_value(part, tenant) for part in (first, *steps))
        case list():
            return tuple(_json_value(item, tenant) for item in value)
        case dict():
            return {str(key): _json_value(item, tenant) for key, item in value.items()}
        case None | bool() | int() | float() | str():
            return value
    raise InternalError(f"a row holds a {type(value).__name__}, which no allowed query makes")


def _node(label: str, properties: Mapping[str, Any], tenant: str) -> Value:
    if properties.get("tenant") != tenant:
        # The guard makes this impossible; should it ever fail, nothing leaves.
        raise InternalError("a row holds a node of another tenant", reason="CYPHER_TENANT")
    if label == "Entity":
        return Entity(properties["id"], properties["name"], properties["kind"])
    if label == "Chunk":
        return GraphNodeChunk(*(properties[name] for name in ("id", "document_id", "collection", "ordinal", "title")))
    raise InternalError(f"a row holds a node {label!r}, which the schema does not have")


def _parameters(tenant: str, statement: ReadStatement) -> dict[str, Any]:
    given = {name: list(value) if isinstance(value, tuple) else value for name, value in statement.parameters.items()}
    return {**given, "tenant": tenant}


def _rows(statement: ReadStatement, rows: Sequence[Sequence[Value]]) -> Rows:
    taken = tuple(tuple(row) for row in rows[: statement.limit])
    return Rows(statement.columns, taken, len(rows) > statement.limit)
