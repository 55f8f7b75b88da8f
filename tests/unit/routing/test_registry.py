from __future__ import annotations

from router.routing.registry import DESCRIPTIONS, POLICIES, open_policies
from router.settings import RoutingSettings
from router.testing.language_model import ScriptedLanguageModel
from tests.unit.routing.questions import SOURCES, caller, probe, question


def test_every_policy_is_made_under_its_own_name() -> None:
    policies = open_policies(RoutingSettings(), ScriptedLanguageModel([]))
    assert {name: policy.name for name, policy in policies.items()} == {
        name: name for name in ("fixed", "all", "rules", "learned", "cascade", "llm")
    }
    assert DESCRIPTIONS.keys() == policies.keys()


def test_without_a_model_there_is_no_llm_policy() -> None:
    assert set(open_policies(RoutingSettings(), None)) == {"fixed", "all", "rules", "learned"}


async def test_the_settings_reach_the_policies() -> None:
    settings = RoutingSettings(fixed_sources=("graph",), llm_threshold=0.95)
    policies = open_policies(settings, ScriptedLanguageModel(['{"needs": [{"find": "x", "in": "web"}]}']))
    asked = (question("?"), probe(), SOURCES, caller())
    assert (await policies["fixed"].decide(*asked)).selected == ("graph",)
    assert (await policies["llm"].decide(*asked)).selected == ()


def test_the_settings_know_the_same_policies() -> None:
    assert RoutingSettings(policies=tuple(POLICIES)).policies == tuple(POLICIES)
