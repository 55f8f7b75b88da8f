"""BM25 in Milvus Lite against bm25s in this process: `python -m benchmarks.lexical [--quick] [--json FILE]`."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from router.experiments.result_file import writable
from router.settings import MilvusSettings
from router.stores.base import LexicalIndex
from router.stores.lexical import MemoryLexicalIndex
from router.stores.milvus import MilvusLexicalIndex, MilvusVectorStore
from router.types import Chunk, Span

WORDS_PER_CHUNK = 100
WORDS_PER_QUESTION = 8
VOCABULARY = 20_000
DIMENSION = 8
"""Small on purpose: the vectors are not what is measured."""
SEED = 7


def main(
    quick: Annotated[bool, typer.Option("--quick", help="2,000 rows and 20 questions only.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", callback=writable, help="Write the figures there as well.")] = None,
) -> None:
    """Compare build time and latency on synthetic text (Zipf-distributed words)."""
    results = [asyncio.run(measure(rows, 20 if quick else 200)) for rows in ((2_000,) if quick else (2_000, 10_000))]
    Console().print(table(results))
    if json_file is not None:
        json_file.write_text(json.dumps(results, indent=2) + "\n")


async def measure(rows: int, questions: int) -> dict[str, float]:
    words = np.random.default_rng(SEED)
    chunks = [synthetic_chunk(number, words) for number in range(rows)]
    asked = [synthetic_text(words, WORDS_PER_QUESTION) for _ in range(questions)]
    with tempfile.TemporaryDirectory() as folder:
        store = await MilvusVectorStore.open(MilvusSettings(lexical="milvus"), Path(folder), space="benchmark", dimension=DIMENSION)
        vectors = np.full((rows, DIMENSION), DIMENSION**-0.5, dtype=np.float32)
        lite_build_s = await seconds(lambda: store.upsert("t", chunks, vectors))
        lite_s = await latencies(MilvusLexicalIndex(store), asked)
        await store.aclose()
    memory = MemoryLexicalIndex()
    memory_build_s = await seconds(lambda: memory.load("t", chunks))
    memory_s = await latencies(memory, asked)
    return {
        "rows": rows,
        "lite_build_s": lite_build_s,
        "memory_build_s": memory_build_s,
        "lite_p50_ms": float(np.percentile(lite_s, 50) * 1e3),
        "lite_p99_ms": float(np.percentile(lite_s, 99) * 1e3),
        "memory_p50_ms": float(np.percentile(memory_s, 50) * 1e3),
        "memory_p99_ms": float(np.percentile(memory_s, 99) * 1e3),
        "ratio_p50": float(np.percentile(lite_s, 50) / np.percentile(memory_s, 50)),
    }


async def latencies(index: LexicalIndex, questions: list[str]) -> list[float]:
    for question in questions[:3]:
        await index.search("t", question, 20)
    return [await seconds(partial(index.search, "t", question, 20)) for question in questions]


async def seconds(work: Callable[[], Awaitable[object]]) -> float:
    start = time.perf_counter()
    await work()
    return time.perf_counter() - start


def synthetic_chunk(number: int, words: np.random.Generator) -> Chunk:
    text = synthetic_text(words, WORDS_PER_CHUNK)
    return Chunk(f"c{number:06}", f"d{number // 5}", "main", number % 5, synthetic_text(words, 3), (), text, Span(0, len(text)))


def synthetic_text(words: np.random.Generator, count: int) -> str:
    ranks = words.zipf(1.3, size=count * 2)
    return " ".join(f"word{rank}" for rank in ranks[ranks < VOCABULARY][:count])


def table(results: list[dict[str, float]]) -> Table:
    columns = ["rows", "Lite build s", "bm25s build s", "Lite p50 ms", "Lite p99 ms", "bm25s p50 ms", "bm25s p99 ms", "ratio p50"]
    shown = Table(*columns, title="BM25: Milvus Lite and bm25s in process, one caller, 20 hits")
    for result in results:
        shown.add_row(f"{result['rows']:.0f}", *(f"{value:.2f}" for name, value in result.items() if name != "rows"))
    return shown


if __name__ == "__main__":
    typer.run(main)
