"""The way of a query: guard, make standalone, embed once, probe, route, retrieve in parallel, fuse, rerank, generate with citations.

Nothing here knows gRPC, Milvus or Bolt.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Protocol

import structlog

from router.correction.base import Lookup, State
from router.correction.corrector import Corrector
from router.errors import AllSourcesUnavailable, InvalidInput, NotFound, QueryRefused, RouterError, StoreUnavailable
from router.filtering.base import OutputFilter, QueryFilter
from router.filtering.stream import filtered
from router.generation.base import Generator, Written
from router.guard import check_query
from router.ranking.base import Fusion, FusionRequest, Reranker, RerankRequest
from router.ranking.diversity import Diversity
from router.retrieval.base import Probe, RetrievalRequest, Retrieved, Retriever
from router.retrieval.follow_up import FollowUps
from router.retrieval.merge import merged_reports, merged_results
from router.retrieval.pictures import told
from router.retrieval.probe import Prober
from router.retrieval.reading import Reader
from router.retrieval.regions import marked
from router.retrieval.run import run_source
from router.routing.base import DecisionObserver, RoutingPolicy, SourceProfile, Unobserved
from router.routing.budget import within_budget
from router.routing.experiment import Arm, Experiment
from router.routing.latency import Latencies
from router.routing.pictures import with_pictures
from router.routing.shadow import Shadows, Tell
from router.settings import RetrievalSettings
from router.stopwatch import Stopwatch
from router.types import (
    AS_ASKED,
    Answer,
    AnswerEvent,
    Caller,
    CorrectiveTurn,
    Evidence,
    Notice,
    Query,
    Retrieval,
    Route,
    RouteDecision,
    ShadowDecision,
    SourceReport,
    TextPart,
    TextRegion,
    Vector,
)

_log = structlog.get_logger(__name__)

MAX_LIMIT = 100
MAX_KEY_CHARACTERS = 256
"""Of an experiment's key."""
SPARE = 4
"""Items fused beyond the limit, to take the places of those that only repeat others."""


@dataclass(frozen=True, slots=True)
class Options:
    """How evidence is chosen for one call; an empty value means the configured one."""

    sources: tuple[str, ...] = ()
    policy: str = ""
    limit: int = 0
    fusion: str = ""
    no_log: bool = False
    """Keep no record of this call to learn from."""
    max_cost: float | None = None
    """What the sources may cost together; whoever names the sources himself has chosen."""
    max_latency_s: float | None = None
    """How long the sources may be expected to take; as with `max_cost`."""
    experiment_key: str = ""
    """Whom an experiment assigns to an arm; unused when the call names a policy or the sources."""


@dataclass(frozen=True, slots=True)
class Source:
    """A configured source: what a policy knows of it, and the retriever behind it."""

    profile: SourceProfile
    retriever: Retriever


@dataclass(frozen=True, slots=True)
class _Call:
    query: Query
    """What is looked up: the question made standalone."""
    asked: Query
    """The question as it came, its pictures by value."""
    options: Options
    caller: Caller
    watch: Stopwatch
    notices: tuple[Notice, ...] = ()


@dataclass(slots=True)
class _Findings:
    """What has been looked up in a call so far; it grows from turn to turn."""

    trust: dict[str, float]
    results: dict[str, Retrieved] = field(default_factory=dict)
    """By source, of all lookups."""
    reports: dict[str, SourceReport] = field(default_factory=dict)
    made: set[Lookup] = field(default_factory=set)
    turns: list[CorrectiveTurn] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)


class Thumbnails(Protocol):
    """Small JPEGs of the pictures (the picture store)."""

    async def thumbnail(self, tenant: str, picture_id: str) -> bytes:
        """Raises NotFound or StoreUnavailable."""


class PictureRegions(Protocol):
    """What is written in pictures (the journal)."""

    async def picture_regions(self, tenant: str, chunk_ids: Collection[str]) -> Mapping[str, tuple[TextRegion, ...]]:
        """By passage, in reading order. Raises StoreUnavailable."""


