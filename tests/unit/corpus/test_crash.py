"""A process that takes documents is killed with -9: what it acknowledged is in the journal, and the next process makes it searchable."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from router.corpus.chunk import document_id
from tests.unit.corpus.test_service import World, until_finished

TAKER = """
import asyncio, sys
from pathlib import Path
from router.corpus.base import DocumentState, Upload
from tests.unit.corpus.test_service import World

async def uploads():
    for number in range(100_000):
        yield Upload(f"{number}.txt", f"Document number {number}.".encode())

async def main():
    async with World(Path(sys.argv[1])).open() as (corpus, _):
        async for given in corpus.ingest("t", uploads()):
            if given.state is DocumentState.DURABLE:
                print(given.name, flush=True)

asyncio.run(main())
"""


async def test_acknowledged_documents_survive_a_kill(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", TAKER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as taker:  # noqa: ASYNC220
        assert taker.stdout is not None
        acknowledged = [taker.stdout.readline().strip() for _ in range(300)]
        taker.kill()
        acknowledged += [line.strip() for line in taker.stdout if line.endswith("\n")]
    world = World(tmp_path)
    async with world.open() as (corpus, journal):
        for name in acknowledged:
            _, text = await corpus.get("t", document_id("t", name))
            assert text == f"Document number {name.removesuffix('.txt')}."
        await until_finished(journal)
        stats = await corpus.stats("t")
        assert set(stats.documents) == {"searchable"}
        assert stats.documents["searchable"] >= len(acknowledged)
