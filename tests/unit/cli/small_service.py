"""The command in a process of its own, with small parts in the place of the backends: `python -m tests.unit.cli.small_service serve`."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import ModuleType

from router.errors import StoreUnavailable
from router.settings import Settings
from router.testing.engine import ListRetriever, small_engine
from tests.integration.grpc_service import PASSAGE, SmallApp, SmallComponent, logging_decisions


async def _up() -> str:
    return "12 documents"


async def _down() -> str:
    raise StoreUnavailable("nothing answers at bolt://127.0.0.1:1: start the database")


@asynccontextmanager
async def open_app(settings: Settings) -> AsyncIterator[SmallApp]:
    engine = small_engine({"vector": ListRetriever([PASSAGE]), "graph": ListRetriever()})
    components = [SmallComponent("journal", _up), SmallComponent("graph database", _down, source="graph")]
    async with logging_decisions(SmallApp(engine=engine, components=components, settings=settings)) as app:
        yield app


def replace_backends() -> ModuleType:
    module = ModuleType("router.app")
    module.open_app = open_app  # type: ignore[attr-defined]
    return module


if __name__ == "__main__":
    sys.modules["router.app"] = replace_backends()
    from router.cli import main

    main()
