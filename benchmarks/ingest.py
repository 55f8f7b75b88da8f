"""Documents per second through a running service: `python -m benchmarks.ingest DIR [--target HOST:PORT] [--json FILE]`.

Sends the passages of a data set as documents over gRPC and waits until each is searchable.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from router.client import AsyncRouterClient
from router.corpus.base import DocumentState, Upload
from router.experiments.dataset import Dataset, load_dataset
from router.experiments.result_file import writable


async def uploads(dataset: Dataset) -> AsyncIterator[Upload]:
    for passage in dataset.passages():
        yield Upload(passage.id, passage.text.encode(), "text/plain", passage.title, "bench")


async def ingest(dataset: Dataset, target: str) -> dict[str, float]:
    states: Counter[str] = Counter()
    begin = time.perf_counter()
    durable_s = 0.0
    async with AsyncRouterClient(target) as client:
        async for reply in client.ingest(uploads(dataset)):
            states[reply.state.value] += 1
            if reply.state is DocumentState.DURABLE:
                durable_s = time.perf_counter() - begin
    seconds = time.perf_counter() - begin
    documents = states[DocumentState.SEARCHABLE.value]
    return {**states, "last_durable_s": durable_s, "seconds": seconds, "documents_per_s": documents / seconds}


def main(
    folder: Path,
    target: Annotated[str, typer.Option(help="The running service.")] = "127.0.0.1:50051",
    json_file: Annotated[Path | None, typer.Option("--json", callback=writable, help="Write the figures to this file.")] = None,
) -> None:
    figures = asyncio.run(ingest(load_dataset(folder), target))
    Console().print(figures)
    if json_file is not None:
        json_file.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
