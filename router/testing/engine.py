"""A real engine over small parts in memory: for tests of what stands above the engine, such as the transports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from router.correction.corrector import Corrector
from router.correction.judge import EvidenceJudge
from router.engine import Engine
from router.errors import RouterError
from router.filtering.base import OutputFilter, QueryFilter
from router.gathering import Gatherer, Source
from router.generation.base import Generator, GeneratorEvent, Written
from router.ranking.diversity import Diversity
from router.ranking.symmetric import ReciprocalRankFusion
from router.retrieval.base import Probe, RetrievalRequest, Retrieved, Retriever
from router.retrieval.follow_up import FollowUps
from router.retrieval.illustrations import Illustrations, PictureRegions
from router.retrieval.probe import Prober
from router.routing.base import DecisionObserver, RoutingPolicy, SourceProfile
from router.routing.decider import Decider
from router.routing.experiment import Experiment
from router.routing.latency import Latencies
from router.routing.shadow import Shadows
from router.settings import RetrievalSettings
from router.stopwatch import Stopwatch
from router.stores.vectors import PassageVectors
from router.types import Caller, Citation, Evidence, Matrix, Notice, Query, Retrieval, Route, RouteDecision, Span, Token


class BlindProber(Prober):
    """Sees nothing, and needs no model and no store for it."""

    def __init__(self) -> None:
        self._pictures = None

    async def probe(self, query: Query, caller: Caller, watch: Stopwatch) -> Probe:
        with watch.stage("embed"):
            return Probe(np.ones(1, np.float32), nearest=(), linked=(), is_recent=False)

    async def said(self, query: Query) -> Matrix:
        return np.ones((1, 1), np.float32)


@dataclass
class ListRetriever:
    """Finds what it was given, or raises what it was given."""

    evidence: Sequence[Evidence] = ()
    error: RouterError | Exception | None = None
    degraded: str = ""
    callers: list[Caller] = field(default_factory=list)
    """Who asked."""

    async def search(self, request: RetrievalRequest) -> Retrieved:
        self.callers.append(request.caller)
        if self.error is not None:
            raise self.error
        return Retrieved(tuple(self.evidence), degraded=self.degraded)


class StuckRetriever:
    """Never answers; tells when it was asked and when it was made to stop."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def search(self, request: RetrievalRequest) -> Retrieved:
        self.asked.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        raise AssertionError("an event that nobody sets was set")


@dataclass(frozen=True)
class TablePolicy:
    """Gives every source the probability of its table; chooses those of one half or more."""

    name: str
    probabilities: Mapping[str, float]

    async def decide(self, query: Query, probe: Probe, sources: tuple[SourceProfile, ...], caller: Caller) -> RouteDecision:
        chances = {source.name: self.probabilities.get(source.name, 0.0) for source in sources}
        routes = tuple(Route(name, chance >= 0.5, chance, f"the table says {chance}") for name, chance in chances.items())
        return RouteDecision(self.name, routes, "looked up")


class QuotingGenerator:
    """Answers with the text of the best evidence, word by word, and cites it."""

    async def generate(self, query: Query, retrieval: Retrieval, caller: Caller) -> AsyncIterator[GeneratorEvent]:
        if not retrieval.evidence:
            yield Token("Nothing was found.")
            yield Written("Nothing was found.", found=False, citations=(), generator="quoting")
            return
        best = retrieval.evidence[0]
        for word in best.text.split():
            yield Token(f"{word} ")
        text = " ".join(best.text.split()) + " [1]"
        citation = Citation(1, best.id, Span(len(text) - 3, len(text)))
        yield Token("[1]")
        yield citation
        notice = Notice("QUOTED", "the answer is a quotation")
        yield notice
        yield Written(text, found=True, citations=(citation,), generator="quoting", notices=(notice,))


class StuckGenerator:
    """Says one word and then nothing more; tells when it was made to stop."""

    def __init__(self) -> None:
        self.cancelled = asyncio.Event()

    async def generate(self, query: Query, retrieval: Retrieval, caller: Caller) -> AsyncIterator[GeneratorEvent]:
        yield Token("Well ")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


def small_engine(
    retrievers: Mapping[str, Retriever],
    *,
    policies: Sequence[RoutingPolicy] = (),
    generator: Generator | None = None,
    settings: RetrievalSettings | None = None,
    corrector: Corrector | None = None,
    observer: DecisionObserver | None = None,
    query_filters: Sequence[QueryFilter] = (),
    output_filters: Sequence[OutputFilter] = (),
    latencies: Latencies | None = None,
    experiment: Experiment | None = None,
    shadows: Shadows | None = None,
    regions: PictureRegions | None = None,
) -> Engine:
    """An engine over these sources. Its chain is the first policy; by default one that chooses every source. It corrects nothing."""
    policies = policies or (TablePolicy("all", dict.fromkeys(retrievers, 1.0)),)
    sources = [Source(SourceProfile(name, "vector", f"The source {name}.", 0.0), retriever) for name, retriever in retrievers.items()]
    settings, latencies, prober = settings or RetrievalSettings(), latencies or Latencies(), BlindProber()
    return Engine(
        follow_ups=FollowUps(),
        prober=prober,
        decider=Decider(
            [source.profile for source in sources],
            {policy.name: policy for policy in policies},
            policies[0],
            latencies,
            experiment,
            shadows,
        ),
        gatherer=Gatherer(
            sources=sources,
            prober=prober,
            fusions={"rrf": ReciprocalRankFusion(k=60)},
            default_fusion="rrf",
            reranker=None,
            corrector=corrector or Corrector(EvidenceJudge(), (), turns=0),
            diversity=Diversity(PassageVectors(1), 0.0),
            settings=settings,
            latencies=latencies,
            illustrations=Illustrations(regions=regions),
        ),
        reader=None,
        generator=generator or QuotingGenerator(),
        generation_reserve_s=settings.generation_reserve_s,
        query_filters=query_filters,
        output_filters=output_filters,
        observer=observer,
    )
