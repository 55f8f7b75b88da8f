"""From chosen sources to evidence: ask them in parallel, fuse, rerank, drop repetitions, and look up more where that may not do."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from router.call import Call
from router.correction.base import Lookup, State
from router.correction.corrector import Corrector
from router.errors import AllSourcesUnavailable
from router.ranking.base import Fusion, FusionRequest, Reranker, RerankRequest
from router.ranking.diversity import Diversity
from router.retrieval.base import Probe, RetrievalRequest, Retrieved, Retriever
from router.retrieval.illustrations import Illustrations
from router.retrieval.merge import merged_reports, merged_results
from router.retrieval.pictures import told
from router.retrieval.probe import Prober
from router.retrieval.run import run_source
from router.routing.base import SourceProfile
from router.routing.decider import as_asked
from router.routing.latency import Latencies
from router.settings import RetrievalSettings
from router.types import CorrectiveTurn, Evidence, Notice, Retrieval, RouteDecision, SourceReport, TextPart

SPARE = 4
"""Items fused beyond the limit, to take the places of those that only repeat others."""


@dataclass(frozen=True, slots=True)
class Source:
    """A configured source: what a policy knows of it, and the retriever behind it."""

    profile: SourceProfile
    retriever: Retriever


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


class Gatherer:
    """Gathers the evidence of calls.

    Args:
        sources: The configured sources, in the order of the configuration.
        prober: Takes the cheap look for questions that a correction words.
        fusions: By name (`walk`, `rrf`, `weighted`).
        default_fusion: One of those names.
        reranker: None leaves the fused order as it is.
        corrector: Judges the evidence and says what else to look up.
        diversity: Drops what says the same again.
        settings: Limits and time shares.
        latencies: Is told how long the sources took.
        illustrations: Of the pictures among the evidence.
    """

    def __init__(
        self,
        *,
        sources: Sequence[Source],
        prober: Prober,
        fusions: Mapping[str, Fusion],
        default_fusion: str,
        reranker: Reranker | None,
        corrector: Corrector,
        diversity: Diversity,
        settings: RetrievalSettings,
        latencies: Latencies,
        illustrations: Illustrations,
    ) -> None:
        self.sources = {source.profile.name: source for source in sources}
        self.fusions = fusions
        self._prober = prober
        self._default_fusion = default_fusion
        self.reranker = reranker
        self._corrector = corrector
        self._diversity = diversity
        self._settings = settings
        self._latencies = latencies
        self._illustrations = illustrations

    async def gather(self, call: Call, probe: Probe, decision: RouteDecision, profiles: tuple[SourceProfile, ...]) -> Retrieval:
        """The evidence, best first, and how each source fared.

        Args:
            call: Whose evidence it is.
            probe: Of its question.
            decision: Which sources are asked first, and how much each is trusted.
            profiles: Of all sources, which a correction may ask besides.

        Raises:
            AllSourcesUnavailable: Sources were chosen and none of them could serve.
        """
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
            with call.watch.stage("judge"):
                verdict = self._corrector.judge(call.query, probe, evidence)
                state = State(call.query, probe, call.caller, decision, profiles, evidence, verdict, frozenset(found.made))
                change, notices = await self._corrector.propose(state)
            found.notices += notices
            if change is None:  # the evidence will do, or nothing new can be looked up
                break
            found.turns.append(CorrectiveTurn(change.action, change.reason, verdict.probability, change.questions, change.sources))
            found.trust = {**dict.fromkeys(change.sources, 1.0 - verdict.probability), **found.trust}
            await self._look_up(call, probe, change.lookups, found)
            evidence = await self._ranked(call, probe, found)
        return Retrieval(
            decision,
            await self._illustrations.added(call.caller.tenant, call.query.text, evidence[: self._limit(call)]),
            tuple(found.reports.values()),
            call.watch.timings(),
            (*call.notices, *found.notices),
            told(call.query, probe),
            tuple(found.turns),
        )

    async def compare(self, call: Call, probe: Probe, sets: Sequence[tuple[str, ...]]) -> list[Retrieval]:
        """What each set of sources gives: every source is asked once, then each set is fused; nothing is corrected.

        Raises:
            AllSourcesUnavailable: A source could not serve, so that the sets that hold it cannot be compared.
        """
        names = tuple(dict.fromkeys(name for chosen in sets for name in chosen))
        all_found = _Findings(dict.fromkeys(names, 1.0))
        await self._look_up(call, probe, [Lookup(call.query.text, name) for name in names], all_found)
        if down := [report for report in all_found.reports.values() if report.source not in all_found.results]:
            raise AllSourcesUnavailable(f"{down[0].source}: {down[0].message}", retry_after_s=1.0)
        profiles = [source.profile for source in self.sources.values()]
        compared = []
        for chosen in sets:
            found = _Findings(dict.fromkeys(chosen, 1.0), {name: all_found.results[name] for name in chosen})
            evidence = await self._ranked(call, probe, found) if chosen else []
            reports = tuple(all_found.reports[name] for name in chosen)
            compared.append(Retrieval(as_asked(profiles, chosen), tuple(evidence[: self._limit(call)]), reports, call.watch.timings()))
        return compared

    async def _look_up(self, call: Call, probe: Probe, lookups: Sequence[Lookup], found: _Findings) -> None:
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

    async def _ask_sources(self, call: Call, probe: Probe, names: Sequence[str]) -> tuple[dict[str, Retrieved], tuple[SourceReport, ...]]:
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

    async def _ranked(self, call: Call, probe: Probe, found: _Findings) -> list[Evidence]:
        with call.watch.stage("fuse"):
            fusion = self.fusions[call.options.fusion or self._default_fusion]
            kinds = {name: self.sources[name].profile.kind for name in found.results}
            wanted = max(self._limit(call) + SPARE, self.reranker.candidates if self.reranker is not None else 0)
            request = FusionRequest(call.caller.tenant, found.results, found.trust, kinds, call.query.filter, wanted, probe)
            evidence = await fusion.fuse(request)
        if self.reranker is not None and evidence:
            with call.watch.stage("rerank"):
                evidence = await self.reranker.rerank(RerankRequest(call.query, probe, call.caller, evidence))
        return self._diversity.order(call.caller.tenant, evidence)

    def _limit(self, call: Call) -> int:
        return call.options.limit or self._settings.limit
