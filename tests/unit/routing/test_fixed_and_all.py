from __future__ import annotations

import pytest

from router.errors import ConfigurationError
from router.routing.all import AllPolicy
from router.routing.fixed import FixedPolicy
from tests.unit.routing.questions import SOURCES, caller, probe, question


async def test_fixed_chooses_what_it_is_given() -> None:
    decision = await FixedPolicy(("web", "vector")).decide(question("?"), probe(), SOURCES, caller())
    assert (decision.policy, decision.selected) == ("fixed", ("vector", "web"))
    assert [route.probability for route in decision.routes] == [1.0, 0.0, 1.0]
    assert [route.cost for route in decision.routes] == [0.02, 0.02, 0.2]


async def test_fixed_refuses_a_name_that_is_no_source() -> None:
    with pytest.raises(ConfigurationError, match="no source is called archive") as caught:
        await FixedPolicy(("vector", "archive")).decide(question("?"), probe(), SOURCES, caller())
    assert caught.value.field == "routing.fixed_sources"


async def test_all_chooses_every_source() -> None:
    decision = await AllPolicy().decide(question("Hi"), probe(), SOURCES, caller())
    assert (decision.policy, decision.selected) == ("all", ("vector", "graph", "web"))
