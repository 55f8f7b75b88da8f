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

Told = tuple[float, Mapping[Kinds, float]]
"""Weight of a similar question, and what is known of it."""


class KnnPolicy:
    """Takes the set of sources of greatest expected utility, as `learned` does, by qualities that experience has moved.

    The quality of a kind is the weighted mean of what similar questions tell of it and, with the weight `PRIOR`, of what `learned` expects;
    what several kinds together did not carry, none of them carried. That of a larger set is the same mean over what is told of just this
    set and what its kinds, so moved, are expected to carry. So without similar questions it decides as `learned`, and the more there are
    the less that counts.

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
        expected = self._learned.choices(decision.features, sources, caller.max_cost)
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


def _moved(expected: Sequence[Choice], near: Sequence[Told]) -> dict[Kinds, Choice]:
    """The choices by what experience tells, in their order."""
    # A set that may be paid consists of kinds that may be paid alone.
    alone = {choice.kinds: _mean(choice.kinds, choice.quality, near) for choice in expected if len(choice.kinds) == 1}
    return {
        choice.kinds: replace(
            choice,
            quality=alone[choice.kinds]
            if choice.kinds in alone
            else _mean(choice.kinds, 1.0 - math.prod(1.0 - alone[frozenset([kind])] for kind in choice.kinds), near),
        )
        for choice in expected
    }


def _mean(kinds: Kinds, expected: float, near: Sequence[Told]) -> float:
    told = [(weight, quality) for weight, qualities in near if (quality := told_of(kinds, qualities)) is not None]
    total = PRIOR + sum(weight for weight, _ in told)
    return (PRIOR * expected + sum(weight * quality for weight, quality in told)) / total


def told_of(kinds: Kinds, qualities: Mapping[Kinds, float]) -> float | None:
    """What was found out about a set, if anything."""
    if kinds not in qualities and len(kinds) == 1 and any(quality <= 0.0 and kinds < larger for larger, quality in qualities.items()):
        return 0.0
    return qualities.get(kinds)


def _worth(choice: Choice) -> str:
    return f"{'+'.join(sorted(choice.kinds))} is expected to carry the answer with probability {choice.quality:.2f}"
