"""The journal on a real SQLite file and on a real PostgreSQL; what only one of them can show, on that one."""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy.exc
from pydantic import SecretStr
from structlog.testing import capture_logs

from router.errors import ConfigurationError, Conflict, InternalError, InvalidInput, NotFound, RouterError, StoreUnavailable
from router.settings import JournalSettings
from router.stores import database
from router.stores.base import PassageStore
from router.stores.documents import DocumentState, Failure, NewDocument
from router.stores.journal import Journal, open_journal
from router.testing.postgres_server import PostgresServer, run_postgres
from router.types import Chunk, Picture, Span, TextRegion


def document(name: str, *texts: str, tenant: str = "t", collection: str = "main", title: str = "") -> NewDocument:
    identity = f"{tenant}:{name}"
    chunks = tuple(
        Chunk(f"{identity}:{text}", identity, collection, ordinal, title or name, ("H",), text, Span(ordinal, ordinal + 1), {"n": 1}, name)
        for ordinal, text in enumerate(texts)
    )
    return NewDocument(identity, name, title or name, collection, "text/plain", {"n": 1}, "f" * 64, 10, " ".join(texts), chunks)


async def states(journal: Journal, *names: str) -> list[DocumentState | None]:
    standings = await journal.standings("t", [f"t:{name}" for name in names])
    return [standings[f"t:{name}"].state for name in names]


@pytest.fixture
async def journal(journal_settings: JournalSettings, tmp_path: Path) -> AsyncIterator[Journal]:
    journal = await open_journal(journal_settings, tmp_path / "new" / "folder")
    yield journal
    await journal.aclose()


async def test_chunks_come_back_as_they_were_put(journal: Journal) -> None:
    passages: PassageStore = journal
    first = replace(document("a", "one", "two"), metadata={"year": 1843, "ratio": 0.5, "open": True, "tags": ("x", "y"), "who": "Ada"})
    first = replace(first, chunks=tuple(replace(chunk, metadata=first.metadata) for chunk in first.chunks))
    await journal.put("t", first)
    await journal.put("t", document("b", "three"))
    ids = [chunk.id for chunk in first.chunks]
    assert await passages.chunks("t", [*ids, ids[0], "unknown"]) == {chunk.id: chunk for chunk in first.chunks}
    assert await passages.chunks("t", []) == {}
    assert await journal.document_chunks("t", ["t:b", "t:a"]) == [*document("b", "three").chunks, *first.chunks]


async def test_many_ids_at_once(journal: Journal) -> None:
    await journal.put("t", document("a", *(str(number) for number in range(6000))))
    found = await journal.chunks("t", [f"t:a:{number}" for number in range(12_000)])
    assert len(found) == 6000
    parts = [part async for part in journal.all_chunks("t")]
    assert len(parts) > 1
    assert [chunk.ordinal for part in parts for chunk in part] == list(range(6000))


async def test_a_commit_is_on_the_disk(tmp_path: Path) -> None:
    journal = await open_journal(JournalSettings(), tmp_path)
    async with journal._engine.connect() as connection:
        assert (await connection.exec_driver_sql("PRAGMA synchronous")).scalar() == 2
        assert (await connection.exec_driver_sql("PRAGMA journal_mode")).scalar() == "wal"
        assert (await connection.exec_driver_sql("PRAGMA foreign_keys")).scalar() == 1
    await journal.put("t", document("a", "one"))
    with sqlite3.connect(tmp_path / "journal.db") as other:
        assert other.execute("SELECT count(*) FROM chunks").fetchone() == (1,)
    other.close()
    await journal.aclose()
    again = await open_journal(JournalSettings(), tmp_path)
    assert await again.counts("t") == ({"durable": 1}, 1)
    await again.aclose()


async def test_puts_that_come_together_all_arrive(journal: Journal) -> None:
    await asyncio.gather(*(journal.put("t", document(f"d{number:03}", "text")) for number in range(200)))
    assert await journal.counts("t") == ({"durable": 200}, 200)
    await asyncio.gather(*(journal.put("t", document("same", f"version {number}")) for number in range(20)))
    (chunk,) = await journal.document_chunks("t", ["t:same"])
    assert chunk.text == "version 19"


