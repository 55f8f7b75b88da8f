"""The way of a query: guard, embed once, probe, route, retrieve in parallel, fuse, rerank, generate with citations.

Nothing here knows gRPC, Milvus or Bolt.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace

from router.errors import AllSourcesUnavailable, InvalidInput, RouterError
from router.generation.base import Generator, Written
from router.guard import check_query
from router.ranking.base import Fusion, FusionRequest, Reranker
from router.retrieval.base import Probe, RetrievalRequest, Retrieved, Retriever
from router.retrieval.probe import Prober
from router.retrieval.run import run_source
from router.routing.base import RoutingPolicy, SourceProfile
from router.settings import RetrievalSettings
from router.stopwatch import Stopwatch
from router.types import Answer, AnswerEvent, Caller, Evidence, Notice, Query, Retrieval, Route, RouteDecision, SourceReport

MAX_LIMIT = 100
AS_ASKED = "as asked"
"""The policy's name when the caller names the sources himself."""


@dataclass(frozen=True, slots=True)
class Options:
    """How evidence is chosen for one call; an empty value means the configured one."""

    sources: tuple[str, ...] = ()
    policy: str = ""
    limit: int = 0
    fusion: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """A configured source: what a policy knows of it, and the retriever behind it."""

    profile: SourceProfile
    retriever: Retriever


