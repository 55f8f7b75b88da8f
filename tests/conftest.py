"""What tests of several rooms share: a real Neo4j, started once and only when a test asks for it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import hypothesis
import pytest
import pytest_asyncio

from router.testing.neo4j_server import Neo4jServer, fetch_jars, missing_tools, run_neo4j

ROOT = Path(__file__).parents[1]

# Tests assert no timings: an example may take as long as a busy machine makes it.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def neo4j_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Neo4jServer]:
    missing = missing_tools()
    if missing:
        reason = f"NOT TESTED ON A REAL NEO4J: {missing} is not on PATH"
        if os.environ.get("GRAPHRAG_TEST_REQUIRE_NEO4J") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    lib = await fetch_jars(ROOT / "tests" / "neo4j" / "pom.xml", ROOT / ".cache" / "neo4j")
    async with run_neo4j(lib, tmp_path_factory.mktemp("neo4j")) as server:
        yield server
