"""Weights that choose the same kinds of sources for every question."""

from __future__ import annotations

from router.routing.value import KindWeights, written


def sure_of(version: str, *kinds: str, **about: object) -> str:
    """A model that expects everything of these kinds and nothing of the others."""
    chances = {kind: KindWeights(intercept=3.0 if kind in kinds else -9.0, weights={}) for kind in ("vector", "graph", "web")}
    return written(version, about, {}, chances)
