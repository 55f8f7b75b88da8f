"""Latency, size and growth of the graph in this process: `python -m benchmarks.graph_search [--passages N ...] [--json FILE]`.

Synthetic passages with titles that name each other; how often a name is used falls with its rank as in a text. Beside the walk runs what it
takes the place of, the power iteration on the whole graph, and igraph's personalised PageRank where igraph is installed.
"""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import json
import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import scipy.sparse as sp
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from router.corpus.graph_builder import TITLE, NameGraphBuilder
from router.experiments.result_file import writable
from router.models.base import Recognised, RecognisedName
from router.names import entity_id
from router.retrieval.linker import NameLinker
from router.retrieval.walk import Attraction, attraction, walk
from router.settings import WalkSettings
from router.stores.base import EMPTY_GRAPH, GraphBatch, GraphContent, GraphNodeChunk, Subject
from router.stores.mirror import GraphMirror
from router.stores.snapshot import GraphSnapshot
from router.stores.vectors import PassageVectors
from router.testing.fakes import InMemoryGraphStore
from router.types import Chunk, Entity, Mention, Span

Floats = NDArray[np.float32]
TENANT = "t"
WORDS_PER_PASSAGE = 60
VOCABULARY = 30_000
NAMES_PER_PASSAGE = 8
"""At most; at least one."""
TITLES_SHARE = 0.4
"""Of the names in a passage that are another passage's title."""
DIMENSION = 384
NEAREST = 20
"""Seeds beside the names, as a vector search would give them."""
TOPICS = 300
BATCH = 64
GROWTH = 1_000
"""Documents that are added, for the cost of growth."""
SETTINGS = WalkSettings()
SEED = 11


@dataclass(frozen=True)
class Corpus:
    """Passages with what a recogniser sees in them, each a document of its own; a question names a passage's title and a name in it."""

    chunks: list[Chunk]
    recognised: list[Recognised]
    questions: list[tuple[str, Chunk]]


@dataclass(frozen=True)
class Texts:
    """The corpus so far, as the journal would give it."""

    corpus: Corpus
    count: int

    async def all_chunks(self, tenant: str) -> AsyncIterator[Sequence[Chunk]]:
        del tenant
        for some in batches(self.corpus.chunks[: self.count], 1_000):
            yield some

    async def chunks(self, tenant: str, ids: Collection[str]) -> dict[str, Chunk]:
        del tenant
        return {identity: self.corpus.chunks[int(identity[1:])] for identity in ids}


def main(
    passages: Annotated[list[int] | None, typer.Option(help="Sizes, in passages.")] = None,
    questions: Annotated[int, typer.Option(help="Questions per size.")] = 300,
    json_file: Annotated[Path | None, typer.Option("--json", callback=writable, help="Write the figures there as well.")] = None,
) -> None:
    """Measure each size in turn."""
    results = [asyncio.run(measure(count, questions)) for count in passages or [2_000, 20_000, 200_000]]
    Console(width=200).print(table(results))
    if json_file is not None:
        json_file.write_text(json.dumps(results, indent=2) + "\n")


async def measure(count: int, questions: int) -> dict[str, float]:
    random = np.random.default_rng(SEED)
    corpus = synthetic(count + GROWTH, questions, random)
    vectors = await synthetic_vectors(corpus, random)
    gc.collect()
    before = resident_mb()
    content = content_of(corpus, count)
    start = time.perf_counter()
    snapshot = GraphSnapshot(content, SETTINGS)
    build_s = time.perf_counter() - start
    del content
    gc.collect()
    figures: dict[str, float] = {
        "passages": count,
        "nodes": snapshot.size,
        "edges": snapshot.weights.nnz // 2,
        "memory_mb": resident_mb() - before,
        "build_s": build_s,
    }
    with tempfile.TemporaryDirectory() as folder:
        mirror = await mirror_of(corpus, count, Path(folder))
        figures |= await searches(mirror, vectors, corpus, questions)
        figures |= await growth(mirror, corpus, count)
    return figures


