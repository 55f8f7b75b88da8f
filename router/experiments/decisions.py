"""What each policy decides for each question: chosen sources, probabilities, time and money. Scores are taken from this, not here."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from router.engine import Engine
from router.errors import RouterError
from router.experiments.dataset import Dataset, Question
from router.experiments.made import Made, told
from router.experiments.measured_file import Line, MeasuredFile
from router.experiments.retrieval import caller
from router.models.usage import metered
from router.retrieval.base import Probe
from router.routing.base import RoutingPolicy, SourceProfile
from router.routing.source_sets import SourceSet
from router.routing.value import model_text
from router.settings import Settings
from router.types import Query, TextPart

FORMAT = 1
"""Of a file of decisions; raise it when the meaning of a field changes."""


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


Decisions = MutableMapping[tuple[str, str], Decided]
"""By name of the policy and id of the question."""


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
    known: Decisions | None = None,
) -> dict[str, dict[str, Decided]]:
    """Name of the policy -> question id -> decision. A question is probed once for all of them, outside their time.

    Args:
        engine: Probes the questions.
        candidates: By the name to report.
        questions: All are put to all.
        progress: Called after each question.
        sees_corpus: False for sets without a corpus: the probe then says that it could not look, instead of that nothing is there.
        known: Decisions that need not be asked for again; new ones are added as they come.
    """
    decisions = {} if known is None else known
    warm: set[str] = set()
    for question in questions:
        asked = {name: candidate for name, candidate in candidates.items() if (name, question.id) not in decisions}
        if asked:
            query = Query((TextPart(question.text),))
            probe = await engine.probe(query, caller())
            if not sees_corpus:
                probe = Probe(probe.vector, None, None, probe.is_recent)
        for name, candidate in asked.items():
            if name not in warm:
                await _decide(candidate, query, probe)  # what is loaded at the first use is nobody's latency
                warm.add(name)
            decisions[name, question.id] = await _decide(candidate, query, probe)
        progress()
    return {name: {question.id: decisions[name, question.id] for question in questions} for name in candidates}


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


# --- the file -------------------------------------------------------------------------------------------------------


def open_decisions(path: Path | None, run: Made, settings: Settings, train: Dataset | None) -> AbstractContextManager[Decisions]:
    """Decisions that outlive their run, in no file for None. That nothing could be decided is not written, so that another run asks again.

    Args:
        path: The file.
        run: The data set, sources and k.
        settings: What a policy goes by.
        train: What peers learn from.

    Raises:
        InvalidInput: The file is something else.
        Conflict: Its decisions were made otherwise; names what differs.
    """
    if path is None:
        return nullcontext({})
    going_by = {
        **told(settings, "models", "corpus", "sources", "retrieval", "routing"),
        "weights": hashlib.sha256(model_text(settings.routing.model, "routing.model").encode()).hexdigest(),
        "train": None if train is None else Made.of(train, (), run.k, {}, FORMAT).document(),
    }
    return MeasuredFile(path, replace(run, settings=going_by, format=FORMAT), "decisions", _parse, _line)


def _line(key: tuple[str, str], decided: Decided) -> Line | None:
    policy, question = key
    fields = {name: value for name, value in asdict(decided).items() if name != "failure"}
    return None if decided.failure else {"policy": policy, "question": question, **fields, "chosen": sorted(decided.chosen)}


def _parse(line: Line) -> tuple[tuple[str, str], Decided]:
    fields = {name: line[name] for name in ("probabilities", "latency_ms", "prompt_tokens", "completion_tokens")}
    return (line["policy"], line["question"]), Decided(frozenset(line["chosen"]), **fields)
