"""What every set of sources is worth for every question: measured once, kept as Parquet, read by whoever studies routing.

One row per question and set. Prices are not part of it: the column `cost` is what the set cost at the prices of the run, and a score
under other prices needs no new run.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from router import __version__
from router.call import Options
from router.engine import Engine
from router.errors import Conflict, InvalidInput
from router.experiments.dataset import Dataset, Question
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
MAX_NAMED = 5
"""Differing settings that an error names."""

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
class Made:
    """How a table was made; two tables are comparable when all of it is the same."""

    dataset: str
    content: str
    """Hash of corpus, facts and recorded web."""
    questions: str
    """Hash of the questions with their gold and answers."""
    sources: tuple[str, ...]
    k: int
    settings: Mapping[str, Any]
    """What shapes the evidence."""
    format: int = FORMAT

    @classmethod
    def of(cls, dataset: Dataset, sources: Sequence[str], k: int, settings: Settings) -> Made:
        return cls(dataset.name, _content(dataset), _asked(dataset), tuple(sorted(sources)), k, shaping(settings))

    @property
    def fingerprint(self) -> str:
        """Of the settings."""
        return hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode()).hexdigest()[:16]

    def differences(self, other: Made) -> list[str]:
        """What differs in `other`, in words; the data set's name does not count."""
        found = [
            f"{what} ({getattr(other, name)} there, {getattr(self, name)} here)"
            for name, what in (("format", "the table's format"), ("k", "k"), ("sources", "the sources"))
            if getattr(self, name) != getattr(other, name)
        ]
        found += [
            what
            for name, what in (("content", "the corpus"), ("questions", "the questions"))
            if getattr(self, name) != getattr(other, name)
        ]
        here, there = dict(_flat(self.settings)), dict(_flat(other.settings))
        changed = [path for path in sorted(here.keys() | there.keys()) if here.get(path) != there.get(path)]
        found += [f"{path} ({there.get(path)} there, {here.get(path)} here)" for path in changed[:MAX_NAMED]]
        return found + ([f"{len(changed) - MAX_NAMED} more settings"] if len(changed) > MAX_NAMED else [])


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


def shaping(settings: Settings) -> dict[str, Any]:
    """The part of the settings that shapes what a set of sources finds; neither prices nor who decides belong to it."""
    shape: dict[str, Any] = settings.model_dump(
        mode="json",
        include={
            "models": True,
            "corpus": True,
            "sources": True,
            "retrieval": True,
            "fusion": True,
            "rerank": True,
            "milvus": {"index", "lexical"},
        },
    )
    for source in shape["sources"].values():
        for name in ("cost", "description", "record"):
            source.pop(name, None)
    if not (settings.corpus.openie.enabled or any(source.get("text2cypher", {}).get("enabled") for source in shape["sources"].values())):
        del shape["models"]["llm"]  # it decides at most, and finds nothing
    return shape | {"version": __version__, "corpus_format": CORPUS_FORMAT}


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
    told = {**asdict(table.made), "fingerprint": table.made.fingerprint}
    unfinished = path.with_name(f".{path.name}.unfinished")
    schema = SCHEMA.with_metadata({KEY: json.dumps(told, sort_keys=True).encode()})
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
    fields = json.loads(told)
    fields.pop("fingerprint")
    return Made(**{**fields, "sources": tuple(fields["sources"])})


def _outcomes(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[SourceSet, Outcome]]:
    outcomes: dict[str, dict[SourceSet, Outcome]] = {}
    names = Outcome.__dataclass_fields__
    for row in rows:
        chosen = frozenset(filter(None, row["set"].split("+")))
        outcomes.setdefault(row["question"], {})[chosen] = Outcome(**{name: row[name] for name in names})
    return outcomes


def _content(dataset: Dataset) -> str:
    digest = hashlib.sha256(dataset.content_hash().encode())
    digest.update(dataset.web.read_bytes() if dataset.web else b"none")
    return digest.hexdigest()


def _asked(dataset: Dataset) -> str:
    rows = [[question.id, question.text, sorted(question.gold), list(question.answers)] for question in dataset.questions]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def _flat(tree: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", value
