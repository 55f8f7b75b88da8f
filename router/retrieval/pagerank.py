"""Personalised PageRank, and the path by which its mass came."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from router.stores.edges import Floats


def strengths(weights: sp.csr_matrix) -> Floats:
    """Each node's sum of weights, shape (n,)."""
    return np.asarray(weights.sum(axis=1)).ravel()


def personalised_pagerank(
    weights: sp.csr_matrix, restart: Floats, damping: float, *, iterations: int = 30, tolerance: float = 1e-9
) -> Floats:
    """Mass of each node when a walker follows an edge with probability `damping` and else starts anew.

    Source: Haveliwala, Topic-Sensitive PageRank, WWW 2002. Mass at nodes without edges goes back to the start.

    Args:
        weights: Symmetric, shape (n, n).
        restart: Where it starts, shape (n,), sum 1.
        damping: Between 0 (the restart itself is returned) and 1.
        iterations: Steps at most; the error shrinks by `damping` with each.
        tolerance: Stop when a step moves less mass than this.
    """
    strength = strengths(weights)
    isolated = strength == 0
    share = np.divide(1.0, strength, out=np.zeros_like(strength), where=~isolated)
    mass = restart.copy()
    for _ in range(iterations if damping > 0 else 0):
        moved = weights @ (mass * share) + restart * mass[isolated].sum()
        after = (1.0 - damping) * restart + damping * moved
        change = np.abs(after - mass).sum()
        mass = after
        if change < tolerance:
            break
    return mass


def dominant_path(weights: sp.csr_matrix, strength: Floats, mass: Floats, restart: Floats, node: int, max_steps: int = 5) -> list[int]:
    """The way by which most of a node's mass came, from a node where the walk starts to `node` itself.

    From each node it goes back to the neighbour that sent the most, until a node with restart mass is reached. `strength` is each
    node's sum of weights.
    """
    path = [node]
    while restart[path[-1]] <= 0 and len(path) <= max_steps:
        begin, end = weights.indptr[path[-1]], weights.indptr[path[-1] + 1]
        neighbours, values = weights.indices[begin:end], weights.data[begin:end]
        sent = values * mass[neighbours] / strength[neighbours]
        sent[np.isin(neighbours, path)] = -1.0
        if len(sent) == 0 or sent.max() <= 0:
            break
        path.append(int(neighbours[int(sent.argmax())]))
    return path[::-1]
