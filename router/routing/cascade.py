"""A cheap policy decides; a language model only where that one is unsure, or could not look at the corpus."""

from __future__ import annotations

from dataclasses import replace

from router.errors import RouterError
from router.retrieval.base import Probe
from router.routing.base import RoutingPolicy, SourceProfile
from router.routing.learned import LearnedPolicy
from router.types import Caller, Query, RouteDecision


class CascadePolicy:
    """`learned`, and the language model for what is too close to call, or where neither passages nor names could be looked at.

    Args:
        learned: Decides first.
        llm: Asked when the two best choices of `learned` differ by less than `margin` in expected utility.
        margin: What a call of the language model is worth, in units of answer quality.
    """

    name = "cascade"

    def __init__(self, learned: LearnedPolicy, llm: RoutingPolicy, margin: float) -> None:
        self._learned = learned
        self._llm = llm
        self._margin = margin

    async def decide(self, query: Query, probe: Probe, sources: tuple[SourceProfile, ...], caller: Caller) -> RouteDecision:
        """A language model that fails leaves the decision of `learned`, whose reason then says so."""
        decision = replace(await self._learned.decide(query, probe, sources, caller), policy=self.name)
        # Without features it has decided without weighing anything: small talk.
        choices = self._learned.choices(decision.features, sources, caller.max_cost, caller.max_latency_s) if decision.features else []
        is_blind = probe.nearest is None and probe.linked is None
        if len(choices) < 2 or (choices[0].utility - choices[1].utility >= self._margin and not is_blind):
            return decision
        why = "the corpus could not be looked at" if is_blind else "too close to call"
        try:
            asked = await self._llm.decide(query, probe, sources, caller)
        except RouterError as error:
            return replace(decision, reason=f"{decision.reason}; {why}, and {self._llm.name} could not decide ({error.message})")
        reason = f"{why} for {self._learned.name} ({decision.reason}); {asked.reason}"
        return replace(asked, policy=self.name, reason=reason, version=decision.version, features=decision.features)
