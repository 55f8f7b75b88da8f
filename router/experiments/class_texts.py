"""What is said of the classes of the network behind `aligned`: the texts of which the projection is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from router.models.aligned import CLASSES
from router.models.spaces import unit_rows
from router.types import Matrix

SCENES = Path(__file__).with_name("imagenet_scenes.tsv")
"""A row for each class: its id, and captions of photos in which one is seen (scripts/write_scenes)."""


class ClassTexts(NamedTuple):
    """What is said of a class."""

    names: tuple[str, ...]
    """Three ways to say what it is."""
    scenes: tuple[str, ...]
    """Captions of photos in which one is seen, with what else is there (after CuPL, Pratt et al. 2023)."""


def read_class_texts() -> list[ClassTexts]:
    """What is said of each class of the network, in its order."""
    told = {identity: tuple(captions) for identity, *captions in rows(SCENES)}
    return [
        ClassTexts((names, f"{names}: {definition}", f"a photo of a {names.split(',')[0]}"), told[identity])
        for identity, names, definition in rows(CLASSES)
    ]


def class_vectors(classes: Sequence[ClassTexts], vectors: Mapping[str, Matrix]) -> Matrix:
    """What each class is called and seen with, (classes, 384), unit length.

    Names and scenes count the same. What all classes have in common is taken off: it says nothing about a picture, and makes mixtures of
    many classes alike, and near to any words.

    Args:
        classes: Their texts.
        vectors: MiniLM's vector of each text.
    """
    kinds = [unit_rows(np.stack([_mean(texts, vectors) for texts in kind])) for kind in zip(*classes, strict=True)]
    both = unit_rows(np.sum(kinds, axis=0))
    return unit_rows(both - both.mean(0))


def _mean(texts: Sequence[str], vectors: Mapping[str, Matrix]) -> Matrix:
    return np.asarray(np.mean([vectors[text] for text in texts], axis=0), np.float32)


def rows(file: Path) -> list[list[str]]:
    """Of CLASSES or SCENES, by columns."""
    return [line.split("\t") for line in file.read_text(encoding="utf-8").splitlines()]
