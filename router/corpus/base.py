"""What the corpus takes, keeps and says. `Corpus` (service.py) is what the transports call; the Protocols are its seams."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from router.models.base import Recognised
from router.stores.base import GraphBatch
from router.stores.documents import DocumentPage, DocumentRecord, DocumentState, Failure
from router.types import Chunk, Matrix, Metadata, Notice, Picture


@dataclass(frozen=True, slots=True)
class Upload:
    """A document as it arrives."""

    name: str
    """Identity within the tenant; ingesting a name again replaces it."""
    content: bytes
    mime_type: str = ""
    title: str = ""
    collection: str = "main"
    metadata: Metadata = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    name: str
    document_id: str
    state: DocumentState
    chunk_count: int = 0
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class CorpusStats:
    documents: Mapping[str, int]
    """By state's value."""
    chunk_count: int
    vector_count: int | None
    graph: Mapping[str, int]
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True, slots=True)
class Triple:
    """A fact as a structured file states it: names, not ids."""

    subject: str
    relation: str
    object: str


class CorpusService(Protocol):
    """What the transports call."""

    def ingest(self, tenant: str, uploads: AsyncIterator[Upload]) -> AsyncIterator[Acknowledgement]:
        """Take documents; acknowledgements come in the order in which things happen, not in the order of the uploads.

        Per document: DURABLE then SEARCHABLE, or UNCHANGED, or FAILED (also after DURABLE). A bad document never ends the stream.
        """

    async def delete(self, tenant: str, document_id: str) -> int:
        """Remove a document everywhere; its number of chunks. Raises NotFound."""

    async def get(self, tenant: str, document_id: str) -> tuple[DocumentRecord, str]:
        """A document and its stored text. Raises NotFound."""

    async def picture(self, tenant: str, picture_id: str) -> tuple[Picture, bytes]:
        """A picture, with its thumbnail, and its file as it was ingested. Raises NotFound."""

    async def list(self, tenant: str, *, page_size: int = 100, page_token: str = "", collection: str = "") -> DocumentPage:
        """By name. Raises InvalidInput for a page size out of range or a token that is not ours."""

    async def stats(self, tenant: str) -> CorpusStats: ...


Openings = Mapping[str, tuple[Chunk, Recognised]]
"""Document id -> its first passage, and what was recognised there."""
NO_OPENINGS: Openings = {}


class GraphBuilder(Protocol):
    """Turns passages and recognised names into what the graph stores; it knows the names that the corpus already has."""

    async def build(
        self,
        tenant: str,
        chunks: Sequence[Chunk],
        recognised: Sequence[Recognised],
        triples: Mapping[str, Sequence[Triple]],
        openings: Openings = NO_OPENINGS,
    ) -> GraphBatch:
        """`recognised` is parallel to `chunks`, its spans relative to the chunk's text; `triples` by document id.

        `openings` holds the first passages of the chunks' documents, also of those whose first passage was in an earlier batch.

        The batch also holds mentions of new names in old chunks.
        """


class CorpusObserver(Protocol):
    """Derived state in this process (snapshot, BM25 index) that follows the stores."""

    async def on_written(self, tenant: str, chunks: Sequence[Chunk], vectors: Matrix, batch: GraphBatch) -> None: ...

    async def on_deleted(self, tenant: str, document_id: str) -> None: ...


__all__ = [
    "Acknowledgement",
    "CorpusObserver",
    "CorpusService",
    "CorpusStats",
    "DocumentPage",
    "DocumentRecord",
    "DocumentState",
    "Failure",
    "GraphBuilder",
    "Triple",
    "Upload",
]
