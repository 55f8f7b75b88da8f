"""Experience from a real decision log: what feedback tells of sets of sources, and that tenants keep theirs to themselves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from structlog.testing import capture_logs

from router.routing import experience as module
from router.routing.experience import LoggedExperience, Remembered, qualities_told
from router.settings import JournalSettings
from router.stores.decisions import Entry
from router.stores.journal import open_journal
from router.testing.fakes import HashEmbedder
from router.types import Feedback, LoggedDecision

VECTOR, GRAPH, WEB = (frozenset({kind}) for kind in ("vector", "graph", "web"))
KINDS = {"docs": "vector", "notes": "vector", "graph": "graph", "web": "web"}
LANTERN = "Who keeps the secret lantern?"
NOW = datetime(2026, 3, 1, tzinfo=UTC)


class CountingEmbedder(HashEmbedder):
    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    async def embed(self, texts):
        self.texts += texts
        return await super().embed(texts)


@pytest.fixture
async def journal(tmp_path):
    journal = await open_journal(JournalSettings(), tmp_path)
    yield journal
    await journal.aclose()


def logged(name: str, question: str, *chosen: str, feedback: Feedback | None = None, age_s: int = 0) -> LoggedDecision:
    at = NOW - timedelta(seconds=age_s)
    return LoggedDecision(name, at, "learned", "1", False, chosen, {}, 1.0, {}, 0.02, question=question, feedback=feedback)


async def keep(journal, tenant: str, name: str, question: str, *chosen: str, feedback: Feedback | None = None, age_s: int = 0) -> None:
    await journal.decisions.put([Entry(tenant, logged(name, question, *chosen, age_s=age_s), is_new=True)])
    if feedback is not None:
        await journal.decisions.put_feedback(tenant, name, feedback)


async def vector_of(embedder, text: str):
    return (await embedder.embed([text]))[0]


@pytest.mark.parametrize(
    ("chosen", "feedback", "told"),
    [
        (("docs",), Feedback(helpful=True), {VECTOR: 1.0}),
        (("docs", "notes"), Feedback(helpful=False), {VECTOR: 0.0}),
        (("docs", "graph"), Feedback(helpful=False, correct_sources=("web",)), {VECTOR | GRAPH: 0.0, WEB: 1.0}),
        (("docs",), Feedback(correct_sources=("web",)), {VECTOR: 0.0, WEB: 1.0}),
        (("docs", "web"), Feedback(correct_sources=("web",)), {WEB: 1.0}),
        (("docs",), Feedback(helpful=False, correct_sources=("notes",)), {VECTOR: 1.0}),
        ((), Feedback(helpful=False, correct_sources=("web",)), {WEB: 1.0}),
        (("gone",), Feedback(helpful=True), {}),
        (("docs",), Feedback(corrected_answer="Ada."), {}),
        (("docs",), None, {}),
    ],
)
def test_what_feedback_tells_of_sets(chosen, feedback, told) -> None:
    assert qualities_told(logged("r", LANTERN, *chosen, feedback=feedback), KINDS) == told


async def test_the_nearest_judged_questions_of_the_tenant_are_found(journal) -> None:
    embedder = CountingEmbedder()
    await keep(journal, "acme", "lantern", LANTERN, "docs", feedback=Feedback(helpful=False))
    await keep(journal, "acme", "harbour", "How deep is the harbour?", "web", feedback=Feedback(helpful=True))
    await keep(journal, "acme", "unjudged", LANTERN, "graph")
    await keep(journal, "acme", "untold", "", "graph", feedback=Feedback(helpful=True))
    await keep(journal, "umbra", "other", LANTERN, "graph", feedback=Feedback(helpful=True))
    experience = LoggedExperience(journal.decisions, embedder, KINDS)
    await experience.refresh("acme")
    asked = await vector_of(embedder, LANTERN)
    first, second = experience.nearest("acme", asked, 5)
    assert (first.qualities, first.similarity) == ({VECTOR: 0.0}, pytest.approx(1.0))
    assert (second.qualities, second.similarity < 1.0) == ({WEB: 1.0}, True)
    assert len(experience.nearest("acme", asked, 1)) == 1
    await experience.refresh("umbra")
    assert [one.qualities for one in experience.nearest("umbra", asked, 5)] == [{GRAPH: 1.0}]
    await experience.aclose()


async def test_a_first_question_waits_for_nothing_and_the_log_is_read_beside(journal) -> None:
    embedder = HashEmbedder()
    await keep(journal, "acme", "lantern", LANTERN, "docs", feedback=Feedback(helpful=True))
    experience = LoggedExperience(journal.decisions, embedder, KINDS)
    asked = await vector_of(embedder, LANTERN)
    assert experience.nearest("acme", asked, 5) == []
    await experience.settle()
    assert len(experience.nearest("acme", asked, 5)) == 1
    assert not experience._tenants["acme"].is_read  # it is fresh: nothing is read again yet
    await experience.aclose()


async def test_what_was_embedded_once_is_not_embedded_again_and_what_is_gone_is_forgotten(journal) -> None:
    embedder = CountingEmbedder()
    await keep(journal, "acme", "old", "How deep is the harbour?", "web", feedback=Feedback(helpful=True), age_s=100)
    await keep(journal, "acme", "lantern", LANTERN, "docs", feedback=Feedback(helpful=False))
    experience = LoggedExperience(journal.decisions, embedder, KINDS)
    await experience.refresh("acme")
    assert embedder.texts == [LANTERN, "How deep is the harbour?"]
    await journal.decisions.forget_before("acme", NOW - timedelta(seconds=50))
    await journal.decisions.put_feedback("acme", "lantern", Feedback(helpful=True))
    await experience.refresh("acme")
    assert len(embedder.texts) == 2
    assert [one.qualities for one in experience.nearest("acme", await vector_of(HashEmbedder(), LANTERN), 5)] == [{VECTOR: 1.0}]
    await experience.aclose()


async def test_a_log_that_cannot_be_read_is_told_and_what_was_known_stays(journal) -> None:
    embedder = HashEmbedder()
    await keep(journal, "acme", "lantern", LANTERN, "docs", feedback=Feedback(helpful=True))
    experience = LoggedExperience(journal.decisions, embedder, KINDS)
    await experience.refresh("acme")
    async with journal._engine.begin() as connection:
        await connection.exec_driver_sql("DROP TABLE decision_feedback")
    asked = await vector_of(embedder, LANTERN)
    with capture_logs() as lines:
        experience.nearest("acme", asked, 5)
        await experience.settle()
    assert [line["event"] for line in lines] == ["experience_not_read"]
    assert len(experience.nearest("acme", asked, 5)) == 1
    await experience.aclose()


async def test_only_so_many_tenants_are_in_memory(journal, monkeypatch) -> None:
    monkeypatch.setattr(module, "MAX_TENANTS", 2)
    embedder = HashEmbedder()
    experience = LoggedExperience(journal.decisions, embedder, KINDS)
    for tenant in ("a", "b", "a", "c"):
        await experience.refresh(tenant)
    assert list(experience._tenants) == ["a", "c"]
    await experience.aclose()


def test_the_newest_come_first_where_all_are_alike() -> None:
    same = np.ones((3, 1), np.float32)
    found = Remembered(same, [{VECTOR: 0.0}, {GRAPH: 0.0}, {WEB: 0.0}]).nearest(np.ones(1, np.float32), 2)
    assert [one.qualities for one in found] == [{VECTOR: 0.0}, {GRAPH: 0.0}]
