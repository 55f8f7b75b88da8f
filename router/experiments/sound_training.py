"""Trains a small encoder of sounds into the space of the model for words, and writes the folder that `models.audio.model` names.

Needs the extra `torch`. Two convolutions over the log-mel spectrogram, then mean and maximum over time, then a linear map. Each sound must
find its own words among all words of the set (contrastive; sounds with the same words stand together). Some hundred sounds train in
seconds; what comes out knows the kinds of sounds that it was shown, and nothing else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from router.errors import InvalidInput
from router.models.base import Embedder
from router.models.sound_encoder import ABOUT, GRAPH, INPUT, OUTPUT, SoundModel
from router.models.sounds import load_sound
from router.models.weights import write_atomically
from router.types import Matrix, Sound

OPSET = 17
UNHASHED = "0" * 64


@dataclass(frozen=True, slots=True)
class Recipe:
    seed: int = 0
    epochs: int = 40
    batch: int = 64
    channels: int = 48
    reach: int = 5
    """Windows that one convolution looks at."""
    learning_rate: float = 3e-3
    temperature: float = 0.05
    loudness: float = 2.0
    """Each time a sound is shown, its log power is shifted by up to this, up or down."""


@dataclass(frozen=True, slots=True)
class Captioned:
    sound: Sound
    texts: tuple[str, ...]


def read_sounds(folder: Path) -> list[Captioned]:
    """The sounds of `items.jsonl`: rows of `audio` (a WAV file, relative) with `caption` or `captions`.

    Raises:
        InvalidInput: A row is not of that form, or its file is no sound; names the line.
    """
    items = []
    for number, line in enumerate((folder / "items.jsonl").read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            texts = tuple(row.get("captions") or [row["caption"]])
            items.append(Captioned(load_sound((folder / row["audio"]).read_bytes()), texts))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, InvalidInput) as error:
            raise InvalidInput(f"items.jsonl, line {number}: {error}", field="audio") from error
    return items


class Network(nn.Module):  # type: ignore[misc]
    def __init__(self, mean: torch.Tensor, spread: torch.Tensor, dimension: int, recipe: Recipe) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("spread", spread)
        self.first = nn.Conv1d(len(mean), recipe.channels, recipe.reach)
        self.second = nn.Conv1d(recipe.channels, recipe.channels, recipe.reach, stride=2)
        self.out = nn.Linear(2 * recipe.channels, dimension)

    def forward(self, log_mel: torch.Tensor) -> torch.Tensor:
        x = ((log_mel - self.mean) / self.spread).transpose(1, 2)
        x = torch.relu(self.second(torch.relu(self.first(x))))
        found: torch.Tensor = self.out(torch.cat([x.mean(2), x.amax(2)], 1))
        return found


async def train(items: Sequence[Captioned], model: SoundModel, embedder: Embedder, recipe: Recipe) -> Network:
    """The trained network; the same for the same seed, set and machine."""
    texts = list(dict.fromkeys(text for item in items for text in item.texts))
    words = torch.from_numpy(await embedder.embed(texts))
    stretches = [(spectrogram, item.texts) for item in items for spectrogram in model.spectrograms(item.sound)]
    spectrograms = torch.from_numpy(np.stack([spectrogram for spectrogram, _ in stretches]))
    place = {text: number for number, text in enumerate(texts)}
    gold = torch.zeros(len(stretches), len(texts))
    for row, (_, said) in enumerate(stretches):
        gold[row, [place[text] for text in said]] = 1 / len(said)
    return _trained(spectrograms, words, gold, recipe)


def _trained(spectrograms: torch.Tensor, words: torch.Tensor, gold: torch.Tensor, recipe: Recipe) -> Network:
    random = torch.Generator().manual_seed(recipe.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        network = Network(spectrograms.mean((0, 1)), spectrograms.std((0, 1)) + 0.1, words.shape[1], recipe)
    optimiser = torch.optim.AdamW(network.parameters(), recipe.learning_rate, weight_decay=0.01)
    for _ in range(recipe.epochs):
        for rows in torch.randperm(len(spectrograms), generator=random).split(recipe.batch):
            shift = (torch.rand(len(rows), 1, 1, generator=random) * 2 - 1) * recipe.loudness
            roll = int(torch.randint(spectrograms.shape[1], (1,), generator=random))
            vectors = nn.functional.normalize(network((spectrograms[rows] + shift).roll(roll, 1)))
            loss = nn.functional.cross_entropy(vectors @ words.T / recipe.temperature, gold[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    network.eval()
    return network


def write(folder: Path, network: Network, model: SoundModel) -> SoundModel:
    """Write `model.onnx` and `model.json`; the model as written, with the graph's sha256."""
    graph = exported(network).SerializeToString()
    known = model.model_copy(update={"sha256": hashlib.sha256(graph).hexdigest()})
    write_atomically(folder / GRAPH, graph)
    write_atomically(folder / ABOUT, known.model_dump_json(indent=1).encode())
    return known


def exported(network: Network) -> onnx.ModelProto:
    """The network as a graph, built by hand: it is small, and an exporter's output changes with its version."""
    weights = {name.replace(".", "_"): tensor.detach().numpy() for name, tensor in network.state_dict().items()}
    bands = len(weights["mean"])
    nodes = [
        helper.make_node("Sub", [INPUT, "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "spread"], ["scaled"]),
        helper.make_node("Transpose", ["scaled"], ["turned"], perm=[0, 2, 1]),
        helper.make_node("Conv", ["turned", "first_weight", "first_bias"], ["first"]),
        helper.make_node("Relu", ["first"], ["first_out"]),
        helper.make_node("Conv", ["first_out", "second_weight", "second_bias"], ["second"], strides=list(network.second.stride)),
        helper.make_node("Relu", ["second"], ["second_out"]),
        helper.make_node("ReduceMean", ["second_out"], ["average"], axes=[2], keepdims=0),
        helper.make_node("ReduceMax", ["second_out"], ["highest"], axes=[2], keepdims=0),
        helper.make_node("Concat", ["average", "highest"], ["both"], axis=1),
        helper.make_node("Gemm", ["both", "out_weight", "out_bias"], [OUTPUT], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "sounds",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["batch", "windows", bands])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", len(weights["out_bias"])])],
        [numpy_helper.from_array(_floats(array), name) for name, array in weights.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
    onnx.checker.check_model(made)
    return made


def _floats(array: NDArray[np.float32]) -> Matrix:
    return np.ascontiguousarray(array, np.float32)
