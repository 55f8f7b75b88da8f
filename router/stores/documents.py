"""What the journal keeps of a document, as the rest of the service sees it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from router.types import Metadata


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
