"""The way of a query: guard, make standalone, embed once, probe, route, gather evidence, generate with citations.

Nothing here knows gRPC, Milvus or Bolt.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace

import structlog

from router.call import Call, Options, check_options
from router.errors import QueryRefused, RouterError, StoreUnavailable
from router.filtering.base import OutputFilter, QueryFilter
from router.filtering.stream import filtered
from router.gathering import Gatherer, Source
from router.generation.base import Generator, Written
from router.guard import check_query
from router.retrieval.base import Probe
from router.retrieval.follow_up import FollowUps
from router.retrieval.probe import Prober
from router.retrieval.reading import Reader
from router.routing.base import DecisionObserver, RoutingPolicy, Unobserved
from router.routing.decider import Decider
from router.stopwatch import Stopwatch
from router.types import Answer, AnswerEvent, Caller, Notice, Query, Retrieval, RouteDecision, ShadowDecision, Vector

_log = structlog.get_logger(__name__)


class Engine:
    """One engine serves all calls; it keeps no state of a call but how long the sources took.

    Args:
        follow_ups: Makes a question that leans on its history standalone.
        prober: Embeds the question and takes the cheap look at the corpus.
        decider: Chooses the sources.
        gatherer: Asks them, and makes one list of what they find.
        reader: Widens passages before they are read; None reads them as they were found.
        generator: Writes the answer.
        generation_reserve_s: Of a caller's time, kept for writing.
        query_filters: May refuse a question, before it is routed.
        output_filters: Redact an answer while it is written. The evidence that is returned beside it stays as it is.
        observer: Is told of the decisions of every retrieval and answer that did not opt out.
    """

    def __init__(
        self,
        *,
        follow_ups: FollowUps,
        prober: Prober,
        decider: Decider,
        gatherer: Gatherer,
        reader: Reader | None,
        generator: Generator,
        generation_reserve_s: float,
        query_filters: Sequence[QueryFilter] = (),
        output_filters: Sequence[OutputFilter] = (),
        observer: DecisionObserver | None = None,
    ) -> None:
        self._follow_ups = follow_ups
        self._prober = prober
        self._decider = decider
        self.gatherer = gatherer
        self._reader = reader
        self._generator = generator
        self._generation_reserve_s = generation_reserve_s
        self._query_filters = tuple(query_filters)
        self._output_filters = tuple(output_filters)
        self.observer = observer or Unobserved()

    @property
    def sources(self) -> dict[str, Source]:
        """The configured sources, in the order of the configuration."""
        return self.gatherer.sources

    @property
    def policies(self) -> Mapping[str, RoutingPolicy]:
        """Every policy that a call may name."""
        return self._decider.policies

    async def probe(self, query: Query, caller: Caller) -> Probe:
        """The cheap look at the corpus only.

        Raises:
            InvalidInput: The query is wrong; names the field.
            Unavailable: The embedding model is down.
        """
        return await self._probe(await self._admit(query, Options(), caller))

    async def route(self, query: Query, options: Options, caller: Caller) -> RouteDecision:
        """Decide only.

        Raises:
            InvalidInput: The query or an option is wrong; names the field.
            Unavailable: No policy could decide, or the embedding model is down.
        """
        call = await self._admit(query, options, caller)
        return await self._decider.decide(call, await self._probe(call))

    async def route_all(self, query: Query, caller: Caller) -> tuple[tuple[RouteDecision, ...], tuple[Notice, ...]]:
        """What every policy decides; one that could not is named in a notice."""
        call = await self._admit(query, Options(), caller)
        probe = await self._probe(call)
        decisions: list[RouteDecision] = []
        notices = list(call.notices)
        for name in self.policies:
            try:
                decisions.append(await self._decider.decide(replace(call, options=Options(policy=name), watch=Stopwatch()), probe))
            except RouterError as error:
                notices.append(Notice("POLICY_COULD_NOT_DECIDE", f"{name}: {error.message}"))
        return tuple(decisions), tuple(notices)

    async def retrieve(self, query: Query, options: Options, caller: Caller) -> Retrieval:
        """Route, retrieve, fuse and rerank; look up more where the evidence may not carry the answer.

        Raises:
            InvalidInput: The query or an option is wrong; names the field.
            AllSourcesUnavailable: Sources were chosen and none of them could serve.
            Unavailable: No policy could decide, or the embedding model is down.
        """
        call = await self._admit(query, options, caller)
        probe = await self._probe(call)
        decision = await self._decider.decide(call, probe)
        observer = self._observer_of(call)
        observer.on_decided(call.query, caller, decision)
        retrieval = await self.gatherer.gather(call, probe, decision, self._decider.sources)
        observer.on_retrieved(call.query, caller, retrieval)

        def tell(shadows: tuple[ShadowDecision, ...]) -> None:
            observer.on_retrieved(call.query, caller, _shadowed(retrieval, shadows))

        self._decider.let_shadows_decide(call, probe, decision, tell)
        return retrieval

    async def compare(
        self, query: Query, sets: Sequence[tuple[str, ...]], options: Options, caller: Caller
    ) -> tuple[Probe, list[Retrieval]]:
        """What each set of sources gives, for experiments.

        Raises:
            InvalidInput: As `retrieve`.
            AllSourcesUnavailable: A source could not serve, so that the sets that hold it cannot be compared.
        """
        call = await self._admit(query, options, caller)
        probe = await self._probe(call)
        return probe, await self.gatherer.compare(call, probe, sets)

    async def answer(self, query: Query, options: Options, caller: Caller) -> AsyncIterator[AnswerEvent]:
        """Stream an answer: the decision, the evidence, then tokens with their citations and notices, then the whole answer.

        Raises:
            RouterError: As `retrieve`; before the first token only.
        """
        call = await self._admit(query, options, replace(caller, deadline=caller.deadline.earlier(self._generation_reserve_s)))
        probe = await self._probe(call)
        decision = await self._decider.decide(call, probe)
        observer = self._observer_of(call)
        observer.on_decided(call.query, caller, decision)
        yield decision
        retrieval = await self._read(call, await self.gatherer.gather(call, probe, decision, self._decider.sources))
        observer.on_retrieved(call.query, caller, retrieval)
        yield retrieval
        for notice in retrieval.notices:
            yield notice
        with call.watch.stage("generate"):
            written_events = self._generator.generate(call.asked, retrieval, caller)
            async for event in filtered(written_events, self._output_filters) if self._output_filters else written_events:
                call.watch.mark("first_token")
                if isinstance(event, Written):
                    written = event
                else:
                    yield event
        answer = Answer(
            text=written.text,
            found=written.found,
            citations=written.citations,
            retrieval=retrieval,
            generator=written.generator,
            timings=call.watch.timings(),
            notices=(*retrieval.notices, *written.notices),
        )
        observer.on_answered(call.query, caller, answer)

        def tell(shadows: tuple[ShadowDecision, ...]) -> None:
            observer.on_answered(call.query, caller, replace(answer, retrieval=_shadowed(answer.retrieval, shadows)))

        self._decider.let_shadows_decide(call, probe, decision, tell)
        yield answer

    async def _admit(self, query: Query, options: Options, caller: Caller) -> Call:
        check_query(query)
        check_options(options, sources=self.sources, policies=self.policies, fusions=self.gatherer.fusions)
        caller = replace(caller, max_cost=options.max_cost, max_latency_s=options.max_latency_s)
        watch = Stopwatch()
        await self._filter(query, None, caller)
        query = await self._prober.resolved(query, caller)
        if not query.history or not query.text:
            return Call(query, query, options, caller, watch)
        with watch.stage("rewrite"):
            standalone = await self._follow_ups.standalone(query, caller)
        if standalone.query is not query:
            await self._filter(standalone.query, None, caller)
        return Call(standalone.query, query, options, caller, watch, standalone.notices)

    async def _probe(self, call: Call) -> Probe:
        probe = await self._prober.probe(call.query, call.caller, call.watch)
        await self._filter(call.query, probe.vector, call.caller)
        if call.query.instruction and self._query_filters:
            for vector in await self._prober.said(call.query):
                await self._filter(call.query, vector, call.caller)
        return probe

    async def _filter(self, query: Query, vector: Vector | None, caller: Caller) -> None:
        try:
            for one in self._query_filters:
                await one.check(query, vector, caller)
        except QueryRefused as error:
            _log.info("query_refused", rule=error.rule, tenant=caller.tenant)
            raise

    async def _read(self, call: Call, retrieval: Retrieval) -> Retrieval:
        """What the generator reads: the passages widened, or as they were found when the journal has gone meanwhile."""
        if self._reader is None:
            return retrieval
        with call.watch.stage("read"):
            try:
                return replace(retrieval, evidence=await self._reader.widened(call.caller.tenant, retrieval.evidence))
            except StoreUnavailable as error:
                return replace(retrieval, notices=(*retrieval.notices, Notice("NOT_WIDENED", f"passages are not widened: {error.message}")))

    def _observer_of(self, call: Call) -> DecisionObserver:
        return Unobserved() if call.options.no_log else self.observer


def _shadowed(retrieval: Retrieval, shadows: tuple[ShadowDecision, ...]) -> Retrieval:
    return replace(retrieval, decision=replace(retrieval.decision, shadows=shadows))
