"""Policies in order: the first that can decide does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import structlog

from router.errors import RouterError, Unavailable
from router.retrieval.base import Probe
from router.routing.base import RoutingPolicy, SourceProfile
from router.types import Caller, Query, RouteDecision

_log = structlog.get_logger(__name__)


class PolicyChain:
    """A policy that asks other policies.

    The decision names the policy that made it; its reason also says which ones before could not decide, and why.

    Args:
        policies: At least one, the preferred first.
    """

    def __init__(self, policies: Sequence[RoutingPolicy]) -> None:
        assert policies, "a chain has at least one policy. This is a bug."
        self._policies = tuple(policies)

    @property
    def name(self) -> str:
        return ", ".join(policy.name for policy in self._policies)

    async def decide(self, query: Query, probe: Probe, sources: tuple[SourceProfile, ...], caller: Caller) -> RouteDecision:
        """Raises Unavailable when none of the policies can decide."""
        failures: list[RouterError] = []
        story: list[str] = []
        for policy in self._policies:
            try:
                decision = await policy.decide(query, probe, sources, caller)
            except RouterError as error:
                _log.warning("policy could not decide", policy=policy.name, reason=error.reason, message=error.message)
                failures.append(error)
                story.append(f"{policy.name} could not decide ({error.reason}: {error.message})")
            else:
                if not story:
                    return decision
                return replace(decision, reason="; ".join([*story, f"{decision.policy} decided: {decision.reason}"]))
        retry_after_s = max((error.retry_after_s or 0.0 for error in failures), default=0.0) or None
        raise Unavailable("; ".join(story), reason="NO_POLICY_COULD_DECIDE", retry_after_s=retry_after_s) from failures[-1]
