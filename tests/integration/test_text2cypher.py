"""Guarded queries on the databases themselves: rightful ones answer, and nothing crosses from one tenant to another."""

from __future__ import annotations

import json
import random
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from neo4j import AsyncGraphDatabase

from router.child_process import free_port
from router.errors import ConfigurationError, DeadlineExceeded, InternalError, InvalidInput, StoreUnavailable
from router.retrieval.text2cypher import CypherWriter
from router.retrieval.text2cypher.guard import Limits, guard
from router.settings import GraphSettings, Text2CypherSettings
from router.stores.base import GraphNodeChunk, ReadStatement, Relation
from router.stores.graph import BoltGraphStore, open_graph_store
from router.stores.graph.reader import ArcadeReader, Neo4jReader
from router.testing.language_model import ScriptedLanguageModel
from router.testing.neo4j_server import Neo4jServer
from router.types import Entity
from tests.unit.retrieval.text2cypher.company import ANSWERABLE, company, company_schema
from tests.unit.retrieval.text2cypher.hostile import STATEMENTS

pytestmark = pytest.mark.asyncio(loop_scope="module")

TENANT, RIVAL = "acme", "rival"
SCHEMA = company_schema()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def arcadedb(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[BoltGraphStore]:
    store = await open_graph_store(GraphSettings(), tmp_path_factory.mktemp("arcadedb"))
    yield await filled(store)
    await store.aclose()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def neo4j(neo4j_server: Neo4jServer) -> AsyncIterator[BoltGraphStore]:
    settings = GraphSettings(uri=neo4j_server.uri, user=neo4j_server.user, password=neo4j_server.password)
    store = await open_graph_store(settings, Path())
    yield await filled(store)
    await store.aclose()


async def filled(store: BoltGraphStore) -> BoltGraphStore:
    await store.upsert(TENANT, company())
    await store.upsert(RIVAL, company(extra=("Secret Vault",)))
    return store


@pytest.fixture(params=["arcadedb", pytest.param("neo4j", marks=pytest.mark.neo4j)])
def store(request: pytest.FixtureRequest) -> BoltGraphStore:
    return request.getfixturevalue(request.param)


def plain(value: object) -> object:
    match value:
        case Entity() | Relation():
            return value.name
        case GraphNodeChunk():
            return value.title
        case tuple():
            return tuple(plain(item) for item in value)
    return value


def loose(value: object) -> object:
    """Sets in the expected rows stand for lists in any order."""
    return frozenset(value) if isinstance(value, set | frozenset) else value


@pytest.mark.parametrize("name", ANSWERABLE)
async def test_a_rightful_query_answers(store: BoltGraphStore, name: str) -> None:
    cypher, parameters, expected = ANSWERABLE[name]
    found = await store.reader.read(TENANT, guard(cypher, parameters, SCHEMA), 5.0)
    rows = [tuple(plain(value) for value in row) for row in found.rows]
    rows = [
        tuple(frozenset(value) if isinstance(wanted, set) else value for value, wanted in zip(row, like, strict=True))
        for row, like in zip(rows, expected, strict=True)
    ]
    wanted = [tuple(loose(value) for value in row) for row in expected]
    assert (rows if "ORDER BY" in cypher else sorted(rows, key=repr)) == wanted
    assert not found.truncated


async def counts(store: BoltGraphStore) -> list[dict[str, int]]:
    return [dict(await store.counts(tenant)) for tenant in (TENANT, RIVAL)]


def raw(cypher: str, *columns: str, limit: int = 10, **parameters: object) -> ReadStatement:
    """A statement past the guard: what the database itself would do, should the guard ever fail."""
    return ReadStatement(cypher, parameters, columns, limit)  # type: ignore[arg-type]


PAST_THE_GUARD = (
    "CREATE (n:Entity {name: 'x'}) RETURN n.name AS c0",
    "MATCH (n:Entity) SET n.name = 'x' RETURN n.name AS c0",
    "MATCH (n) DETACH DELETE n",
    "MATCH (n) RETURN n.name AS c0 UNION CREATE (m:Entity {name: 'x'}) RETURN m.name AS c0",
    "MERGE (n:Entity {key: 'x'}) RETURN n.key AS c0",
    "LOAD CSV FROM 'file:///etc/passwd' AS line RETURN line AS c0",
    "CALL db.labels() YIELD label RETURN label AS c0",
    "CREATE INDEX sneaked_in IF NOT EXISTS FOR (n:Entity) ON (n.kind)",
    "MATCH (n) RETURN n.name AS c0; MATCH (m) DETACH DELETE m",
    "this is no query",
)


@pytest.mark.parametrize("cypher", PAST_THE_GUARD)
async def test_the_database_refuses_too(store: BoltGraphStore, cypher: str) -> None:
    before = await counts(store)
    with pytest.raises(InvalidInput) as refusal:
        await store.reader.read(TENANT, raw(cypher, "x"), 5.0)
    assert refusal.value.reason == "CYPHER_REJECTED"
    assert await counts(store) == before


async def test_hostile_statements_and_their_mutations_change_nothing(store: BoltGraphStore) -> None:
    before = await counts(store)
    dice = random.Random(20)
    passed = 0
    for _, _, statement in STATEMENTS * 3:
        pieces = re.findall(r"\w+|\s+|[^\w\s]", statement)[:200]
        for _ in range(dice.randint(1, 3)):
            place = dice.randrange(len(pieces) + 1)
            pieces[place : place + dice.randint(0, 1)] = dice.choice(([], pieces[:1], [dice.choice(pieces)] if pieces else [], ["n"]))
        try:
            checked = guard("".join(pieces), {}, SCHEMA)
        except InvalidInput:
            continue
        passed += 1
        try:
            found = await store.reader.read(TENANT, checked, 5.0)
        except InvalidInput:
            continue
        assert "Secret Vault" not in str(found)
        assert RIVAL not in str(found)
    assert passed < 40, "most mutations are still refused"
    assert await counts(store) == before


QUESTIONS_ACROSS = (
    "MATCH (n) WHERE n.name = 'Secret Vault' RETURN n",
    "MATCH (n:ORG) RETURN n.name",
    "MATCH (p {name: 'Jonas Weld'})-[:WORKS_FOR]->(o) RETURN o",
    "MATCH (p {name: 'Jonas Weld'})-[r]-(o) RETURN r, o",
    "MATCH p = ({name: 'Jonas Weld'})-[*1..4]-(x) RETURN p",
    "MATCH ({name: 'Jonas Weld'})-[*1..4]-(x) RETURN DISTINCT x.name",
    "MATCH p = shortestPath((a {name: 'Jonas Weld'})-[*..8]-(b {name: 'Bergen'})) RETURN p",
    "MATCH p = allShortestPaths((a {name: 'Jonas Weld'})-[*..8]-(b {name: 'Northlight'})) RETURN p",
    "MATCH (a {name: 'Jonas Weld'})-[r]->() RETURN endNode(r).name, startNode(r).name",
    "MATCH (d:Passage)-[:MENTIONS]->(x)-[:WORKS_FOR*1..2]->(y) RETURN d.title, y.name",
    "MATCH (a {name: 'Jonas Weld'}) OPTIONAL MATCH (a)-[:WORKS_FOR]->(o) RETURN collect(o) AS everyone",
    "MATCH (a {name: 'Jonas Weld'}) WITH a MATCH (a)-[:WORKS_FOR]->()<-[:WORKS_FOR]-(b) RETURN b",
    "MATCH (a {name: 'Jonas Weld'}) WHERE (a)-[:WORKS_FOR]->({name: 'Secret Vault'}) RETURN a.name",
    "MATCH (a {name: 'Jonas Weld'})-[r]-() RETURN count(r) AS n",
    "MATCH (a {name: 'Jonas Weld'}) MATCH (x {name: 'Secret Vault'}) RETURN a, x",
    "MATCH (a) RETURN count(a) AS n",
    "MATCH (a {name: 'Jonas Weld'}) OPTIONAL MATCH (a)-[*1..3]-(x) RETURN DISTINCT x.name",
    "MATCH (a {name: 'Jonas Weld'}) OPTIONAL MATCH p = (a)-[:WORKS_FOR*1..2]->(x) RETURN p, x",
    "MATCH (a {name: 'Jonas Weld'})-[*1..2]-(x)-[*1..2]-(y {name: 'Northlight'}) RETURN x.name, y.name",
    "MATCH (p:PERSON) WITH collect(p) AS people UNWIND people AS one MATCH (one)-[:WORKS_FOR]->(x) RETURN one, x",
    "MATCH (d)-[:MENTIONS]->(a {name: 'Jonas Weld'}) RETURN d",
    "UNWIND ['Secret Vault', 'Kiel'] AS name MATCH (x {name: name}) RETURN x.name UNION MATCH (x {name: 'Secret Vault'}) RETURN x.name",
)
CROSSING = (
    "MATCH (a:Entity {tenant: 'acme', name: 'Jonas Weld'}), (v:Entity {tenant: 'rival', name: 'Secret Vault'}), "
    "(b:Entity {tenant: 'acme', name: 'Northlight'}), (c:Chunk {tenant: 'rival', title: 'Travel notes'}) "
    "CREATE (a)-[:FACT {id: 'x1', relation: 'works for'}]->(v)-[:FACT {id: 'x2', relation: 'works for'}]->(b), (c)-[:MENTIONS]->(a)"
)


async def test_not_even_an_edge_between_two_tenants_leads_across(store: BoltGraphStore) -> None:
    statements = [guard(cypher, {}, SCHEMA) for cypher in QUESTIONS_ACROSS]
    alone = [await store.reader.read(TENANT, statement, 5.0) for statement in statements]
    await write(store, CROSSING)
    try:
        crossed = [await store.reader.read(TENANT, statement, 5.0) for statement in statements]
    finally:
        await write(store, "MATCH (:Entity {tenant: 'acme'})-[f:FACT]-(:Entity {tenant: 'rival'}) DELETE f")
        await write(store, "MATCH (:Entity {tenant: 'acme'})-[f:MENTIONS]-(:Chunk {tenant: 'rival'}) DELETE f")
    assert "Secret Vault" not in str(crossed)
    for cypher, before, after in zip(QUESTIONS_ACROSS, alone, crossed, strict=True):
        if "hortestPath" in cypher:
            # ArcadeDB looks for the shortest first and then finds that it leads across: less than before, never more.
            assert set(map(str, after.rows)) <= set(map(str, before.rows)), cypher
        else:
            assert sorted(map(str, after.rows)) == sorted(map(str, before.rows)), cypher


async def write(store: BoltGraphStore, cypher: str) -> None:
    async def work(transaction) -> None:
        await (await transaction.run(cypher)).consume()

    async with store._driver.session(database=store._database) as session:
        await session.execute_write(work)


async def test_the_rival_sees_its_own(store: BoltGraphStore) -> None:
    statement = guard("MATCH (p {name: $who})-[:WORKS_FOR]->(o) RETURN o.name ORDER BY o.name", {"who": "Jonas Weld"}, SCHEMA)
    assert (await store.reader.read(RIVAL, statement, 5.0)).rows == (("Aster Foundry",), ("Secret Vault",))
    assert (await store.reader.read("nobody", statement, 5.0)).rows == ()


async def test_a_row_of_another_tenant_never_leaves_the_store(store: BoltGraphStore) -> None:
    stolen = raw("MATCH (n:Entity {tenant: 'rival', name: 'Secret Vault'}) RETURN n AS c0, 1 AS c1", "n", "one")
    with pytest.raises(InternalError) as refusal:
        await store.reader.read(TENANT, stolen, 5.0)
    assert refusal.value.reason == "CYPHER_TENANT"


async def test_more_rows_than_the_limit_are_told(store: BoltGraphStore) -> None:
    found = await store.reader.read(TENANT, guard("MATCH (n) RETURN n.name ORDER BY n.name", {}, SCHEMA, Limits(rows=3)), 5.0)
    assert len(found.rows) == 3
    assert found.truncated
    found = await store.reader.read(TENANT, guard("MATCH (n) RETURN n.name ORDER BY n.name LIMIT 3", {}, SCHEMA, Limits(rows=3)), 5.0)
    assert not found.truncated


async def test_a_slow_query_is_stopped(store: BoltGraphStore) -> None:
    slow = raw(
        "UNWIND range(1, 100000) AS x UNWIND range(1, 100000) AS y WITH x, y WHERE x * y % 1000003 = 7 RETURN sum(x) AS c0", "n", limit=1
    )
    with pytest.raises(DeadlineExceeded) as refusal:
        await store.reader.read(TENANT, slow, 1.0)
    assert refusal.value.reason == "CYPHER_TOO_SLOW"
    assert (await store.reader.read(TENANT, guard("MATCH (p:PERSON) RETURN count(p)", {}, SCHEMA), 5.0)).rows == ((3,),)


async def test_a_database_that_is_gone_is_told() -> None:
    url = f"127.0.0.1:{free_port()}"
    statement = guard("MATCH (n) RETURN n", {}, SCHEMA)
    async with httpx.AsyncClient(base_url=f"http://{url}", trust_env=False) as client:
        with pytest.raises(StoreUnavailable):
            await ArcadeReader(client, "graph").read(TENANT, statement, 2.0)
    async with AsyncGraphDatabase.driver(f"bolt://{url}", auth=("a", "b"), connection_timeout=1.0) as driver:
        with pytest.raises(StoreUnavailable):
            await Neo4jReader(driver, "neo4j").read(TENANT, statement, 2.0)


async def test_an_arcadedb_of_others_is_refused() -> None:
    settings = GraphSettings(uri="bolt://127.0.0.1:1", dialect="arcadedb", password="secret")
    store = await open_graph_store(settings, Path())
    with pytest.raises(ConfigurationError, match="embedded"):
        _ = store.reader
    await store.aclose()


async def test_a_models_second_query_answers(store: BoltGraphStore) -> None:
    def reply(cypher: str) -> str:
        return json.dumps({"cypher": cypher, "parameters": {"who": "Jonas Weld"}})

    model = ScriptedLanguageModel(
        [
            reply("MATCH (p {name: $who})-[:EMPLOYED_BY]->(o) RETURN o.name AS employer"),
            reply("MATCH (p {name: $who})-[:WORKS_FOR]->(o) RETURN o.name AS employer"),
        ]
    )
    writer = CypherWriter(model, store.reader, Text2CypherSettings(enabled=True, timeout_s=5.0))
    found = await writer.answer(TENANT, SCHEMA, "Who employs Jonas Weld?", ())
    assert found is not None
    assert found.rows.rows == (("Aster Foundry",),)
    assert "there is no relation 'EMPLOYED_BY'" in model.calls[1][-1].text


async def test_a_query_that_only_the_database_can_refuse_is_repaired(store: BoltGraphStore) -> None:
    model = ScriptedLanguageModel(
        [
            json.dumps({"cypher": "MATCH (p:PERSON) RETURN count(count(p)) AS n"}),
            json.dumps({"cypher": "MATCH (p:PERSON) RETURN count(p) AS n"}),
        ]
    )
    writer = CypherWriter(model, store.reader, Text2CypherSettings(enabled=True, timeout_s=5.0))
    found = await writer.answer(TENANT, SCHEMA, "How many people are there?", ())
    assert found is not None
    assert found.rows.rows == ((3,),)
    assert "the database refuses the query" in model.calls[1][-1].text
