"""Small graphs for tests."""

from __future__ import annotations

from collections.abc import Sequence

from router.corpus.base import Triple
from router.corpus.graph_builder import NameGraphBuilder
from router.models.base import Recognised
from router.settings import WalkSettings
from router.stores.mirror import GraphMirror
from router.testing.fakes import InMemoryGraphStore
from router.types import Chunk, Span

TENANT = "acme"
NOTHING = Recognised((), ())


def passage(identity: str, title: str, text: str, *, document: str = "", ordinal: int = 0, **metadata: str) -> Chunk:
    return Chunk(
        identity, document or f"doc-{identity}", "main", ordinal, title, (), text, Span(0, len(text)), metadata, document or identity
    )


class Passages:
    """A PassageStore over a list."""

    def __init__(self, chunks: Sequence[Chunk]) -> None:
        self.all = {chunk.id: chunk for chunk in chunks}

    async def chunks(self, tenant: str, ids: Sequence[str]) -> dict[str, Chunk]:
        return {key: self.all[key] for key in ids if key in self.all} if tenant == TENANT else {}

    async def all_chunks(self, tenant: str):
        yield list(self.all.values()) if tenant == TENANT else []


async def mirror_of(chunks: Sequence[Chunk], tmp_path, triples: Sequence[Triple] = (), recognised: Sequence[Recognised] | None = None):
    """A mirror over the graph that the real builder makes of the passages."""
    passages = Passages(chunks)
    store = InMemoryGraphStore()
    mirror = GraphMirror(store, tmp_path, WalkSettings())
    builder = NameGraphBuilder(mirror, passages)
    batch = await builder.build(TENANT, chunks, recognised or [NOTHING] * len(chunks), {"facts": triples} if triples else {})
    await store.upsert(TENANT, batch)
    await mirror.on_written(TENANT, chunks, None, batch)  # type: ignore[arg-type]
    return mirror, passages, store
