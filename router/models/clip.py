"""Any model of words and pictures that sentence-transformers loads from safetensors: CLIP, SigLIP, and so on (extra `torch`)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np
from PIL import Image

from router.errors import ConfigurationError, MissingExtra
from router.models import weights
from router.models.batching import MicroBatcher
from router.models.instructions import encoded, prompt_of, takes_instructions, takes_messages
from router.models.spaces import Composition, EmbeddingSpace
from router.settings import PictureSettings
from router.types import Matrix, Pixels, Vector

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

FIELD = "models.pictures"
COMPOSITION = Composition(text_weight=0.5)
Item = TypeVar("Item", str, Pixels)


class ClipSide(Generic[Item]):
    """The text or the picture side of a model: an Embedder or a PictureEmbedder."""

    def __init__(
        self, name: str, dimension: int, model: SentenceTransformer, settings: PictureSettings, *, takes_instructions: bool
    ) -> None:
        self.name = name
        self.dimension = dimension
        self.takes_instructions = takes_instructions
        self._model = model
        self._batcher: MicroBatcher[tuple[Item, str | None], Vector] = MicroBatcher(
            name, self._forward, lambda _: 1, max_batch_tokens=settings.max_batch, max_queue=settings.max_queue
        )

    async def embed(self, items: Sequence[Item]) -> Matrix:
        return await self._embed(items, None)

    async def embed_instructed(self, items: Sequence[Item], instruction: str, /) -> Matrix:
        return await self._embed(items, prompt_of(self._model, instruction))

    async def _embed(self, items: Sequence[Item], prompt: str | None) -> Matrix:
        if not items:
            return np.empty((0, self.dimension), np.float32)
        return np.stack(await self._batcher.submit([(item, prompt) for item in items]))

    async def aclose(self) -> None:
        await self._batcher.aclose()

    def _forward(self, batch: Sequence[tuple[Item, str | None]]) -> list[Vector]:
        items, prompts = zip(*batch, strict=True)
        return encoded(self._model, items, prompts, lambda item: item if isinstance(item, str) else Image.fromarray(item))


async def open_clip(settings: PictureSettings, cache_dir: Path) -> EmbeddingSpace:
    """Find, check and load the model.

    Raises:
        ConfigurationError: The folder is no model, has no safetensors, they are not the expected ones, or it takes no pictures.
        ModelUnavailable: The model must be downloaded and cannot be.
        MissingExtra: sentence-transformers is not installed.
    """
    try:
        import sentence_transformers  # noqa: F401
    except ModuleNotFoundError as exc:
        raise MissingExtra("torch", f"the picture model {settings.model!r}") from exc
    name, digest, model = await asyncio.to_thread(_load, settings, cache_dir)
    probe = await asyncio.to_thread(model.encode, ["warm up"], show_progress_bar=False)
    dimension = int(probe.shape[1])
    # Each side has a queue and a thread of its own: a question does not wait behind pictures of an ingest.
    text: ClipSide[str] = ClipSide(name, dimension, model, settings, takes_instructions=takes_instructions(model))
    pictures: ClipSide[Pixels] = ClipSide(name, dimension, model, settings, takes_instructions=takes_messages(model))
    return EmbeddingSpace(name, digest[:12], dimension, text, pictures, COMPOSITION, owns_text=True)


def _load(settings: PictureSettings, cache_dir: Path) -> tuple[str, str, SentenceTransformer]:
    import torch
    from sentence_transformers import SentenceTransformer

    folder, file = weights.safetensors_model(settings.model, settings.sha256, cache_dir=cache_dir, field=FIELD)
    digest = weights.sha256(file, cache_dir)
    name = folder.name if Path(settings.model).is_dir() else settings.model
    torch.set_num_threads(settings.threads)
    try:
        model = SentenceTransformer(str(folder), local_files_only=True, trust_remote_code=False, model_kwargs={"use_safetensors": True})
    except (ValueError, OSError, KeyError, RuntimeError) as exc:
        raise ConfigurationError(f"{FIELD}.model: sentence-transformers cannot load {folder}: {exc}", field=f"{FIELD}.model") from exc
    if missing := {"text", "image"} - set(model.modalities):
        raise ConfigurationError(f"{FIELD}.model: {settings.model} takes no {' and no '.join(sorted(missing))}", field=f"{FIELD}.model")
    return name, digest, model