async def test_a_caller_who_leaves_does_not_undo_a_put(journal: Journal) -> None:
    leaving = asyncio.create_task(journal.put("t", document("a", "one")))
    staying = asyncio.create_task(journal.put("t", document("b", "two")))
    await asyncio.sleep(0)
    leaving.cancel()
    await staying
    assert (await journal.counts("t"))[0] == {"durable": 2}


async def test_a_put_that_fails_is_told(journal: Journal) -> None:
    await journal.put("t", document("a", "one"))
    stolen = replace(document("b"), name="a")  # another id with the same name
    with pytest.raises(Conflict):
        await journal.put("t", stolen)
    await journal.put("t", document("c", "three"))
    assert (await journal.counts("t"))[0] == {"durable": 2}


async def test_the_way_of_a_document(journal: Journal) -> None:
    await journal.put("t", document("a", "one"))
    standing = (await journal.standings("t", ["t:a"]))["t:a"]
    assert (standing.revision, standing.state, standing.stale, standing.chunk_count) == (1, DocumentState.DURABLE, False, 1)
    assert await journal.unfinished("t") == {"t:a": 1}
    await journal.mark_searchable("t", {"t:a": 1})
    assert await states(journal, "a") == [DocumentState.SEARCHABLE]
    assert await journal.unfinished("t") == {}

    await journal.put("t", document("a", "new", "words"))
    standing = (await journal.standings("t", ["t:a"]))["t:a"]
    assert (standing.revision, standing.state, standing.stale, standing.chunk_count) == (2, DocumentState.DURABLE, True, 2)
    assert [chunk.text for chunk in await journal.document_chunks("t", ["t:a"])] == ["new", "words"]
    await journal.mark_searchable("t", {"t:a": 1})  # late work on the old version
    assert await states(journal, "a") == [DocumentState.DURABLE]
    await journal.mark_searchable("t", {"t:a": 2})
    assert not (await journal.standings("t", ["t:a"]))["t:a"].stale


async def test_a_failed_document_keeps_its_reason_and_no_passages(journal: Journal) -> None:
    await journal.put("t", document("a", "one"))
    failure = Failure("INTERNAL", "a bug")
    await journal.mark_failed("t", "t:a", 2, Failure("OTHER", "not this revision"))
    await journal.mark_failed("t", "t:a", 1, failure)
    record, text = await journal.get("t", "t:a")
    assert (record.state, record.failure, record.chunk_count, text) == (DocumentState.FAILED, failure, 0, "one")
    assert await journal.document_chunks("t", ["t:a"]) == []
    assert await journal.unfinished("t") == {}
    await journal.put("t", document("a", "one"))
    record, _ = await journal.get("t", "t:a")
    assert (record.state, record.failure, record.chunk_count) == (DocumentState.DURABLE, None, 1)


async def test_a_deletion_is_seen_at_once_and_finished_later(journal: Journal) -> None:
    await journal.put("t", document("a", "one", "two"))
    await journal.put("t", document("b", "three"))
    assert await journal.begin_delete("t", "t:a") == 2
    with pytest.raises(NotFound):
        await journal.get("t", "t:a")
    assert [record.name for record in (await journal.page("t")).documents] == ["b"]
    assert await journal.counts("t") == ({"durable": 1}, 1)
    assert await journal.chunks("t", ["t:a:one"]) == {}
    assert list(await journal.unfinished("t")) == ["t:a", "t:b"]
    assert await states(journal, "a") == [None]
    await journal.finish_delete("t", "t:a", 1)  # of an older revision
    assert await states(journal, "a") == [None]
    await journal.finish_delete("t", "t:a", 2)
    assert await journal.standings("t", ["t:a"]) == {}
    with pytest.raises(NotFound):
        await journal.begin_delete("t", "t:a")


