"""The filters by name: our rules, and those that other packages plug in.

A package plugs in a filter of questions by an entry point of the group `graphrag_router.query_filters`, one of answers by the group
`graphrag_router.output_filters`. Its name is the filter's, and its object a coroutine function that takes `FilterSettings` and the
`Embedder` of the questions and returns the filter, or None where there is nothing to filter. `filters.query` and `filters.output` name the
ones that are used, in their order.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from importlib.metadata import entry_points
from typing import TypeVar

from router.errors import ConfigurationError
from router.filtering.base import OutputFilter, QueryFilter
from router.models.base import Embedder
from router.settings import FilterSettings

F = TypeVar("F")
Make = Callable[[FilterSettings, Embedder], Awaitable[F | None]]

RULES = "rules"
QUERY_GROUP = "graphrag_router.query_filters"
OUTPUT_GROUP = "graphrag_router.output_filters"


async def _refusal_rules(settings: FilterSettings, embedder: Embedder) -> QueryFilter | None:
    if settings.file is None:
        return None
    # Here, since they load the engine of the expressions, which a service without rules does not need.
    from router.filtering.policy_file import open_policy
    from router.filtering.refusal import RefusalRules

    policy = open_policy(settings.file)
    return await RefusalRules.open(policy, embedder) if policy.refuse else None


async def _redaction_rules(settings: FilterSettings, embedder: Embedder) -> OutputFilter | None:
    if settings.file is None:
        return None
    from router.filtering.policy_file import open_policy
    from router.filtering.redaction import RedactionRules

    policy = open_policy(settings.file)
    return RedactionRules(policy.redact) if policy.redact else None


async def open_query_filters(settings: FilterSettings, embedder: Embedder) -> tuple[QueryFilter, ...]:
    """The filters of `filters.query`.

    Raises:
        ConfigurationError: A name that is not registered, or is plugged in where it is taken; or a wrong policy file.
    """
    return await _opened(_refusal_rules, QUERY_GROUP, settings.query, "filters.query", settings, embedder)


async def open_output_filters(settings: FilterSettings, embedder: Embedder) -> tuple[OutputFilter, ...]:
    """As `open_query_filters`, of `filters.output`."""
    return await _opened(_redaction_rules, OUTPUT_GROUP, settings.output, "filters.output", settings, embedder)


async def _opened(
    rules: Make[F], group: str, names: Sequence[str], field: str, settings: FilterSettings, embedder: Embedder
) -> tuple[F, ...]:
    plugged = {point.name: point for point in entry_points(group=group)}
    if RULES in plugged:
        raise ConfigurationError(f"{plugged[RULES].value} plugs in a filter under the name {RULES!r}, which is taken", field=field)
    opened: list[F] = []
    for number, name in enumerate(names):
        if name != RULES and name not in plugged:
            raise ConfigurationError(f"there is no filter {name!r}; there are {sorted({RULES, *plugged})}", field=f"{field}.{number}")
        make: Make[F] = rules if name == RULES else plugged[name].load()
        made = await make(settings, embedder)
        if made is not None:
            opened.append(made)
    return tuple(opened)
