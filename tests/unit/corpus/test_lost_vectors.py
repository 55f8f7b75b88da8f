"""Vectors that the store has lost are noticed at a start, and made again from the journal."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.corpus.base import Upload
from router.corpus.chunk import document_id
from router.stores.journal import Journal
from tests.unit.corpus.test_service import ADA, DURABLE, ENGINE, FACTS, World, ingest, stream, until_finished
from tests.unit.pictures import drawn

ADA_ID, ENGINE_ID = document_id("t", ADA.name), document_id("t", ENGINE.name)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def missing(world: World, journal: Journal, tenant: str = "t") -> dict[str, int]:
    """Vectors that are not in the store, by document."""
    counts: dict[str, int] = {}
    async for chunks in journal.all_chunks(tenant):
        found = await world.vectors.vectors(tenant, [chunk.id for chunk in chunks])
        for chunk in chunks:
            counts[chunk.document_id] = counts.get(chunk.document_id, 0) + (chunk.id not in found)
    return {key: count for key, count in counts.items() if count}


async def test_a_document_without_its_vectors_is_indexed_again_and_no_other(world: World) -> None:
    async with world.open() as (corpus, journal):
        await ingest(corpus, ADA, ENGINE, FACTS)
        await ingest(corpus, ADA, tenant="u")
    await world.vectors.delete_document("t", ENGINE_ID)
    world.log.written.clear()
    async with world.open(start=False) as (corpus, journal):
        lost = await missing(world, journal)
        assert lost.keys() == {ENGINE_ID}
        await corpus.start({"t": lost, "u": await missing(world, journal, "u")})
        await until_finished(journal)
        assert await missing(world, journal) == {}
        assert set(world.log.written) == {ENGINE.name}
        [notice] = (await corpus.stats("t")).notices
        assert notice.reason == "VECTORS_RESTORED"
        assert notice.message.startswith(f"{lost[ENGINE_ID]} vectors of 1 documents were missing")
        stats = await corpus.stats("u")
        assert (stats.notices, stats.documents) == ((), {"searchable": 1})
        assert (await corpus.stats("t")).documents == {"searchable": 3}


async def test_what_waits_for_the_indexer_is_not_lost(world: World) -> None:
    async with world.open(start=False) as (corpus, journal):
        told = corpus.ingest("t", stream(ADA))
        assert (await anext(told)).state is DURABLE
        lost = await missing(world, journal)
        assert lost.keys() == {ADA_ID}
        await corpus.start({"t": lost})
        async for _ in told:
            pass
        assert (await corpus.stats("t")).notices == ()
        assert await missing(world, journal) == {}


async def test_a_loss_is_told_until_it_is_made_good_even_over_a_kill(world: World) -> None:
    world.patience_s = 0.01
    async with world.open() as (corpus, _):
        await ingest(corpus, ADA, ENGINE)
    for key in (ADA_ID, ENGINE_ID):
        await world.vectors.delete_document("t", key)
    async with world.open(start=False) as (corpus, journal):
        lost = await missing(world, journal)
        world.graph.down = True  # the indexer gets no further
        await corpus.start({"t": lost})
        [notice] = (await corpus.stats("t")).notices[-1:]
        assert notice.reason == "VECTORS_LOST"
        assert "2 documents wait" in notice.message
        assert (await corpus.stats("t")).documents == {"durable": 2}
    world.graph.down = False
    async with world.open() as (corpus, journal):  # which is told of nothing missing: the journal knows
        await until_finished(journal)
        assert await missing(world, journal) == {}
        assert (await corpus.stats("t")).documents == {"searchable": 2}


async def test_what_cannot_be_made_again_is_told(world: World) -> None:
    async with world.open() as (corpus, _):
        await ingest(corpus, ADA, Upload("red.png", drawn("red")))
    for store in (world.vectors, world.picture_vectors):
        await store.delete_document("t", document_id("t", "red.png"))
    for file in (world.folder / "pictures" / "t").glob("*/*"):
        file.unlink()
    async with world.open(start=False) as (corpus, journal):
        await corpus.start({"t": await missing(world, journal)})
        await until_finished(journal)
        [notice] = (await corpus.stats("t")).notices
        assert notice.reason == "VECTORS_LOST"
        assert "0 documents wait to be indexed again, 1 could not be" in notice.message
        assert (await corpus.stats("t")).documents == {"searchable": 1, "failed": 1}
