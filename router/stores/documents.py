"""What the journal takes and keeps of a document."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from router.types import Chunk, Metadata


class DocumentState(Enum):
    DURABLE = "durable"
    SEARCHABLE = "searchable"
    UNCHANGED = "unchanged"
    """Only ever said to the caller, never kept."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Failure:
    reason: str
    message: str
    retryable: bool = False


@dataclass(frozen=True, slots=True)
class DocumentRecord:
    id: str
    name: str
    title: str
    collection: str
    mime_type: str
    metadata: Metadata
    state: DocumentState
    failure: Failure | None
    chunk_count: int
    size_bytes: int
    ingested_at: datetime


@dataclass(frozen=True, slots=True)
class DocumentPage:
    documents: tuple[DocumentRecord, ...]
    next_page_token: str


@dataclass(frozen=True, slots=True)
class NewDocument:
    """A document as it is put into the journal."""

    id: str
    name: str
    title: str
    collection: str
    mime_type: str
    metadata: Metadata
    fingerprint: str
    """Hash of all that went into it; the same again means that nothing is to be done."""
    size_bytes: int
    text: str
    chunks: tuple[Chunk, ...]


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a document stands."""

    revision: int
    fingerprint: str
    mime_type: str
    chunk_count: int
    state: DocumentState | None
    """None: it is being deleted."""
    stale: bool
    """The other stores may hold passages of an earlier revision."""
    failure: Failure | None
