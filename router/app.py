"""The composition root: opens everything in order and closes it backwards. The only importer of concrete backends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from router.corpus.base import CorpusService
from router.engine import Engine
from router.settings import Settings


@dataclass(frozen=True, slots=True)
class Component:
    """Something that can be up or down.

    `check` raises a RouterError whose message says what is wrong and what to do; it returns a line that says what is there.
    `source` names the source that cannot serve without it (empty: the whole service).
    """

    name: str
    check: Callable[[], Awaitable[str]]
    source: str = ""


@dataclass(frozen=True, slots=True)
class App:
    settings: Settings
    engine: Engine
    corpus: CorpusService
    components: tuple[Component, ...]
    policy_descriptions: dict[str, str]
    """Every available policy with one sentence."""