async def searches(mirror: GraphMirror, vectors: PassageVectors, corpus: Corpus, questions: int) -> dict[str, float]:
    """Milliseconds of linking, of the walk, of both; and of the peers."""
    linker, snapshot = NameLinker(mirror), await mirror.current(TENANT)
    random = np.random.default_rng(SEED + 1)
    linking: list[float] = []
    walking: list[float] = []
    cpu: list[float] = []
    visited: list[int] = []
    whole: list[float] = []
    igraphs: list[float] = []
    alike: list[tuple[float, float]] = []
    peer = igraph_of(snapshot)
    ids = [chunk.id for chunk in snapshot.chunks]
    for number, (question, chunk) in enumerate(corpus.questions[:questions]):
        asked = like(vectors.vectors(TENANT, [chunk.id])[0], random)
        cosines = vectors.cosines(TENANT, asked, ids)
        nearest = {ids[node]: float(cosines[node]) for node in np.argsort(-cosines)[:NEAREST].tolist()}
        start = time.perf_counter()
        linked = await linker.link(TENANT, question)
        linking.append(time.perf_counter() - start)
        seeds = {key: 0.5 * cosine / sum(nearest.values()) for key, cosine in nearest.items()}
        for name in linked:
            about = snapshot.subject_chunks(name.entity_id)
            for node in about:
                key = snapshot.chunks[node].id
                seeds[key] = seeds.get(key, 0.0) + 0.5 / len(about) / len(linked)
        draw = attraction(vectors, TENANT, asked, SETTINGS.question_sharpness)
        start, cpu_start = time.perf_counter(), time.thread_time()
        walked = walk(snapshot, seeds, SETTINGS.damping, SETTINGS, (), draw)
        best = walked.passages(20)
        walking.append(time.perf_counter() - start)
        cpu.append(time.thread_time() - cpu_start)
        visited.append(len(walked.around.nodes))
        if number < 20:
            start = time.perf_counter()
            exact = power_iteration(snapshot, seeds, draw)
            whole.append(time.perf_counter() - start)
            alike.append((shared(best, exact, 5), shared(best, exact, 20)))
        if peer is not None and number < 5:
            start = time.perf_counter()
            peer(seeds)
            igraphs.append(time.perf_counter() - start)
    both = np.array(linking) + np.array(walking)
    figures = {
        **percentiles("link", linking),
        **percentiles("walk", walking),
        **percentiles("both", both.tolist()),
        "walk_cpu_p50_ms": float(np.median(cpu)) * 1e3,
        "visited_nodes": float(np.median(visited)),
        "whole_p50_ms": float(np.median(whole)) * 1e3,
        "whole_ratio": float(np.median(whole) / np.median(walking)),
        "top5_alike": float(np.mean([five for five, _ in alike])),
        "top20_alike": float(np.mean([twenty for _, twenty in alike])),
    }
    if igraphs:
        figures |= {"igraph_p50_ms": float(np.median(igraphs)) * 1e3, "igraph_ratio": float(np.median(igraphs) / np.median(walking))}
    return figures


def shared(best: list[tuple[str, float]], exact: list[str], count: int) -> float:
    return len({key for key, _ in best[:count]} & set(exact[:count])) / count


def power_iteration(snapshot: GraphSnapshot, seeds: dict[str, float], draw: Attraction) -> list[str]:
    """The walk on the whole graph as one would write it: the best passages."""
    weights, chunks = snapshot.weights, len(snapshot.chunks)
    drawing = np.ones(snapshot.size)
    drawing[:chunks] = draw([chunk.id for chunk in snapshot.chunks])
    weights = sp.diags_array(drawing) @ weights @ sp.diags_array(drawing)
    restart = restart_of(snapshot, seeds)
    share = 1.0 / np.maximum(np.asarray(weights.sum(axis=1)).ravel(), 1e-12)
    mass: NDArray[np.float64] = restart
    for _ in range(SETTINGS.iterations):
        mass = (1 - SETTINGS.damping) * restart + SETTINGS.damping * (weights @ (mass * share))
    return [snapshot.chunks[node].id for node in np.argsort(-mass[:chunks])[:20].tolist()]


