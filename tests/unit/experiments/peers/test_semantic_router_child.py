"""semantic-router in its own environment, where `scripts/peers` has made one."""

from __future__ import annotations

import pytest

from router.errors import ConfigurationError, InvalidInput, Unavailable
from router.experiments.dataset import Question
from router.experiments.peers import semantic_router_child
from router.experiments.peers.semantic_router_child import SemanticRouterPolicy, environment
from router.retrieval.base import Probe
from router.routing.base import SourceProfile
from router.testing.fakes import HashEmbedder
from router.types import Caller, Deadline, Query, TextPart

made = pytest.mark.skipif(not (environment() / "bin" / "python").exists(), reason="scripts/peers has not been run")


def labelled(text: str, route: str, count: int) -> list[Question]:
    return [Question(f"{text} {n}", f"{text} {n}", frozenset(), (), (frozenset(route.split("+")),), "") for n in range(count)]


TRAINING = [*labelled("who leads the team", "graph", 30), *labelled("latest news of the day", "vector+web", 30)]


async def test_a_missing_environment_is_told(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(semantic_router_child, "environment", lambda: tmp_path)
    with pytest.raises(ConfigurationError, match="scripts/peers"):
        await SemanticRouterPolicy.open(TRAINING, HashEmbedder())


@made
async def test_the_route_with_the_nearest_utterances_is_chosen() -> None:
    embedder = HashEmbedder()
    peer = await SemanticRouterPolicy.open(TRAINING, embedder)
    text = "latest news of the day 100"
    probe = Probe((await embedder.embed([text]))[0], None, None, is_recent=False)
    sources = tuple(SourceProfile(name, "vector", "", 0.1) for name in ("vector", "graph", "web"))
    caller = Caller("t", "r", Deadline.after(5))
    decision = await peer.decide(Query((TextPart(text),)), probe, sources, caller)
    assert decision.selected == ("vector", "web")
    assert (await peer.decide(Query((TextPart(text),)), probe, sources[1:], caller)).selected == ("graph",)
    peer._process.kill()
    with pytest.raises(Unavailable, match="ended"):
        await peer.decide(Query((TextPart(text),)), probe, sources, caller)
    await peer.aclose()


@made
async def test_questions_that_accept_several_routes_teach_nothing() -> None:
    either = Question("1", "who?", frozenset(), (), (frozenset({"graph"}), frozenset({"vector"})), "")
    with pytest.raises(InvalidInput, match="exactly one route"):
        await SemanticRouterPolicy.open([either], HashEmbedder())
