"""A cross-encoder from sentence-transformers behind the micro-batching scheduler (extra `torch`)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from router.errors import ConfigurationError, MissingExtra
from router.models import weights
from router.models.base import CrossEncoder
from router.models.batching import MicroBatcher
from router.settings import CrossEncoderSettings

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder as Model

FIELD = "models.cross_encoder"
MAX_TOKENS = 512
"""Longer pairs are cut here, or at the model's own limit."""
MAX_BATCH_TOKENS = 2048
MAX_QUEUE = 4096


class Pair(NamedTuple):
    query: str
    passage: str
    tokens: int


class SentenceTransformersCrossEncoder:
    """A CrossEncoder. `open` it; the constructor takes a loaded model."""

    def __init__(self, name: str, model: Model) -> None:
        self._model = model
        self._batcher: MicroBatcher[Pair, float] = MicroBatcher(
            name, self._predict, lambda pair: pair.tokens, max_batch_tokens=MAX_BATCH_TOKENS, max_queue=MAX_QUEUE
        )

    async def score(self, query: str, passages: Sequence[str]) -> list[float]:
        if not passages:
            return []
        return await self._batcher.submit(await asyncio.to_thread(self._pairs, query, passages))

    async def aclose(self) -> None:
        await self._batcher.aclose()

    def _pairs(self, query: str, passages: Sequence[str]) -> list[Pair]:
        tokenized = self._model.tokenizer([query] * len(passages), list(passages), truncation=True, max_length=self._model.max_seq_length)
        return [Pair(query, passage, len(ids)) for passage, ids in zip(passages, tokenized["input_ids"], strict=True)]

    def _predict(self, batch: Sequence[Pair]) -> list[float]:
        from torch.nn import Sigmoid

        pairs = [(pair.query, pair.passage) for pair in batch]
        scores = self._model.predict(pairs, batch_size=len(pairs), activation_fn=Sigmoid(), show_progress_bar=False)
        return [float(score) for score in scores]


async def open_cross_encoder(settings: CrossEncoderSettings, cache_dir: Path) -> CrossEncoder:
    """Find, check and load the model.

    Raises:
        ConfigurationError: The folder is no cross-encoder with one output, has no safetensors, or they are not the expected ones.
        ModelUnavailable: The model must be downloaded and cannot be.
        MissingExtra: sentence-transformers is not installed.
    """
    try:
        import sentence_transformers  # noqa: F401
    except ModuleNotFoundError as exc:
        raise MissingExtra("torch", f"the cross-encoder {settings.model!r}") from exc
    return SentenceTransformersCrossEncoder(settings.model, await asyncio.to_thread(_load, settings, cache_dir))


def _load(settings: CrossEncoderSettings, cache_dir: Path) -> Model:
    from sentence_transformers import CrossEncoder as Model

    folder, _ = weights.safetensors_model(settings.model, settings.sha256, cache_dir=cache_dir, field=FIELD)
    try:
        model = Model(str(folder), local_files_only=True, trust_remote_code=False, model_kwargs={"use_safetensors": True})
    except (ValueError, OSError, KeyError, RuntimeError) as exc:
        raise ConfigurationError(f"{FIELD}.model: sentence-transformers cannot load {folder}: {exc}", field=f"{FIELD}.model") from exc
    if model.num_labels != 1:
        raise ConfigurationError(
            f"{FIELD}.model: {settings.model} has {model.num_labels} outputs, a reranker has one", field=f"{FIELD}.model"
        )
    model.max_seq_length = min(MAX_TOKENS, model.max_seq_length or MAX_TOKENS)
    return model
