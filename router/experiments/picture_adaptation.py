"""Adapts `aligned` to pictures with captions of one's own, and measures what that is worth on those that it was not fitted to.

A ridge regression (Hoerl and Kennard 1970) from the network's features to the captions' vectors, in closed form. Both sides are less their
mean, so that pictures of another kind are moved little.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from router.errors import InvalidInput
from router.experiments.multimodal import Item, Run, Task, captions_task, embed_texts, load_pictures
from router.models import arrays
from router.models.adaptation import Adaptation
from router.models.aligned import FIELD, NAME, PROJECTION, Network, Projection, network_weights, squares
from router.models.embedding import open_embedder
from router.models.spaces import unit_rows
from router.settings import EmbeddingSettings, PictureSettings
from router.types import Matrix

PENALTY = 1000.0
"""Of the regression, for features of deviation 1 (docs/multimodal.md: what others give)."""
PARTS = 5
LEAST_PICTURES = 20
BATCH_PICTURES = 16


@dataclass(frozen=True, slots=True)
class Adapted:
    adaptation: Adaptation
    """Fitted to all pictures."""
    runs: tuple[Run, ...]
    """Pictures by their texts, a fifth at a time: as the space finds them now, and by an adaptation to the other four."""


async def adapt(items: Sequence[Item], settings: PictureSettings, cache_dir: Path, progress: Callable[[int], None]) -> Adapted:
    """Fit to all pictures, and measure by parts.

    Args:
        items: Pictures with texts.
        settings: Of `aligned`.
        cache_dir: For known digests.
        progress: Called with the number of pictures done.

    Raises:
        InvalidInput: Fewer than 20 pictures, or one that cannot be read.
        ModelUnavailable: A package with weights is not installed.
        ConfigurationError: A file of weights is not the expected one.
    """
    if len(items) < LEAST_PICTURES:
        raise InvalidInput(f"{len(items)} pictures are too few to learn from: give at least {LEAST_PICTURES}", field="dir")
    network = Network(network_weights(settings, cache_dir), settings.threads)
    stored, _ = arrays.read(PROJECTION, cache_dir=cache_dir, field=f"{FIELD}.model")
    features, vectors = _look(items, network, Projection(stored), progress)
    texts, has = captions_task(items)
    words = await open_embedder(EmbeddingSettings(), cache_dir)
    try:
        asked = await embed_texts(texts, words)
    finally:
        await words.aclose()
    holds = has.gold.T
    captions = np.asarray(holds @ asked / holds.sum(1, keepdims=True), np.float32)
    before, after = Run(NAME), Run(f"adapted to the other {PARTS - 1}/{PARTS}")
    # Stretches of the file: pictures of one place or day often follow each other, and would tell of each other too much.
    for part in np.array_split(np.arange(len(items)), PARTS):
        others = np.setdiff1d(np.arange(len(items)), part)
        own = np.flatnonzero(holds[part].any(0))
        task = Task(has.name, has.gold[np.ix_(own, part)])
        before.add(task, asked[own] @ vectors[part].T)
        after.add(task, asked[own] @ fit(features[others], captions[others])(vectors[part], features[part]).T)
    return Adapted(fit(features, captions), (before, after))


def fit(features: Matrix, captions: Matrix) -> Adaptation:
    """Learn from pictures with captions.

    Args:
        features: Of each picture, (pictures, 1280).
        captions: The mean vector of each picture's texts, (pictures, dimension).
    """
    mean, spread = features.mean(0), float(features.std(0).mean()) or 1.0
    rows = (features - mean) / spread
    wanted = unit_rows(captions)
    wanted = wanted - wanted.mean(0)
    # In the dual, which is small for few pictures: weights = rows' (rows rows' + penalty)^-1 wanted.
    kernel = rows @ rows.T + PENALTY * np.eye(len(rows), dtype=np.float32)
    weights = rows.T @ np.linalg.solve(kernel, wanted) / spread
    return Adaptation(np.asarray(weights, np.float32), np.asarray(-mean @ weights, np.float32))


def _look(items: Sequence[Item], network: Network, projection: Projection, progress: Callable[[int], None]) -> tuple[Matrix, Matrix]:
    """Features, and the vectors of `aligned`."""
    features, vectors = [], []
    for start in range(0, len(items), BATCH_PICTURES):
        some = load_pictures([item.image for item in items[start : start + BATCH_PICTURES]])
        seen, logits = network(squares(some))
        features.append(seen)
        vectors.append(projection(seen, logits))
        progress(len(some))
    return np.concatenate(features), np.concatenate(vectors)
