"""The policies by name: our own, and those that other packages plug in.

A package plugs one in by an entry point of the group `graphrag_router.policies`: its name is the policy's, and its object a callable that
takes `RoutingSettings` and the language model (or None) and returns a `RoutingPolicy`, or None where it cannot be had.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import entry_points

from router.errors import ConfigurationError, NotFound
from router.models.base import LanguageModel
from router.routing.all import AllPolicy
from router.routing.base import RoutingPolicy
from router.routing.cascade import CascadePolicy
from router.routing.experience import Experience
from router.routing.fixed import FixedPolicy
from router.routing.knn import KnnPolicy
from router.routing.learned import LearnedPolicy
from router.routing.llm import LLMPolicy
from router.routing.rules import RulesPolicy
from router.routing.value import open_model
from router.routing.versions import LiveLearnedPolicy, PolicyVersions
from router.settings import RoutingSettings


@dataclass(frozen=True)
class PolicyParts:
    """What our policies are made of."""

    settings: RoutingSettings
    language_model: LanguageModel | None
    versions: PolicyVersions | None = None
    """Where promoted weights are; None: there are the shipped ones only."""
    experience: Experience | None = None
    """What became of earlier questions; None where their texts are not kept."""

    @cached_property
    def learned(self) -> LearnedPolicy:
        """One for all that stand on it, so that they decide by the same weights."""
        if self.settings.model is not None or self.versions is None:
            return LearnedPolicy(open_model(self.settings.model, "routing.model"))
        return LiveLearnedPolicy(self.versions)


@dataclass(frozen=True, slots=True)
class PolicyEntry:
    description: str
    """One sentence, for whoever chooses a policy."""
    make: Callable[[PolicyParts], RoutingPolicy | None]
    """None where the policy needs what these settings do not have, such as a language model."""


def _make_llm(parts: PolicyParts) -> RoutingPolicy | None:
    return None if parts.language_model is None else LLMPolicy(parts.language_model, parts.settings.llm_threshold)


def _make_cascade(parts: PolicyParts) -> RoutingPolicy | None:
    llm = _make_llm(parts)
    return None if llm is None else CascadePolicy(parts.learned, llm, parts.settings.cascade_margin)


POLICIES: Mapping[str, PolicyEntry] = {
    "fixed": PolicyEntry("Always the sources of routing.fixed_sources.", lambda parts: FixedPolicy(parts.settings.fixed_sources)),
    "all": PolicyEntry("Every configured source, always.", lambda _: AllPolicy()),
    "rules": PolicyEntry(
        "Rules over the names in the question, the nearest passage and words of time; no source for small talk.", lambda _: RulesPolicy()
    ),
    "learned": PolicyEntry(
        "The sources whose expected quality less their price is greatest, learned from what this corpus has.",
        lambda parts: parts.learned,
    ),
    "knn": PolicyEntry(
        "As `learned`, moved by what people of the same tenant thought of the answers to similar questions.",
        lambda parts: None if parts.experience is None else KnnPolicy(parts.learned, parts.experience),
    ),
    "cascade": PolicyEntry("As `learned`; a language model decides where that is unsure.", _make_cascade),
    "llm": PolicyEntry("A language model lists what must be found, and in which source.", _make_llm),
}
GROUP = "graphrag_router.policies"


def registered() -> Mapping[str, PolicyEntry]:
    """Our policies, and the plugged-in ones with the first line of their documentation.

    Raises:
        ConfigurationError: A package plugs in a policy under a name that is taken.
    """
    entries = dict(POLICIES)
    for point in entry_points(group=GROUP):
        if point.name in entries:
            raise ConfigurationError(
                f"{point.value} plugs in a policy under the name {point.name!r}, which is taken", field="routing.policies"
            )
        make = point.load()
        entries[point.name] = PolicyEntry((inspect.getdoc(make) or point.value).splitlines()[0], _plugged_in(make))
    return entries


def _plugged_in(
    make: Callable[[RoutingSettings, LanguageModel | None], RoutingPolicy | None],
) -> Callable[[PolicyParts], RoutingPolicy | None]:
    return lambda parts: make(parts.settings, parts.language_model)


def open_policies(
    settings: RoutingSettings,
    model: LanguageModel | None,
    versions: PolicyVersions | None = None,
    experience: Experience | None = None,
) -> dict[str, tuple[RoutingPolicy, str]]:
    """Every policy that is available with its description, by name.

    Raises:
        ConfigurationError: `routing.policies` names one that is not registered; or a policy's own settings are wrong.
        Conflict: The promoted weights are not those that were kept.
    """
    entries = registered()
    parts = PolicyParts(settings, model, versions, experience)
    for number, name in enumerate(settings.policies or ()):
        if name not in entries:
            raise ConfigurationError(f"there is no policy {name!r}; there are {sorted(entries)}", field=f"routing.policies.{number}")
    made = {name: (entry.make(parts), entry.description) for name, entry in entries.items()}
    for number, name in enumerate(settings.policies or ()):
        if made[name][0] is None:
            raise ConfigurationError(f"the policy {name!r} cannot be had with these settings", field=f"routing.policies.{number}")
    return {name: (policy, description) for name, (policy, description) in made.items() if policy is not None}


def named_policy(name: str, policies: Mapping[str, RoutingPolicy], versions: PolicyVersions, field: str) -> RoutingPolicy:
    """The policy of a name, or by `learned@VERSION` that version of it.

    Args:
        name: What the setting says.
        policies: The available ones.
        versions: Of `learned`.
        field: The setting.

    Raises:
        ConfigurationError: There is no such policy, or no such version.
        Conflict: The weights are not those that were kept.
    """
    policy, at, version = name.partition("@")
    if policy not in policies:
        raise ConfigurationError(f"there is no policy {policy!r}; available are {sorted(policies)}", field=field)
    if not at:
        return policies[policy]
    if policy != LearnedPolicy.name:
        raise ConfigurationError(f"{name!r}: only {LearnedPolicy.name!r} has versions", field=field)
    try:
        return LearnedPolicy(versions.open(version))
    except NotFound as error:
        raise ConfigurationError(error.message, field=field) from error
