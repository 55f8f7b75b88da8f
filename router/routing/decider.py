"""Which sources a call asks: those it names, or what a policy chooses: the one it names, its experiment's arm, or the chain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from router.call import Call
from router.retrieval.base import Probe
from router.routing.base import RoutingPolicy, SourceProfile
from router.routing.budget import within_budget
from router.routing.experiment import Arm, Experiment
from router.routing.latency import Latencies
from router.routing.pictures import with_pictures
from router.routing.shadow import Shadows, Tell
from router.types import AS_ASKED, Route, RouteDecision


class Decider:
    """Routes calls.

    Args:
        sources: The configured sources, in the order of the configuration.
        policies: Every policy that a call may name.
        chain: The configured chain, which decides when a call names none.
        latencies: How long the sources take.
        experiment: Who decides in the chain's place for calls that bring a key.
        shadows: Decide beside the live policy, for an observer to know.
    """

    def __init__(
        self,
        sources: Sequence[SourceProfile],
        policies: Mapping[str, RoutingPolicy],
        chain: RoutingPolicy,
        latencies: Latencies,
        experiment: Experiment | None = None,
        shadows: Shadows | None = None,
    ) -> None:
        self._sources = tuple(sources)
        self.policies = policies
        self._chain = chain
        self._latencies = latencies
        self._experiment = experiment
        self._shadows = shadows or Shadows({})

    @property
    def sources(self) -> tuple[SourceProfile, ...]:
        """With how long they are expected to take now."""
        return tuple(replace(source, latency=self._latencies.expected(source.name)) for source in self._sources)

    async def decide(self, call: Call, probe: Probe) -> RouteDecision:
        """Raises RouterError when no policy could decide."""
        with call.watch.stage("route"):
            sources, options = self.sources, call.options
            if options.sources:
                return _with_latency(as_asked(sources, options.sources), sources)
            arm = self._arm_of(call)
            policy = self.policies[options.policy] if options.policy else self._chain if arm is None else arm.policy
            decided = await policy.decide(call.query, probe, sources, call.caller)
            decided = with_pictures(decided, call.query, probe, sources)
            decision = _with_latency(within_budget(decided, sources, call.caller), sources)
        if arm is not None and self._experiment is not None:
            bucket = self._experiment.bucket(call.caller.tenant, options.experiment_key)
            decision = replace(decision, experiment=self._experiment.name, arm=arm.name, bucket=bucket)
        return replace(decision, latency_s=call.watch.stages_s["route"])

    def let_shadows_decide(self, call: Call, probe: Probe, decision: RouteDecision, tell: Tell) -> None:
        """In the background; returns at once."""
        # Where the caller named the sources there is no decision to be compared with.
        if not call.options.no_log and not decision.as_asked:
            self._shadows.follow(call.query, probe, self.sources, call.caller, tell)

    def _arm_of(self, call: Call) -> Arm | None:
        if self._experiment is None or not call.options.experiment_key or call.options.policy:
            return None
        return self._experiment.arm(call.caller.tenant, call.options.experiment_key)


def as_asked(sources: Sequence[SourceProfile], names: Sequence[str]) -> RouteDecision:
    """What a caller decided who named the sources."""
    routes = tuple(
        Route(source.name, True, 1.0, "the caller asked for it", cost=source.cost)
        if source.name in names
        else Route(source.name, False, 0.0, "the caller did not ask for it", cost=source.cost)
        for source in sources
    )
    return RouteDecision(AS_ASKED, routes, "the caller named the sources")


def _with_latency(decision: RouteDecision, sources: Sequence[SourceProfile]) -> RouteDecision:
    """The decision with what is expected of each source, unless its policy said so, and of the chosen ones together."""
    expected = {source.name: source.latency for source in sources}
    routes = tuple(
        replace(route, latency_s=latency.median_s, latency_p90_s=latency.p90_s)
        if (latency := expected.get(route.source)) is not None and route.latency_s is None and route.latency_p90_s is None
        else route
        for route in decision.routes
    )
    chosen = [route for route in routes if route.selected]
    return replace(
        decision,
        routes=routes,
        expected_latency_s=_slowest([route.latency_s for route in chosen]),
        expected_latency_p90_s=_slowest([route.latency_p90_s for route in chosen]),
    )


def _slowest(latencies: Sequence[float | None]) -> float | None:
    known = [latency for latency in latencies if latency is not None]
    return max(known) if known and len(known) == len(latencies) else None
