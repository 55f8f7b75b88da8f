"""The graph contract on the fake, on ArcadeDB and on a real Neo4j."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from router.errors import ConfigurationError, StoreUnavailable
from router.settings import GraphSettings
from router.stores.graph import BoltGraphStore, open_graph_store
from router.testing.fakes import InMemoryGraphStore
from router.testing.graph_store import GraphStoreContract, tenant
from router.testing.neo4j_server import Neo4jServer

__all__ = ["tenant"]

pytestmark = pytest.mark.asyncio(loop_scope="module")


def at(server: Neo4jServer, **changes) -> GraphSettings:
    return GraphSettings(**{"uri": server.uri, "user": server.user, "password": server.password, **changes})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def arcadedb(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[BoltGraphStore]:
    store = await open_graph_store(GraphSettings(), tmp_path_factory.mktemp("arcadedb"))
    yield store
    await store.aclose()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def neo4j(neo4j_server: Neo4jServer) -> AsyncIterator[BoltGraphStore]:
    store = await open_graph_store(at(neo4j_server), Path())
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


@pytest.mark.neo4j
async def test_a_wrong_password_is_an_error_of_the_settings_at_first_use(neo4j_server: Neo4jServer) -> None:
    # A user that nobody else is: after three wrong passwords Neo4j locks a user for some seconds.
    store = await open_graph_store(at(neo4j_server, user="nobody"), Path())
    with pytest.raises(ConfigurationError, match=r"graph\.password") as failed:
        await store.load("t")
    assert failed.value.field == "graph"
    await store.aclose()


@pytest.mark.neo4j
async def test_a_wrong_database_is_named_as_a_cause(neo4j_server: Neo4jServer) -> None:
    store = await open_graph_store(at(neo4j_server, database="elsewhere"), Path())
    with pytest.raises(StoreUnavailable, match=r"graph\.database"):
        await store.ping()
    await store.aclose()
