"""Shadow policies: they keep nobody waiting, fail nobody, and no crowd of them gathers."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from structlog.testing import capture_logs

from router.errors import ModelUnavailable
from router.routing.all import AllPolicy
from router.routing.fixed import FixedPolicy
from router.routing.shadow import Shadows
from router.types import Deadline, ShadowDecision
from tests.unit.routing.questions import SOURCES, caller, probe, question

ASKED = (question("Who keeps the lantern?"), probe(), SOURCES)
VECTOR = ShadowDecision("fixed", "", ("vector",))


class Broken:
    """Raises what it was given."""

    name = "broken"

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def decide(self, query, probe, sources, caller):
        raise self._error


class Waiting:
    """Decides when it is let."""

    name = "waiting"

    def __init__(self) -> None:
        self.let = asyncio.Event()

    async def decide(self, query, probe, sources, caller):
        await self.let.wait()
        return await AllPolicy().decide(query, probe, sources, caller)


def told_by(shadows: Shadows, whom=None) -> list[tuple[ShadowDecision, ...]]:
    told: list[tuple[ShadowDecision, ...]] = []
    shadows.follow(*ASKED, whom or caller(), told.append)
    return told


async def test_every_shadow_decides_after_the_caller_is_let_go() -> None:
    shadows = Shadows({"fixed": FixedPolicy(("vector",)), "everything": AllPolicy()})
    told = told_by(shadows)
    assert told == []
    await shadows.settle()
    assert told == [(VECTOR, ShadowDecision("everything", "", ("vector", "graph", "web")))]


async def test_without_shadows_nothing_is_told() -> None:
    shadows = Shadows({})
    told = told_by(shadows)
    await shadows.settle()
    assert told == []


async def test_one_that_cannot_decide_leaves_the_others() -> None:
    shadows = Shadows({"broken": Broken(ModelUnavailable("nobody answers")), "fixed": FixedPolicy(("vector",))})
    with capture_logs() as lines:
        told = told_by(shadows)
        await shadows.settle()
    assert told == [(VECTOR,)]
    assert [(line["event"], line["policy"], line["reason"]) for line in lines] == [
        ("shadow could not decide", "broken", "MODEL_UNAVAILABLE")
    ]


async def test_a_bug_of_a_shadow_is_told_in_the_log_and_nowhere_else() -> None:
    shadows = Shadows({"broken": Broken(ZeroDivisionError("a bug"))})
    with capture_logs() as lines:
        told = told_by(shadows)
        await shadows.settle()
    assert (told, [line["event"] for line in lines]) == ([], ["shadow failed"])


async def test_one_that_takes_too_long_is_given_up() -> None:
    shadows = Shadows({"waiting": Waiting(), "fixed": FixedPolicy(("vector",))}, longest_s=0.01)
    with capture_logs() as lines:
        told = told_by(shadows)
        await shadows.settle()
    assert (told, lines[0]["reason"]) == ([(VECTOR,)], "DEADLINE_EXCEEDED")


async def test_more_than_a_few_pending_are_dropped_and_counted() -> None:
    waiting = Waiting()
    shadows = Shadows({"waiting": waiting}, max_pending=2)
    with capture_logs() as lines:
        told = [told_by(shadows) for _ in range(5)]
        assert (shadows.dropped, lines) == (3, [])
        waiting.let.set()
        await shadows.settle()
        assert [len(one) for one in told] == [1, 1, 0, 0, 0]
        told_by(shadows)
        await shadows.settle()
    assert [(line["event"], line["count"], line["in_all"]) for line in lines] == [("shadows_dropped", 3, 3)]


async def test_what_is_pending_at_the_end_is_given_up() -> None:
    shadows = Shadows({"waiting": Waiting()})
    told = told_by(shadows)
    await asyncio.sleep(0)
    await shadows.aclose()
    assert told == []


async def test_they_keep_to_the_budget_and_have_time_of_their_own() -> None:
    class Noting(AllPolicy):
        async def decide(self, query, probe, sources, caller):
            left.append(caller.deadline.remaining_s())
            return await super().decide(query, probe, sources, caller)

    left: list[float] = []
    shadows = Shadows({"noting": Noting()})
    told = told_by(shadows, replace(caller(), max_cost=0.03, deadline=Deadline.after(0)))
    await shadows.settle()
    assert left[0] > 0
    assert len(told[0][0].chosen) == 1
