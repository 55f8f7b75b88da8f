"""A question with a picture is put to the vector source, and to the graph where the picture leads there, whatever the policy says."""

from __future__ import annotations

import numpy as np
import pytest

from router.retrieval.base import LinkedName, Nearest, Probe
from router.routing.base import RoutingPolicy, SourceProfile
from router.routing.fixed import FixedPolicy
from router.routing.pictures import LEAST_TRUST, with_pictures
from router.routing.rules import RulesPolicy
from router.types import Caller, Deadline, ImagePart, Query, RouteDecision, TextPart

SOURCES = tuple(SourceProfile(kind, kind, "", 0.02) for kind in ("vector", "graph", "web"))
CALLER = Caller("t", "r", Deadline.after(60))
LATHE = LinkedName("e1", "Kestrel Lathe", "", 1.0, is_shown=True)


def asked(*words: str, picture: bool = True) -> Query:
    return Query((*map(TextPart, words), *([ImagePart(b"x", "")] if picture else [])))


def probe(*linked: LinkedName) -> Probe:
    return Probe(np.ones(2, np.float32), (Nearest("c", 0.1),), linked, is_recent=False, words=(), coverage=(), paths=())


async def decided(query: Query, *linked: LinkedName, policy: RoutingPolicy | None = None) -> RouteDecision:
    seen = probe(*linked)
    return with_pictures(await (policy or RulesPolicy()).decide(query, seen, SOURCES, CALLER), query, seen, SOURCES)


@pytest.mark.parametrize("words", [(), ("Hello!",), ("What is this?",)])
async def test_a_picture_is_never_small_talk_and_goes_to_the_vectors(words: tuple[str, ...]) -> None:
    decision = await decided(asked(*words))
    assert "vector" in decision.selected
    assert "the question has a picture" in decision.reason
    assert "small talk" not in decision.reason


async def test_what_the_picture_shows_leads_to_the_graph() -> None:
    decision = await decided(asked("Who maintains it?"), LATHE)
    assert {"vector", "graph"} <= set(decision.selected)
    assert "the picture shows Kestrel Lathe" in decision.reason
    assert decision.trust["graph"] >= LEAST_TRUST


async def test_words_of_relation_lead_to_the_graph_though_nothing_is_known() -> None:
    assert "graph" in (await decided(asked("How is this connected to the yard?"))).selected
    assert "graph" not in (await decided(asked("What is this?"))).selected


async def test_it_holds_for_every_policy_and_keeps_what_that_chose() -> None:
    decision = await decided(asked("What is this?"), policy=FixedPolicy(("web",)))
    assert set(decision.selected) == {"vector", "web"}


async def test_a_question_in_words_is_left_alone() -> None:
    query, seen = asked("Who maintains it?", picture=False), probe()
    decision = await RulesPolicy().decide(query, seen, SOURCES, CALLER)
    assert with_pictures(decision, query, seen, SOURCES) is decision
