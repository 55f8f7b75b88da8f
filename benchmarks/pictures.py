"""Throughput of the picture encoder under many callers, against the raw network: `python -m benchmarks.pictures FOLDER`."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from router.models.aligned import Network, network_weights, squares
from router.models.base import PictureEmbedder
from router.models.embedding import open_embedder
from router.models.pictures import load_picture
from router.models.spaces import open_space
from router.settings import ModelSettings
from router.types import Pixels

CALLERS = 16


def main(
    folder: Annotated[Path, typer.Argument(help="Folder of pictures.")],
    pictures: Annotated[int, typer.Option(help="Pictures in each round.")] = 64,
    rounds: Annotated[int, typer.Option(help="Rounds; raw and served take turns, since the machine is never quite quiet.")] = 8,
) -> None:
    """Callers send one decoded picture at a time and wait for its vector; the raw network gets squares that are ready, in full batches."""
    loaded = [load_picture(file.read_bytes()) for file in sorted(folder.iterdir())[:pictures]]
    asyncio.run(measure(loaded, rounds))


async def measure(pictures: list[Pixels], rounds: int) -> None:
    settings = ModelSettings()
    ready, batch = squares(pictures), settings.pictures.max_batch
    with tempfile.TemporaryDirectory() as cache:
        words = await open_embedder(settings.embedding, Path(cache))
        space = await open_space(settings, Path(cache), words)
        network = Network(network_weights(settings.pictures, Path(cache)), settings.pictures.threads)
        assert space.pictures is not None
        rates = []
        network(ready[:batch])
        for _ in range(rounds):
            started = time.perf_counter()
            for start in range(0, len(ready), batch):
                network(ready[start : start + batch])
            between = time.perf_counter()
            waiting = iter(pictures)
            await asyncio.gather(*(_caller(space.pictures, waiting) for _ in range(CALLERS)))
            rates.append((len(pictures) / (between - started), len(pictures) / (time.perf_counter() - between)))
        await space.aclose()
        await words.aclose()
    raw, served = (statistics.median(column) for column in zip(*rates, strict=True))
    ratio = statistics.median(after / before for before, after in rates)
    Console().print(f"raw {raw:.1f}, {CALLERS} callers {served:.1f} pictures/s; median of the ratios {ratio:.0%}")


async def _caller(embedder: PictureEmbedder, waiting: Iterator[Pixels]) -> None:
    for picture in waiting:
        await embedder.embed([picture])


if __name__ == "__main__":
    typer.run(main)
