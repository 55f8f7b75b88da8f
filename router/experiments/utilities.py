"""What every set of sources is worth for every question: measured once, kept as Parquet, read by whoever studies routing.

One row per question and set. Prices are not part of it: the column `cost` is what the set cost at the prices of the run, and a score
under other prices needs no new run.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from router.call import Options
from router.engine import Engine
from router.errors import Conflict, InvalidInput
from router.experiments.dataset import Dataset, Question
from router.experiments.made import Made, told
from router.experiments.metrics import carries, documents, has_answer, telling
from router.experiments.retrieval import caller
from router.experiments.scratch import FORMAT as CORPUS_FORMAT
from router.models.usage import metered
from router.routing.source_sets import SourceSet, source_sets
from router.settings import Settings
from router.types import Query, Retrieval, SourceCode, TextPart

FORMAT = 1
"""Raise it when the meaning of a column changes."""
KEY = b"graphrag-router"
"""Of the metadata in the Parquet file."""

SCHEMA = pa.schema(
    [
        ("question", pa.string()),
        ("origin", pa.string()),
        ("set", pa.string()),  # sorted names joined by "+"; empty: no source
        ("quality", pa.float64()),
        ("answer_in_evidence", pa.bool_()),  # null: no answer that a text could hold
        ("recall", pa.float64()),  # null: no gold passages
        ("cost", pa.float64()),  # prices of the sources, in units of quality
        ("latency_ms", pa.float64()),
        ("tokens", pa.int64()),  # words of the first k items
        ("llm_calls", pa.int64()),
        ("prompt_tokens", pa.int64()),
        ("completion_tokens", pa.int64()),
        ("money", pa.float64()),  # of the language model, at the prices of the run
        ("trouble", pa.string()),  # what a source reported instead of serving; empty: nothing
    ]
)


@dataclass(frozen=True, slots=True)
class LLMPrice:
    """Money per million tokens."""

    prompt: float = 0.0
    completion: float = 0.0

    def of(self, prompt_tokens: int, completion_tokens: int) -> float:
        return (prompt_tokens * self.prompt + completion_tokens * self.completion) / 1e6


FREE = LLMPrice()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one set of sources gave for one question."""

    quality: float
    answer_in_evidence: bool | None = None
    """None where the set has no answer that a text could hold."""
    recall: float | None = None
    """None where the set names no gold passages."""
    latency_ms: float = 0.0
    tokens: int = 0
    """Words of the first k items."""
    llm_calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    trouble: str = ""

    @property
    def is_carried(self) -> bool:
        """Whether the evidence holds an answer, or all gold passages."""
        return self.quality >= 1.0


@dataclass(frozen=True, slots=True)
class UtilityTable:
    made: Made
    outcomes: Mapping[str, Mapping[SourceSet, Outcome]] = field(default_factory=dict)
    """Question id -> set -> outcome."""

    @property
    def sets(self) -> tuple[SourceSet, ...]:
        """Every set that was run, the smaller ones first."""
        return tuple(sorted({chosen for row in self.outcomes.values() for chosen in row}, key=lambda chosen: (len(chosen), sorted(chosen))))

    def trouble(self) -> dict[str, int]:
        """What sources reported instead of serving -> in how many runs."""
        counts: dict[str, int] = {}
        for row in self.outcomes.values():
            for outcome in row.values():
                for trouble in filter(None, outcome.trouble.split("; ")):
                    counts[trouble] = counts.get(trouble, 0) + 1
        return counts


def set_name(chosen: SourceSet) -> str:
    return "+".join(sorted(chosen))


def named_set(name: str) -> SourceSet:
    """The opposite of `set_name`."""
    return frozenset(filter(None, name.split("+")))


def made_of(dataset: Dataset, sources: Sequence[str], k: int, settings: Settings) -> Made:
    """How a table of this run is made."""
    return Made.of(dataset, sources, k, shaping(settings), FORMAT)


def shaping(settings: Settings) -> dict[str, Any]:
    """The part of the settings that shapes what a set of sources finds; neither prices nor who decides belong to it."""
    shape = told(settings, "models", "corpus", "sources", "retrieval", "fusion", "rerank")
    for source in shape["sources"].values():
        for name in ("cost", "description", "record"):
            source.pop(name, None)
    if not (settings.corpus.openie.enabled or any(source.get("text2cypher", {}).get("enabled") for source in shape["sources"].values())):
        del shape["models"]["llm"]  # it decides at most, and finds nothing
    return shape | {"corpus_format": CORPUS_FORMAT}


