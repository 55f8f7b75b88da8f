"""The sets of sources (or kinds of sources) that are compared with one another."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

SourceSet = frozenset[str]

MAX_SOURCES = 5
"""Above this the number of sets explodes; only none, each alone, the pairs and all are taken."""


def source_sets(names: Sequence[str], least: int = 0) -> list[SourceSet]:
    """Every set of at least so many of the names, smallest first; of more than `MAX_SOURCES` only some."""
    sizes = range(len(names) + 1) if len(names) <= MAX_SOURCES else (0, 1, 2, len(names))
    return [frozenset(chosen) for size in sizes if size >= least for chosen in combinations(names, size)]
