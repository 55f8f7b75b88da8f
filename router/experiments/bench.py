"""The whole of `eval routing`: measure what every set of sources is worth (or read it), let every policy decide, score."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from router.app import App
from router.engine import Engine
from router.errors import InvalidInput
from router.experiments import routing
from router.experiments.dataset import Dataset, Half, Question
from router.experiments.decisions import Candidate, decide_all, open_decisions
from router.experiments.lessons import Lesson, lessons, open_lessons
from router.experiments.made import Made
from router.experiments.peers.registry import PeerParts, open_peers
from router.experiments.scratch import Ingested, scratch_app, served_sources
from router.experiments.utilities import FREE, LLMPrice, UtilityTable, made_of, measure_sets, read_table, write_table
from router.routing.base import RoutingPolicy, SourceProfile
from router.routing.learned import LearnedPolicy
from router.routing.value import open_model
from router.settings import Settings

Steps = Callable[[str, int | None], Callable[[int], None]]
"""Begins a stage with so many steps (None: not known yet); what it returns takes the number of steps done."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be measured."""

    k: int = 5
    half: Half | None = None
    limit: int | None = None
    policies: tuple[str, ...] = ()
    """Empty: every available one."""
    peers: tuple[str, ...] = ()
    train: Dataset | None = None
    """Labelled questions for the peers that learn."""
    table: Path | None = None
    """Read when it is there and fits, else written."""
    decisions: Path | None = None
    """Decisions in it are not asked for again; new ones are added."""
    lessons: Path | None = None
    """Folder of what is measured on the training set, which is not measured again."""
    llm_price: LLMPrice = FREE


@dataclass(frozen=True, slots=True)
class Result:
    ingested: Ingested
    sources: tuple[str, ...]
    prices: Mapping[str, float]
    oracle: Mapping[str, float | None]
    runs: tuple[Mapping[str, Any], ...]
    pareto: tuple[str, ...]
    trouble: Mapping[str, int]
    """What sources reported while the table was measured."""
    unknown_sources: tuple[str, ...]
    """Sources that the labels name and the settings do not: only peers are offered them."""


async def run_bench(settings: Settings, dataset: Dataset, plan: Plan, steps: Steps) -> Result:
    """Run the bench on one data set.

    Raises:
        InvalidInput: No such policy or peer, a peer that learns without anything to learn from, or a file that holds something else.
        Conflict: The table or the decisions were made otherwise; names what differs.
        ConfigurationError: A peer needs what is not configured.
        AllSourcesUnavailable: A source that was asked alone could not serve.
    """
    if plan.table is not None and not dataset.has_evidence:
        raise InvalidInput(f"{dataset.name} has nothing to retrieve, so there is no table of what its sources are worth", field="table")
    questions = dataset.some_questions(half=plan.half, limit=plan.limit)
    made = made_of(dataset, tuple(served_sources(settings, dataset)), plan.k, settings)
    kept = read_table(plan.table, made, questions) if plan.table is not None and plan.table.exists() else None
    ingesting = steps("ingest", None)
    async with AsyncExitStack() as stack:
        decided = stack.enter_context(open_decisions(plan.decisions, made, settings, plan.train))
        app, ingested = await stack.enter_async_context(scratch_app(settings, dataset, lambda done, total: ingesting(done)))
        engine = app.engine
        offered, known = offered_sources(engine, dataset)
        judged = candidates(engine, plan.policies, known) | await _peers(settings, app, plan, offered, stack)
        prices = {source.name: source.cost for source in offered}
        table: UtilityTable | None = kept
        if table is None and dataset.has_evidence:
            table = await _measured(engine, made, questions, plan, prices, steps)
        yardstick: routing.Yardstick = routing.Graded(prices) if table is None else routing.Measured(table, prices)
        deciding = steps("decide", len(questions))
        found = await decide_all(engine, judged, questions, lambda: deciding(1), sees_corpus=dataset.has_evidence, known=decided)
    runs = [*routing.fixed_runs(list(prices), questions), *(routing.Run(name, decided) for name, decided in found.items())]
    documents = routing.run_documents(runs, questions, yardstick, plan.llm_price)
    return Result(
        ingested=ingested,
        sources=tuple(prices),
        prices=prices,
        oracle=routing.oracle(yardstick, questions),
        runs=tuple(documents),
        pareto=tuple(routing.pareto(documents)),
        trouble={} if table is None else table.trouble(),
        unknown_sources=tuple(source.name for source in offered if source not in known),
    )


async def _measured(
    engine: Engine, made: Made, questions: Sequence[Question], plan: Plan, prices: Mapping[str, float], steps: Steps
) -> UtilityTable:
    measuring = steps("every set", len(questions))
    table = await measure_sets(engine, made, questions, lambda: measuring(1))
    if plan.table is not None:
        write_table(plan.table, table, questions, prices, plan.llm_price)
    return table


def offered_sources(engine: Engine, dataset: Dataset) -> tuple[tuple[SourceProfile, ...], tuple[SourceProfile, ...]]:
    """All sources of the bench, and those of them that the settings know.

    A set with labels only is about the sources that its labels name. Our policies judge a source by its kind and its settings, so one
    that is not configured is offered to peers alone.
    """
    configured = tuple(source.profile for source in engine.sources.values())
    if dataset.has_evidence or not dataset.labelled_sources:
        return configured, configured
    known = tuple(profile for profile in configured if profile.name in dataset.labelled_sources)
    names = {profile.name for profile in known}
    others = (SourceProfile(name, "vector", f"The source {name}.", 0.0) for name in dataset.labelled_sources if name not in names)
    return (*known, *others), known


def candidates(engine: Engine, names: Sequence[str], sources: tuple[SourceProfile, ...]) -> dict[str, Candidate]:
    for name in names:
        if name not in engine.policies:
            raise InvalidInput(f"there is no policy {name!r}; available are {sorted(engine.policies)}", field="policy")
    return {name: Candidate(engine.policies[name], sources) for name in names or engine.policies}


async def _peers(
    settings: Settings, app: App, plan: Plan, sources: tuple[SourceProfile, ...], stack: AsyncExitStack
) -> dict[str, Candidate]:
    training = plan.train.questions if plan.train is not None else ()
    parts = PeerParts(
        app.embedder,
        app.language_model,
        sources,
        tuple(question for question in training if question.routes),
        LearnedPolicy(open_model(settings.routing.model, "routing.model")),
        partial(_training_lessons, settings, plan),
    )
    opened: Mapping[str, RoutingPolicy] = await open_peers(plan.peers, parts, stack)
    return {name: Candidate(peer, sources) for name, peer in opened.items()}


async def _training_lessons(settings: Settings, plan: Plan) -> list[Lesson]:
    """In the training set's own corpus. Raises InvalidInput when there is none, or nothing in it can be measured."""
    found: list[Lesson] = []
    if plan.train is not None and plan.train.has_evidence:
        async with scratch_app(settings, plan.train, lambda done, total: None) as (app, _):
            with open_lessons(plan.lessons, plan.train, tuple(app.engine.sources), plan.k, settings) as known:
                found = await lessons(app.engine, plan.train.name, plan.train.questions, plan.k, lambda: None, known)
    if not found:
        raise InvalidInput("the peer knn learns from questions that can be measured: name a data set with --train", field="train")
    return found
