"""`knn`: what `learned` expects, moved by what became of similar questions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from router.retrieval.base import Probe
from router.routing.base import SourceProfile
from router.routing.experience import Experience
from router.routing.learned import Choice, Kinds, LearnedPolicy
from router.routing.overview import overview_asked
from router.types import Caller, Query, RouteDecision

NEIGHBOURS = 20
"""Similar questions that count."""
FLOOR = 0.5
"""Cosine from which on a question is similar at all; its weight grows from 0 there to 1 for the same question."""
PRIOR = 2.0
"""Same questions that weigh as much as what `learned` expects. A judgement, not fitted."""


class KnnPolicy:
    """Takes the set of sources of greatest expected utility, as `learned` does, by qualities that experience has moved.

    The quality of a set is the weighted mean of what similar questions tell of it and, with the weight `PRIOR`, of what `learned` expects.
    So without similar questions it decides as `learned`, and the more there are the less that counts. What a question tells of a set that
    was not tried for it follows from the sets that were, as far as it does (`told_of`).

    Args:
        learned: Expects something of every question.
        experience: Of the tenant.
    """

    name = "knn"

    def __init__(self, learned: LearnedPolicy, experience: Experience) -> None:
        self._learned = learned
        self._experience = experience

    async def decide(self, query: Query, probe: Probe, sources: tuple[SourceProfile, ...], caller: Caller) -> RouteDecision:
        """Raises as `learned`."""
        decision = replace(await self._learned.decide(query, probe, sources, caller), policy=self.name)
        overview = overview_asked(query)
        # Small talk (no features) and overviews of the whole are decided by the words.
        if not decision.features or (overview is not None and overview.is_of_all):
            return decision
        expected = self._learned.choices(decision.features, sources, caller.max_cost, caller.max_latency_s)
        near = [
            ((neighbour.similarity - FLOOR) / (1.0 - FLOOR), neighbour.qualities)
            for neighbour in self._experience.nearest(caller.tenant, probe.vector, NEIGHBOURS)
            if neighbour.similarity > FLOOR
        ]
        if not expected or not near:
            return decision
        moved = _moved(expected, near)
        # Of equals the first of `learned`.
        best = max(moved.values(), key=lambda choice: choice.utility)
        before = moved[expected[0].kinds]
        reason = f"by {len(near)} similar questions that were judged, {_worth(best)}"
        if best.kinds != before.kinds:
            reason = f"{reason}, and {_worth(before)}, which learned would choose"
        routes = []
        for route, source in zip(decision.routes, sources, strict=True):
            alone = moved.get(frozenset([source.kind]))
            probability = route.probability if alone is None else alone.quality
            routes.append(replace(route, selected=source.kind in best.kinds, probability=probability, expected_quality=probability))
        return replace(decision, routes=tuple(routes), reason=f"{reason}; {decision.reason}")


def _moved(expected: Sequence[Choice], near: Sequence[tuple[float, Mapping[Kinds, float]]]) -> dict[Kinds, Choice]:
    """The choices by what experience tells, in their order."""
    # A set that may be paid consists of kinds that may be paid alone.
    chances = {kind: choice.quality for choice in expected if len(choice.kinds) == 1 for kind in choice.kinds}
    moved = {}
    for choice in expected:
        told = [(weight, found) for weight, qualities in near if (found := told_of(choice.kinds, qualities, chances)) is not None]
        total = PRIOR + sum(weight for weight, _ in told)
        quality = (PRIOR * choice.quality + sum(weight * found for weight, found in told)) / total
        moved[choice.kinds] = replace(choice, quality=quality)
    return moved


def told_of(kinds: Kinds, qualities: Mapping[Kinds, float], chances: Mapping[str, float]) -> float | None:
    """What a question tells of a set: what was found out about just this set, else what follows.

    What a part of it carried, it carries; else its kinds count as independent, where what several kinds together did not carry none of them
    did. Something must be known of one kind at least.

    Args:
        kinds: The set.
        qualities: Of the sets that were tried.
        chances: What is expected of a kind of which nothing is known.
    """
    if kinds in qualities:
        return qualities[kinds]
    if any(quality >= 1.0 and part < kinds for part, quality in qualities.items()):
        return 1.0
    alone = {kind: _alone(kind, qualities) for kind in kinds}
    if all(quality is None for quality in alone.values()):
        return None
    return 1.0 - math.prod(1.0 - (chances[kind] if quality is None else quality) for kind, quality in alone.items())


def _alone(kind: str, qualities: Mapping[Kinds, float]) -> float | None:
    if any(quality <= 0.0 and kind in tried for tried, quality in qualities.items()):
        return qualities.get(frozenset([kind]), 0.0)
    return qualities.get(frozenset([kind]))


def _worth(choice: Choice) -> str:
    return f"{'+'.join(sorted(choice.kinds))} is expected to carry the answer with probability {choice.quality:.2f}"