async def test_a_document_that_comes_again_while_it_is_deleted_stays(journal: Journal) -> None:
    await journal.put("t", document("a", "one"))
    await journal.begin_delete("t", "t:a")
    await journal.put("t", document("a", "again"))
    await journal.finish_delete("t", "t:a", 2)
    standing = (await journal.standings("t", ["t:a"]))["t:a"]
    assert (standing.state, standing.stale) == (DocumentState.DURABLE, True)


async def test_pages_hold_every_document_once_by_name(journal: Journal) -> None:
    names = [f"{letter}{number}" for letter in ("é", "a", "Z", "_") for number in range(6)]
    for number, name in enumerate(names):
        await journal.put("t", document(name, collection="odd" if number % 2 else "even"))
    seen: list[str] = []
    token = ""
    while True:
        page = await journal.page("t", page_size=5, page_token=token)
        seen += [record.name for record in page.documents]
        token = page.next_page_token
        if not token:
            break
        assert len(page.documents) == 5
    assert seen == sorted(names)
    odd = await journal.page("t", page_size=12, collection="odd")
    assert [record.name for record in odd.documents] == sorted(names[1::2])
    assert odd.next_page_token == ""


async def test_page_arguments_are_checked(journal: Journal) -> None:
    for name in ("a", "b"):
        for tenant in ("t", "u"):
            await journal.put(tenant, document(name, tenant=tenant))
    token = (await journal.page("t", page_size=1)).next_page_token
    for size in (0, -1, 1001):
        with pytest.raises(InvalidInput) as caught:
            await journal.page("t", page_size=size)
        assert caught.value.field == "page_size"
    foreign = (("u", "", token), ("t", "main", token))
    nonsense = (("t", "", text) for text in ("nonsense", "é", "WzFd", "e30=", token[:-4]))
    for tenant, collection, bad in (*foreign, *nonsense):
        with pytest.raises(InvalidInput) as caught:
            await journal.page(tenant, page_token=bad, collection=collection)
        assert caught.value.field == "page_token"


async def test_tenants_never_meet(journal: Journal) -> None:
    mine, theirs = document("a", "mine"), replace(document("a", "theirs"), text="theirs")
    await journal.put("t", mine)
    await journal.put("u", theirs)  # the same ids throughout
    assert await journal.tenants() == ["t", "u"]
    assert (await journal.chunks("t", ["t:a:mine", "t:a:theirs"])).keys() == {"t:a:mine"}
    assert [chunk.text for chunk in await journal.document_chunks("u", ["t:a"])] == ["theirs"]
    assert [chunk.text async for part in journal.all_chunks("t") for chunk in part] == ["mine"]
    assert (await journal.get("t", "t:a"))[1] == "mine"
    await journal.mark_searchable("t", {"t:a": 1})
    assert await journal.unfinished("u") == {"t:a": 1}
    await journal.mark_failed("t", "t:a", 1, Failure("X", "x"))
    await journal.begin_delete("t", "t:a")
    await journal.finish_delete("t", "t:a", 2)
    assert await journal.counts("t") == ({}, 0)
    assert await journal.counts("u") == ({"durable": 1}, 1)
    assert (await journal.get("u", "t:a"))[1] == "theirs"
    assert [record.name for record in (await journal.page("u")).documents] == ["a"]
    for name, method in inspect.getmembers(Journal, inspect.isfunction):
        if not name.startswith("_") and name not in {"aclose", "ping", "tenants"}:
            assert list(inspect.signature(method).parameters)[1] == "tenant", name


# --- what is written in pictures ------------------------------------------------------------------------------------

LINES = (TextRegion("SEAL KIT", 0.5, 0.1, 0.25, 0.08, 0.99), TextRegion("Ω 4711", 0.0, 0.9, 1.0, 0.1, 0.6))


def pictured(name: str, *regions: TextRegion, tenant: str = "t") -> NewDocument:
    bare = document(name, "words", tenant=tenant)
    picture = Picture("ab" * 32, "image/png", 4, 3, regions=regions)
    return replace(bare, chunks=tuple(replace(chunk, picture=picture) for chunk in bare.chunks))


