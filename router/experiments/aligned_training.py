"""Trains the projection of `aligned` (router/models/aligned.npz): pictures into the space of MiniLM.

Needs the extra `torch`. Two things are asked of one map. It must put pictures near their captions (contrastive, on sets of pictures with
captions), and must leave what the classifier has names for where the mixture of those names is. There are few pictures for the second,
so it is asked of features that are made: for class c the mean of a classifier's features is m + S w_c (linear discriminant analysis
turned round: w_c are the classifier's own weights, S the covariance of real features), and residuals of real pictures are added. On
these the learned part may not weigh much, and the vector must find the name of its class among all names.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from router.experiments.multimodal import Item, read_items
from router.models.aligned import SIDE, Network, squares
from router.models.pictures import load_picture
from router.types import Matrix, Pixels

BATCH_PICTURES = 16


@dataclass(frozen=True, slots=True)
class Recipe:
    """Chosen on held-out parts of the training sets."""

    seed: int = 0
    epochs: int = 14
    batch: int = 512
    rank: int = 128
    learning_rate: float = 2e-3
    gate_learning_rate: float = 4e-2
    gate_l1: float = 1e-4
    gate_bias: float = 3.0
    dropout: float = 0.2
    similarity_temperature: float = 0.05
    class_temperature: float = 2.0
    """Of the softmax that mixes the class names: high, since most pictures show more than one thing."""
    name_weight: float = 0.3
    """Of the loss that made features must find the name of their class."""
    quiet_weight: float = 2.0
    """Of the loss that the learned part is small on made features."""
    class_shift: float = 12.0
    residual: float = 0.6


@dataclass(frozen=True, slots=True)
class PictureSet:
    """One training set: features of two views of each picture, and its texts."""

    name: str
    items: tuple[Item, ...]
    features: Matrix
    """(pictures, views, 1280)"""
    texts: tuple[tuple[str, ...], ...]
    repeat: int = 1
    """How often the set counts; a small one of another kind would be lost."""


def read_set(folder: Path, network: Network, cache: Path, *, width_over_height: float | None = None, repeat: int = 1) -> PictureSet:
    """Items with their features, which are kept in the cache folder.

    Args:
        folder: `items.jsonl` with `image`, `captions`, `template_captions`, and the pictures.
        network: Computes features.
        cache: Folder for the features.
        width_over_height: Of the pictures before somebody stretched them to squares; None: they are as they were.
        repeat: See `PictureSet`.
    """
    lines = (folder / "items.jsonl").read_text(encoding="utf-8").splitlines()
    items = [json.loads(line) for line in lines]
    kept = cache / f"{folder.name}-{hashlib.sha256(repr((lines, width_over_height)).encode()).hexdigest()[:12]}.npy"
    if not kept.exists():
        found = []
        for start in range(0, len(items), BATCH_PICTURES):
            files = [folder / item["image"] for item in items[start : start + BATCH_PICTURES]]
            views = [view for file in files for view in _views(load_picture(file.read_bytes()), width_over_height)]
            found.append(network(views)[0])
        flat = np.concatenate(found)
        np.save(kept, flat.reshape(len(items), -1, flat.shape[1]))
    texts = tuple((*item.get("captions", ()), *item.get("template_captions", ())) for item in items)
    return PictureSet(folder.name, tuple(read_items(folder)), np.load(kept), texts, repeat)


def train(
    sets: Sequence[PictureSet], vectors: Mapping[str, Matrix], names: Matrix, classifier: tuple[Matrix, Matrix], recipe: Recipe
) -> dict[str, NDArray[Any]]:
    """The arrays of `aligned.npz`.

    Args:
        sets: What to learn from.
        vectors: MiniLM's vector of each text of the sets.
        names: As `class_texts.class_vectors` gives them.
        classifier: Weights (1000, 1280) and biases of the network's last layer.
        recipe: How.
    """
    torch.manual_seed(recipe.seed)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)  # sums in one order, whatever the machine
    weight, bias = (torch.from_numpy(part) for part in classifier)
    made = _MadeFeatures(sets, weight, recipe)
    mapping = _Mapping(torch.from_numpy(names), weight, bias, *made.spread(sets), recipe)
    gate = [mapping.gate]
    rest = [parameter for parameter in mapping.parameters() if parameter is not mapping.gate]
    rates = [recipe.learning_rate, recipe.gate_learning_rate]
    optimizer = torch.optim.AdamW([{"params": rest, "weight_decay": 1e-4}, {"params": gate, "weight_decay": 0.0}], lr=rates[0])
    places = [(s, n) for s, one in enumerate(sets) for n in range(len(one.texts)) for _ in range(one.repeat)]
    batch = min(recipe.batch, len(places))
    steps = recipe.epochs * len(places) // batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=steps, pct_start=0.1)
    rng = np.random.default_rng(recipe.seed)
    for _ in range(steps):
        loss = _caption_loss(mapping, sets, vectors, [places[n] for n in rng.choice(len(places), batch, replace=False)], rng, recipe)
        loss = loss + _name_loss(mapping, *made.sample(batch), recipe) + recipe.gate_l1 * mapping.gate.abs().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    means = [np.mean([vectors[text] for choices in one.texts for text in choices], axis=0) for one in sets]
    return mapping.arrays() | {"text_mean": np.asarray(np.mean(np.stack(means), axis=0), np.float32)}


def _views(picture: Pixels, width_over_height: float | None) -> tuple[Pixels, Pixels]:
    """The square in the middle, as it is seen when serving, and the whole picture pressed into a square."""
    image = Image.fromarray(picture)
    whole = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    if width_over_height is not None:
        image = image.resize((round(image.height * width_over_height), image.height), Image.Resampling.BICUBIC)
    return squares([np.asarray(image)])[0], whole


def _caption_loss(
    mapping: _Mapping,
    sets: Sequence[PictureSet],
    vectors: Mapping[str, Matrix],
    places: Sequence[tuple[int, int]],
    rng: np.random.Generator,
    recipe: Recipe,
) -> torch.Tensor:
    """Contrastive in both directions; pictures with the same texts, or drawn with the same text, are no negatives of each other."""
    views = [sets[s].features[n, rng.integers(sets[s].features.shape[1])] for s, n in places]
    texts = [sets[s].texts[n] for s, n in places]
    drawn = [choices[rng.integers(len(choices))] for choices in texts]
    groups = {choices: number for number, choices in enumerate(dict.fromkeys(texts))}
    group = torch.tensor([groups[choices] for choices in texts])
    captions = torch.from_numpy(np.stack([vectors[text] for text in drawn]))
    similar = mapping(torch.from_numpy(np.stack(views))) @ captions.T / recipe.similarity_temperature
    same = ((group[:, None] == group[None, :]) | (captions @ captions.T > 0.999)).float()
    gold = same / same.sum(1, keepdim=True)
    both: torch.Tensor = -(gold * (torch.log_softmax(similar, 1) + torch.log_softmax(similar.T, 1))).sum(1).mean()
    return both


def _name_loss(mapping: _Mapping, features: torch.Tensor, classes: torch.Tensor, recipe: Recipe) -> torch.Tensor:
    gate, names, learned = mapping.parts(features)
    found = torch.nn.functional.normalize(gate * mapping.scale * names + (1 - gate) * learned, dim=1) @ mapping.names.T
    naming = torch.nn.functional.cross_entropy(found / recipe.similarity_temperature, classes)
    loud = (((1 - gate) / gate * learned) ** 2).sum(1).mean()
    return recipe.name_weight * naming + recipe.quiet_weight * loud


class _MadeFeatures:
    """Features as pictures of a given class would have."""

    def __init__(self, sets: Sequence[PictureSet], weight: torch.Tensor, recipe: Recipe) -> None:
        rng = np.random.default_rng(recipe.seed)
        residuals, means = [], []
        for one in sets:
            flat = one.features.reshape(-1, one.features.shape[-1])
            means.append(flat.mean(0))
            # At most so many of each, or the largest set would be the whole picture of what features are like.
            residuals.append(flat[rng.choice(len(flat), min(len(flat), 600), replace=False)] - means[-1])
        self._residuals = torch.from_numpy(np.concatenate(residuals))
        self._mean = torch.from_numpy(np.mean(means, 0))
        covariance = self._residuals.T @ self._residuals / len(self._residuals)
        covariance = 0.9 * covariance + 0.1 * torch.diag(torch.diag(covariance))
        self._directions = (weight - weight.mean(0)) @ covariance
        self._recipe = recipe
        self._random = torch.Generator().manual_seed(recipe.seed)

    def sample(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        classes = torch.randint(0, len(self._directions), (count,), generator=self._random)
        residuals = self._residuals[torch.randint(0, len(self._residuals), (count,), generator=self._random)]
        shift = self._recipe.class_shift * (0.5 + torch.rand(count, 1, generator=self._random))
        return (self._mean + shift * self._directions[classes] + self._recipe.residual * residuals).clamp(0, 6), classes

    def spread(self, sets: Sequence[PictureSet]) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and deviation of real and made features together."""
        real = torch.from_numpy(np.concatenate([one.features.reshape(-1, one.features.shape[-1]) for one in sets]))
        both = torch.cat([real, self.sample(4000)[0]])
        return both.mean(0), both.std(0) + 0.05


