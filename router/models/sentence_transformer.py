"""Any text model that sentence-transformers loads from safetensors: a folder or a name of the Hugging Face hub (extra `torch`)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from router.errors import ConfigurationError, MissingExtra
from router.models import weights
from router.models.batching import MicroBatcher
from router.models.instructions import encoded, prompt_of, takes_instructions
from router.settings import EmbeddingSettings
from router.types import Matrix, Vector

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

FIELD = "models.embedding"
SPECIAL_TOKENS = 2


class SentenceTransformerEmbedder:
    """An Embedder. `open` it; the constructor takes what is already loaded."""

    def __init__(self, name: str, dimension: int, model: SentenceTransformer, settings: EmbeddingSettings) -> None:
        self.name = name
        self.dimension = dimension
        self.takes_instructions = takes_instructions(model)
        self._model = model
        self._max_tokens = settings.max_tokens
        self._batcher: MicroBatcher[tuple[str, int, str | None], Vector] = MicroBatcher(
            name, self._forward, lambda item: item[1], max_batch_tokens=settings.max_batch_tokens, max_queue=settings.max_queue
        )

    @classmethod
    async def open(cls, settings: EmbeddingSettings, cache_dir: Path) -> SentenceTransformerEmbedder:
        """Find, check and load the model.

        Raises:
            ConfigurationError: The folder is no model, has no safetensors, or they are not the expected ones.
            ModelUnavailable: The model must be downloaded and cannot be.
            MissingExtra: sentence-transformers is not installed.
        """
        try:
            import sentence_transformers  # noqa: F401
        except ModuleNotFoundError as exc:
            raise MissingExtra("torch", f"the embedding model {settings.model!r}") from exc
        name, model = await asyncio.to_thread(_load, settings, cache_dir)
        dimension = await asyncio.to_thread(lambda: len(model.encode("warm up", show_progress_bar=False)))
        return cls(name, dimension, model, settings)

    async def embed(self, texts: Sequence[str]) -> Matrix:
        return await self._embed(texts, None)

    async def embed_instructed(self, texts: Sequence[str], instruction: str, /) -> Matrix:
        return await self._embed(texts, prompt_of(self._model, instruction))

    async def _embed(self, texts: Sequence[str], prompt: str | None) -> Matrix:
        if not texts:
            return np.empty((0, self.dimension), np.float32)
        return np.stack(await self._batcher.submit(await asyncio.to_thread(self._with_lengths, texts, prompt)))

    async def aclose(self) -> None:
        await self._batcher.aclose()

    def _with_lengths(self, texts: Sequence[str], prompt: str | None) -> list[tuple[str, int, str | None]]:
        whole = [f"{prompt or ''}{text}" for text in texts]
        tokenized = self._model.tokenizer(whole, add_special_tokens=False, verbose=False)["input_ids"]
        return [(text, min(len(ids) + SPECIAL_TOKENS, self._max_tokens), prompt) for text, ids in zip(texts, tokenized, strict=True)]

    def _forward(self, batch: Sequence[tuple[str, int, str | None]]) -> list[Vector]:
        texts, _, prompts = zip(*batch, strict=True)
        return encoded(self._model, texts, prompts, str)


def _load(settings: EmbeddingSettings, cache_dir: Path) -> tuple[str, SentenceTransformer]:
    import torch
    from sentence_transformers import SentenceTransformer

    folder, file = weights.safetensors_model(settings.model, settings.sha256, cache_dir=cache_dir, field=FIELD)
    # A folder's name says nothing about its content; a new fine-tune under the old name is a new space.
    name = f"{folder.name}-{weights.sha256(file, cache_dir)[:12]}" if Path(settings.model).is_dir() else settings.model
    torch.set_num_threads(settings.threads)
    try:
        model = SentenceTransformer(str(folder), local_files_only=True, trust_remote_code=False, model_kwargs={"use_safetensors": True})
    except (ValueError, OSError, KeyError, RuntimeError) as exc:
        raise ConfigurationError(f"{FIELD}.model: sentence-transformers cannot load {folder}: {exc}", field=f"{FIELD}.model") from exc
    limit = model.max_seq_length
    if limit is not None and settings.max_tokens > limit:
        raise ConfigurationError(f"{settings.model} takes at most {limit} tokens", field=f"{FIELD}.max_tokens")
    model.max_seq_length = settings.max_tokens
    return name, model
