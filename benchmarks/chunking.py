"""Structured passages against plain windows: `python -m benchmarks.chunking FOLDER [--documents N] [--questions N] [--words N,N]`.

Both get the document's title and the same embedder, and are searched by cosine alone. A question counts as answered when its answer stands
in the first five passages (a sentence: the share of its words found there), and again in as many passages as make up a given number of
words, since shorter passages put less before the reader. Differences are paired by question.

`read large` ranks the structured passages and reads each with the neighbours of its section (router/retrieval/reading.py).
"""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from router.corpus.chunk import Chunker, Passage, document_id, embedded_text, to_chunks
from router.corpus.formats import read_plain
from router.corpus.text import LoadedDocument
from router.experiments.comparison import paired_difference
from router.experiments.dataset import Half, Question, load_dataset
from router.experiments.metrics import answer_metrics, mean
from router.experiments.result_file import writable
from router.models.base import Embedder
from router.models.embedding import open_embedder
from router.retrieval.passages import passage_evidence
from router.retrieval.reading import as_read, windows
from router.settings import CorpusSettings, EmbeddingSettings
from router.types import Chunk, Evidence, Matrix, Span

K = 5
RANKED = 30
READ_WORDS = 800
SEED = 11
TEXTS_AT_ONCE = 256
MAX_CHARS = 50_000_000
WINDOWS, STRUCTURE = "windows", "structure"

Cut = Callable[[LoadedDocument], list[Passage]]
Figures = dict[str, Any]
Documents = dict[str, tuple[str, LoadedDocument]]
"""By id: title and text."""
Values = dict[str, dict[str, float]]
"""By measure, by question."""


def main(
    folder: Path,
    documents: Annotated[int, typer.Option(help="So many documents, drawn at random from those that a question is about.")] = 60,
    questions: Annotated[int, typer.Option(help="At most so many questions, spread evenly.")] = 300,
    read: Annotated[str, typer.Option(help="Words to which a passage is widened for reading, separated by commas.")] = "400",
    words: Annotated[str, typer.Option(help="Longest passages, in words, separated by commas.")] = "220",
    overlap: Annotated[int, typer.Option(help="Words that neighbouring passages share.")] = CorpusSettings().chunk_overlap_tokens,
    half: Annotated[Half | None, typer.Option(help="Only the questions at even or odd places.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", callback=writable, help="Write the figures there as well.")] = None,
) -> None:
    """Compare both ways of cutting on one set of long documents."""
    sizes = [int(size) for size in words.split(",")]
    larger = [int(count) for count in read.split(",")]
    figures = asyncio.run(compare(folder, documents, questions, sizes, larger, overlap, half))
    Console(width=140).print(table(folder.name, figures))
    if json_file is not None:
        json_file.write_text(json.dumps(figures, indent=2) + "\n")


async def compare(
    folder: Path, documents: int, limit: int, sizes: Sequence[int], larger: Sequence[int], overlap: int, half: Half | None
) -> list[Figures]:
    texts, asked = sample(folder, documents, limit, half)
    figures: list[Figures] = []
    with tempfile.TemporaryDirectory() as cache:
        embedder = await open_embedder(EmbeddingSettings(threads=1), Path(cache))
        vectors = await embedder.embed([question.text for question in asked])
        for size in sizes:
            ways: dict[str, Cut] = {WINDOWS: fixed_windows(size, overlap), STRUCTURE: Chunker(size, overlap).passages}
            values: dict[str, Values] = {}
            for name, cut in ways.items():
                chunks = [chunk for key, (title, document) in texts.items() for chunk in cut_up(key, title, document, cut)]
                ranked = rankings(vectors, chunks, await embedded(embedder, chunks))
                values[name] = answered(asked, [[passage_evidence(chunk) for chunk in found] for found in ranked])
                figures.append(row(size, name, chunks, values))
            by_document = {key: list(group) for key, group in groupby(chunks, lambda chunk: chunk.document_name)}
            for count in larger:
                read = [read_large(found, by_document, texts, count) for found in ranked]
                values[f"{STRUCTURE}, read {count}"] = answered(asked, read)
                figures.append(row(size, f"{STRUCTURE}, read {count}", chunks, values))
        await embedder.aclose()
    return figures


def sample(folder: Path, documents: int, limit: int, half: Half | None) -> tuple[Documents, list[Question]]:
    """Documents (id -> title and text) and questions about them whose answer can be looked for."""
    dataset = load_dataset(folder)
    passages = {passage.id: (passage.title, passage.text) for passage in dataset.passages()}
    told = [question for question in dataset.some_questions(half=half) if answer_metrics((), question, K)]
    wanted = sorted({gold for question in told for gold in question.gold} or passages)
    chosen = [str(key) for key in np.random.default_rng(SEED).permutation(wanted)[:documents]]
    about = [question for question in told if not question.gold or question.gold & set(chosen)]
    step = max(1.0, len(about) / limit)
    read = {key: (passages[key][0], read_plain(passages[key][1].encode(), MAX_CHARS)) for key in chosen}
    return read, [about[int(number * step)] for number in range(min(limit, len(about)))]


