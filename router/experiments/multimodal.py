"""`eval multimodal`: finding pictures by words, words by a picture, pictures by a picture, and by a picture that words change."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import bm25s
import numpy as np
import Stemmer
from numpy.typing import NDArray

from router.errors import InvalidInput
from router.experiments.metrics import half_width, mean
from router.models.base import Embedder
from router.models.pictures import load_picture
from router.models.spaces import Composition, EmbeddingSpace
from router.types import Matrix, Pixels

CUTS = (1, 5, 10)
PICTURES_AT_ONCE = 32
TWO_STEP_CANDIDATES = 100
MOST_COMPOSED = 4000
"""Composed queries that are measured, spread evenly over all."""
ARTICLE, COLOUR = "articleType", "baseColour"
"""What composed queries keep and change, where a set names nothing else."""
RESERVED = frozenset({"id", "image", "caption", "captions", "template_captions", "attributes", "width", "height", "licence"})
Values = dict[str, list[float]]
Scores = NDArray[np.float32]
Gold = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Item:
    image: Path
    texts: tuple[str, ...]
    attributes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Task:
    """Queries of one kind: what is right for each, and which candidates do not count (the query itself)."""

    name: str
    gold: Gold
    hidden: Gold | None = None


@dataclass(slots=True)
class Run:
    """One way of searching, and what it is worth in each task."""

    name: str
    values: Values = field(default_factory=dict)
    more: dict[str, float] = field(default_factory=dict)

    def add(self, task: Task, scores: Scores) -> None:
        """Measure a ranking: recall@k, 1 when something right is among the first k, and the mean average precision.

        Of several rankings of one task all queries count the same.
        """
        for name, column in _measured(task, scores).items():
            self.values.setdefault(f"{task.name}/{name}", []).extend(column)

    def document(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "metrics": {name: mean(column) for name, column in self.values.items()} | self.more,
            "intervals": {name: half_width(column) for name, column in self.values.items()},
            "counts": {name: len(column) for name, column in self.values.items()},
        }


@dataclass(frozen=True, slots=True)
class Found:
    """All runs, and what a montage is drawn from: per text its vector's ranking of the pictures."""

    runs: list[Run]
    items: list[Item]
    texts: list[str]
    task: Task
    scores: Scores


