"""Sounds in the space of words: log-mel spectrograms through a small network on ONNX Runtime, from a folder.

The folder holds `model.onnx` (input `log_mel`, float32 (batch, windows, mels); output `vectors`, (batch, dimension)) and `model.json` (see
`SoundModel`). `scripts/train_sounds` writes such a folder; nothing in it can run code.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from router.errors import ConfigurationError
from router.models import weights
from router.models.base import Embedder
from router.models.batching import MicroBatcher
from router.models.onnx_session import open_session
from router.models.sounds import RATES, MelScale, log_mel, resampled
from router.models.spaces import Composition, EmbeddingSpace, unit_rows
from router.settings import AudioSettings
from router.types import Matrix, Sound, Vector

FIELD = "models.audio"
GRAPH, ABOUT = "model.onnx", "model.json"
INPUT, OUTPUT = "log_mel", "vectors"
COMPOSITION = Composition(text_weight=0.5)


class SoundModel(BaseModel):
    """`model.json`: what the graph expects and gives."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    name: str = Field(min_length=1)
    text_model: str
    """Name of the text embedder into whose space the vectors were trained."""
    dimension: int = Field(ge=1)
    rate: int = Field(ge=RATES[0], le=RATES[1])
    window: int = Field(ge=16, le=65536)
    hop: int = Field(ge=1, le=65536)
    mels: int = Field(ge=1, le=1024)
    low_hz: float = Field(ge=0)
    high_hz: float
    seconds: float = Field(gt=0, le=600)
    """Length of the stretches that the network takes; the last one is filled up with silence."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Of the graph."""

    @model_validator(mode="after")
    def _bands_lie_in_the_spectrum(self) -> SoundModel:
        if not self.low_hz < self.high_hz <= self.rate / 2:
            raise ValueError("low_hz must be below high_hz, and high_hz at most half of rate")
        if self.window > self.stretch:
            raise ValueError("seconds is shorter than one window")
        return self

    @property
    def stretch(self) -> int:
        """Samples of one stretch."""
        return round(self.seconds * self.rate)

    @property
    def scale(self) -> MelScale:
        return MelScale(self.rate, self.window, self.hop, self.mels, self.low_hz, self.high_hz)

    def spectrograms(self, sound: Sound) -> list[Matrix]:
        """Of each stretch of a sound; a rest of less than half a stretch only counts where it is all there is."""
        samples = resampled(sound, self.rate)
        count = max(1, round(len(samples) / self.stretch))
        stretches = (samples[number * self.stretch : (number + 1) * self.stretch] for number in range(count))
        return [log_mel(np.pad(stretch, (0, self.stretch - len(stretch))), self.scale) for stretch in stretches]


class FolderSounds:
    """A SoundEmbedder. Open it by `open_sounds`."""

    def __init__(self, model: SoundModel, graph: bytes, settings: AudioSettings) -> None:
        self.dimension = model.dimension
        self._model = model
        self._max_batch = settings.max_batch
        self._session = open_session(graph, settings.threads)
        self._batcher: MicroBatcher[Sound, Vector] = MicroBatcher(
            model.name, self._forward, lambda _: 1, max_batch_tokens=settings.max_batch, max_queue=settings.max_queue
        )

    async def embed(self, sounds: Sequence[Sound]) -> Matrix:
        if not sounds:
            return np.empty((0, self.dimension), np.float32)
        return np.stack(await self._batcher.submit(sounds))

    async def aclose(self) -> None:
        await self._batcher.aclose()

    def run(self, spectrograms: Sequence[Matrix]) -> Matrix:
        """Vectors of stretches, of unit length. Blocking."""
        parts = [
            self._session.run([OUTPUT], {INPUT: np.stack(spectrograms[start : start + self._max_batch])})[0]
            for start in range(0, len(spectrograms), self._max_batch)
        ]
        return unit_rows(np.concatenate(parts))

    def _forward(self, batch: Sequence[Sound]) -> list[Vector]:
        # One sound after another: an hour of them all as spectrograms at once would fill the memory.
        return [unit_rows(self.run(self._model.spectrograms(sound)).mean(0, keepdims=True))[0] for sound in batch]


async def open_sounds(settings: AudioSettings, cache_dir: Path, text: Embedder) -> EmbeddingSpace:
    """Check and load the folder.

    Raises:
        ConfigurationError: The folder is no model, a file of it is not the expected one, or words are embedded by another model.
    """
    model, encoder = await asyncio.to_thread(_load, settings, cache_dir)
    if (model.text_model, model.dimension) != (text.name, text.dimension):
        await encoder.aclose()
        raise ConfigurationError(
            f"{FIELD}.model: {model.name} puts sounds into the space of {model.text_model} ({model.dimension} dimensions), and "
            f"models.embedding.model is {text.name} ({text.dimension}): train it for that model, or change one of the two",
            field=f"{FIELD}.model",
        )
    return EmbeddingSpace(model.name, model.sha256[:12], model.dimension, text, None, COMPOSITION, sounds=encoder)


def _load(settings: AudioSettings, cache_dir: Path) -> tuple[SoundModel, FolderSounds]:
    about, graph = settings.model / ABOUT, settings.model / GRAPH
    try:
        model = SoundModel.model_validate_json(about.read_bytes())
        for expected in {model.sha256, settings.sha256 or model.sha256}:
            weights.verify(graph, expected, cache_dir=cache_dir, field=f"{FIELD}.sha256")
        encoder = FolderSounds(model, graph.read_bytes(), settings)
        found = encoder.run([log_mel(np.zeros(model.stretch, np.float32), model.scale)]).shape
    except OSError as exc:
        raise _no_model(settings, f"{exc.filename} cannot be read ({exc.strerror})") from exc
    except ValidationError as exc:
        first = exc.errors()[0]
        raise _no_model(settings, f"{ABOUT}: {'.'.join(map(str, first['loc'])) or 'it'}: {first['msg']}") from exc
    except ConfigurationError:
        raise
    except Exception as exc:  # ONNX Runtime has an exception for everything that can be wrong with a graph, with no root of their own
        raise _no_model(settings, f"ONNX Runtime cannot run {GRAPH}: {exc}") from exc
    if found != (1, model.dimension):
        raise _no_model(settings, f"{GRAPH} gives vectors of shape {found}, and {ABOUT} says {(1, model.dimension)}")
    return model, encoder


def _no_model(settings: AudioSettings, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"{FIELD}.model: {settings.model} is no model for sounds: {why}. Name a folder that scripts/train_sounds wrote, "
        "or leave models.audio out",
        field=f"{FIELD}.model",
    )