class _Mapping(torch.nn.Module):  # type: ignore[misc]
    """As router.models.aligned.Projection, with gradients."""

    def __init__(
        self,
        names: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor,
        mean: torch.Tensor,
        deviation: torch.Tensor,
        recipe: Recipe,
    ) -> None:
        super().__init__()
        self.names, self.weight, self.bias, self.mean, self.deviation, self.recipe = names, weight, bias, mean, deviation, recipe
        self.down = torch.nn.Linear(len(mean), recipe.rank, bias=False)
        self.up = torch.nn.Linear(recipe.rank, names.shape[1])
        self.gate = torch.nn.Parameter(torch.zeros(len(names)))
        self.scale = torch.nn.Parameter(torch.tensor(1.0))
        self.dropout = torch.nn.Dropout(recipe.dropout)

    def parts(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        logits = features @ self.weight.T + self.bias
        mixed = torch.softmax(logits / self.recipe.class_temperature, 1) @ self.names
        gate = torch.sigmoid(torch.softmax(logits, 1) @ self.gate + self.recipe.gate_bias)[:, None]
        learned = self.up(self.down(self.dropout((features - self.mean) / self.deviation)))
        return gate, torch.nn.functional.normalize(mixed, dim=1), learned

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        gate, names, learned = self.parts(features)
        return torch.nn.functional.normalize(gate * self.scale * names + (1 - gate) * learned, dim=1)

    def arrays(self) -> dict[str, NDArray[Any]]:
        with torch.no_grad():
            down = (self.down.weight / self.deviation).T
            step = self.names.abs().amax(1, keepdim=True) / 127
            return {
                "names": torch.round(self.names / step).to(torch.int8).numpy(),
                "names_scale": step.half().numpy(),
                "down": down.half().numpy(),
                "up": self.up.weight.T.contiguous().half().numpy(),
                "bias": (self.up.bias - self.mean @ down @ self.up.weight.T).numpy(),
                "gate": self.gate.half().numpy(),
                "gate_bias": np.array(self.recipe.gate_bias, np.float32),
                "temperature": np.array(self.recipe.class_temperature, np.float32),
                "scale": self.scale.numpy(),
            }