async def measure_sets(engine: Engine, made: Made, questions: Sequence[Question], progress: Callable[[], None]) -> UtilityTable:
    """Run every sensible set once per question, one call at a time. Questions without gold or answers have no measurable quality.

    Raises:
        AllSourcesUnavailable: A source that was asked alone could not serve.
    """
    sets = source_sets(list(engine.sources), least=1)
    measurable = [question for question in questions if question.gold or question.answers]
    outcomes: dict[str, Mapping[SourceSet, Outcome]] = {}
    for question in measurable[:1]:
        for chosen in sets:  # what is loaded at the first use is nobody's latency
            await _outcome(engine, question, chosen, made.k)
    for question in measurable:
        row = {frozenset[str](): _nothing(question)}
        for chosen in sets:
            row[chosen] = await _outcome(engine, question, chosen, made.k)
        outcomes[question.id] = row
        progress()
    return UtilityTable(made, outcomes)


async def _outcome(engine: Engine, question: Question, chosen: SourceSet, k: int) -> Outcome:
    names = tuple(name for name in engine.sources if name in chosen)
    begin = time.perf_counter()
    with metered() as usage:
        retrieval = await engine.retrieve(Query((TextPart(question.text),)), Options(sources=names, limit=k), caller())
    latency_ms = 1000.0 * (time.perf_counter() - begin)
    evidence = retrieval.evidence[:k]
    answers = telling(question.answers)
    return Outcome(
        quality=carries(evidence, question, k),
        answer_in_evidence=has_answer(evidence, answers) if answers else None,
        recall=len(set(documents(evidence)) & question.gold) / len(question.gold) if question.gold else None,
        latency_ms=latency_ms,
        tokens=sum(len(f"{item.title} {item.text}".split()) for item in evidence),
        llm_calls=usage.calls,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        trouble=_trouble(retrieval),
    )


def _nothing(question: Question) -> Outcome:
    return Outcome(0.0, False if telling(question.answers) else None, 0.0 if question.gold else None)


def _trouble(retrieval: Retrieval) -> str:
    return "; ".join(f"{report.source}: {report.code.value}" for report in retrieval.sources if report.code is not SourceCode.OK)


# --- the file -------------------------------------------------------------------------------------------------------


def write_table(
    path: Path, table: UtilityTable, questions: Sequence[Question], prices: Mapping[str, float], llm_price: LLMPrice = FREE
) -> None:
    """Write the Parquet file; it gets its name when it is complete.

    Args:
        path: The file.
        table: What was measured.
        questions: For their origins.
        prices: Of the sources, for the column `cost`.
        llm_price: For the column `money`.
    """
    origins = {question.id: question.origin for question in questions}
    rows = [
        {
            "question": question,
            "origin": origins.get(question, ""),
            "set": set_name(chosen),
            "cost": sum(prices[source] for source in chosen),
            "money": llm_price.of(outcome.prompt_tokens, outcome.completion_tokens),
            **asdict(outcome),
        }
        for question, row in table.outcomes.items()
        for chosen, outcome in row.items()
    ]
    unfinished = path.with_name(f".{path.name}.unfinished")
    schema = SCHEMA.with_metadata({KEY: json.dumps(table.made.document(), sort_keys=True).encode()})
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), unfinished, compression="zstd")
    unfinished.replace(path)


def read_table(path: Path, made: Made, questions: Sequence[Question]) -> UtilityTable:
    """Read a table and take the rows of these questions.

    Args:
        path: The file.
        made: How it must have been made.
        questions: Those without gold or answers need no rows.

    Raises:
        InvalidInput: It is no utility table.
        Conflict: It was made otherwise, or some of the questions are not in it; names what differs.
    """
    file = _read(path)
    found = _made(path, file.schema)
    differences = made.differences(found)
    outcomes = _outcomes(file.to_pylist())
    wanted = [question.id for question in questions if question.gold or question.answers]
    missing = [identity for identity in wanted if identity not in outcomes]
    if not differences and missing:
        differences = [f"{len(missing)} of {len(wanted)} questions are not in it, such as {missing[0]}"]
    if differences:
        raise Conflict(
            f"{path} does not fit this run: {'; '.join(differences)}. Name another file, or remove this one to measure anew",
            reason="TABLE_DOES_NOT_FIT",
            field="table",
        )
    return UtilityTable(found, {identity: outcomes[identity] for identity in wanted})


def _read(path: Path) -> pa.Table:
    try:
        return pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise InvalidInput(f"{path} cannot be read as Parquet: {error}", field="table") from error


def _made(path: Path, schema: pa.Schema) -> Made:
    told = (schema.metadata or {}).get(KEY)
    lacking = [name for name in SCHEMA.names if name not in schema.names]
    if told is None or lacking:
        raise InvalidInput(f"{path} is no utility table of `eval routing`", field="table")
    return Made.of_document(json.loads(told))


def _outcomes(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[SourceSet, Outcome]]:
    outcomes: dict[str, dict[SourceSet, Outcome]] = {}
    names = Outcome.__dataclass_fields__
    for row in rows:
        outcomes.setdefault(row["question"], {})[named_set(row["set"])] = Outcome(**{name: row[name] for name in names})
    return outcomes
