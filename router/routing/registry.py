"""The policies by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from router.models.base import LanguageModel
from router.routing.all import AllPolicy
from router.routing.base import RoutingPolicy
from router.routing.cascade import CascadePolicy
from router.routing.fixed import FixedPolicy
from router.routing.learned import LearnedPolicy
from router.routing.llm import LLMPolicy
from router.routing.rules import RulesPolicy
from router.routing.value import open_model
from router.settings import RoutingSettings


@dataclass(frozen=True, slots=True)
class PolicyEntry:
    description: str
    """One sentence, for whoever chooses a policy."""
    make: Callable[[RoutingSettings, LanguageModel | None], RoutingPolicy | None]
    """None where the policy needs a language model and there is none."""


def _make_llm(settings: RoutingSettings, model: LanguageModel | None) -> RoutingPolicy | None:
    return None if model is None else LLMPolicy(model, settings.llm_threshold)


def _make_learned(settings: RoutingSettings) -> LearnedPolicy:
    return LearnedPolicy(open_model(settings.model, "routing.model"))


def _make_cascade(settings: RoutingSettings, model: LanguageModel | None) -> RoutingPolicy | None:
    llm = _make_llm(settings, model)
    return None if llm is None else CascadePolicy(_make_learned(settings), llm, settings.cascade_margin)


POLICIES: Mapping[str, PolicyEntry] = {
    "fixed": PolicyEntry("Always the sources of routing.fixed_sources.", lambda settings, _: FixedPolicy(settings.fixed_sources)),
    "all": PolicyEntry("Every configured source, always.", lambda *_: AllPolicy()),
    "rules": PolicyEntry(
        "Rules over the names in the question, the nearest passage and words of time; no source for small talk.", lambda *_: RulesPolicy()
    ),
    "learned": PolicyEntry(
        "The sources whose expected quality less their price is greatest, learned from what this corpus has.",
        lambda settings, _: _make_learned(settings),
    ),
    "cascade": PolicyEntry("As `learned`; a language model decides where that is unsure.", _make_cascade),
    "llm": PolicyEntry("A language model lists what must be found, and in which source.", _make_llm),
}
DESCRIPTIONS: Mapping[str, str] = {name: entry.description for name, entry in POLICIES.items()}


def open_policies(settings: RoutingSettings, model: LanguageModel | None) -> dict[str, RoutingPolicy]:
    """Every policy that is available, by name."""
    made = {name: entry.make(settings, model) for name, entry in POLICIES.items()}
    return {name: policy for name, policy in made.items() if policy is not None}
