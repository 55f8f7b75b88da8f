"""Decisions of calls and the feedback on them, to learn from. They stand in the journal's database, each with its tenant."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKeyConstraint,
    Index,
    Integer,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    bindparam,
    delete,
    func,
    select,
    tuple_,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from router.errors import InvalidInput, NotFound
from router.stores.journal_schema import tables
from router.stores.page_token import make_page_token, name_of_page_token
from router.types import DecisionPage, Feedback, LoggedDecision, Outcome, ShadowDecision, SourceCode

Connections = Callable[[], AbstractAsyncContextManager[AsyncConnection]]
MAX_PAGE_SIZE = 1000
_LIST = "/decisions"
"""The list that page tokens belong to. No collection of documents has such a name."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_UPSERTS: Mapping[str, Callable[[Table], Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


def _one_call(table: Table) -> Any:
    """That a row of the table belongs to a decision."""
    return (decisions_table.c.tenant == table.c.tenant) & (decisions_table.c.request_id == table.c.request_id)


decisions_table = Table(
    "decisions",
    tables,
    Column("tenant", String(63), nullable=False),
    Column("request_id", String(128), nullable=False),
    Column("decided_at", BigInteger, nullable=False),  # microseconds since 1970
    Column("policy", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("as_asked", Boolean, nullable=False),
    Column("chosen", Text, nullable=False),  # JSON
    Column("probabilities", Text, nullable=False),  # JSON
    Column("propensity", Double, nullable=False),
    Column("features", Text, nullable=False),  # JSON
    Column("cost", Double, nullable=False),
    Column("evidence_count", Integer),  # null, and so are the next two, when there was no outcome
    Column("source_codes", Text),  # JSON
    Column("latency_s", Double),
    Column("found", Boolean),
    Column("question", Text, nullable=False),  # JSON, since PostgreSQL takes no NUL in a text
    PrimaryKeyConstraint("tenant", "request_id"),
    Index("decisions_by_time", "tenant", "decided_at", "request_id"),
)
feedback_table = Table(
    "decision_feedback",
    tables,
    Column("tenant", String(63), nullable=False),
    Column("request_id", String(128), nullable=False),
    Column("given_at", BigInteger, nullable=False),  # microseconds since 1970
    Column("helpful", Boolean),  # null when it was not said
    Column("corrected_answer", Text, nullable=False),  # JSON
    Column("clicked_citations", Text, nullable=False),  # JSON
    Column("correct_sources", Text, nullable=False),  # JSON
    PrimaryKeyConstraint("tenant", "request_id"),
    ForeignKeyConstraint(["tenant", "request_id"], ["decisions.tenant", "decisions.request_id"], ondelete="CASCADE"),
)
trials_table = Table(
    "decision_trials",
    tables,
    Column("tenant", String(63), nullable=False),
    Column("request_id", String(128), nullable=False),
    Column("experiment", Text, nullable=False),
    Column("arm", Text, nullable=False),
    Column("shadows", Text, nullable=False),  # JSON
    PrimaryKeyConstraint("tenant", "request_id"),
    ForeignKeyConstraint(["tenant", "request_id"], ["decisions.tenant", "decisions.request_id"], ondelete="CASCADE"),
)
"""Of the decisions that were part of an experiment or had shadows."""
buckets_table = Table(
    "decision_buckets",
    tables,
    Column("tenant", String(63), nullable=False),
    Column("request_id", String(128), nullable=False),
    Column("bucket", Integer, nullable=False),
    PrimaryKeyConstraint("tenant", "request_id"),
    ForeignKeyConstraint(["tenant", "request_id"], ["decisions.tenant", "decisions.request_id"], ondelete="CASCADE"),
)
"""Of the keys of an experiment. No column of the trials: a journal of an earlier release gets tables when it is opened, no columns."""

_SELECT = select(
    decisions_table,
    feedback_table.c.given_at,
    feedback_table.c.helpful,
    feedback_table.c.corrected_answer,
    feedback_table.c.clicked_citations,
    feedback_table.c.correct_sources,
    trials_table.c.experiment,
    trials_table.c.arm,
    trials_table.c.shadows,
    buckets_table.c.bucket,
).select_from(
    decisions_table.outerjoin(feedback_table, _one_call(feedback_table))
    .outerjoin(trials_table, _one_call(trials_table))
    .outerjoin(buckets_table, _one_call(buckets_table))
)
_FORGET = delete(decisions_table).where(
    decisions_table.c.tenant == bindparam("of_tenant"), decisions_table.c.request_id == bindparam("of_request")
)
_KEPT = {"tenant", "request_id", "decided_at"}
"""What a decision that is written again, with more of its outcome, keeps."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What is to be written."""

    tenant: str
    decision: LoggedDecision
    is_new: bool
    """False when it may only tell more of a decision that is there already."""


class DecisionStore:
    """See the module. Made by the journal, whose connections it takes; raises StoreUnavailable when the database does not answer."""

    def __init__(self, read: Connections, write: Connections, dialect: str) -> None:
        self._read = read
        self._write = write
        self._upsert_decisions = _upsert(dialect, decisions_table, _KEPT)
        self._upsert_feedback = _upsert(dialect, feedback_table, {"tenant", "request_id"})
        self._upsert_trials = _upsert(dialect, trials_table, {"tenant", "request_id"})
        self._upsert_buckets = _upsert(dialect, buckets_table, {"tenant", "request_id"})

    async def put(self, entries: Sequence[Entry]) -> None:
        """Write decisions, each request id once. A new one takes the place of an earlier one of its id, whose feedback goes with it."""
        async with self._write() as connection:
            # A caller may use a request id twice, and then what was thought of the first answer says nothing of the second.
            if replaced := [{"of_tenant": entry.tenant, "of_request": entry.decision.request_id} for entry in entries if entry.is_new]:
                await connection.execute(_FORGET, replaced)
            await connection.execute(self._upsert_decisions, [_decision_values(entry.tenant, entry.decision) for entry in entries])
            tried = [entry for entry in entries if entry.decision.experiment or entry.decision.shadows]
            if tried:
                await connection.execute(self._upsert_trials, [_trial_values(entry.tenant, entry.decision) for entry in tried])
            if dealt := [entry for entry in entries if entry.decision.bucket is not None]:
                await connection.execute(self._upsert_buckets, [_bucket_values(entry.tenant, entry.decision) for entry in dealt])

    async def get(self, tenant: str, request_id: str) -> LoggedDecision:
        """Raises NotFound (`UNKNOWN_REQUEST`)."""
        statement = _SELECT.where(decisions_table.c.tenant == tenant, decisions_table.c.request_id == request_id)
        async with self._read() as connection:
            row = (await connection.execute(statement)).first()
        if row is None:
            raise _unknown(request_id)
        return _to_decision(row)

    async def put_feedback(self, tenant: str, request_id: str, feedback: Feedback) -> None:
        """Keep what a person thought, in place of what was said before. Raises NotFound (`UNKNOWN_REQUEST`)."""
        known = select(func.count()).where(decisions_table.c.tenant == tenant, decisions_table.c.request_id == request_id)
        async with self._write() as connection:
            if not await connection.scalar(known):
                raise _unknown(request_id)
            await connection.execute(self._upsert_feedback, _feedback_values(tenant, request_id, feedback))

    async def page(self, tenant: str, *, page_size: int = 100, page_token: str = "") -> DecisionPage:
        """Decisions by time, the oldest first. Raises InvalidInput for a page size out of range or a token of another list."""
        if not 1 <= page_size <= MAX_PAGE_SIZE:
            raise InvalidInput(f"the page size is {page_size}; 1 to {MAX_PAGE_SIZE} are allowed", field="page_size")
        order = (decisions_table.c.decided_at, decisions_table.c.request_id)
        statement = _SELECT.where(decisions_table.c.tenant == tenant)
        if page_token:
            statement = statement.where(tuple_(*order) > tuple_(*_place_of(page_token, tenant)))
        async with self._read() as connection:
            rows = (await connection.execute(statement.order_by(*order).limit(page_size + 1))).all()
        more = len(rows) > page_size
        rows = rows[:page_size]
        token = make_page_token(tenant, _LIST, f"{rows[-1].decided_at} {rows[-1].request_id}") if more else ""
        return DecisionPage(tuple(map(_to_decision, rows)), token)

    async def judged(self, tenant: str, most: int) -> list[LoggedDecision]:
        """Decisions with feedback whose question is kept, the newest first."""
        statement = _SELECT.where(
            decisions_table.c.tenant == tenant, feedback_table.c.given_at.is_not(None), decisions_table.c.question != json.dumps("")
        ).order_by(decisions_table.c.decided_at.desc(), decisions_table.c.request_id)
        async with self._read() as connection:
            return list(map(_to_decision, await connection.execute(statement.limit(most))))

    async def tenants(self) -> list[str]:
        """Every tenant that has decisions."""
        statement = select(decisions_table.c.tenant).distinct().order_by(decisions_table.c.tenant)
        async with self._read() as connection:
            return list((await connection.execute(statement)).scalars())

    async def forget_before(self, tenant: str, instant: datetime) -> int:
        """Delete what was decided before, with its feedback; how many decisions that were."""
        expired = (decisions_table.c.tenant == tenant, decisions_table.c.decided_at < _microseconds(instant))
        async with self._write() as connection:
            return (await connection.execute(delete(decisions_table).where(*expired))).rowcount


def _upsert(dialect: str, table: Table, kept: set[str]) -> Any:
    upsert = _UPSERTS[dialect](table)
    replacement = {column.name: upsert.excluded[column.name] for column in table.c if column.name not in kept}
    return upsert.on_conflict_do_update(index_elements=["tenant", "request_id"], set_=replacement)


def _place_of(token: str, tenant: str) -> tuple[int, str]:
    decided_at, _, request_id = name_of_page_token(token, tenant, _LIST).partition(" ")
    try:
        return int(decided_at), request_id
    except ValueError as error:
        raise InvalidInput("the page token is not one of ours: leave it empty to start at the first page", field="page_token") from error


def _decision_values(tenant: str, decision: LoggedDecision) -> dict[str, Any]:
    outcome = decision.outcome
    return {
        "tenant": tenant,
        "request_id": decision.request_id,
        "decided_at": _microseconds(decision.decided_at),
        "policy": decision.policy,
        "version": decision.version,
        "as_asked": decision.as_asked,
        "chosen": json.dumps(decision.chosen),
        "probabilities": json.dumps(dict(decision.probabilities)),
        "propensity": decision.propensity,
        "features": json.dumps(dict(decision.features)),
        "cost": decision.cost,
        "evidence_count": outcome.evidence_count if outcome else None,
        "source_codes": json.dumps({source: code.value for source, code in outcome.sources.items()}) if outcome else None,
        "latency_s": outcome.latency_s if outcome else None,
        "found": outcome.found if outcome else None,
        "question": json.dumps(decision.question),
    }


def _trial_values(tenant: str, decision: LoggedDecision) -> dict[str, Any]:
    return {
        "tenant": tenant,
        "request_id": decision.request_id,
        "experiment": decision.experiment,
        "arm": decision.arm,
        "shadows": json.dumps([asdict(shadow) for shadow in decision.shadows]),
    }


def _bucket_values(tenant: str, decision: LoggedDecision) -> dict[str, Any]:
    return {"tenant": tenant, "request_id": decision.request_id, "bucket": decision.bucket}


def _feedback_values(tenant: str, request_id: str, feedback: Feedback) -> dict[str, Any]:
    return {
        "tenant": tenant,
        "request_id": request_id,
        "given_at": time.time_ns() // 1000,
        "helpful": feedback.helpful,
        "corrected_answer": json.dumps(feedback.corrected_answer),
        "clicked_citations": json.dumps(feedback.clicked_citations),
        "correct_sources": json.dumps(feedback.correct_sources),
    }


def _to_decision(row: Any) -> LoggedDecision:
    return LoggedDecision(
        request_id=row.request_id,
        decided_at=_EPOCH + row.decided_at * _MICROSECOND,
        policy=row.policy,
        version=row.version,
        as_asked=row.as_asked,
        chosen=tuple(json.loads(row.chosen)),
        probabilities=json.loads(row.probabilities),
        propensity=row.propensity,
        features=json.loads(row.features),
        cost=row.cost,
        outcome=_to_outcome(row),
        question=json.loads(row.question),
        feedback=_to_feedback(row),
        experiment=row.experiment or "",
        arm=row.arm or "",
        bucket=row.bucket,
        shadows=tuple(
            ShadowDecision(shadow["policy"], shadow["version"], tuple(shadow["chosen"])) for shadow in json.loads(row.shadows or "[]")
        ),
    )


def _to_outcome(row: Any) -> Outcome | None:
    if row.evidence_count is None:
        return None
    codes = {source: SourceCode(code) for source, code in json.loads(row.source_codes).items()}
    return Outcome(row.evidence_count, codes, row.latency_s, row.found)


def _to_feedback(row: Any) -> Feedback | None:
    if row.given_at is None:
        return None
    return Feedback(
        helpful=row.helpful,
        corrected_answer=json.loads(row.corrected_answer),
        clicked_citations=tuple(json.loads(row.clicked_citations)),
        correct_sources=tuple(json.loads(row.correct_sources)),
    )


def _microseconds(instant: datetime) -> int:
    return (instant - _EPOCH) // _MICROSECOND


def _unknown(request_id: str) -> NotFound:
    return NotFound(
        f"no decision of a call {request_id!r} is kept: the id is wrong, the call opted out (no_log), it is older than "
        "learning.retention_days, or learning.log_decisions was off",
        reason="UNKNOWN_REQUEST",
        field="request_id",
    )
