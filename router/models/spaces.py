"""Embedding spaces: a name, a dimension, a version, and an encoder for each kind of thing that the space takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from router.models.base import Embedder, Encoder, PictureEmbedder, SoundEmbedder
from router.settings import AudioSettings, ModelSettings
from router.types import Matrix, Vector

Modality = Literal["text", "image", "audio"]


@dataclass(frozen=True, slots=True)
class Correction:
    """What is added to a vector: a learned linear function of it, of low rank."""

    down: Matrix
    """(dimension, rank)"""
    up: Matrix
    """(rank, dimension)"""

    def __call__(self, vector: Vector) -> Vector:
        return np.asarray(vector + vector @ self.down @ self.up, np.float32)


@dataclass(frozen=True, slots=True)
class Composition:
    """How a picture and words become one query ("this, but in red")."""

    text_weight: float
    """Share of the words in the sum; the rest is the picture's."""
    text_mean: Vector | None = None
    """What all texts of the space have in common. It says nothing about a picture and would count in every sum, so it is taken off."""
    picture: Correction | None = None
    """Learned: what words may change counts less in a picture, and what they leave counts more."""
    words: Correction | None = None
    """Learned: what the words say of a picture counts more."""

    def compose(self, picture: Vector, text: Vector) -> Vector:
        """One vector of unit length."""
        words = self._telling(text)
        picture = picture if self.picture is None else self.picture(picture)
        words = words if self.words is None else self.words(words)
        mixed = (1 - self.text_weight) * picture + self.text_weight * words
        return np.asarray(mixed / max(float(np.linalg.norm(mixed)), 1e-9), np.float32)

    def rescore(self, picture: Vector, text: Vector, candidates: Matrix) -> Vector:
        """The second step of the other way: scores of candidates that were found by the picture alone.

        Both similarities are put between 0 and 1 over the candidates first: two pictures are always nearer than a picture and words.
        """
        return (1 - self.text_weight) * _spread(candidates @ picture) + self.text_weight * _spread(candidates @ self._telling(text))

    def _telling(self, text: Vector) -> Vector:
        return text if self.text_mean is None else text - self.text_mean


@dataclass(frozen=True, slots=True)
class EmbeddingSpace:
    """Vectors of the same space and version may meet; others never."""

    name: str
    version: str
    """Changes with any weight of any encoder."""
    dimension: int
    text: Embedder
    pictures: PictureEmbedder | None
    composition: Composition
    owns_text: bool = False
    """Whether the space brought its text encoder and closes it."""
    sounds: SoundEmbedder | None = None

    @property
    def encoders(self) -> Mapping[Modality, Encoder[Any]]:
        """Of what is not text, where there is one."""
        encoders: dict[Modality, Encoder[Any] | None] = {"image": self.pictures, "audio": self.sounds}
        return {modality: encoder for modality, encoder in encoders.items() if encoder is not None}

    @property
    def modalities(self) -> frozenset[Modality]:
        return frozenset({"text", *self.encoders})

    async def aclose(self) -> None:
        for encoder in self.encoders.values():
            await encoder.aclose()
        if self.owns_text:
            await self.text.aclose()


async def open_space(settings: ModelSettings, cache_dir: Path, text: Embedder) -> EmbeddingSpace:
    """The configured space of words and pictures.

    Args:
        settings: The models.
        cache_dir: For downloads and known digests.
        text: The open embedder of `settings.embedding`; it is the text side of `aligned` and stays the caller's to close.

    Raises:
        ConfigurationError: The model is unknown, its files are not the expected ones, or `aligned` is asked of another text embedder.
        ModelUnavailable: The model is not installed, or must be downloaded and cannot be.
        MissingExtra: The model needs the extra `torch`.
    """
    from router.models.aligned import NAME, open_aligned  # both are built on this module

    if settings.pictures.model == NAME:
        return await open_aligned(settings.pictures, cache_dir, text)
    from router.models.clip import open_clip  # torch takes seconds to import

    return await open_clip(settings.pictures, cache_dir)


async def open_sound_space(settings: AudioSettings, cache_dir: Path, text: Embedder) -> EmbeddingSpace:
    """A space of words and sounds. A space of its own, so that a change of one encoder leaves the others' vectors valid.

    Args:
        settings: Of the model.
        cache_dir: For known digests.
        text: The open embedder of `settings.embedding`, into whose space sounds are put; it stays the caller's to close.

    Raises:
        ConfigurationError: Its files are not the expected ones, or it goes with another text embedder.
    """
    from router.models.sound_encoder import open_sounds  # built on this module

    return await open_sounds(settings, cache_dir, text)


def unit_rows(rows: Matrix) -> Matrix:
    """Each row to unit length; one without a direction stays without."""
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9), np.float32)


def _spread(scores: Vector) -> Vector:
    low, high = float(scores.min(initial=1.0)), float(scores.max(initial=-1.0))
    return np.asarray((scores - low) / max(high - low, 1e-9), np.float32)
