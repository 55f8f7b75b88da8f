"""One call on its way: what is asked, how its evidence is to be chosen, by whom, and since when."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from router.errors import InvalidInput
from router.stopwatch import Stopwatch
from router.types import Caller, Notice, Query

MAX_LIMIT = 100
MAX_KEY_CHARACTERS = 256
"""Of an experiment's key."""


@dataclass(frozen=True, slots=True)
class Options:
    """How evidence is chosen for one call; an empty value means the configured one."""

    sources: tuple[str, ...] = ()
    policy: str = ""
    limit: int = 0
    fusion: str = ""
    no_log: bool = False
    """Keep no record of this call to learn from."""
    max_cost: float | None = None
    """What the sources may cost together; whoever names the sources himself has chosen."""
    max_latency_s: float | None = None
    """How long the sources may be expected to take; as with `max_cost`."""
    experiment_key: str = ""
    """Whom an experiment assigns to an arm; unused when the call names a policy or the sources."""


@dataclass(frozen=True, slots=True)
class Call:
    query: Query
    """What is looked up: the question made standalone."""
    asked: Query
    """The question as it came, its pictures by value."""
    options: Options
    caller: Caller
    watch: Stopwatch
    notices: tuple[Notice, ...] = ()


def check_options(options: Options, *, sources: Collection[str], policies: Collection[str], fusions: Collection[str]) -> None:
    """Raises InvalidInput, which names the field and what may be asked for."""
    for number, name in enumerate(options.sources):
        if name not in sources:
            message = f"there is no source {name!r}; configured are {sorted(sources)}"
            raise InvalidInput(message, reason="UNKNOWN_SOURCE", field=f"options.sources[{number}]")
        if name in options.sources[:number]:
            raise InvalidInput(f"the source {name!r} is named twice", field=f"options.sources[{number}]")
    if options.policy and options.sources:
        raise InvalidInput("name a policy or the sources, not both", field="options.policy")
    if options.policy and options.policy not in policies:
        message = f"there is no policy {options.policy!r}; available are {sorted(policies)}"
        raise InvalidInput(message, reason="UNKNOWN_POLICY", field="options.policy")
    if not 0 <= options.limit <= MAX_LIMIT:
        raise InvalidInput(f"the limit is {options.limit}; 1 to {MAX_LIMIT}, or 0 for the configured one", field="options.limit")
    if options.max_cost is not None and not options.max_cost >= 0:
        raise InvalidInput(f"the sources may cost {options.max_cost}; 0 or more, or unset for no limit", field="options.max_cost")
    if options.max_cost is not None and options.sources:
        raise InvalidInput("name the sources or what they may cost, not both", field="options.max_cost")
    max_latency_s = options.max_latency_s
    if max_latency_s is not None and not max_latency_s >= 0:
        message = f"the sources may take {max_latency_s * 1000:g} ms; 0 or more, or unset for no limit"
        raise InvalidInput(message, field="options.max_latency_ms")
    if max_latency_s is not None and options.sources:
        raise InvalidInput("name the sources or how long they may take, not both", field="options.max_latency_ms")
    if len(options.experiment_key) > MAX_KEY_CHARACTERS:
        message = f"the key has {len(options.experiment_key)} characters; {MAX_KEY_CHARACTERS} are allowed: send a hash of it"
        raise InvalidInput(message, field="options.experiment_key")
    if options.fusion and options.fusion not in fusions:
        raise InvalidInput(f"there is no fusion {options.fusion!r}; available are {sorted(fusions)}", field="options.fusion")
