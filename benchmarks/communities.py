"""Communities and summaries of synthetic corpora: time and memory of the first overview, and of the one after 1 % of new passages.

    .venv/bin/python -m benchmarks.communities 2000 20000

Passages of five sentences, four to a document, about one of many themes; two thirds of a passage's names belong to its theme, and names
are as unevenly frequent as in texts. The new passages are about a tenth of the themes. Everything is real (mirror, vectors, MiniLM) but the
stores behind, which are in memory.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Collection
from itertools import pairwise
from pathlib import Path

import numpy as np

from router.models.embedding import open_embedder
from router.retrieval.communities import find_communities
from router.retrieval.summaries import CommunitySummaries
from router.retrieval.summary import SummaryWriter
from router.settings import EmbeddingSettings, GraphSource, WalkSettings
from router.stores.base import GraphBatch, Subject
from router.stores.mirror import GraphMirror
from router.stores.vectors import PassageVectors
from router.testing.fakes import InMemoryGraphStore
from router.types import NO_FILTER, Chunk, Condition, Entity, Filter, Matrix, Mention, Span

TENANT = "bench"
PER_DOCUMENT = 4
PER_THEME = 250
OWN_NAMES, OTHER_NAMES = 4, 2


class _Corpus:
    """Passages and their names, drawn with a fixed seed."""

    def __init__(self, size: int) -> None:
        self.random = np.random.default_rng(5)
        self.themes = max(4, size // PER_THEME)
        self.names_per_theme = PER_THEME
        self.chunks: dict[str, Chunk] = {}

    def batch(self, first: int, count: int, themes: int) -> tuple[list[Chunk], Matrix, GraphBatch]:
        numbers = range(first, first + count)
        chunks, entities, mentions, subjects, vectors = [], {}, [], [], []
        for number in numbers:
            document, ordinal = divmod(number, PER_DOCUMENT)
            theme = document % themes
            names = sorted(self._names(theme))
            text = " ".join(f"Name {name} was looked at with name {other} in the year {number}." for name, other in pairwise(names))
            chunk = Chunk(
                f"{number:032x}",
                f"d{document}",
                "main",
                ordinal,
                f"Document {document}",
                (),
                text,
                Span(0, len(text)),
                {"half": number % 2},
            )
            chunks.append(chunk)
            entities[f"e{document}"] = Entity(f"e{document}", f"Document {document}", "TITLE")
            subjects.append(Subject(chunk.id, f"e{document}"))
            for name in names:
                entities[f"n{name}"] = Entity(f"n{name}", f"Name {name}", "ORG")
                mentions.append(Mention(chunk.id, f"n{name}", Span(0, 1)))
            other = int(self.random.integers(0, max(1, document)))
            if f"{other * PER_DOCUMENT:032x}" in self.chunks and other % themes == theme:
                mentions.append(Mention(chunk.id, f"e{other}", Span(0, 1)))
            vectors.append(np.random.default_rng(theme).standard_normal(384) + 2 * self.random.standard_normal(384))
        self.chunks |= {chunk.id: chunk for chunk in chunks}
        matrix = np.array(vectors, dtype=np.float32)
        matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
        return chunks, matrix, GraphBatch(tuple(chunks), tuple(entities.values()), tuple(subjects), tuple(mentions))

    def _names(self, theme: int) -> set[int]:
        own = np.minimum(self.random.zipf(1.3, OWN_NAMES), self.names_per_theme - 1) + theme * self.names_per_theme
        any_ = self.random.integers(0, self.themes * self.names_per_theme, OTHER_NAMES)
        return {int(name) for name in (*own, *any_)}

    async def passages(self, tenant: str, ids: Collection[str]) -> dict[str, Chunk]:
        return {key: self.chunks[key] for key in ids if key in self.chunks} if tenant == TENANT else {}


class _Passages:
    def __init__(self, corpus: _Corpus) -> None:
        self.chunks = corpus.passages


async def measure(size: int) -> None:
    corpus, mirror, vectors = (
        _Corpus(size),
        GraphMirror(InMemoryGraphStore(), Path(tempfile.mkdtemp()), WalkSettings()),
        PassageVectors(384),
    )
    embedder = await open_embedder(EmbeddingSettings(), Path(tempfile.mkdtemp()))
    summaries = CommunitySummaries(SummaryWriter(GraphSource(), vectors, _Passages(corpus), embedder), 8, vectors, _Passages(corpus))

    async def write(first: int, count: int, themes: int) -> None:
        chunks, matrix, batch = corpus.batch(first, count, themes)
        await mirror.on_written(TENANT, chunks, matrix, batch)
        await vectors.on_written(TENANT, chunks, matrix, batch)

    async def overview(what: str, where: Filter = NO_FILTER) -> None:
        snapshot, started = await mirror.current(TENANT), time.perf_counter()
        found = await summaries.largest(TENANT, snapshot, where)
        print(f"{what:<34} {time.perf_counter() - started:7.2f} s  {len(found)} summaries, largest share {found[0][1]:.3f}")

    await write(0, size, corpus.themes)
    snapshot = await mirror.current(TENANT)
    started = time.perf_counter()
    edges = snapshot.weights.nnz // 2
    print(f"\n{size} passages, {snapshot.size} nodes, {edges} edges; weights worked out in {time.perf_counter() - started:.2f} s")
    before = _resident_mb("VmRSS", forget_peak=True)
    started = time.perf_counter()
    first = find_communities(snapshot)
    peak = _resident_mb("VmHWM") - before
    print(f"{'communities, from nothing':<34} {time.perf_counter() - started:7.2f} s  {len(first.passages)} found, {peak:.0f} MB more")
    await overview("first overview (8 summaries)")
    await overview("again")
    await overview("under a filter (half of it)", Filter(must=(Condition("half", equals=1),)))
    await write(size, size // 100, max(1, corpus.themes // 10))
    grown = await mirror.current(TENANT)
    started = time.perf_counter()
    edges = grown.weights.nnz // 2
    print(f"{'1 % more passages: weights':<34} {time.perf_counter() - started:7.2f} s")
    started = time.perf_counter()
    later = find_communities(grown, first)
    took = time.perf_counter() - started
    known = {frozenset(group.tolist()) for group in first.passages}
    same = sum(frozenset(group.tolist()) in known for group in later.passages)
    moved = sum(
        len(group) - max(np.bincount([first.membership.get(grown.chunks[node].id, 0) for node in group.tolist()]))
        for group in later.passages
    )
    print(
        f"{'1 % more passages: communities':<34} {took:7.2f} s  {same} of {len(later.passages)} as they were, {moved} passages moved or new"
    )
    await overview("1 % more passages: overview")
    summaries.close()
    await embedder.aclose()


def _resident_mb(field: str, *, forget_peak: bool = False) -> float:
    if forget_peak:
        Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


async def main() -> None:
    for size in map(int, sys.argv[1:] or ("2000", "20000")):
        await measure(size)


if __name__ == "__main__":
    asyncio.run(main())
