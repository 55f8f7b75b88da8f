"""What each policy decides for each question: chosen sources, probabilities, time and money. Scores are taken from this, not here."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from router.engine import Engine
from router.errors import RouterError
from router.experiments.dataset import Question
from router.experiments.retrieval import caller
from router.models.usage import metered
from router.retrieval.base import Probe
from router.routing.base import RoutingPolicy, SourceProfile
from router.routing.source_sets import SourceSet
from router.types import Query, TextPart


@dataclass(frozen=True, slots=True)
class Decided:
    """One decision."""

    chosen: SourceSet
    probabilities: Mapping[str, float] = field(default_factory=dict)
    """Source -> probability that it carries (part of) the answer; empty where a set is fixed or nothing could be decided."""
    latency_ms: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    failure: str = ""
    """Why the policy could not decide; then it chose nothing."""

    @property
    def confidence(self) -> float:
        """Chance that at least one chosen source carries the answer; with none chosen, that none would. Sources count as independent."""
        if self.failure:
            return 0.0
        none_carries = math.prod(1.0 - chance for source, chance in self.probabilities.items() if source in self.chosen or not self.chosen)
        return 1.0 - none_carries if self.chosen else none_carries


@dataclass(frozen=True, slots=True)
class Candidate:
    """A policy and the sources that it is offered."""

    policy: RoutingPolicy
    sources: tuple[SourceProfile, ...]


async def decide_all(
    engine: Engine,
    candidates: Mapping[str, Candidate],
    questions: Sequence[Question],
    progress: Callable[[], None],
    *,
    sees_corpus: bool = True,
) -> dict[str, dict[str, Decided]]:
    """Name of the policy -> question id -> decision. A question is probed once for all of them, outside their time.

    Args:
        engine: Probes the questions.
        candidates: By the name to report.
        questions: All are put to all.
        progress: Called after each question.
        sees_corpus: False for sets without a corpus: the probe then says that it could not look, instead of that nothing is there.
    """
    decisions: dict[str, dict[str, Decided]] = {name: {} for name in candidates}
    for number, question in enumerate(questions):
        query = Query((TextPart(question.text),))
        probe = await engine.probe(query, caller())
        if not sees_corpus:
            probe = Probe(probe.vector, None, None, probe.is_recent)
        for name, candidate in candidates.items():
            if number == 0:
                await _decide(candidate, query, probe)  # what is loaded at the first use is nobody's latency
            decisions[name][question.id] = await _decide(candidate, query, probe)
        progress()
    return decisions


async def _decide(candidate: Candidate, query: Query, probe: Probe) -> Decided:
    begin = time.perf_counter()
    with metered() as usage:
        try:
            decision = await candidate.policy.decide(query, probe, candidate.sources, caller())
        except RouterError as error:
            # Counted and reported; a policy that cannot decide answers nothing, which is worth nothing.
            return Decided(frozenset(), failure=f"{error.reason}: {error.message}")
    return Decided(
        chosen=frozenset(decision.selected),
        probabilities={route.source: route.probability for route in decision.routes},
        latency_ms=1000.0 * (time.perf_counter() - begin),
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
    )
