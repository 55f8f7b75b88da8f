"""The same item from two sources is one evidence with both provenances."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from router.types import Evidence


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
