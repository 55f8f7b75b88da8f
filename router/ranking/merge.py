"""The same item from two sources is one evidence with both provenances."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from router.types import Evidence

KEPT = 3
"""Places within which each source's best item stays."""


def merged(lists: Iterable[Iterable[Evidence]]) -> dict[str, Evidence]:
    """Items by id, in the order in which they are first met; provenances are collected."""
    items: dict[str, Evidence] = {}
    for evidence in lists:
        for item in evidence:
            known = items.get(item.id)
            items[item.id] = item if known is None else replace(known, provenance=(*known.provenance, *item.provenance))
    return items


def ranked(items: Mapping[str, Evidence], scores: Mapping[str, float], limit: int) -> list[Evidence]:
    """Items by score, best first, ties by id; each carries its score."""
    order = sorted(items, key=lambda item_id: (-scores.get(item_id, 0.0), item_id))
    return [replace(items[item_id], score=scores.get(item_id, 0.0)) for item_id in order[:limit]]


def with_kept_places(fused: Sequence[Evidence], best: Collection[str]) -> list[Evidence]:
    """The list with each source's best item (by id) among the first KEPT: fusion may add, but never loses what was found."""
    kept = [item for item in fused if item.id in best][:KEPT]
    others = [item for item in fused if item.id not in {each.id for each in kept}]
    place = {item.id: number for number, item in enumerate(fused)}
    first = sorted([*kept, *others[: KEPT - len(kept)]], key=lambda item: place[item.id])
    return [*first, *others[KEPT - len(kept) :]]