async def test_lines_of_a_picture_last_and_belong_to_their_passage(journal_settings: JournalSettings, tmp_path: Path) -> None:
    journal = await open_journal(journal_settings, tmp_path)
    await journal.put("t", pictured("a", *LINES))
    await journal.put("t", pictured("b"))
    await journal.put("u", pictured("a", LINES[0], tenant="u"))
    await journal.aclose()
    journal = await open_journal(journal_settings, tmp_path)
    ids = ["t:a:words", "t:b:words", "u:a:words"]
    assert await journal.picture_regions("t", ids) == {"t:a:words": LINES}
    assert await journal.picture_regions("u", ids) == {"u:a:words": LINES[:1]}
    picture = await journal.picture("u", "ab" * 32)
    assert picture is not None
    assert picture.regions == LINES[:1]
    await journal.put("t", pictured("a", LINES[1]))
    assert await journal.picture_regions("t", ids) == {"t:a:words": LINES[1:]}
    await journal.put("t", pictured("a"))
    assert await journal.picture_regions("t", ids) == {}
    await journal.begin_delete("u", "u:a")
    assert await journal.picture_regions("u", ids) == {}
    await journal.aclose()


async def test_a_journal_of_a_release_that_kept_no_lines_opens_and_serves(tmp_path: Path) -> None:
    journal = await open_journal(JournalSettings(), tmp_path)
    await journal.put("t", pictured("a"))
    await journal.aclose()
    with sqlite3.connect(tmp_path / "journal.db") as other:
        other.execute("DROP TABLE picture_regions")
    other.close()
    journal = await open_journal(JournalSettings(), tmp_path)
    assert await journal.picture("t", "ab" * 32) == Picture("ab" * 32, "image/png", 4, 3)
    assert await journal.picture_regions("t", ["t:a:words"]) == {}
    await journal.put("t", pictured("a", *LINES))
    assert await journal.picture_regions("t", ["t:a:words"]) == {"t:a:words": LINES}
    await journal.aclose()


# --- opening and errors ---------------------------------------------------------------------------------------------


async def test_a_journal_of_a_newer_release_is_refused_with_the_remedy(tmp_path: Path) -> None:
    await (await open_journal(JournalSettings(), tmp_path)).aclose()
    with sqlite3.connect(tmp_path / "journal.db") as other:
        other.execute("UPDATE journal_schema SET version = 99")
    other.close()
    with pytest.raises(Conflict, match=r"schema 99.*upgrade"):
        await open_journal(JournalSettings(), tmp_path)


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_bytes(b"these are not the pages of a database" * 100)
    with pytest.raises(Conflict, match="not a database"):
        await open_journal(JournalSettings(), tmp_path)


@pytest.mark.parametrize("url", ["nonsense", "sqlite:///x.db", "nosuch+driver://user:hunter2@host/db", "mysql+nosuch://u:hunter2@h/d"])
async def test_a_wrong_url_names_the_setting_and_keeps_the_secret(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        await open_journal(JournalSettings(url=SecretStr(url)), tmp_path)
    assert caught.value.field == "journal.url"
    assert "hunter2" not in str(caught.value)


async def test_a_database_that_cannot_be_opened_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable):
        await open_journal(JournalSettings(url=SecretStr(f"sqlite+aiosqlite:///{tmp_path / 'no' / 'folder' / 'x.db'}")), tmp_path)


async def test_a_lost_table_is_an_error_and_not_an_empty_result(journal: Journal) -> None:
    async with journal._engine.begin() as connection:
        await connection.exec_driver_sql("ALTER TABLE chunks RENAME TO elsewhere")
    with pytest.raises(RouterError, match=r"no such table|relation .* does not exist") as caught:
        await journal.chunks("t", ["x"])
    assert "SELECT" not in caught.value.message


