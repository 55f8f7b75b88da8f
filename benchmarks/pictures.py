"""Throughput of the picture encoder under many callers, against the raw network in the same run.

.venv/bin/python -m benchmarks.pictures FOLDER [PICTURES]

FOLDER holds pictures. The raw rate is that of the network alone on squares that are ready, in batches of `models.pictures.max_batch`;
callers send one decoded picture at a time and wait for its vector.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from router.models.aligned import Network, network_weights, squares
from router.models.embedding import open_embedder
from router.models.pictures import load_picture
from router.models.spaces import open_space
from router.settings import ModelSettings
from router.types import Pixels

CALLERS = 16
ROUNDS = 3


async def main(pictures: list[Pixels]) -> None:
    settings = ModelSettings()
    with tempfile.TemporaryDirectory() as cache:
        words = await open_embedder(settings.embedding, Path(cache))
        space = await open_space(settings, Path(cache), words)
        network = Network(network_weights(settings.pictures, Path(cache)), settings.pictures.threads)
        assert space.pictures is not None
        try:
            for _ in range(ROUNDS):
                ready = squares(pictures)
                started = time.perf_counter()
                for start in range(0, len(ready), settings.pictures.max_batch):
                    network(ready[start : start + settings.pictures.max_batch])
                raw = len(ready) / (time.perf_counter() - started)
                waiting = iter(pictures)

                async def caller(waiting: Iterator[Pixels] = waiting) -> None:
                    for picture in waiting:
                        await space.pictures.embed([picture])

                started = time.perf_counter()
                await asyncio.gather(*(caller() for _ in range(CALLERS)))
                served = len(pictures) / (time.perf_counter() - started)
                print(f"raw {raw:.1f} pictures/s, {CALLERS} callers {served:.1f} pictures/s: {served / raw:.0%}")
        finally:
            await space.aclose()
            await words.aclose()


if __name__ == "__main__":
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 256
    files = sorted(Path(sys.argv[1]).iterdir())[:count]
    asyncio.run(main([load_picture(file.read_bytes()) for file in files]))
