"""The decision log on a real SQLite file and on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import inspect
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from router import __version__
from router.call import Options
from router.errors import InvalidInput, NotFound, RouterError, StoreUnavailable
from router.settings import JournalSettings, LearningSettings
from router.stores import decision_log
from router.stores.decision_log import DecisionLog
from router.stores.decisions import DecisionStore, Entry
from router.stores.journal import Journal, open_journal
from router.testing.engine import ListRetriever, small_engine
from router.types import (
    AS_ASKED,
    Answer,
    Caller,
    Deadline,
    Feedback,
    LoggedDecision,
    Outcome,
    Query,
    Retrieval,
    Route,
    RouteDecision,
    SourceCode,
    SourceReport,
    TextPart,
    Timings,
)

QUERY = Query((TextPart("Who keeps the secret lantern?"),))
DECISION = RouteDecision(
    "learned",
    (Route("vector", True, 0.75, "likely", cost=0.25), Route("graph", True, 0.5, "maybe"), Route("web", False, 0.125, "no", cost=1.0)),
    "by model",
    version="v3",
    propensity=0.5,
    features={"names": 2.0},
)
REPORTS = (SourceReport("vector", SourceCode.OK, 0.1, 0), SourceReport("graph", SourceCode.UNAVAILABLE, 0.1, 0, "down"))
RETRIEVAL = Retrieval(DECISION, (), REPORTS, Timings({}, 0.25))
ANSWER = Answer("Nothing.", False, (), RETRIEVAL, "quoting", Timings({}, 0.5))
NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
GOOD = Feedback(helpful=True)


def caller(request_id: str = "r", tenant: str = "t") -> Caller:
    return Caller(tenant, request_id, Deadline.after(60))


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@asynccontextmanager
async def opened(folder: Path, settings: JournalSettings | None = None) -> AsyncIterator[Journal]:
    journal = await open_journal(settings or JournalSettings(), folder)
    try:
        yield journal
    finally:
        await journal.aclose()


@pytest.fixture
async def journal(journal_settings: JournalSettings, tmp_path: Path) -> AsyncIterator[Journal]:
    async with opened(tmp_path, journal_settings) as journal:
        yield journal


def log_of(journal: Journal, clock: Clock | None = None, **learning: Any) -> DecisionLog:
    return DecisionLog(journal.decisions, LearningSettings(**learning), now=clock or Clock())


async def kept(log: DecisionLog, tenant: str = "t") -> list[LoggedDecision]:
    return list((await log.page(tenant)).decisions)


# --- the store ------------------------------------------------------------------------------------------------------

finite = st.floats(allow_nan=False, allow_infinity=False)
names = st.text("abcz-_", min_size=1, max_size=8)
outcomes = st.builds(
    Outcome, st.integers(0, 100), st.dictionaries(names, st.sampled_from(SourceCode), max_size=3), finite, st.none() | st.booleans()
)
instants = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1)).map(lambda naive: naive.replace(tzinfo=UTC))
decisions = st.builds(
    LoggedDecision,
    st.text("AZaz09._:/-", min_size=1, max_size=128),
    instants,
    names,
    st.text("v0123.", max_size=8),
    st.booleans(),
    st.lists(names, max_size=3, unique=True).map(tuple),
    st.dictionaries(names, finite, max_size=3),
    finite,
    st.dictionaries(st.text(), finite, max_size=3),
    finite,
    st.none() | outcomes,
    st.text(),
    bucket=st.none() | st.integers(0, 255),
)
feedbacks = st.none() | st.builds(
    Feedback,
    st.none() | st.booleans(),
    st.text(),
    st.lists(st.integers(1, 100), max_size=3).map(tuple),
    st.lists(names, max_size=3).map(tuple),
)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(decisions, feedbacks), max_size=6, unique_by=lambda pair: pair[0].request_id), st.integers(1, 4))
def test_what_was_put_comes_back_page_by_page_in_its_order(pairs: list[tuple[LoggedDecision, Feedback | None]], page_size: int) -> None:
    async def put_and_read() -> list[LoggedDecision]:
        with TemporaryDirectory() as folder:
            async with opened(Path(folder)) as journal:
                store = journal.decisions
                if pairs:
                    await store.put([Entry("t", decision, is_new=True) for decision, _ in pairs])
                for decision, feedback in pairs:
                    if feedback is not None:
                        await store.put_feedback("t", decision.request_id, feedback)
                found, token = [], ""
                while True:
                    page = await store.page("t", page_size=page_size, page_token=token)
                    found += page.decisions
                    if not (token := page.next_page_token):
                        return found

    expected = [replace(decision, feedback=feedback) for decision, feedback in pairs]
    expected.sort(key=lambda decision: (decision.decided_at, decision.request_id))
    assert asyncio.run(put_and_read()) == expected


async def test_a_journal_that_kept_no_buckets_opens_and_keeps_them_from_then_on(tmp_path: Path) -> None:
    old = LoggedDecision("old", NOW, "learned", "1", False, ("vector",), {}, 1.0, {}, 0.0, experiment="trial", arm="learned")
    new = replace(old, request_id="new", bucket=0)
    async with opened(tmp_path) as journal:
        await journal.decisions.put([Entry("t", old, is_new=True)])
    with closing(sqlite3.connect(tmp_path / "journal.db")) as connection:
        connection.execute("DROP TABLE decision_buckets")
    async with opened(tmp_path) as journal:
        store = journal.decisions
        assert await store.get("t", "old") == old
        await store.put([Entry("t", new, is_new=True)])
        assert (await store.page("t")).decisions == (new, old)
        # The bucket goes with the decision: not to another of its id, nor beyond its time.
        await store.put([Entry("t", replace(old, request_id="new"), is_new=True)])
        assert (await store.get("t", "new")).bucket is None
        await store.put([Entry("t", new, is_new=True)])
        await store.forget_before("t", NOW + timedelta(days=1))
    with closing(sqlite3.connect(tmp_path / "journal.db")) as connection:
        assert connection.execute("SELECT count(*) FROM decision_buckets").fetchone() == (0,)


async def test_tenants_never_meet(journal: Journal) -> None:
    store = journal.decisions
    mine = LoggedDecision("r", NOW, "rules", "1", False, ("vector",), {}, 1.0, {}, 0.0)
    yours = replace(mine, policy="all")
    await store.put(
        [Entry("t", mine, is_new=True), Entry("u", yours, is_new=True), Entry("u", replace(yours, request_id="s"), is_new=True)]
    )
    assert await store.tenants() == ["t", "u"]
    await store.put_feedback("u", "r", GOOD)
    assert await store.get("t", "r") == mine
    assert await store.get("u", "r") == replace(yours, feedback=GOOD)
    for call in (store.get("t", "s"), store.put_feedback("t", "s", GOOD)):
        with pytest.raises(NotFound) as missing:
            await call
        assert (missing.value.reason, missing.value.field) == ("UNKNOWN_REQUEST", "request_id")
    page = await store.page("u", page_size=1)
    for tenant, token in (("t", page.next_page_token), ("u", "nonsense"), ("u", page.next_page_token[:-4])):
        with pytest.raises(InvalidInput) as refused:
            await store.page(tenant, page_token=token)
        assert refused.value.field == "page_token"
    await store.put([Entry("t", replace(mine, policy="fixed"), is_new=True)])
    assert (await store.get("u", "r")).feedback == GOOD
    assert await store.forget_before("t", NOW + timedelta(days=1)) == 1
    assert (await store.page("t")).decisions == ()
    assert len((await store.page("u")).decisions) == 2
    for name, method in inspect.getmembers(DecisionStore, inspect.isfunction):
        if not name.startswith("_") and name not in {"put", "tenants"}:  # each entry has its tenant
            assert list(inspect.signature(method).parameters)[1] == "tenant", name


# --- the log --------------------------------------------------------------------------------------------------------


async def test_a_call_is_one_decision_that_more_and_more_is_known_of(journal: Journal) -> None:
    clock = Clock()
    log = log_of(journal, clock, log_questions=True)
    expected = LoggedDecision(
        "r",
        NOW,
        "learned",
        "v3",
        False,
        ("vector", "graph"),
        {"vector": 0.75, "graph": 0.5, "web": 0.125},
        0.5,
        {"names": 2.0},
        0.25,
        question="Who keeps the secret lantern?",
    )
    log.on_decided(QUERY, caller(), DECISION)
    assert await kept(log) == [expected]
    clock.now += timedelta(seconds=1)
    log.on_retrieved(QUERY, caller(), RETRIEVAL)
    found = Outcome(0, {"vector": SourceCode.OK, "graph": SourceCode.UNAVAILABLE}, 0.25)
    assert await kept(log) == [replace(expected, outcome=found)]
    await log.record_feedback("t", "r", GOOD)
    log.on_answered(QUERY, caller(), ANSWER)
    assert await kept(log) == [replace(expected, outcome=replace(found, latency_s=0.5, found=False), feedback=GOOD)]


async def test_a_question_is_kept_with_its_instruction(journal: Journal) -> None:
    log = log_of(journal, Clock(), log_questions=True)
    log.on_decided(replace(QUERY, instruction="only drawings"), caller(), DECISION)
    assert [decision.question for decision in await kept(log)] == ["Who keeps the secret lantern?\nonly drawings"]


async def test_what_becomes_known_at_once_is_written_at_once(journal: Journal) -> None:
    clock = Clock()
    log = log_of(journal, clock)
    log.on_decided(QUERY, caller(), DECISION)
    clock.now += timedelta(seconds=1)
    log.on_retrieved(QUERY, caller(), RETRIEVAL)
    log.on_answered(QUERY, caller(), ANSWER)
    (decision,) = await kept(log)
    assert (decision.decided_at, decision.outcome and decision.outcome.found, decision.question) == (NOW, False, "")


async def test_an_id_used_again_is_a_new_call(journal: Journal) -> None:
    log = log_of(journal)
    log.on_decided(QUERY, caller(), DECISION)
    log.on_answered(QUERY, caller(), ANSWER)
    await log.record_feedback("t", "r", GOOD)
    log.on_decided(QUERY, caller(), replace(DECISION, policy=AS_ASKED, version=""))
    (decision,) = await kept(log)
    assert (decision.as_asked, decision.version, decision.outcome, decision.feedback) == (True, __version__, None, None)


async def test_numbers_of_numpy_are_numbers(journal: Journal) -> None:
    log = log_of(journal)
    features: Any = {"a": np.float32(0.5), "b": np.int64(2)}
    log.on_decided(QUERY, caller(), replace(DECISION, features=features, propensity=np.float32(0.25)))
    (decision,) = await kept(log)
    assert (decision.features, decision.propensity) == ({"a": 0.5, "b": 2.0}, 0.25)


async def test_nothing_is_logged_when_it_is_off(journal: Journal) -> None:
    log = log_of(journal, log_decisions=False)
    log.on_decided(QUERY, caller(), DECISION)
    log.on_retrieved(QUERY, caller(), RETRIEVAL)
    log.on_answered(QUERY, caller(), ANSWER)
    assert await kept(log) == []


async def test_what_is_older_than_the_retention_goes_at_the_start_and_later(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    before = log_of(journal, clock)
    for tenant in ("t", "u"):
        before.on_decided(QUERY, caller("old", tenant), DECISION)
        await before.flush()
        await before.record_feedback(tenant, "old", GOOD)
    clock.now += timedelta(days=2)
    before.on_decided(QUERY, caller("new"), DECISION)
    await before.aclose()
    clock.now += timedelta(days=8, seconds=1)
    after = log_of(journal, clock, retention_days=10, log_decisions=False)
    monkeypatch.setattr(decision_log, "_CLEANING_INTERVAL_S", 0.0)
    await after.start()
    assert [decision.request_id for decision in await kept(after)] == ["new"]
    assert await kept(after, "u") == []
    clock.now += timedelta(days=2)
    async with asyncio.timeout(30):
        while await kept(after):  # noqa: ASYNC110 - what is waited for is in the database
            await asyncio.sleep(0.01)
    await after.aclose()
    assert await journal.decisions.tenants() == []


async def test_what_finds_no_room_is_counted_and_told(journal: Journal) -> None:
    log = DecisionLog(journal.decisions, LearningSettings(), max_waiting=3)
    for number in range(5):
        log.on_decided(QUERY, caller(f"r{number}"), DECISION)
    log.on_answered(QUERY, caller("r0"), ANSWER)  # of a decision that waits: no more room is needed
    assert log.dropped == 2
    with capture_logs() as lines:
        await log.start()
        await log.aclose()
    assert [(line["count"], line["in_all"]) for line in lines if line["event"] == "decisions_dropped"] == [(2, 2)]
    assert {decision.request_id for decision in await kept(log)} == {"r0", "r1", "r2"}


async def test_closing_writes_what_waits_and_it_is_there_after_a_start(journal_settings: JournalSettings, tmp_path: Path) -> None:
    async with opened(tmp_path, journal_settings) as journal:
        log = log_of(journal)
        await log.start()
        for number in range(700):
            log.on_decided(QUERY, caller(f"r{number}"), DECISION)
        await log.aclose()
    async with opened(tmp_path, journal_settings) as journal:
        found, token = 0, ""
        while True:
            page = await journal.decisions.page("t", page_size=500, page_token=token)
            found += len(page.decisions)
            if not (token := page.next_page_token):
                break
    assert found == 700


async def test_the_background_task_writes_without_being_asked(journal: Journal) -> None:
    log = log_of(journal)
    await log.start()
    log.on_decided(QUERY, caller(), DECISION)
    async with asyncio.timeout(30):
        while not (await journal.decisions.page("t")).decisions:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
    await log.aclose()


class FailingStore(DecisionStore):
    """A store that can be made to fail, or to hang."""

    error: RouterError | None = None
    hangs = False

    def __init__(self, *connections: Any) -> None:
        super().__init__(*connections)
        self.asked = asyncio.Event()

    async def put(self, entries: Sequence[Entry]) -> None:
        self.asked.set()
        if self.hangs:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error
        await super().put(entries)


@pytest.fixture
def failing(journal: Journal) -> FailingStore:
    return FailingStore(journal._read, journal._write, journal._engine.dialect.name)


async def test_what_a_dead_database_does_not_take_waits_for_it(failing: FailingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decision_log, "_RETRY_S", 0.01)
    log = DecisionLog(failing, LearningSettings())
    await log.start()
    failing.error = StoreUnavailable("disk full")
    with capture_logs() as lines:
        log.on_decided(QUERY, caller(), DECISION)
        async with asyncio.timeout(30):
            while not lines:  # noqa: ASYNC110 - a line of the log
                await asyncio.sleep(0.01)
    assert (lines[0]["event"], lines[0]["waiting"]) == ("decision_log_unavailable", 1)
    with pytest.raises(StoreUnavailable):
        await log.record_feedback("t", "r", GOOD)
    failing.error = None
    assert [decision.request_id for decision in await kept(log)] == ["r"]
    assert log.dropped == 0
    failing.error = StoreUnavailable("disk full")
    log.on_decided(QUERY, caller("s"), DECISION)
    await log.aclose()
    assert log.dropped == 1


async def test_what_the_database_refuses_keeps_no_other_waiting(journal: Journal) -> None:
    log = log_of(journal)
    for number in range(5):
        nameless = replace(DECISION, policy=None)  # type: ignore[arg-type]  # whatever a plug-in does
        log.on_decided(QUERY, caller(f"r{number}"), nameless if number == 3 else DECISION)
    with capture_logs() as lines:
        assert [decision.request_id for decision in await kept(log)] == ["r0", "r1", "r2", "r4"]
    assert [line["event"] for line in lines] == ["decision_refused"]
    assert log.dropped == 1


async def test_a_writer_that_hangs_keeps_no_call_waiting(failing: FailingStore) -> None:
    log = DecisionLog(failing, LearningSettings())
    engine = small_engine({"vector": ListRetriever()}, observer=log)
    failing.hangs = True
    await engine.retrieve(QUERY, Options(), caller("r0"))
    writing = asyncio.create_task(log.flush())
    await failing.asked.wait()
    await engine.retrieve(QUERY, Options(), caller("r1"))
    assert not writing.done()
    writing.cancel()
    await asyncio.wait({writing})
    failing.hangs = False
    assert [decision.request_id for decision in await kept(log)] == ["r0", "r1"]


# --- feedback -------------------------------------------------------------------------------------------------------


async def test_feedback_on_a_call_that_is_not_written_yet(journal: Journal) -> None:
    log = log_of(journal)
    log.on_decided(QUERY, caller(), DECISION)
    await log.record_feedback("t", "r", Feedback(helpful=False))
    (decision,) = await kept(log)
    assert (decision.feedback, decision.reward) == (Feedback(helpful=False), 0.0)
    await log.record_feedback("t", "r", Feedback(correct_sources=("web",)))
    (decision,) = await kept(log)
    assert (decision.feedback, decision.reward) == (Feedback(correct_sources=("web",)), None)


@pytest.mark.parametrize(
    ("feedback", "field"),
    [
        (Feedback(), "verdict"),
        (Feedback(corrected_answer="x" * 32_001), "corrected_answer"),
        (Feedback(clicked_citations=(0,)), "clicked_citations[0]"),
        (Feedback(helpful=True, clicked_citations=(1,)), "clicked_citations[0]"),  # the answer had no evidence
        (Feedback(clicked_citations=tuple(range(1, 102))), "clicked_citations"),
    ],
)
async def test_feedback_that_makes_no_sense_names_its_field(journal: Journal, feedback: Feedback, field: str) -> None:
    log = log_of(journal)
    log.on_decided(QUERY, caller(), DECISION)
    log.on_answered(QUERY, caller(), ANSWER)
    with pytest.raises(InvalidInput) as refused:
        await log.record_feedback("t", "r", feedback)
    assert refused.value.field == field
    (decision,) = await kept(log)
    assert decision.feedback is None