def test_every_error_of_the_driver_is_mapped() -> None:
    kinds = {kind for _, kind in inspect.getmembers(sqlalchemy.exc, inspect.isclass) if issubclass(kind, sqlalchemy.exc.SQLAlchemyError)}
    unavailable = {
        sqlalchemy.exc.OperationalError,
        sqlalchemy.exc.InterfaceError,
        sqlalchemy.exc.TimeoutError,
        sqlalchemy.exc.DisconnectionError,
        sqlalchemy.exc.InvalidatePoolError,
    }
    conflict = {sqlalchemy.exc.IntegrityError, sqlalchemy.exc.DatabaseError}
    database_kinds = {kind for kind in kinds if issubclass(kind, sqlalchemy.exc.DatabaseError)}
    assert database_kinds <= set(database.ERROR_MAP), "a new kind of database error: decide what it means"
    for kind in kinds:
        expected = StoreUnavailable if kind in unavailable else Conflict if kind in conflict else InternalError
        assert database.translated(kind) is expected, kind
    assert database.translated(ConnectionRefusedError) is StoreUnavailable


@pytest.mark.parametrize(("part", "instead"), [("/journal", "/nosuch"), ("router:", "router:wrong")], ids=["database", "password"])
async def test_a_postgresql_that_does_not_know_us_names_the_setting_and_keeps_the_secret(
    postgres_server: PostgresServer, part: str, instead: str, tmp_path: Path
) -> None:
    url = f"postgresql+asyncpg://router:{postgres_server.password}@127.0.0.1:{postgres_server.child.port}/journal".replace(part, instead)
    with pytest.raises(ConfigurationError) as caught:
        await open_journal(JournalSettings(url=SecretStr(url)), tmp_path)
    assert caught.value.field == "journal.url"
    assert postgres_server.password not in caught.value.message


async def test_documents_behind_a_commit_that_a_bug_ended_are_written(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("router.stores.journal._DOCUMENTS_PER_COMMIT", 10)
    whole, broken = journal._put, 0

    async def second_breaks(*arguments: Any) -> None:
        nonlocal broken
        broken += 1
        if broken == 2:
            raise ZeroDivisionError
        await whole(*arguments)

    monkeypatch.setattr(journal, "_put", second_breaks)
    puts = (journal.put("t", document(f"d{number:03}", "text")) for number in range(40))
    with capture_logs() as lines:
        outcomes = await asyncio.gather(*puts, return_exceptions=True)
    assert sum(isinstance(outcome, InternalError) for outcome in outcomes) == 10
    assert await journal.counts("t") == ({"durable": 30}, 30)
    assert [line["event"] for line in lines] == ["a commit of the journal failed"]


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT], ids=["killed", "restarted"])
async def test_a_postgresql_that_went_away_is_unavailable_and_comes_back_with_all_that_it_acknowledged(
    postgres_programs: Path, end: signal.Signals, tmp_path: Path
) -> None:
    async with run_postgres(postgres_programs) as server:
        journal = await open_journal(JournalSettings(url=SecretStr(server.create_database("journal"))), tmp_path)
        acknowledged: list[str] = []

        async def write(writer: int) -> None:
            for number in count():
                await journal.put("t", document(f"d{writer}-{number}", "text"))
                acknowledged.append(f"t:d{writer}-{number}")

        async def ask() -> None:
            while True:
                await journal.ping()

        calls = [asyncio.create_task(call) for call in (*map(write, range(100)), ask())]
        async with asyncio.timeout(60):
            while not acknowledged:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            os.kill(server.child.pid, end)
            failures = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(failure, StoreUnavailable) for failure in failures), failures
        async with asyncio.timeout(60):
            while True:
                try:
                    await journal.ping()
                    break
                except StoreUnavailable:
                    await asyncio.sleep(0.05)
        standings = await journal.standings("t", sorted(acknowledged))
        assert all(standings[name].state is DocumentState.DURABLE for name in acknowledged)
        # No connection of before is met again.
        await asyncio.gather(*(journal.put("t", document(f"e{number}", "text")) for number in range(20)))
        await journal.aclose()
