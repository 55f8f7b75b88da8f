"""What tests of several rooms share: a real Neo4j and a real PostgreSQL, each started once and only when a test asks for it; packages that
plug something in.
"""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import hypothesis
import pytest
import pytest_asyncio
from pydantic import SecretStr

from router.settings import JournalSettings
from router.testing.neo4j_server import Neo4jServer, fetch_jars, missing_tools, run_neo4j
from router.testing.postgres_server import PostgresServer, find_programs, run_postgres

ROOT = Path(__file__).parents[1]

# Tests assert no timings: an example may take as long as a busy machine makes it.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

# Dozens of servers in Java are started here and none lives long: what its second compiler would gain later is not earned.
os.environ["JAVA_TOOL_OPTIONS"] = "-XX:TieredStopAtLevel=1"


@pytest.fixture
def plug_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str, str, str], None]:
    """Install a package with one module and one entry point, as pip would lay it down."""

    def install(group: str, name: str, code: str, target: str) -> None:
        (tmp_path / "plugged.py").write_text(code)
        about = tmp_path / "plugged-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: plugged\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text(f"[{group}]\n{name} = plugged:{target}\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, "plugged", raising=False)

    return install


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


@pytest.fixture(scope="session")
def postgres_programs() -> Path:
    programs = find_programs()
    if programs is None:
        pytest.skip("NOT TESTED ON A REAL POSTGRESQL: its programs are neither on PATH nor in /usr/lib/postgresql")
    return programs


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def postgres_server(postgres_programs: Path) -> AsyncIterator[PostgresServer]:
    async with run_postgres(postgres_programs) as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def journal_settings(request: pytest.FixtureRequest) -> JournalSettings:
    """Of a journal that is empty when a test begins: a file in its data folder, or a database of its own."""
    if request.param == "sqlite":
        return JournalSettings()
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return JournalSettings(url=SecretStr(server.create_database(f"journal_{uuid.uuid4().hex}")))
