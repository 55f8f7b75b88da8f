"""What each index of a Milvus server costs and misses, against exact search.

`python -m benchmarks.quantised_vectors --uri http://127.0.0.1:19530 --corpus DIR ... --vectors 10000 --vectors 100000 [--files DIR]`

Rows go in through the product's store, once for each size; then one index after the other is made on them, and the questions of the data
sets are asked through the store, one at a time. Rows beyond the passages of the data sets are synthetic, see `more_vectors`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from router.corpus.chunk import Chunker, document_id, embedded_text, to_chunks
from router.corpus.text import LoadedDocument
from router.experiments.dataset import load_dataset
from router.experiments.result_file import writable
from router.models.embedding import open_embedder
from router.settings import CorpusSettings, EmbeddingSettings, MilvusIndexSettings, MilvusSettings
from router.stores.milvus import MilvusVectorStore
from router.types import Chunk, Matrix, Span

Parameters = dict[str, int | float | str]

TENANT = "t"
DIMENSION = 384
K = 10
NEIGHBOURS = 10
TEXTS_AT_ONCE = 256
ROWS_AT_ONCE = 4096
"""Rows for which similarities to all others are held at a time."""
PATIENCE_S = 3600.0
"""For one call: a server loads a collection only when its index is built."""
SEED = 11
PARTS = (192, 96, 48)
"""Of a vector for product quantisation, one byte each."""
ID_BYTES = 8
"""Lists keep the number of the row beside its code."""


@dataclass(frozen=True, slots=True)
class Case:
    """One index and the breadths of search it is asked with."""

    type: str
    build: Parameters = field(default_factory=dict)
    searches: tuple[Parameters, ...] = ({},)


FLAT = Case("FLAT")


@dataclass(frozen=True, slots=True)
class Sample:
    vectors: Matrix
    questions: Matrix


def main(
    uri: Annotated[str, typer.Option(help="A Milvus server. Its collections `quantised_...` are replaced, and dropped at the end.")],
    corpus: Annotated[list[Path], typer.Option(help="Folder of a data set; may be given several times.")],
    vectors: Annotated[list[int], typer.Option(help="Rows; may be given several times.")],
    real: Annotated[int, typer.Option(help="At most so many passages of the data sets; further rows are synthetic.")] = 10_000,
    questions: Annotated[int, typer.Option(help="Questions, spread over the data sets.")] = 300,
    only: Annotated[list[str] | None, typer.Option(help="Only these types beside FLAT; may be given several times.")] = None,
    parts: Annotated[list[int] | None, typer.Option(help="The `m` of IVF_PQ (192, 96, 48); may be given several times.")] = None,
    files: Annotated[Path | None, typer.Option(help="Folder of the server's files: how much an index adds there is measured.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder that keeps the embeddings for the next run.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", callback=writable, help="Write the figures there as well.")] = None,
) -> None:
    """Storage, build time, recall and latency of every index, and their ratio to FLAT."""
    console, figures = Console(width=150), []
    sample = asyncio.run(embeddings(corpus, real, questions, cache))
    for rows in vectors:
        found = asyncio.run(measure(uri, sample, rows, cases(rows, only or (), parts or PARTS), files, console))
        console.print(table(rows, min(rows, len(sample.vectors)), found))
        figures += found
        if json_file is not None:
            json_file.write_text(json.dumps(figures, indent=2) + "\n")


def cases(rows: int, only: Sequence[str], parts: Sequence[int]) -> list[Case]:
    """Lists: the power of two below four times the root of the rows."""
    lists: Parameters = {"nlist": 2 ** int(np.log2(4 * rows**0.5))}
    probes: tuple[Parameters, ...] = tuple({"nprobe": count} for count in (16, 64))
    chosen = [
        Case("HNSW", {"M": 16, "efConstruction": 200}, ({"ef": 64}, {"ef": 256})),
        Case("IVF_FLAT", lists, probes),
        Case("IVF_SQ8", lists, probes),
        *(Case("IVF_PQ", {**lists, "m": m, "nbits": 8}, probes) for m in parts),
    ]
    return [case for case in chosen if not only or case.type in only]


async def embeddings(folders: Sequence[Path], most: int, questions: int, cache: Path | None) -> Sample:
    """Of different passages as the service cuts and embeds them, evenly from all folders, and of questions."""
    passages: list[str] = []
    asked: list[str] = []
    for folder in folders:
        dataset = load_dataset(folder)
        asked += [question.text for question in dataset.some_questions(limit=-(-questions // len(folders)))]
        cut = Chunker(CorpusSettings().chunk_tokens, CorpusSettings().chunk_overlap_tokens)
        for passage in dataset.passages():
            identity = document_id(TENANT, passage.id)
            chunks = to_chunks(
                passage.text,
                cut.passages(LoadedDocument(passage.text)),
                document_id=identity,
                document_name=passage.id,
                collection="main",
                title=passage.title,
                metadata={},
            )
            passages += map(embedded_text, chunks)
    different = list(dict.fromkeys(passages))
    kept = [different[place] for place in np.random.default_rng(SEED).permutation(len(different))[:most]]
    texts = kept + asked[:questions]
    digest = hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:16]
    file = cache / f"{digest}.npy" if cache is not None else None
    if file is not None and file.exists():
        vectors = np.load(file)
    else:
        with tempfile.TemporaryDirectory() as models:
            embedder = await open_embedder(EmbeddingSettings(), Path(models))
            parts = [await embedder.embed(texts[start : start + TEXTS_AT_ONCE]) for start in range(0, len(texts), TEXTS_AT_ONCE)]
            await embedder.aclose()
        vectors = np.concatenate(parts)
        if file is not None:
            np.save(file, vectors)
    return Sample(vectors[: len(kept)], vectors[len(kept) :])


def more_vectors(real: Matrix, rows: int) -> Matrix:
    """The real vectors, then synthetic ones that scatter as they do.

    A synthetic vector lies between a real one and one of its ten nearest, w of the one and 1 - w of the other with w even in [0, 1]. Mixing
    cancels part of what makes a passage its own, so as much is added again: noise with the covariance of what is left of real vectors
    when the mean of their ten nearest is taken away, times 2w(1 - w). All have unit length.
    """
    if rows <= len(real):
        return real[:rows]
    random = np.random.default_rng(SEED)
    near = nearest(real, real, NEIGHBOURS + 1)[:, 1:]  # the first is the vector itself
    residuals = real - real[near].mean(axis=1)
    spread = np.linalg.cholesky(np.cov(residuals, rowvar=False) + 1e-9 * np.eye(real.shape[1])).astype(np.float32)
    parts = [real]
    for start in range(len(real), rows, ROWS_AT_ONCE):
        count = min(ROWS_AT_ONCE, rows - start)
        one = random.integers(len(real), size=count)
        other = near[one, random.integers(NEIGHBOURS, size=count)]
        share = random.random((count, 1), dtype=np.float32)
        noise = random.standard_normal((count, real.shape[1]), dtype=np.float32) @ spread.T
        mixed = share * real[one] + (1 - share) * real[other] + np.sqrt(2 * share * (1 - share)) * noise
        parts.append(mixed / np.linalg.norm(mixed, axis=1, keepdims=True))
    return np.concatenate(parts).astype(np.float32)


def nearest(asked: Matrix, vectors: Matrix, count: int) -> np.ndarray[tuple[int, int], np.dtype[np.intp]]:
    """Places of the vectors with the highest cosine, best first."""
    parts = []
    for start in range(0, len(asked), 64):
        cosines = asked[start : start + 64] @ vectors.T
        best = np.argpartition(-cosines, count - 1, axis=1)[:, :count]
        order = np.argsort(-np.take_along_axis(cosines, best, axis=1), axis=1, kind="stable")
        parts.append(np.take_along_axis(best, order, axis=1))
    return np.concatenate(parts)


async def measure(
    uri: str, sample: Sample, rows: int, chosen: Sequence[Case], files: Path | None, console: Console
) -> list[dict[str, Any]]:
    """FLAT stays loaded beside each index, and every question goes to both in turns: the machine is never quite quiet."""
    vectors = more_vectors(sample.vectors, rows)
    exact = nearest(sample.questions, vectors, K)
    first, last = (np.mean(np.sum(vectors[exact[:, place]] * sample.questions, axis=1)) for place in (0, -1))
    console.print(
        f"{rows} rows: {np.mean(exact >= len(sample.vectors)):.0%} of the exact hits are synthetic; "
        f"mean cosine of the first {first:.3f}, of the last {last:.3f}"
    )
    settings = MilvusSettings(uri=uri, timeout_s=PATIENCE_S, collection_prefix=f"quantised_{rows}")
    base = settings.model_copy(update={"collection_prefix": f"quantised_{rows}_flat"})
    stores = [await filled(some, vectors, console) for some in (base, settings)]
    flat_build_s = await build(base, FLAT)
    flat = await opened(base, FLAT, {})
    figures = [entry(FLAT, {}, rows, None, flat_build_s)]
    for case in chosen:
        before = index_bytes(files)
        build_s = await build(settings, case)
        written = (index_bytes(files) - before) / rows if files is not None else None
        for search in case.searches:
            store = await opened(settings, case, search)
            recalls, times = await ask([flat, store], sample.questions, exact)
            await store.aclose()
            figures[0] |= latency(times[0], times[0]) | {"recall": recalls[0]}
            figures.append(entry(case, search, rows, written, build_s) | latency(times[1], times[0]) | {"recall": recalls[1]})
            console.print(table(rows, min(rows, len(sample.vectors)), [figures[-1]]))
        await drop_index(stores[1])
    await flat.aclose()
    for store in stores:
        await store.connection.call("drop_collection", store.collection)
        await store.aclose()
    return figures


def entry(case: Case, search: Parameters, rows: int, file_bytes: float | None, build_s: float) -> dict[str, Any]:
    return {
        "rows": rows,
        "type": case.type,
        "build": case.build,
        "search": search,
        "bytes": bytes_per_vector(case, rows, DIMENSION),
        "file_bytes": file_bytes,
        "build_s": build_s,
    }


def latency(times: Sequence[float], flat: Sequence[float]) -> dict[str, float]:
    """In ms, and the median of what FLAT took for the same question just before."""
    return {
        "p50_ms": float(np.percentile(times, 50) * 1e3),
        "p99_ms": float(np.percentile(times, 99) * 1e3),
        "flat_p50_ms": float(np.percentile(flat, 50) * 1e3),
        "ratio": float(np.median(np.divide(times, flat))),
    }


async def opened(settings: MilvusSettings, case: Case, search: Parameters) -> MilvusVectorStore:
    index = MilvusIndexSettings.model_validate({"type": case.type, "build": case.build, "search": search})
    with tempfile.TemporaryDirectory() as unused:
        return await MilvusVectorStore.open(settings.model_copy(update={"index": index}), Path(unused), space="b", dimension=DIMENSION)


async def filled(settings: MilvusSettings, vectors: Matrix, console: Console) -> MilvusVectorStore:
    """A new collection without an index, its rows written to the server's disk."""
    store = await opened(settings, FLAT, {})
    await store.connection.call("drop_collection", store.collection)
    await store.aclose()
    store = await opened(settings, FLAT, {})
    await drop_index(store)
    begin = time.perf_counter()
    for start in range(0, len(vectors), ROWS_AT_ONCE):
        part = vectors[start : start + ROWS_AT_ONCE]
        await store.upsert(TENANT, [chunk(start + number) for number in range(len(part))], part)
    await store.connection.call("flush", store.collection)
    console.print(f"{len(vectors)} rows written in {time.perf_counter() - begin:.0f} s")
    return store