def read_items(folder: Path, limit: int | None = None) -> list[Item]:
    """The set's pictures with their texts and attributes.

    Texts are `captions` or `caption`, else `template_captions`, else "a photo of a LABEL". Attributes are `attributes`, else all other
    values that are text.

    Raises:
        InvalidInput: No `items.jsonl`, a line that is none, or an item without a picture, its file or a text.
    """
    file = folder / "items.jsonl"
    if not file.is_file():
        raise InvalidInput(f"{folder} has no items.jsonl", field="dir")
    lines = file.read_text(encoding="utf-8").splitlines()
    if limit is not None and limit < len(lines):
        lines = [lines[number * len(lines) // limit] for number in range(limit)]
    items = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            texts = row.get("captions") or [*filter(None, [row.get("caption")])] or row.get("template_captions")
            texts = texts or [f"a photo of a {row['label']}"]
            attributes = row.get("attributes") or {key: value for key, value in row.items() if key not in RESERVED}
            attributes = {key: value for key, value in attributes.items() if isinstance(value, str) and value}
            items.append(Item(folder / row["image"], tuple(dict.fromkeys(texts)), attributes))
        except (json.JSONDecodeError, KeyError, AttributeError, TypeError) as exc:
            raise InvalidInput(
                f"{file}, line {number}: no item with `image` and `captions`, `caption` or `label` ({exc})", field="dir"
            ) from exc
        if not items[-1].image.is_file():
            raise InvalidInput(f"{file}, line {number}: there is no file {items[-1].image}", field="dir")
    return items


async def measure(
    items: Sequence[Item],
    space: EmbeddingSpace,
    words: Embedder,
    *,
    keep: str,
    change: str,
    progress: Callable[[int], None],
    sweep: Sequence[float] = (),
) -> Found:
    """Embed everything once and run all tasks that the set has something for.

    Args:
        items: The pictures.
        space: Searched.
        words: The text embedder of the baseline over captions.
        keep: Attribute that composed queries keep.
        change: Attribute that they change.
        progress: Called with the number of pictures done.
        sweep: Weights of the words to measure composed queries with, besides the space's own.
    """
    started = time.monotonic()
    pictures = await _embed_pictures([item.image for item in items], space, progress)
    seconds = time.monotonic() - started
    run, chance = Run(f"{space.name}"), Run("chance")
    lexical, dense = Run("BM25 over captions"), Run(f"{words.name} over captions")
    run.more["pictures_per_s"] = len(items) / max(seconds, 1e-9)

    texts, by_words = captions_task(items)
    vectors = await embed_texts(texts, space.text)
    by_picture = Task("image_to_text", by_words.gold.T)
    similar = vectors @ pictures.T
    for task, scores in ((by_words, similar), (by_picture, similar.T)):
        run.add(task, scores)
        _add_chance(chance, task)

    own = pictures @ pictures.T
    itself = np.eye(len(items), dtype=bool)
    for name in shared_attributes(items):
        values = np.array([item.attributes.get(name, "") for item in items])
        gold = (values[:, None] == values[None, :]) & (values != "")[:, None] & ~itself
        asked = gold.any(1)
        task = Task(f"image_to_image/{name}", gold[asked], itself[asked])
        run.add(task, own[asked])
        _add_chance(chance, task)

    described = described_queries(items, keep, change)
    if described:
        task = Task("description_to_image", np.array(list(described.values())))
        asked_words = list(described)
        run.add(task, await embed_texts(asked_words, space.text) @ pictures.T)
        _add_chance(chance, task)
        lexical.add(task, _bm25_scores([" ".join(item.texts) for item in items], asked_words))
        captions = await embed_texts([item.texts[0] for item in items], words)
        dense.add(task, await embed_texts(asked_words, words) @ captions.T)

    composed = composed_queries(items, keep, change)
    if composed.pictures.size:
        changed = await embed_texts([f"in {value.lower()}" for value in composed.values], space.text)
        _measure_composed(run, composed, pictures, changed, space.composition, sweep)
        _add_chance(chance, Task("composed", composed.gold, composed.hidden(len(items))))
    runs = [one for one in (run, chance, lexical, dense) if one.values]
    return Found(runs, list(items), texts, by_words, similar)


def captions_task(items: Sequence[Item]) -> tuple[list[str], Task]:
    """Each different text, and which pictures have it."""
    texts = list(dict.fromkeys(text for item in items for text in item.texts))
    place = {text: number for number, text in enumerate(texts)}
    holds = np.zeros((len(texts), len(items)), bool)
    for number, item in enumerate(items):
        holds[[place[text] for text in item.texts], number] = True
    return texts, Task("text_to_image", holds)


@dataclass(frozen=True, slots=True)
class Composed:
    """Query pictures, the value that words ask for instead, and the pictures of the same article that have it."""

    pictures: NDArray[np.int64]
    values: list[str]
    gold: Gold

    def hidden(self, count: int) -> Gold:
        """A query picture is no answer."""
        return np.asarray(np.arange(count)[None, :] == self.pictures[:, None])


def composed_queries(items: Sequence[Item], keep: str, change: str) -> Composed:
    """Every picture with every other value of `change` that its article (`keep`) comes in; of many, some."""
    pairs = [(item.attributes.get(keep, ""), item.attributes.get(change, "")) for item in items]
    holders: dict[tuple[str, str], list[int]] = {}
    for number, pair in enumerate(pairs):
        if all(pair):
            holders.setdefault(pair, []).append(number)
    queries = [
        (number, value, found)
        for number, (article, colour) in enumerate(pairs)
        if article and colour
        for (other, value), found in holders.items()
        if other == article and value != colour
    ]
    if len(queries) > MOST_COMPOSED:
        queries = [queries[number * len(queries) // MOST_COMPOSED] for number in range(MOST_COMPOSED)]
    gold = np.zeros((len(queries), len(items)), bool)
    for row, (_, _, found) in enumerate(queries):
        gold[row, found] = True
    return Composed(np.array([number for number, _, _ in queries], np.int64), [value for _, value, _ in queries], gold)


def described_queries(items: Sequence[Item], keep: str, change: str) -> dict[str, list[bool]]:
    """Words such as "red casual shoes" -> which pictures show that, for every pair of values that occurs."""
    described: dict[str, list[bool]] = {}
    for number, item in enumerate(items):
        if (article := item.attributes.get(keep)) and (colour := item.attributes.get(change)):
            described.setdefault(f"{colour} {article}".lower(), [False] * len(items))[number] = True
    return described


def shared_attributes(items: Sequence[Item]) -> list[str]:
    """Attributes that group pictures: some value is held by several, and none by nearly all."""
    names = dict.fromkeys(name for item in items for name in item.attributes)
    grouping = []
    for name in names:
        counts = Counter(item.attributes[name] for item in items if name in item.attributes)
        if len(counts) < len(items) / 2 and 1 < max(counts.values()) < 0.95 * len(items):
            grouping.append(name)
    return grouping


def _measure_composed(
    run: Run, composed: Composed, pictures: Matrix, changed: Matrix, composition: Composition, sweep: Sequence[float]
) -> None:
    hidden = composed.hidden(len(pictures))
    asked = pictures[composed.pictures]
    by_picture, by_words = asked @ pictures.T, changed @ pictures.T
    run.add(Task("composed_picture_alone", composed.gold, hidden), by_picture)
    run.add(Task("composed_words_alone", composed.gold, hidden), by_words)
    for weight in (None, *sweep):
        one = composition if weight is None else replace(composition, text_weight=weight)
        suffix = "" if weight is None else f"={weight:g}"
        mixed = np.stack([one.compose(picture, text) for picture, text in zip(asked, changed, strict=True)])
        run.add(Task(f"composed_sum{suffix}", composed.gold, hidden), mixed @ pictures.T)
        run.add(Task(f"composed_two_step{suffix}", composed.gold, hidden), _two_step(one, asked, changed, pictures, by_picture, hidden))


def _two_step(one: Composition, asked: Matrix, changed: Matrix, pictures: Matrix, by_picture: Scores, hidden: Gold) -> Scores:
    """The nearest pictures re-scored with the words; the others stay behind them, in their order."""
    scores = by_picture - 10
    near = np.argsort(-np.where(hidden, -np.inf, by_picture), axis=1)[:, :TWO_STEP_CANDIDATES]
    for row, candidates in enumerate(near):
        scores[row, candidates] = one.rescore(asked[row], changed[row], pictures[candidates])
    return scores


def _measured(task: Task, scores: Scores) -> Values:
    """Of equal scores the wrong ones come first, so that a measure is never flattered by them."""
    found: Values = {name: [] for name in (*(f"recall@{k}" for k in CUTS), "map")}
    for row, line in enumerate(scores):
        allowed = np.ones(len(line), bool) if task.hidden is None else ~task.hidden[row]
        gold = task.gold[row][allowed]
        order = np.lexsort((gold, -line[allowed]))
        right = np.flatnonzero(gold[order]) + 1
        for k in CUTS:
            found[f"recall@{k}"].append(float(right.size > 0 and right[0] <= k))
        found["map"].append(float(np.mean(np.arange(1, right.size + 1) / right)) if right.size else 0.0)
    return found


def _add_chance(chance: Run, task: Task) -> None:
    """What a shuffled list is expected to find; its average precision is taken as the share of right candidates."""
    for row, gold in enumerate(task.gold):
        count = len(gold) - (0 if task.hidden is None else int(task.hidden[row].sum()))
        right = int(gold.sum())
        for k in CUTS:
            missed = np.prod([(count - right - drawn) / (count - drawn) for drawn in range(min(k, count))])
            chance.values.setdefault(f"{task.name}/recall@{k}", []).append(1 - max(0.0, float(missed)))
        chance.values.setdefault(f"{task.name}/map", []).append(right / count)


def _bm25_scores(passages: Sequence[str], queries: Sequence[str]) -> Scores:
    stemmer = Stemmer.Stemmer("english")
    corpus = bm25s.tokenize(list(passages), stopwords="en", stemmer=stemmer, return_ids=False, show_progress=False)
    index = bm25s.BM25()
    index.index(corpus, show_progress=False)
    asked = bm25s.tokenize(list(queries), stopwords="en", stemmer=stemmer, return_ids=False, show_progress=False)
    return np.stack([index.get_scores(words) if words else np.zeros(len(passages), np.float32) for words in asked])


async def _embed_pictures(files: Sequence[Path], space: EmbeddingSpace, progress: Callable[[int], None]) -> Matrix:
    assert space.pictures is not None
    rows = []
    for start in range(0, len(files), PICTURES_AT_ONCE):
        some = files[start : start + PICTURES_AT_ONCE]
        rows.append(await space.pictures.embed(await asyncio.to_thread(load_pictures, some)))
        progress(len(some))
    return np.concatenate(rows)


def load_pictures(files: Sequence[Path]) -> list[Pixels]:
    """Raises PictureRejected, which names the file."""
    return [load_picture(file.read_bytes(), field=file.name) for file in files]


async def embed_texts(texts: Sequence[str], embedder: Embedder) -> Matrix:
    """Each different text once, in parts that fit the queue."""
    different = list(dict.fromkeys(texts))
    parts = [await embedder.embed(different[start : start + 256]) for start in range(0, len(different), 256)]
    vectors = dict(zip(different, np.concatenate(parts), strict=True))
    return np.stack([vectors[text] for text in texts])