class Engine:
    """One engine serves all calls; it keeps no state of a call.

    Args:
        sources: The configured sources, in the order of the configuration.
        prober: Embeds the question and takes the cheap look at the corpus.
        policies: Every policy that a call may name.
        chain: The configured chain, which decides when a call names none.
        fusions: By name (`walk`, `rrf`, `weighted`).
        default_fusion: One of those names.
        reranker: None leaves the fused order as it is.
        generator: Writes the answer.
        settings: Limits and time shares.
    """

    def __init__(
        self,
        *,
        sources: tuple[Source, ...],
        prober: Prober,
        policies: Mapping[str, RoutingPolicy],
        chain: RoutingPolicy,
        fusions: Mapping[str, Fusion],
        default_fusion: str,
        reranker: Reranker | None,
        generator: Generator,
        settings: RetrievalSettings,
    ) -> None:
        self.sources = {source.profile.name: source for source in sources}
        self.policies = policies
        self._prober = prober
        self._chain = chain
        self._fusions = fusions
        self._default_fusion = default_fusion
        self._reranker = reranker
        self._generator = generator
        self._settings = settings

    async def route(self, query: Query, options: Options, caller: Caller) -> RouteDecision:
        """Decide only.

        Raises:
            InvalidInput: The query or an option is wrong; names the field.
            Unavailable: No policy could decide, or the embedding model is down.
        """
        self._check(query, options)
        watch = Stopwatch()
        probe = await self._prober.probe(query, caller, watch)
        return await self._decide(query, probe, options, caller, watch)

    async def route_all(self, query: Query, caller: Caller) -> tuple[tuple[RouteDecision, ...], tuple[Notice, ...]]:
        """What every policy decides; one that could not is named in a notice."""
        self._check(query, Options())
        probe = await self._prober.probe(query, caller, Stopwatch())
        decisions: list[RouteDecision] = []
        notices: list[Notice] = []
        for name, policy in self.policies.items():
            watch = Stopwatch()
            try:
                with watch.stage("route"):
                    decision = await policy.decide(query, probe, self._profiles, caller)
                decisions.append(replace(decision, latency_s=watch.stages_s["route"]))
            except RouterError as error:
                notices.append(Notice("POLICY_COULD_NOT_DECIDE", f"{name}: {error.message}"))
        return tuple(decisions), tuple(notices)

    async def retrieve(self, query: Query, options: Options, caller: Caller) -> Retrieval:
        """Route, retrieve, fuse and rerank.

        Raises:
            InvalidInput: The query or an option is wrong; names the field.
            AllSourcesUnavailable: Sources were chosen and none of them could serve.
            Unavailable: No policy could decide, or the embedding model is down.
        """
        self._check(query, options)
        watch = Stopwatch()
        probe = await self._prober.probe(query, caller, watch)
        decision = await self._decide(query, probe, options, caller, watch)
        return await self._gather(query, probe, decision, options, caller, watch)

    async def answer(self, query: Query, options: Options, caller: Caller) -> AsyncIterator[AnswerEvent]:
        """Stream an answer: the decision, the evidence, then tokens with their citations and notices, then the whole answer.

        Raises:
            RouterError: As `retrieve`; before the first token only.
        """
        self._check(query, options)
        watch = Stopwatch()
        retrieving = replace(caller, deadline=caller.deadline.earlier(self._settings.generation_reserve_s))
        probe = await self._prober.probe(query, retrieving, watch)
        decision = await self._decide(query, probe, options, retrieving, watch)
        yield decision
        retrieval = await self._gather(query, probe, decision, options, retrieving, watch)
        yield retrieval
        with watch.stage("generate"):
            async for event in self._generator.generate(query, retrieval, caller):
                watch.mark("first_token")
                if isinstance(event, Written):
                    written = event
                else:
                    yield event
        yield Answer(
            text=written.text,
            found=written.found,
            citations=written.citations,
            retrieval=retrieval,
            generator=written.generator,
            timings=watch.timings(),
            notices=(*retrieval.notices, *written.notices),
        )

    async def _decide(self, query: Query, probe: Probe, options: Options, caller: Caller, watch: Stopwatch) -> RouteDecision:
        with watch.stage("route"):
            if options.sources:
                return _as_asked(self._profiles, options.sources)
            policy = self.policies[options.policy] if options.policy else self._chain
            decision = await policy.decide(query, probe, self._profiles, caller)
        return replace(decision, latency_s=watch.stages_s["route"])

    async def _gather(
        self, query: Query, probe: Probe, decision: RouteDecision, options: Options, caller: Caller, watch: Stopwatch
    ) -> Retrieval:
        limit = options.limit or self._settings.limit
        with watch.stage("retrieve"):
            results, reports = await self._ask_sources(RetrievalRequest(query, probe, caller, limit), decision.selected)
        if reports and not results:
            raise AllSourcesUnavailable(
                "none of the chosen sources could serve: " + "; ".join(f"{report.source}: {report.message}" for report in reports),
                retry_after_s=1.0,
            )
        with watch.stage("fuse"):
            evidence = await self._fuse(query, results, decision, options, caller, limit)
        if self._reranker is not None and evidence:
            with watch.stage("rerank"):
                evidence = await self._reranker.rerank(query, evidence)
        return Retrieval(decision, tuple(evidence[:limit]), reports, watch.timings())

    async def _ask_sources(
        self, request: RetrievalRequest, names: tuple[str, ...]
    ) -> tuple[dict[str, Retrieved], tuple[SourceReport, ...]]:
        timeout_s = self._settings.source_timeout_s
        # run_source never raises (except when cancelled), so one source cannot take the others down.
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(run_source(name, self.sources[name].retriever, request, timeout_s)) for name in names]
        outcomes = [task.result() for task in tasks]
        results = {report.source: retrieved for retrieved, report in outcomes if retrieved is not None}
        return results, tuple(report for _, report in outcomes)

    async def _fuse(
        self, query: Query, results: Mapping[str, Retrieved], decision: RouteDecision, options: Options, caller: Caller, limit: int
    ) -> list[Evidence]:
        fusion = self._fusions[options.fusion or self._default_fusion]
        kinds = {name: self.sources[name].profile.kind for name in results}
        return await fusion.fuse(FusionRequest(caller.tenant, results, decision.trust, kinds, query.filter, limit))

    @property
    def _profiles(self) -> tuple[SourceProfile, ...]:
        return tuple(source.profile for source in self.sources.values())

    def _check(self, query: Query, options: Options) -> None:
        check_query(query)
        for number, name in enumerate(options.sources):
            if name not in self.sources:
                raise InvalidInput(
                    f"there is no source {name!r}; configured are {sorted(self.sources)}", reason="UNKNOWN_SOURCE", field=f"options.sources[{number}]"
                )
            if name in options.sources[:number]:
                raise InvalidInput(f"the source {name!r} is named twice", field=f"options.sources[{number}]")
        if options.policy and options.sources:
            raise InvalidInput("name a policy or the sources, not both", field="options.policy")
        if options.policy and options.policy not in self.policies:
            raise InvalidInput(
                f"there is no policy {options.policy!r}; available are {sorted(self.policies)}", reason="UNKNOWN_POLICY", field="options.policy"
            )
        if not 0 <= options.limit <= MAX_LIMIT:
            raise InvalidInput(f"the limit is {options.limit}; 1 to {MAX_LIMIT}, or 0 for the configured one", field="options.limit")
        if options.fusion and options.fusion not in self._fusions:
            raise InvalidInput(f"there is no fusion {options.fusion!r}; available are {sorted(self._fusions)}", field="options.fusion")


def _as_asked(profiles: tuple[SourceProfile, ...], names: tuple[str, ...]) -> RouteDecision:
    routes = tuple(
        Route(profile.name, True, 1.0, "the caller asked for it", cost=profile.cost)
        if profile.name in names
        else Route(profile.name, False, 0.0, "the caller did not ask for it", cost=profile.cost)
        for profile in profiles
    )
    return RouteDecision(AS_ASKED, routes, "the caller named the sources")