class Engine:
    """One engine serves all calls; it keeps no state of a call but how long the sources took.

    Args:
        sources: The configured sources, in the order of the configuration.
        follow_ups: Makes a question that leans on its history standalone.
        prober: Embeds the question and takes the cheap look at the corpus.
        policies: Every policy that a call may name.
        chain: The configured chain, which decides when a call names none.
        fusions: By name (`walk`, `rrf`, `weighted`).
        default_fusion: One of those names.
        reranker: None leaves the fused order as it is.
        corrector: Judges the evidence and says what else to look up.
        diversity: Drops what says the same again.
        reader: Widens passages before they are read; None reads them as they were found.
        generator: Writes the answer.
        settings: Limits and time shares.
        query_filters: May refuse a question, before it is routed.
        output_filters: Redact an answer while it is written. The evidence that is returned beside it stays as it is.
        observer: Is told of the decisions of every retrieval and answer that did not opt out.
        latencies: Learns how long the sources take.
        experiment: Who decides in the chain's place for calls that bring a key.
        shadows: Decide beside the live policy, for the observer to know.
        thumbnails: Of the pictures among the evidence; None leaves them out.
        regions: What is written in those pictures; None leaves it out.
    """

    def __init__(
        self,
        *,
        sources: tuple[Source, ...],
        follow_ups: FollowUps,
        prober: Prober,
        policies: Mapping[str, RoutingPolicy],
        chain: RoutingPolicy,
        fusions: Mapping[str, Fusion],
        default_fusion: str,
        reranker: Reranker | None,
        corrector: Corrector,
        diversity: Diversity,
        reader: Reader | None,
        generator: Generator,
        settings: RetrievalSettings,
        query_filters: Sequence[QueryFilter] = (),
        output_filters: Sequence[OutputFilter] = (),
        observer: DecisionObserver | None = None,
        latencies: Latencies | None = None,
        experiment: Experiment | None = None,
        shadows: Shadows | None = None,
        thumbnails: Thumbnails | None = None,
        regions: PictureRegions | None = None,
    ) -> None:
        self.sources = {source.profile.name: source for source in sources}
        self.policies = policies
        self._follow_ups = follow_ups
        self._prober = prober
        self._chain = chain
        self._fusions = fusions
        self._default_fusion = default_fusion
        self.reranker = reranker
        self._corrector = corrector
        self._diversity = diversity
        self._reader = reader
        self._generator = generator
        self._settings = settings
        self._query_filters = tuple(query_filters)
        self._output_filters = tuple(output_filters)
        self.observer = observer or Unobserved()
        self._latencies = latencies or Latencies()
        self._experiment = experiment
        self._shadows = shadows or Shadows({})
        self._thumbnails = thumbnails
        self._regions = regions

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
        return await self._decide(call, await self._probe(call))

    async def route_all(self, query: Query, caller: Caller) -> tuple[tuple[RouteDecision, ...], tuple[Notice, ...]]:
        """What every policy decides; one that could not is named in a notice."""
        call = await self._admit(query, Options(), caller)
        probe = await self._probe(call)
        decisions: list[RouteDecision] = []
        notices = list(call.notices)
        for name in self.policies:
            try:
                decisions.append(await self._decide(replace(call, options=Options(policy=name), watch=Stopwatch()), probe))
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
        decision = await self._decide(call, probe)
        observer = self._observer_of(call)
        observer.on_decided(call.query, caller, decision)
        retrieval = await self._gather(call, probe, decision)
        observer.on_retrieved(call.query, caller, retrieval)

        def tell(shadows: tuple[ShadowDecision, ...]) -> None:
            observer.on_retrieved(call.query, caller, _shadowed(retrieval, shadows))

        self._let_shadows_decide(call, probe, decision, tell)
        return retrieval

    async def compare(
        self, query: Query, sets: Sequence[tuple[str, ...]], options: Options, caller: Caller
    ) -> tuple[Probe, list[Retrieval]]:
        """What each set of sources gives, for experiments: every source is asked once, then each set is fused; nothing is corrected.

        Raises:
            InvalidInput: As `retrieve`.
            AllSourcesUnavailable: A source could not serve, so that the sets that hold it cannot be compared.
        """
        call = await self._admit(query, options, caller)
        probe = await self._probe(call)
        names = tuple(dict.fromkeys(name for chosen in sets for name in chosen))
        all_found = _Findings(dict.fromkeys(names, 1.0))
        await self._look_up(call, probe, [Lookup(call.query.text, name) for name in names], all_found)
        if down := [report for report in all_found.reports.values() if report.source not in all_found.results]:
            raise AllSourcesUnavailable(f"{down[0].source}: {down[0].message}", retry_after_s=1.0)
        compared = []
        for chosen in sets:
            found = _Findings(dict.fromkeys(chosen, 1.0), {name: all_found.results[name] for name in chosen})
            evidence = await self._ranked(call, probe, found) if chosen else []
            reports = tuple(all_found.reports[name] for name in chosen)
            compared.append(
                Retrieval(_as_asked(self._profiles, chosen), tuple(evidence[: self._limit(call)]), reports, call.watch.timings())
            )
        return probe, compared

    async def answer(self, query: Query, options: Options, caller: Caller) -> AsyncIterator[AnswerEvent]:
        """Stream an answer: the decision, the evidence, then tokens with their citations and notices, then the whole answer.

        Raises:
            RouterError: As `retrieve`; before the first token only.
        """
        call = await self._admit(query, options, replace(caller, deadline=caller.deadline.earlier(self._settings.generation_reserve_s)))
        probe = await self._probe(call)
        decision = await self._decide(call, probe)
        observer = self._observer_of(call)
        observer.on_decided(call.query, caller, decision)
        yield decision
        retrieval = await self._read(call, await self._gather(call, probe, decision))
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

        self._let_shadows_decide(call, probe, decision, tell)
        yield answer

    def _observer_of(self, call: _Call) -> DecisionObserver:
        return Unobserved() if call.options.no_log else self.observer

    async def _probe(self, call: _Call) -> Probe:
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

    async def _decide(self, call: _Call, probe: Probe) -> RouteDecision:
        with call.watch.stage("route"):
            profiles, options = self._profiles, call.options
            if options.sources:
                return _with_latency(_as_asked(profiles, options.sources), profiles)
            arm = self._arm_of(call)
            policy = self.policies[options.policy] if options.policy else self._chain if arm is None else arm.policy
            decided = await policy.decide(call.query, probe, profiles, call.caller)
            decided = with_pictures(decided, call.query, probe, profiles)
            decision = _with_latency(within_budget(decided, profiles, call.caller), profiles)
        if arm is not None and self._experiment is not None:
            bucket = self._experiment.bucket(call.caller.tenant, call.options.experiment_key)
            decision = replace(decision, experiment=self._experiment.name, arm=arm.name, bucket=bucket)
        return replace(decision, latency_s=call.watch.stages_s["route"])

    def _arm_of(self, call: _Call) -> Arm | None:
        if self._experiment is None or not call.options.experiment_key or call.options.policy:
            return None
        return self._experiment.arm(call.caller.tenant, call.options.experiment_key)

    def _let_shadows_decide(self, call: _Call, probe: Probe, decision: RouteDecision, tell: Tell) -> None:
        # Where the caller named the sources there is no decision to be compared with.
        if not call.options.no_log and not decision.as_asked:
            self._shadows.follow(call.query, probe, self._profiles, call.caller, tell)

    async def _gather(self, call: _Call, probe: Probe, decision: RouteDecision) -> Retrieval:
        found = _Findings(decision.trust)
        await self._look_up(call, probe, [Lookup(call.query.text, source) for source in decision.selected], found)
        if found.reports and not found.results:
            raise AllSourcesUnavailable(
                "none of the chosen sources could serve: "
                + "; ".join(f"{report.source}: {report.message}" for report in found.reports.values()),
                retry_after_s=1.0,
            )
        evidence = await self._ranked(call, probe, found)
        # Without a chosen source nothing is to be found; so there is nothing to correct either.
        for _ in range(self._corrector.turns if decision.selected else 0):
            if not await self._correct(call, probe, decision, found, evidence):
                break
            evidence = await self._ranked(call, probe, found)
        return Retrieval(
            decision,
            await self._illustrated(call, evidence[: self._limit(call)]),
            tuple(found.reports.values()),
            call.watch.timings(),
            (*call.notices, *found.notices),
            told(call.query, probe),
            tuple(found.turns),
        )

    async def _illustrated(self, call: _Call, evidence: Sequence[Evidence]) -> tuple[Evidence, ...]:
        """The evidence with thumbnails and with the lines that are written in its pictures; a picture that was deleted a moment ago, or
        whose store is down, goes without.
        """
        tenant = call.caller.tenant
        pictures = {item.id: item.picture for item in evidence if item.picture is not None}
        if self._regions is not None and pictures:
            with suppress(StoreUnavailable):
                for key, regions in (await self._regions.picture_regions(tenant, pictures)).items():
                    pictures[key] = replace(pictures[key], regions=marked(regions, call.query.text))
        if self._thumbnails is not None:
            for key, picture in pictures.items():
                with suppress(NotFound, StoreUnavailable):
                    pictures[key] = replace(picture, thumbnail=await self._thumbnails.thumbnail(tenant, picture.id))
        return tuple(replace(item, picture=pictures.get(item.id)) for item in evidence)

    async def _look_up(self, call: _Call, probe: Probe, lookups: Sequence[Lookup], found: _Findings) -> None:
        """Ask the sources, each question with its own probe, and add what they find."""
        by_question: dict[str, list[str]] = {}
        for lookup in lookups:
            by_question.setdefault(lookup.question, []).append(lookup.source)
        for question, sources in by_question.items():
            asked, seen = call, probe
            if question != call.query.text:
                # The instruction is relative to the parts that the question came with; who worded this one has read it.
                asked = replace(call, query=replace(call.query, parts=(TextPart(question),), instruction=""))
                seen = await self._prober.probe(asked.query, asked.caller, asked.watch)
            with call.watch.stage("retrieve"):
                results, reports = await self._ask_sources(asked, seen, sources)
            found.results = merged_results(found.results, results)
            found.reports = merged_reports(found.reports, reports)
        found.made.update(lookups)

    async def _ranked(self, call: _Call, probe: Probe, found: _Findings) -> list[Evidence]:
        with call.watch.stage("fuse"):
            evidence = await self._fuse(call, probe, found)
        if self.reranker is not None and evidence:
            with call.watch.stage("rerank"):
                evidence = await self.reranker.rerank(RerankRequest(call.query, probe, call.caller, evidence))
        return self._diversity.order(call.caller.tenant, evidence)

    async def _correct(self, call: _Call, probe: Probe, decision: RouteDecision, found: _Findings, evidence: Sequence[Evidence]) -> bool:
        """One corrective turn; False when the evidence will do, or nothing new can be looked up."""
        with call.watch.stage("judge"):
            verdict = self._corrector.judge(call.query, probe, evidence)
            state = State(call.query, probe, call.caller, decision, self._profiles, evidence, verdict, frozenset(found.made))
            change, notices = await self._corrector.propose(state)
        found.notices += notices
        if change is None:
            return False
        found.turns.append(CorrectiveTurn(change.action, change.reason, verdict.probability, change.questions, change.sources))
        found.trust = {**dict.fromkeys(change.sources, 1.0 - verdict.probability), **found.trust}
        await self._look_up(call, probe, change.lookups, found)
        return True

    async def _read(self, call: _Call, retrieval: Retrieval) -> Retrieval:
        """What the generator reads: the passages widened, or as they were found when the journal has gone meanwhile."""
        if self._reader is None:
            return retrieval
        with call.watch.stage("read"):
            try:
                return replace(retrieval, evidence=await self._reader.widened(call.caller.tenant, retrieval.evidence))
            except StoreUnavailable as error:
                return replace(retrieval, notices=(*retrieval.notices, Notice("NOT_WIDENED", f"passages are not widened: {error.message}")))

    async def _ask_sources(self, call: _Call, probe: Probe, names: Sequence[str]) -> tuple[dict[str, Retrieved], tuple[SourceReport, ...]]:
        request = RetrievalRequest(call.query, probe, call.caller, self._limit(call))
        # run_source never raises (except when cancelled), so one source cannot take the others down.
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(run_source(name, self.sources[name].retriever, request, self._settings.source_timeout_s))
                for name in names
            ]
        outcomes = [task.result() for task in tasks]
        for _, report in outcomes:
            self._latencies.record(report)
        results = {report.source: retrieved for retrieved, report in outcomes if retrieved is not None}
        return results, tuple(report for _, report in outcomes)

    async def _fuse(self, call: _Call, probe: Probe, found: _Findings) -> list[Evidence]:
        fusion = self._fusions[call.options.fusion or self._default_fusion]
        kinds = {name: self.sources[name].profile.kind for name in found.results}
        candidates = max(self._limit(call) + SPARE, self.reranker.candidates if self.reranker is not None else 0)
        return await fusion.fuse(FusionRequest(call.caller.tenant, found.results, found.trust, kinds, call.query.filter, candidates, probe))

    def _limit(self, call: _Call) -> int:
        return call.options.limit or self._settings.limit

    async def _admit(self, query: Query, options: Options, caller: Caller) -> _Call:
        check_query(query)
        self._check_options(options)
        caller = replace(caller, max_cost=options.max_cost, max_latency_s=options.max_latency_s)
        watch = Stopwatch()
        await self._filter(query, None, caller)
        query = await self._prober.resolved(query, caller)
        if not query.history or not query.text:
            return _Call(query, query, options, caller, watch)
        with watch.stage("rewrite"):
            standalone = await self._follow_ups.standalone(query, caller)
        if standalone.query is not query:
            await self._filter(standalone.query, None, caller)
        return _Call(standalone.query, query, options, caller, watch, standalone.notices)

    @property
    def _profiles(self) -> tuple[SourceProfile, ...]:
        return tuple(replace(source.profile, latency=self._latencies.expected(name)) for name, source in self.sources.items())

    def _check_options(self, options: Options) -> None:
        for number, name in enumerate(options.sources):
            if name not in self.sources:
                message = f"there is no source {name!r}; configured are {sorted(self.sources)}"
                raise InvalidInput(message, reason="UNKNOWN_SOURCE", field=f"options.sources[{number}]")
            if name in options.sources[:number]:
                raise InvalidInput(f"the source {name!r} is named twice", field=f"options.sources[{number}]")
        if options.policy and options.sources:
            raise InvalidInput("name a policy or the sources, not both", field="options.policy")
        if options.policy and options.policy not in self.policies:
            message = f"there is no policy {options.policy!r}; available are {sorted(self.policies)}"
            raise InvalidInput(message, reason="UNKNOWN_POLICY", field="options.policy")
        if not 0 <= options.limit <= MAX_LIMIT:
            raise InvalidInput(f"the limit is {options.limit}; 1 to {MAX_LIMIT}, or 0 for the configured one", field="options.limit")
        if options.max_cost is not None and not options.max_cost >= 0:
            raise InvalidInput(f"the sources may cost {options.max_cost}; 0 or more, or unset for no limit", field="options.max_cost")
        if options.max_cost is not None and options.sources:
            raise InvalidInput("name the sources or what they may cost, not both", field="options.max_cost")
        max_latency_s = options.max_latency_s
        if max_latency_s is not None and not max_latency_s >= 0:
            message = f"the sources may take {max_latency_s * 1000:g} ms; 0 or more, or unset for no limit"
            raise InvalidInput(message, field="options.max_latency_ms")
        if max_latency_s is not None and options.sources:
            raise InvalidInput("name the sources or how long they may take, not both", field="options.max_latency_ms")
        if len(options.experiment_key) > MAX_KEY_CHARACTERS:
            message = f"the key has {len(options.experiment_key)} characters; {MAX_KEY_CHARACTERS} are allowed: send a hash of it"
            raise InvalidInput(message, field="options.experiment_key")
        if options.fusion and options.fusion not in self._fusions:
            raise InvalidInput(f"there is no fusion {options.fusion!r}; available are {sorted(self._fusions)}", field="options.fusion")


def _shadowed(retrieval: Retrieval, shadows: tuple[ShadowDecision, ...]) -> Retrieval:
    return replace(retrieval, decision=replace(retrieval.decision, shadows=shadows))


def _as_asked(profiles: tuple[SourceProfile, ...], names: tuple[str, ...]) -> RouteDecision:
    routes = tuple(
        Route(profile.name, True, 1.0, "the caller asked for it", cost=profile.cost)
        if profile.name in names
        else Route(profile.name, False, 0.0, "the caller did not ask for it", cost=profile.cost)
        for profile in profiles
    )
    return RouteDecision(AS_ASKED, routes, "the caller named the sources")


def _with_latency(decision: RouteDecision, profiles: tuple[SourceProfile, ...]) -> RouteDecision:
    """The decision with what is expected of each source, unless its policy said so, and of the chosen ones together."""
    expected = {profile.name: profile.latency for profile in profiles}
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
