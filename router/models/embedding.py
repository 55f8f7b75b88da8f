"""Opens the configured embedder."""

from __future__ import annotations

import asyncio
from pathlib import Path

from router.models.base import Embedder
from router.models.minilm import MiniLM, find_folder
from router.settings import EmbeddingSettings


async def open_embedder(settings: EmbeddingSettings, cache_dir: Path) -> Embedder:
    """MiniLM on ONNX Runtime, any other model by sentence-transformers.

    Raises:
        ConfigurationError: The model is unknown or its files are not the expected ones.
        ModelUnavailable: The model must be downloaded and cannot be.
        MissingExtra: The model needs the extra `torch`.
    """
    if folder := await asyncio.to_thread(find_folder, settings.model, cache_dir):
        return await MiniLM.open(folder, settings, cache_dir)
    from router.models.sentence_transformer import SentenceTransformerEmbedder  # torch takes seconds to import

    return await SentenceTransformerEmbedder.open(settings, cache_dir)
