"""What policies decide, noted on a real engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.errors import ModelUnavailable
from router.experiments.dataset import Question
from router.experiments.decisions import Candidate, Decided, decide_all, open_decisions
from router.experiments.made import Made
from router.models.base import Message
from router.retrieval.base import Probe
from router.routing.base import SourceProfile
from router.routing.rules import RulesPolicy
from router.settings import Settings
from router.testing.engine import ListRetriever, TablePolicy, small_engine
from router.testing.language_model import ScriptedLanguageModel
from router.types import Caller, Query, RouteDecision

SOURCES = (SourceProfile("vector", "vector", "", 0.0), SourceProfile("graph", "graph", "", 0.0))
QUESTIONS = tuple(Question(str(number), "Who?", frozenset(), (), (), "") for number in range(2))


class AskingPolicy:
    """Asks a language model, and decides nothing."""

    name = "asking"

    def __init__(self, model: ScriptedLanguageModel) -> None:
        self._model = model

    async def decide(self, query: Query, probe: Probe, sources: tuple[SourceProfile, ...], caller: Caller) -> RouteDecision:
        await self._model.complete([Message("user", query.text)], max_tokens=1)
        return RouteDecision(self.name, (), "")


def test_confidence_is_the_chance_that_a_chosen_source_carries() -> None:
    chances = {"vector": 0.6, "graph": 0.5, "web": 0.9}
    assert Decided(frozenset({"vector"}), chances).confidence == pytest.approx(0.6)
    assert Decided(frozenset({"vector", "graph"}), chances).confidence == pytest.approx(0.8)
    assert Decided(frozenset(), chances).confidence == pytest.approx(0.4 * 0.5 * 0.1)
    assert Decided(frozenset(), failure="gone").confidence == 0.0


async def test_all_policies_decide_on_one_probe_and_are_metered() -> None:
    engine = small_engine({"vector": ListRetriever(), "graph": ListRetriever()})
    # One reply more than questions: the first is asked once before.
    model = ScriptedLanguageModel(["a b c", "a b c", ModelUnavailable("gone")])
    candidates = {
        "sure": Candidate(TablePolicy("table", {"vector": 0.75, "graph": 0.25}), SOURCES),
        "asking": Candidate(AskingPolicy(model), SOURCES),
    }
    steps: list[None] = []
    decided = await decide_all(engine, candidates, QUESTIONS, lambda: steps.append(None))
    assert len(steps) == 2
    assert (decided["sure"]["1"].chosen, decided["sure"]["1"].probabilities) == ({"vector"}, {"vector": 0.75, "graph": 0.25})
    assert (decided["asking"]["0"].prompt_tokens, decided["asking"]["0"].completion_tokens) == (1, 3)
    assert "gone" in decided["asking"]["1"].failure
    assert decided["asking"]["1"].chosen == frozenset()


async def test_decisions_in_a_file_are_not_asked_for_again(tmp_path: Path) -> None:
    engine = small_engine({"vector": ListRetriever(), "graph": ListRetriever()})
    made = Made("small", "", "", (), 5, {})
    replies = ["a b", "a b", ModelUnavailable("gone")]
    table = Candidate(TablePolicy("table", {"vector": 0.75}), SOURCES)
    with open_decisions(tmp_path / "kept.jsonl", made, Settings(), None) as known:
        candidates = {"sure": table, "asking": Candidate(AskingPolicy(ScriptedLanguageModel(replies)), SOURCES)}
        first = await decide_all(engine, candidates, QUESTIONS, lambda: None, known=known)
        assert "gone" in first["asking"]["1"].failure
    with open_decisions(tmp_path / "kept.jsonl", made, Settings(), None) as known:
        assert known == {
            ("sure", "0"): first["sure"]["0"],
            ("asking", "0"): first["asking"]["0"],
            ("sure", "1"): first["sure"]["1"],
        }
        again = ScriptedLanguageModel(["a b c", "a b c"])  # for the one that could not be decided, and once before it
        second = await decide_all(engine, {"asking": Candidate(AskingPolicy(again), SOURCES)}, QUESTIONS, lambda: None, known=known)
    assert second["asking"]["0"] == first["asking"]["0"]
    assert (second["asking"]["1"].failure, second["asking"]["1"].completion_tokens) == ("", 3)


async def test_without_a_corpus_the_probe_says_that_it_could_not_look() -> None:
    engine = small_engine({"vector": ListRetriever()})
    candidates = {"rules": Candidate(RulesPolicy(), SOURCES)}
    blind = await decide_all(engine, candidates, QUESTIONS, lambda: None, sees_corpus=False)
    seeing = await decide_all(engine, candidates, QUESTIONS, lambda: None)
    assert blind["rules"]["0"].chosen == {"vector"}
    assert blind["rules"]["0"].probabilities["vector"] > seeing["rules"]["0"].probabilities["vector"]  # there: no passages at all


class SeeingPolicy:
    """Keeps what it was shown."""

    name = "seeing"

    def __init__(self) -> None:
        self.shown: list[Probe] = []

    async def decide(self, query: Query, probe: Probe, sources: tuple[SourceProfile, ...], caller: Caller) -> RouteDecision:
        self.shown.append(probe)
        return RouteDecision(self.name, (), "")


async def test_a_blind_probe_is_blind_to_all_of_the_corpus() -> None:
    seeing = SeeingPolicy()
    await decide_all(
        small_engine({"vector": ListRetriever()}), {"s": Candidate(seeing, SOURCES)}, QUESTIONS, lambda: None, sees_corpus=False
    )
    shown = seeing.shown[0]
    assert (shown.nearest, shown.linked, shown.unnamed, shown.words, shown.coverage, shown.paths) == (None,) * 6
