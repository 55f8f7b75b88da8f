"""The learned policy: the set of sources whose expected quality less its price is greatest."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from router.errors import ConfigurationError
from router.retrieval.base import Probe
from router.routing.base import SourceProfile
from router.routing.budget import TOLERANCE, quick
from router.routing.features import Features, features
from router.routing.latency import told_as_slow
from router.routing.overview import overview_asked
from router.routing.rules import is_small_talk, small_talk_decision
from router.routing.source_sets import SourceSet, source_sets
from router.routing.value import ValueModel
from router.types import Caller, Query, Route, RouteDecision

Kinds = SourceSet
"""Kinds of sources, of which a set shares one estimate."""
REASONS = 3
"""Features named in a reason."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A set of kinds with what it is expected to be worth."""

    kinds: Kinds
    quality: float
    """1 - product of (1 - probability of each kind): as if they carried the answer independently of one another."""
    cost: float

    @property
    def utility(self) -> float:
        return self.quality - self.cost


NOTHING = Choice(frozenset(), 0.0, 0.0)


class LearnedPolicy:
    """Chooses by a `ValueModel` over features of the probe; nothing in it depends on the words of a question.

    Sources of one kind share one decision. Greetings get no source and overviews of the corpus the graph, as in `rules`; every other
    question is put to at least one source.

    Args:
        model: Probability of carrying the answer, by kind.
    """

    name = "learned"

    def __init__(self, model: ValueModel) -> None:
        self._model = model

    @property
    def version(self) -> str:
        return self._model.version

    async def decide(self, query: Query, probe: Probe, sources: tuple[SourceProfile, ...], caller: Caller) -> RouteDecision:
        """Raises ConfigurationError when a source is of a kind that the model has not learned."""
        if not query.has_pictures and is_small_talk(query.text):
            return replace(small_talk_decision(self.name, sources), version=self.version)
        seen = features(query, probe)
        choices = self.choices(seen, sources, caller.max_cost, caller.max_latency_s)
        slow = [source.name for source in sources if source not in quick(sources, caller.max_latency_s)]
        too_slow = f"; {told_as_slow(slow, caller.max_latency_s)}" if slow and caller.max_latency_s is not None else ""
        if not choices:
            reason = "no source can be had" + ("" if caller.max_cost is None else f" for {caller.max_cost:g}")
            routes = tuple(self._route(source, NOTHING, seen) for source in sources)
            return RouteDecision(self.name, routes, reason + too_slow, version=self.version, features=seen)
        overview = overview_asked(query)
        about_all = [choice for choice in choices if choice.kinds == {"graph"}] if overview is not None and overview.is_of_all else []
        best = about_all[0] if about_all else choices[0]
        routes = tuple(self._route(source, NOTHING if source.name in slow else best, seen) for source in sources)
        reason = _summary(best, choices, is_overview=bool(about_all))
        return RouteDecision(self.name, routes, reason + too_slow, version=self.version, features=seen)

    def choices(
        self, seen: Features, sources: Sequence[SourceProfile], max_cost: float | None = None, max_latency_s: float | None = None
    ) -> list[Choice]:
        """Every set of the quick enough sources' kinds that may be paid, the one of greatest utility first; of equals the cheaper."""
        unknown = sorted({source.kind for source in sources} - self._model.kinds)
        if unknown:
            raise ConfigurationError(f"the model of `learned` has not learned sources of kind {unknown[0]!r}", field="routing.policies")
        price = _prices(quick(sources, max_latency_s))
        chance = {kind: self._model.quality(kind, seen) for kind in price}
        choices = [
            Choice(kinds, 1.0 - math.prod(1.0 - chance[kind] for kind in kinds), sum(price[kind] for kind in kinds))
            for kinds in source_sets(sorted(price), least=1)
        ]
        payable = [choice for choice in choices if max_cost is None or choice.cost <= max_cost + TOLERANCE]
        return sorted(payable, key=lambda choice: (-choice.utility, choice.cost, sorted(choice.kinds)))

    def _route(self, source: SourceProfile, best: Choice, seen: Features) -> Route:
        probability = self._model.quality(source.kind, seen)
        reasons = ", ".join(str(reason) for reason in self._model.reasons(source.kind, seen, REASONS))
        return Route(source.name, source.kind in best.kinds, probability, reasons, expected_quality=probability, cost=source.cost)


def _prices(sources: Iterable[SourceProfile]) -> Mapping[str, float]:
    price: dict[str, float] = {}
    for source in sources:
        price[source.kind] = price.get(source.kind, 0.0) + source.cost
    return price


def _summary(best: Choice, choices: Sequence[Choice], *, is_overview: bool) -> str:
    chosen = "+".join(sorted(best.kinds))
    worth = f"{chosen} is expected to carry the answer with probability {best.quality:.2f} at a price of {best.cost:.2f}"
    if is_overview:
        return f"an overview of the whole is asked for, which the graph gives; {worth}"
    others = [choice for choice in choices if choice.kinds != best.kinds]
    if not others:
        return worth
    return f"{worth}; next best {'+'.join(sorted(others[0].kinds))} with {others[0].quality:.2f} at {others[0].cost:.2f}"