async def drop_index(store: MilvusVectorStore) -> None:
    await store.connection.call("release_collection", store.collection)
    await store.connection.call("drop_index", store.collection, index_name="vector")


async def build(settings: MilvusSettings, case: Case) -> float:
    """Seconds until the index of all rows is ready; afterwards the collection is loaded with it and nothing else."""
    begin = time.perf_counter()
    store = await opened(settings, case, case.searches[0])
    while True:
        told = await store.connection.call("describe_index", store.collection, index_name="vector")
        if told["state"] == "Finished" and int(told["pending_index_rows"]) == 0:
            break
        await asyncio.sleep(0.2)
    seconds = time.perf_counter() - begin
    await store.connection.call("release_collection", store.collection)
    await store.connection.load(store.collection)
    await store.aclose()
    return seconds


async def ask(stores: Sequence[MilvusVectorStore], questions: Matrix, exact: np.ndarray[Any, Any]) -> tuple[list[float], list[list[float]]]:
    """Recall and seconds of each store."""
    for question in questions[:20]:
        for store in stores:
            await store.search(TENANT, question, K)
    times: list[list[float]] = [[] for _ in stores]
    shares: list[list[float]] = [[] for _ in stores]
    for question, wanted in zip(questions, exact, strict=True):
        best = {key(place) for place in wanted}
        for store, took, found in zip(stores, times, shares, strict=True):
            begin = time.perf_counter()
            hits = await store.search(TENANT, question, K)
            took.append(time.perf_counter() - begin)
            found.append(len({hit.chunk_id for hit in hits} & best) / K)
    return [float(np.mean(share)) for share in shares], times


