"""A scratch corpus per data set: ingested once, kept by the hash of its content and of what shapes it."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import platformdirs
from rich.console import Console
from rich.progress import Progress

from router import __version__
from router.app import App, open_app
from router.corpus.base import DocumentState, Upload
from router.errors import InternalError
from router.experiments.dataset import Dataset, open_text
from router.settings import (
    GraphSource,
    LearningSettings,
    ReplayProvider,
    RoutingSettings,
    Settings,
    SourceSettings,
    VectorSource,
    WebSource,
)

FACTS_NAME = "facts.tsv"
TENANT = "default"
FORMAT = 5
"""Raise it when the meaning of an ingested corpus changes in a way that neither settings nor version show."""

SHAPES_TEXT = {"chunk_tokens", "chunk_overlap_tokens", "relations", "openie"}
"""Settings of the corpus that change what becomes of plain text; a data set has no pictures and no figures."""

Ingesting = Callable[[int, int], None]
"""Documents done, documents in all."""
Stage = Callable[[str, int], Callable[[], None]]
"""Begins a stage of so many steps; what it returns is called after each."""


@dataclass(frozen=True, slots=True)
class Ingested:
    documents: int
    seconds: float
    """0 when the corpus was there from an earlier run."""


@asynccontextmanager
async def scratch_app(settings: Settings, dataset: Dataset, progress: Ingesting) -> AsyncIterator[tuple[App, Ingested]]:
    """The engine over the data set's own corpus. Stores are embedded ones; models and weights are those of the settings."""
    folder = scratch_folder(settings, dataset)
    scratch = settings.model_copy(
        update={
            "data_dir": folder,
            "sources": served_sources(settings, dataset),
            "milvus": settings.milvus.model_copy(update={"uri": None}),
            "graph": settings.graph.model_copy(update={"uri": None}),
            "journal": settings.journal.model_copy(update={"url": None}),
            "routing": _decided_by_the_question(settings.routing),
            # A measurement is no use: nothing is to be learned from it, and nothing may slow it down.
            "learning": LearningSettings(log_decisions=False),
        }
    )
    async with open_app(scratch) as app:
        yield app, await _ingest(app, dataset, folder / "complete.json", progress)


def _decided_by_the_question(routing: RoutingSettings) -> RoutingSettings:
    """Without what depends on chance, on a key or on the use of a service: versions and a log are in its own data folder."""
    policies = tuple(name for name in routing.policies or () if name != "knn") or None
    return routing.model_copy(update={"policies": policies, "shadow": (), "experiment": None, "exploration": 0.0})


@asynccontextmanager
async def watched_scratch_app(settings: Settings, dataset: Dataset) -> AsyncIterator[tuple[App, Stage]]:
    """As `scratch_app`, with its progress and that of every stage on the screen."""
    with Progress(console=Console(stderr=True)) as bar:
        ingesting = bar.add_task(f"ingest {dataset.name}", total=None)

        def ingest_progress(done: int, total: int) -> None:
            bar.update(ingesting, completed=done, total=total)

        def stage(name: str, total: int) -> Callable[[], None]:
            task = bar.add_task(f"{name} {dataset.name}", total=total)
            return lambda: bar.advance(task)

        async with scratch_app(settings, dataset, ingest_progress) as (app, _):
            yield app, stage


def scratch_folder(settings: Settings, dataset: Dataset) -> Path:
    """Where the corpus lies: one place for all settings that ingest the same, such as every fusion and every walk."""
    return Path(platformdirs.user_cache_dir("graphrag-router")) / "eval" / f"{dataset.name}-{_fingerprint(settings, dataset)}"


def _fingerprint(settings: Settings, dataset: Dataset) -> str:
    shape = {
        "content": dataset.content_hash(),
        "format": FORMAT,
        "version": __version__,
        "embedding": settings.models.embedding.model_dump(mode="json"),
        "entities": settings.models.entities.model_dump(mode="json"),
        "corpus": settings.corpus.model_dump(mode="json", include=SHAPES_TEXT),
        "milvus": settings.milvus.model_dump(mode="json", include={"index", "lexical"}),
    }
    return hashlib.sha256(json.dumps(shape, sort_keys=True).encode()).hexdigest()[:16]


def served_sources(settings: Settings, dataset: Dataset) -> dict[str, SourceSettings]:
    """The configured sources that the data set can serve; the web is its recording, or none at all."""
    sources: dict[str, SourceSettings] = {}
    for name, source in settings.sources.items():
        match source:
            case VectorSource() if dataset.corpus is not None:
                sources[name] = source
            case GraphSource() if dataset.corpus is not None or dataset.facts is not None:
                sources[name] = source
            case WebSource() if dataset.web is not None:
                replay = ReplayProvider(provider="replay", path=dataset.web)
                sources[name] = source.model_copy(update={"search": replay, "record": None, "fetch_pages": False})
            case _:
                pass
    # A set with labels only still shows what the policies choose.
    return sources or dict(settings.sources)


async def _ingest(app: App, dataset: Dataset, marker: Path, progress: Ingesting) -> Ingested:
    if marker.exists():
        return Ingested(json.loads(marker.read_text())["documents"], 0.0)
    uploads = [
        Upload(name=passage.id, content=passage.text.encode(), mime_type="text/plain", title=passage.title)
        for passage in dataset.passages()
    ]
    if dataset.facts is not None:
        with open_text(dataset.facts) as file:
            uploads.append(Upload(name=FACTS_NAME, content=file.read().encode(), mime_type="text/tab-separated-values"))
    begin = time.perf_counter()
    done = 0

    async def stream() -> AsyncIterator[Upload]:
        for upload in uploads:
            yield upload

    async for acknowledgement in app.corpus.ingest(TENANT, stream()):
        if acknowledgement.state is DocumentState.FAILED:
            raise InternalError(f"{acknowledgement.name} was not ingested: {acknowledgement.failure}")
        if acknowledgement.state in {DocumentState.SEARCHABLE, DocumentState.UNCHANGED}:
            done += 1
            progress(done, len(uploads))
    marker.write_text(json.dumps({"documents": done}))
    return Ingested(done, time.perf_counter() - begin)
