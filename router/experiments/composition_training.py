"""Trains how `aligned` composes a picture and words that change it: corrections of both, of low rank, beside their weighted sum.

Needs the extra `torch`. From a set of pictures with attributes come queries: a picture, and words for another value of one attribute; right
are the pictures that have that value and share another attribute with it. One correction for the picture (what such words may change
counts less) and one for the words (what they say of a picture counts more) are learned for all of these changes at once. Elsewhere they are
to change nothing: on pictures of other sets and on texts of other kinds they must stay small.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from router.experiments.multimodal import Composed, Item, composed_queries
from router.types import Matrix, Vector


@dataclass(frozen=True, slots=True)
class Change:
    """Words for another value of an attribute, of pictures that agree in `keep`."""

    attribute: str
    keep: str
    wordings: tuple[str, ...]

    def words(self, value: str) -> tuple[str, ...]:
        return tuple(wording.format(value.lower()) for wording in self.wordings)


CHANGES = (
    Change("baseColour", "articleType", ("in {}", "but in {}", "the same in {}", "{}", "a {} one", "{} instead")),
    Change("gender", "articleType", ("for {}", "the same for {}", "but for {}")),
    Change("usage", "articleType", ("for {} use", "more {}", "{}")),
    Change("articleType", "baseColour", ("{}", "a {} like this", "{} instead")),
)


@dataclass(frozen=True, slots=True)
class CompositionRecipe:
    """Chosen on a fifth of the pictures that was held out."""

    seed: int = 0
    text_weight: float = 0.7
    rank: int = 32
    steps: int = 400
    batch: int = 64
    """Of each change."""
    learning_rate: float = 3e-3
    temperature: float = 0.05
    quiet_weight: float = 5.0
    """Of the loss that the corrections are small elsewhere."""
    quiet_batch: int = 256


def changing_words(items: Sequence[Item]) -> list[str]:
    """Every text that changes one of these pictures."""
    asked = [(change, composed_queries(items, change.keep, change.attribute).values) for change in CHANGES]
    return list(dict.fromkeys(text for change, values in asked for value in values for text in change.words(value)))


def train_composition(
    items: Sequence[Item],
    pictures: Matrix,
    vectors: Mapping[str, Vector],
    quiet_pictures: Matrix,
    quiet_texts: Matrix,
    text_mean: Vector,
    recipe: CompositionRecipe,
) -> dict[str, NDArray[Any]]:
    """The arrays of `aligned.npz` that compose.

    Args:
        items: Pictures with attributes.
        pictures: Their vectors, (items, 384).
        vectors: Of each of `changing_words`.
        quiet_pictures: Vectors of other pictures.
        quiet_texts: Vectors of other texts.
        text_mean: What is taken off every text.
        recipe: How.
    """
    torch.manual_seed(recipe.seed)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)  # sums in one order, whatever the machine
    mean = torch.from_numpy(text_mean)
    changes = [_Queries(change, composed_queries(items, change.keep, change.attribute), vectors, mean) for change in CHANGES]
    corrections = _Corrections(len(mean), recipe.rank)
    candidates, others, texts = torch.from_numpy(pictures), torch.from_numpy(quiet_pictures), torch.from_numpy(quiet_texts) - mean
    optimizer = torch.optim.AdamW(corrections.parameters(), lr=recipe.learning_rate, weight_decay=1e-4)
    for _ in range(recipe.steps):
        loss = torch.stack([_loss(corrections, candidates, *queries.sample(recipe.batch), recipe) for queries in changes]).mean()
        picture, words = _some(others, recipe.quiet_batch), _some(texts, recipe.quiet_batch)
        loss = loss + recipe.quiet_weight * (corrections.of_picture(picture) ** 2).sum(1).mean()
        loss = loss + recipe.quiet_weight * (corrections.of_words(words) ** 2).sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return corrections.arrays() | {"text_weight": np.array(recipe.text_weight, np.float32)}


class _Corrections(torch.nn.Module):  # type: ignore[misc]
    """As router.models.spaces.Correction, with gradients; at first they do nothing."""

    def __init__(self, dimension: int, rank: int) -> None:
        super().__init__()
        self.picture_down, self.words_down = (torch.nn.Parameter(torch.randn(dimension, rank) * 0.05) for _ in range(2))
        self.picture_up, self.words_up = (torch.nn.Parameter(torch.zeros(rank, dimension)) for _ in range(2))

    def of_picture(self, picture: torch.Tensor) -> torch.Tensor:
        return picture @ self.picture_down @ self.picture_up

    def of_words(self, words: torch.Tensor) -> torch.Tensor:
        return words @ self.words_down @ self.words_up

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {name: parameter.detach().half().numpy() for name, parameter in self.named_parameters()}


class _Queries:
    """Of one change: pictures, words in every wording, and what is right."""

    def __init__(self, change: Change, composed: Composed, vectors: Mapping[str, Vector], text_mean: torch.Tensor) -> None:
        self._pictures, self._gold = torch.from_numpy(composed.pictures), torch.from_numpy(composed.gold)
        wordings = zip(*(change.words(value) for value in composed.values), strict=True)
        self._words = [torch.from_numpy(np.stack([vectors[text] for text in texts])) - text_mean for texts in wordings]

    def sample(self, count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Places of pictures, vectors of words, and which pictures are right."""
        words = self._words[int(torch.randint(len(self._words), (1,)))]
        drawn = torch.randint(len(words), (count,))
        return self._pictures[drawn], words[drawn], self._gold[drawn]


def _loss(
    corrections: _Corrections,
    candidates: torch.Tensor,
    asked: torch.Tensor,
    words: torch.Tensor,
    gold: torch.Tensor,
    recipe: CompositionRecipe,
) -> torch.Tensor:
    """Cross-entropy of finding one of those that are right among all pictures but the query itself."""
    picture = candidates[asked] + corrections.of_picture(candidates[asked])
    mixed = (1 - recipe.text_weight) * picture + recipe.text_weight * (words + corrections.of_words(words))
    itself = torch.nn.functional.one_hot(asked, len(candidates)).bool()
    similar = (torch.nn.functional.normalize(mixed, dim=1) @ candidates.T / recipe.temperature).masked_fill(itself, -torch.inf)
    chances = torch.log_softmax(similar, 1).masked_fill(~gold, -torch.inf)
    return -torch.logsumexp(chances, 1).mean()


def _some(rows: torch.Tensor, count: int) -> torch.Tensor:
    return rows[torch.randint(len(rows), (count,))]
