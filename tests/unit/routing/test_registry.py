from __future__ import annotations

import re
from pathlib import Path

import pytest

from router.errors import ConfigurationError
from router.routing.registry import GROUP, open_policies
from router.settings import RoutingSettings
from router.testing.language_model import ScriptedLanguageModel
from tests.unit.routing.questions import SOURCES, caller, probe, question


def test_every_policy_is_made_under_its_own_name_and_described() -> None:
    policies = open_policies(RoutingSettings(), ScriptedLanguageModel([]))
    names = ("fixed", "all", "rules", "learned", "cascade", "llm")
    assert {name: policy.name for name, (policy, _) in policies.items()} == {name: name for name in names}
    assert all(description.endswith(".") for _, description in policies.values())


def test_without_a_model_there_is_no_policy_that_asks_one() -> None:
    assert set(open_policies(RoutingSettings(), None)) == {"fixed", "all", "rules", "learned"}


def test_knn_needs_the_experience_that_kept_questions_are() -> None:
    class NoExperience:
        def nearest(self, tenant, vector, most):
            return []

    policies = open_policies(RoutingSettings(policies=("knn",)), None, None, NoExperience())
    assert policies["knn"][0].name == "knn"
    with pytest.raises(ConfigurationError, match="'knn' cannot be had"):
        open_policies(RoutingSettings(policies=("knn",)), None)


async def test_the_settings_reach_the_policies() -> None:
    settings = RoutingSettings(fixed_sources=("graph",), llm_threshold=0.95)
    policies = open_policies(settings, ScriptedLanguageModel(['{"needs": [{"find": "x", "in": "web"}]}']))
    asked = (question("?"), probe(), SOURCES, caller())
    assert (await policies["fixed"][0].decide(*asked)).selected == ("graph",)
    assert (await policies["llm"][0].decide(*asked)).selected == ()


def test_a_policy_that_is_not_registered_is_named() -> None:
    with pytest.raises(ConfigurationError, match="no policy 'tarot'") as caught:
        open_policies(RoutingSettings(policies=("rules", "tarot")), None)
    assert caught.value.field == "routing.policies.1"


async def test_the_policy_of_the_documentation_works_as_it_stands_there(plug_in) -> None:
    page = (Path(__file__).parents[3] / "docs" / "routing.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    assert len(code.splitlines()) <= 30
    plug_in(GROUP, "nearest", code, "make")
    policies = open_policies(RoutingSettings(policies=("nearest", "rules")), None)
    policy, description = policies["nearest"]
    assert description
    assert (await policy.decide(question("?"), probe(cosine=0.8), SOURCES, caller())).selected == ("vector",)
    assert (await policy.decide(question("?"), probe(cosine=0.2), SOURCES, caller())).selected == ("web",)


def test_a_plug_in_takes_no_name_that_is_taken(plug_in) -> None:
    plug_in(GROUP, "rules", "def make(settings, model):\n    return None\n", "make")
    with pytest.raises(ConfigurationError, match="which is taken"):
        open_policies(RoutingSettings(), None)