def chunk(number: int) -> Chunk:
    """Only its id counts; the text is not kept in Milvus."""
    return Chunk(key(number), f"d{number}", "main", 0, "", (), "", Span(0, 0))


def key(number: int) -> str:
    return f"c{number:07}"


def bytes_per_vector(case: Case, rows: int, dimension: int) -> float:
    """What the index holds for a vector, by arithmetic, with its share of what the index holds once."""
    whole = 4.0 * dimension
    build = {name: int(value) for name, value in case.build.items()}
    if case.type == "FLAT":
        return whole
    if case.type == "HNSW":
        # 2M neighbours of 4 bytes and their count on the lowest level, M on each of the 1 / (M - 1) levels above, which is the mean.
        return whole + (2 * build["M"] + 1) * 4 + (build["M"] + 1) * 4 / (build["M"] - 1) + ID_BYTES
    centroids = build["nlist"] * whole / rows
    if case.type == "IVF_PQ":
        codebook = (1 << build["nbits"]) * whole / rows
        return build["m"] * build["nbits"] / 8 + ID_BYTES + centroids + codebook
    return (whole if case.type == "IVF_FLAT" else dimension) + ID_BYTES + centroids


def index_bytes(files: Path | None) -> int:
    """Of all index files below the folder of a server."""
    if files is None:
        return 0
    return sum(file.stat().st_size for folder in files.rglob("index_files") for file in folder.rglob("*") if file.is_file())


def table(rows: int, real: int, figures: Sequence[dict[str, Any]]) -> Table:
    """Ratios in parentheses: to FLAT."""
    shown = Table(title=f"{rows:,} vectors, {real:,} of them real; {K} hits, one caller; in parentheses: times FLAT")
    for name in ("index", "search", "bytes/vector", "on disk", "build s", f"recall@{K}", "p50 ms", "p99 ms"):
        shown.add_column(name, justify="left" if name in ("index", "search") else "right")
    for row in figures:
        shown.add_row(
            " ".join([row["type"], *(f"{name}={value}" for name, value in row["build"].items())]),
            " ".join(f"{name}={value}" for name, value in row["search"].items()),
            f"{row['bytes']:.0f} ({row['bytes'] / (4 * DIMENSION):.2f})",
            "" if row["file_bytes"] is None else f"{row['file_bytes']:.0f}",
            f"{row['build_s']:.0f}",
            f"{row['recall']:.3f}",
            f"{row['p50_ms']:.1f} ({row['ratio']:.2f})",
            f"{row['p99_ms']:.1f}",
        )
    return shown


if __name__ == "__main__":
    typer.run(main)
