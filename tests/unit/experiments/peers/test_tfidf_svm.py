"""A classifier of words, trained on labelled questions."""

from __future__ import annotations

import numpy as np
import pytest

from router.errors import InvalidInput
from router.experiments.dataset import Question
from router.experiments.peers.tfidf_svm import TfidfSVMPolicy
from router.retrieval.base import Probe
from router.routing.base import SourceProfile
from router.types import Caller, Deadline, Query, RouteDecision, TextPart

PROBE = Probe(np.ones(1, np.float32), None, None, is_recent=False)
SUBJECTS = ("the pump", "the gate", "the valve", "the bridge", "the foundry", "the harbour")


def labelled(pattern: str, *routes: tuple[str, ...]) -> list[Question]:
    return [Question(pattern.format(one), pattern.format(one), frozenset(), (), tuple(map(frozenset, routes)), "") for one in SUBJECTS]


TRAINING = [
    *labelled("what does the manual say about {}", ("vector",)),
    *labelled("who is connected to {}", ("graph",)),
    *labelled("latest news on {} and its owner", ("graph", "web")),
    *labelled("who or what is {}", ("graph",), ("vector",)),  # accepts either: nothing to learn
    *labelled("rare", ("table",))[:2],
]


async def decide(policy: TfidfSVMPolicy, text: str, *names: str) -> RouteDecision:
    sources = tuple(SourceProfile(name, "vector", "", 0.1) for name in names)
    return await policy.decide(Query((TextPart(text),)), PROBE, sources, Caller("t", "r", Deadline.after(1)))


async def test_the_likeliest_route_that_can_be_taken_is_chosen() -> None:
    policy = await TfidfSVMPolicy.train(TRAINING)
    assert (await decide(policy, "what does the manual say about cranes", "vector", "graph", "web")).selected == ("vector",)
    news = await decide(policy, "latest news on cranes", "vector", "graph", "web")
    assert news.selected == ("graph", "web")
    chances = {route.source: route.probability for route in news.routes}
    assert chances["graph"] >= chances["web"]  # it stands in two routes
    assert chances["vector"] + chances["graph"] == pytest.approx(1.0)
    without_web = await decide(policy, "latest news on cranes", "vector", "graph")
    assert len(without_web.selected) == 1
    assert sum(route.probability for route in without_web.routes) == pytest.approx(1.0)


async def test_what_cannot_be_learnt_is_told() -> None:
    with pytest.raises(InvalidInput, match="two routes with at least 5 questions"):
        await TfidfSVMPolicy.train(labelled("who is {}", ("graph",)))
    policy = await TfidfSVMPolicy.train(TRAINING)
    with pytest.raises(InvalidInput, match="no route among"):
        await decide(policy, "anything", "table")
