from __future__ import annotations

import pytest

from router.errors import ConfigurationError
from router.routing.registry import POLICIES, PolicyParts, describe, make_chain, make_policies
from router.settings import RoutingSettings
from router.testing.language_model import ScriptedLanguageModel

WITHOUT_MODEL = PolicyParts(RoutingSettings())
WITH_MODEL = PolicyParts(RoutingSettings(), ScriptedLanguageModel([]))


def test_every_policy_is_made_under_its_own_name() -> None:
    policies = make_policies(WITH_MODEL)
    assert {name: policy.name for name, policy in policies.items()} == {name: name for name in ("fixed", "all", "rules", "llm")}
    assert describe(policies) == {name: entry.description for name, entry in POLICIES.items()}


def test_without_a_model_there_is_no_llm_policy() -> None:
    policies = make_policies(WITHOUT_MODEL)
    assert set(policies) == {"fixed", "all", "rules"}
    assert "llm" not in describe(policies)
    with pytest.raises(ConfigurationError, match=r"models\.llm"):
        POLICIES["llm"].make(WITHOUT_MODEL)


def test_a_chain_is_made_by_names() -> None:
    assert make_chain(("llm", "rules"), make_policies(WITH_MODEL)).name == "llm, rules"
    with pytest.raises(ConfigurationError, match="'llm' is not available"):
        make_chain(("llm", "rules"), make_policies(WITHOUT_MODEL))


def test_the_settings_know_the_same_policies() -> None:
    assert RoutingSettings(policies=tuple(POLICIES)).policies == tuple(POLICIES)
