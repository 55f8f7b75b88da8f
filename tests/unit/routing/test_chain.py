from __future__ import annotations

import asyncio

import pytest

from router.errors import InternalError, ModelUnavailable, RouterError, Unavailable
from router.routing.all import AllPolicy
from router.routing.chain import PolicyChain
from router.routing.rules import RulesPolicy
from tests.unit.routing.questions import SOURCES, caller, probe, question


class Failing:
    name = "failing"

    def __init__(self, error: BaseException) -> None:
        self.error = error

    async def decide(self, query, probe, sources, caller):
        raise self.error


async def decide(*policies):
    return await PolicyChain(policies).decide(question("What is the travel policy?"), probe(), SOURCES, caller())


async def test_the_first_that_can_decides() -> None:
    decision = await decide(AllPolicy(), Failing(AssertionError("not asked")))
    assert (decision.policy, decision.reason) == ("all", "this policy asks every source")


async def test_after_a_failure_the_next_decides_and_the_reason_says_so() -> None:
    decision = await decide(Failing(ModelUnavailable("nobody answers")), RulesPolicy())
    assert decision.policy == "rules"
    assert decision.reason.startswith("failing could not decide (MODEL_UNAVAILABLE: nobody answers); rules decided: ")
    assert decision.selected == ("vector",)


async def test_none_can() -> None:
    with pytest.raises(Unavailable, match=r"MODEL_UNAVAILABLE: a.*INTERNAL: b") as caught:
        await decide(Failing(ModelUnavailable("a", retry_after_s=3.0)), Failing(InternalError("b")))
    assert (caught.value.reason, caught.value.retry_after_s) == ("NO_POLICY_COULD_DECIDE", 3.0)
    assert isinstance(caught.value.__cause__, RouterError)


@pytest.mark.parametrize("error", [asyncio.CancelledError(), ZeroDivisionError()])
async def test_cancellation_and_bugs_are_not_a_policy_that_could_not_decide(error: BaseException) -> None:
    with pytest.raises(type(error)):
        await decide(Failing(error), RulesPolicy())


def test_its_name_lists_the_chain() -> None:
    assert PolicyChain([AllPolicy(), RulesPolicy()]).name == "all, rules"