def restart_of(snapshot: GraphSnapshot, seeds: dict[str, float]) -> NDArray[np.float64]:
    restart = np.zeros(snapshot.size)
    for chunk_id, weight in seeds.items():
        restart[snapshot.chunk_index[chunk_id]] = weight
    normalised: NDArray[np.float64] = restart / restart.sum()
    return normalised


def igraph_of(snapshot: GraphSnapshot) -> Callable[[dict[str, float]], Any] | None:
    if importlib.util.find_spec("igraph") is None:
        return None
    import igraph  # type: ignore[import-not-found]

    upper = sp.triu(snapshot.weights, k=1).tocoo()
    graph = igraph.Graph(snapshot.size, list(zip(upper.row.tolist(), upper.col.tolist(), strict=True)))
    graph.es["weight"] = upper.data.tolist()

    def search(seeds: dict[str, float]) -> Any:
        reset = restart_of(snapshot, seeds).tolist()
        return graph.personalized_pagerank(damping=SETTINGS.damping, reset=reset, weights="weight", directed=False)

    return search


async def growth(mirror: GraphMirror, corpus: Corpus, count: int) -> dict[str, float]:
    """Seconds to add a thousand documents, batch by batch: to find the names, and to move the snapshot on."""
    builder = NameGraphBuilder(mirror, Texts(corpus, count))
    start = time.perf_counter()
    await builder.build(TENANT, (), (), {})  # reads all passages for its index of words
    index_s = time.perf_counter() - start
    builder_s = mirror_s = 0.0
    for first in range(count, count + GROWTH, BATCH):
        chunks, recognised = corpus.chunks[first : first + BATCH], corpus.recognised[first : first + BATCH]
        start = time.perf_counter()
        batch = await builder.build(TENANT, chunks, recognised, {})
        built = time.perf_counter()
        await mirror.on_written(TENANT, chunks, np.empty((0, 0), np.float32), batch)
        builder_s, mirror_s = builder_s + built - start, mirror_s + time.perf_counter() - built
    return {"word_index_s": index_s, "find_s_per_1k": builder_s, "write_s_per_1k": mirror_s}


async def mirror_of(corpus: Corpus, count: int, folder: Path) -> GraphMirror:
    class Loaded(InMemoryGraphStore):
        async def load(self, tenant: str) -> GraphContent:
            del tenant
            return content_of(corpus, count) if count else EMPTY_GRAPH

    mirror = GraphMirror(Loaded(), folder, SETTINGS)
    await mirror.load([TENANT])
    return mirror


# --- the synthetic corpus -------------------------------------------------------------------------------------------


