"""The graph contract on the fake, on ArcadeDB and on a real Neo4j."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from router.settings import GraphSettings
from router.stores.graph import BoltGraphStore, open_graph_store
from router.testing.fakes import InMemoryGraphStore
from router.testing.graph_store import GraphStoreContract, tenant
from router.testing.neo4j_server import fetch_jars, missing_tools, neo4j_server

__all__ = ["tenant"]

ROOT = Path(__file__).parents[2]


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def arcadedb(tmp_path_factory) -> AsyncIterator[BoltGraphStore]:
    store = await open_graph_store(GraphSettings(), tmp_path_factory.mktemp("arcadedb"))
    yield store
    await store.aclose()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def neo4j(tmp_path_factory) -> AsyncIterator[BoltGraphStore]:
    missing = missing_tools()
    if missing:
        reason = f"THE CONTRACT DID NOT RUN ON A REAL NEO4J: {missing} is not on PATH"
        if os.environ.get("GRAPHRAG_TEST_REQUIRE_NEO4J"):
            pytest.fail(reason)
        pytest.skip(reason)
    lib = fetch_jars(ROOT / "tests" / "neo4j" / "pom.xml", ROOT / ".cache" / "neo4j")
    async with neo4j_server(lib, tmp_path_factory.mktemp("neo4j")) as server:
        store = await open_graph_store(GraphSettings(uri=server.uri, user=server.user, password=server.password), ROOT)
        yield store
        await store.aclose()


class TestInMemory(GraphStoreContract):
    @pytest.fixture
    def store(self) -> InMemoryGraphStore:
        return InMemoryGraphStore()


class TestArcadeDB(GraphStoreContract):
    @pytest.fixture
    def store(self, arcadedb: BoltGraphStore) -> BoltGraphStore:
        return arcadedb


@pytest.mark.neo4j
class TestNeo4j(GraphStoreContract):
    @pytest.fixture
    def store(self, neo4j: BoltGraphStore) -> BoltGraphStore:
        return neo4j