def fixed_windows(size: int, overlap: int) -> Cut:
    """Every `size` words, the last `overlap` of them again in the next window; nothing of the text is looked at."""

    def cut(document: LoadedDocument) -> list[Passage]:
        places = [match.span() for match in re.finditer(r"\S+", document.text)]
        starts = range(0, max(1, len(places) - overlap), size - overlap)
        windows = [places[start : start + size] for start in starts]
        return [Passage((), Span(window[0][0], window[-1][1])) for window in windows if window]

    return cut


def cut_up(key: str, title: str, document: LoadedDocument, cut: Cut) -> Sequence[Chunk]:
    identity = document_id("benchmark", key)
    return to_chunks(document.text, cut(document), document_id=identity, document_name=key, collection="main", title=title, metadata={})


async def embedded(embedder: Embedder, chunks: Sequence[Chunk]) -> Matrix:
    texts = [embedded_text(chunk) for chunk in chunks]
    return np.concatenate([await embedder.embed(texts[start : start + TEXTS_AT_ONCE]) for start in range(0, len(texts), TEXTS_AT_ONCE)])


def rankings(asked: Matrix, chunks: Sequence[Chunk], vectors: Matrix) -> list[list[Chunk]]:
    """The nearest passages of each question, best first."""
    return [[chunks[place] for place in np.argsort(-(vectors @ vector), kind="stable")[:RANKED]] for vector in asked]


def read_large(found: Sequence[Chunk], chunks: Mapping[str, Sequence[Chunk]], texts: Documents, words: int) -> list[Evidence]:
    """The passages widened to their section, best first."""
    items = {chunk.id: passage_evidence(chunk) for chunk in found}
    read: dict[str, Evidence] = {}
    for name in {chunk.document_name for chunk in found}:
        text = texts[name][1].text
        for window in windows([chunk for chunk in found if chunk.document_name == name], chunks[name], words):
            read[window.hits[0]] = as_read(window, text[window.span.start : window.span.end], items)
    return [read[chunk.id] for chunk in found if chunk.id in read]


def answered(questions: Sequence[Question], rankings: Sequence[Sequence[Evidence]]) -> Values:
    values: Values = {f"first {K}": {}, f"first {READ_WORDS} words": {}}
    for question, ranked in zip(questions, rankings, strict=True):
        read = within(ranked, READ_WORDS)
        values[f"first {K}"][question.id] = next(iter(answer_metrics(ranked, question, K).values()))
        values[f"first {READ_WORDS} words"][question.id] = next(iter(answer_metrics(read, question, len(read)).values()))
    return values


def within(ranked: Sequence[Evidence], words: int) -> list[Evidence]:
    """The first passages, the last one cut, that together have so many words."""
    read: list[Evidence] = []
    for item in ranked:
        own = item.text.split()
        read.append(replace(item, text=" ".join(own[:words])))
        words -= len(own)
        if words <= 0:
            break
    return read


def row(size: int, name: str, chunks: Sequence[Chunk], values: dict[str, Values]) -> Figures:
    figures: Figures = {
        "words": size,
        "cut": name,
        "passages": len(chunks),
        "mean_words": mean([len(chunk.text.split()) for chunk in chunks]),
    }
    for measure, column in values[name].items():
        figures[measure] = 100 * mean(column.values())
        if name != WINDOWS:
            found = paired_difference(column, values[WINDOWS][measure])
            figures[f"{measure}: difference"] = [100 * found.mean, 100 * found.low, 100 * found.high]
            figures["questions"] = found.questions
    return figures


def table(title: str, figures: Sequence[Figures]) -> Table:
    """In percent; differences from the windows of the same size in points, with their 95 % interval."""
    measures = [name for name in figures[0] if name.startswith("first")]
    shown = Table(title=f"{title}: answer in what is read")
    for name in ("words", "cut", "passages", "mean words", *measures):
        shown.add_column(name)
    for one in figures:
        cells = []
        for measure in measures:
            difference = one.get(f"{measure}: difference")
            more = " ({:+.1f} [{:+.1f}, {:+.1f}])".format(*difference) if isinstance(difference, list) else ""
            cells.append(f"{one[measure]:.1f}{more}")
        shown.add_row(str(one["words"]), str(one["cut"]), str(one["passages"]), f"{one['mean_words']:.0f}", *cells)
    return shown


if __name__ == "__main__":
    typer.run(main)