def synthetic(count: int, questions: int, random: np.random.Generator) -> Corpus:
    titles = [f"{word(n * 7919 % count)} {word(n)}" for n in range(count)]
    others = [f"{word(n)} {word(n * 104729 % count)} Ltd" for n in range(count)]
    chunks: list[Chunk] = []
    recognised: list[Recognised] = []
    asked: list[tuple[str, Chunk]] = []
    for number in range(count):
        named = random.integers(1, NAMES_PER_PASSAGE + 1)
        ranks = (random.pareto(1.0, named) * 20).astype(int) % count
        is_title = random.random(named) < TITLES_SHARE
        names = [
            titles[rank * 31 % count] if title else others[rank] for rank, title in zip(ranks.tolist(), is_title.tolist(), strict=True)
        ]
        words = [f"w{rank}" for rank in (random.pareto(0.9, WORDS_PER_PASSAGE) * 10).astype(int) % VOCABULARY]
        text, spans = planted(words, names)
        chunks.append(Chunk(f"c{number:07}", f"d{number:07}", "main", 0, titles[number], (), text, Span(0, len(text))))
        seen = [RecognisedName(text[span.start : span.end], "ORG", span) for span in spans]
        recognised.append(Recognised(tuple(seen), ()))
        if number % max(1, (count - GROWTH) // questions) == 0 and number < count - GROWTH:
            asked.append((f"What does {titles[number]} have to do with {names[0]}, and since when?", chunks[-1]))
    return Corpus(chunks, recognised, asked)


def planted(words: list[str], names: list[str]) -> tuple[str, list[Span]]:
    """A text in which names stand among words, and where."""
    text, spans = "", []
    step = max(1, len(words) // len(names))
    for number, name in enumerate(names):
        text += " ".join(words[number * step : (number + 1) * step]) + " "
        spans.append(Span(len(text), len(text) + len(name)))
        text += f"{name}. "
    return text, spans


def word(number: int) -> str:
    """A made-up name, another one for each number."""
    syllables = ["ba", "ko", "ri", "tu", "ne", "la", "mi", "so", "ve", "da"]
    return "".join(syllables[int(digit)] for digit in f"{number:05}").capitalize()


def content_of(corpus: Corpus, count: int) -> GraphContent:
    """What the builder makes of the first passages."""
    entities: dict[str, Entity] = {}
    subjects, mentions = [], []
    ids: dict[str, str] = {}
    for chunk, seen in islice(zip(corpus.chunks, corpus.recognised, strict=True), count):
        for name, kind in [*((each.text, "ORG") for each in seen.names), (chunk.title, TITLE)]:
            if name not in ids:
                ids[name] = entity_id(name)
            if kind == TITLE or ids[name] not in entities:
                entities[ids[name]] = Entity(ids[name], name, kind)
        subjects.append(Subject(chunk.id, ids[chunk.title]))
        mentions += [Mention(chunk.id, ids[each.text], each.span) for each in seen.names]
    nodes = tuple(GraphNodeChunk(chunk.id, chunk.document_id, chunk.collection, 0, chunk.title) for chunk in corpus.chunks[:count])
    return GraphContent(nodes, tuple(entities.values()), tuple(subjects), tuple(mentions), ())


async def synthetic_vectors(corpus: Corpus, random: np.random.Generator) -> PassageVectors:
    """Vectors around topics, so that some passages resemble a question."""
    vectors = PassageVectors(DIMENSION)
    topics = random.standard_normal((TOPICS, DIMENSION))
    for some in batches(corpus.chunks, 5_000):
        rows = topics[random.integers(0, TOPICS, len(some))] + random.standard_normal((len(some), DIMENSION))
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        await vectors.on_written(TENANT, some, rows.astype(np.float32), GraphBatch())
    return vectors


def batches(chunks: Sequence[Chunk], size: int) -> Iterator[Sequence[Chunk]]:
    for start in range(0, len(chunks), size):
        yield chunks[start : start + size]


def like(vector: Floats, random: np.random.Generator) -> Floats:
    """A vector that resembles another: what a question about the passage may look like."""
    asked = vector + random.standard_normal(DIMENSION).astype(np.float32) / DIMENSION**0.5
    unit: Floats = (asked / np.linalg.norm(asked)).astype(np.float32)
    return unit


# --- measuring ------------------------------------------------------------------------------------------------------


def percentiles(name: str, seconds: Sequence[float]) -> dict[str, float]:
    return {f"{name}_p{share}_ms": float(np.percentile(seconds, share)) * 1e3 for share in (50, 99)}


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def table(results: list[dict[str, float]]) -> Table:
    shown = Table("", *(f"{result['passages']:,.0f}" for result in results), title="The graph in this process, by passages")
    for name in results[0]:
        if name != "passages":
            shown.add_row(name, *(f"{result[name]:,.2f}" if result.get(name, 0) < 1_000 else f"{result[name]:,.0f}" for result in results))
    return shown


if __name__ == "__main__":
    typer.run(main)
