"""The policies by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from router.errors import ConfigurationError
from router.models.base import LanguageModel
from router.routing.all import AllPolicy
from router.routing.base import RoutingPolicy
from router.routing.chain import PolicyChain
from router.routing.fixed import FixedPolicy
from router.routing.llm import LLMPolicy
from router.routing.rules import RulesPolicy
from router.settings import RoutingSettings


@dataclass(frozen=True, slots=True)
class PolicyParts:
    """What a policy may be made of."""

    settings: RoutingSettings
    model: LanguageModel | None = None


@dataclass(frozen=True, slots=True)
class PolicyEntry:
    description: str
    """One sentence, for whoever chooses a policy."""
    make: Callable[[PolicyParts], RoutingPolicy]
    needs_model: bool = False


def _make_llm(parts: PolicyParts) -> RoutingPolicy:
    if parts.model is None:
        raise ConfigurationError("the policy 'llm' needs a language model: set models.llm", field="models.llm")
    return LLMPolicy(parts.model, parts.settings.llm_threshold)


POLICIES: Mapping[str, PolicyEntry] = {
    "fixed": PolicyEntry("Always the sources of routing.fixed_sources.", lambda parts: FixedPolicy(parts.settings.fixed_sources)),
    "all": PolicyEntry("Every configured source, always.", lambda parts: AllPolicy()),
    "rules": PolicyEntry(
        "Rules over the names in the question, the nearest passage and words of time; none for small talk.", lambda parts: RulesPolicy()
    ),
    "llm": PolicyEntry("A language model lists what must be found and in which source.", _make_llm, needs_model=True),
}


def make_policies(parts: PolicyParts) -> dict[str, RoutingPolicy]:
    """Every policy that can be made of the parts, by name."""
    return {name: entry.make(parts) for name, entry in POLICIES.items() if parts.model is not None or not entry.needs_model}


def make_chain(names: tuple[str, ...], policies: Mapping[str, RoutingPolicy]) -> PolicyChain:
    """The policies of the configured chain, in its order. Raises ConfigurationError for one that is not available."""
    missing = [name for name in names if name not in policies]
    if missing:
        raise ConfigurationError(f"the policy {missing[0]!r} is not available; there are {sorted(policies)}", field="routing.policies")
    return PolicyChain([policies[name] for name in names])


def describe(policies: Mapping[str, RoutingPolicy]) -> dict[str, str]:
    """One sentence for each of the policies."""
    return {name: POLICIES[name].description for name in policies}
