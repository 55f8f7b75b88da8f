"""The journal's tables, and their rows as the types that travel."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Select,
    String,
    Table,
    Text,
    UniqueConstraint,
    and_,
    select,
)

from router.stores.documents import DocumentRecord, DocumentState, Failure, NewDocument, Standing
from router.types import Chunk, Metadata, Picture, PictureLabel, Span, TextRegion

SCHEMA_VERSION = 1
DELETING = "deleting"
"""The state of a document whose deletion has begun; no reader sees it."""

tables = MetaData()
schema_table = Table("journal_schema", tables, Column("version", Integer, primary_key=True))
documents_table = Table(
    "documents",
    tables,
    Column("tenant", String(63), nullable=False),
    Column("id", String(32), nullable=False),
    Column("name", Text, nullable=False),
    Column("collection", String(63), nullable=False),
    Column("title", Text, nullable=False),
    Column("mime_type", Text, nullable=False),
    Column("metadata", Text, nullable=False),  # JSON
    Column("fingerprint", String(64), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("chunk_count", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("failure", Text),  # JSON
    Column("revision", Integer, nullable=False),
    Column("stale", Boolean, nullable=False),
    Column("ingested_at", BigInteger, nullable=False),  # microseconds since 1970
    Column("text", Text, nullable=False),  # last, since SQLite reads a row's overflow pages only as far as a query needs
    PrimaryKeyConstraint("tenant", "id"),
    UniqueConstraint("tenant", "name"),
    Index("documents_by_state", "tenant", "state"),
)
chunks_table = Table(
    "chunks",
    tables,
    Column("tenant", String(63), nullable=False),
    Column("id", String(32), nullable=False),
    Column("document_id", String(32), nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("span_start", Integer, nullable=False),
    Column("span_end", Integer, nullable=False),
    Column("headings", Text, nullable=False),  # JSON
    Column("text", Text, nullable=False),
    PrimaryKeyConstraint("tenant", "id"),
    UniqueConstraint("tenant", "document_id", "ordinal"),
    ForeignKeyConstraint(["tenant", "document_id"], ["documents.tenant", "documents.id"], ondelete="CASCADE"),
)

pictures_table = Table(
    "pictures",
    tables,
    Column("tenant", String(63), nullable=False),
    Column("chunk_id", String(32), nullable=False),
    Column("document_id", String(32), nullable=False),
    Column("id", String(64), nullable=False),
    Column("mime_type", Text, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    PrimaryKeyConstraint("tenant", "chunk_id"),
    # Not of the chunk: a row outlives its passage until the picture's file has been seen to.
    ForeignKeyConstraint(["tenant", "document_id"], ["documents.tenant", "documents.id"], ondelete="CASCADE"),
    Index("pictures_by_document", "tenant", "document_id"),
    Index("pictures_by_id", "tenant", "id"),
)

picture_labels_table = Table(
    "picture_labels",
    tables,
    Column("tenant", String(63), nullable=False),
    Column("chunk_id", String(32), nullable=False),
    Column("labels", Text, nullable=False),  # JSON
    PrimaryKeyConstraint("tenant", "chunk_id"),
    ForeignKeyConstraint(["tenant", "chunk_id"], ["chunks.tenant", "chunks.id"], ondelete="CASCADE"),
)

picture_regions_table = Table(
    "picture_regions",
    tables,
    Column("tenant", String(63), nullable=False),
    Column("chunk_id", String(32), nullable=False),
    Column("regions", Text, nullable=False),  # JSON; not among the columns of passages, which are read by the thousand
    PrimaryKeyConstraint("tenant", "chunk_id"),
    ForeignKeyConstraint(["tenant", "chunk_id"], ["chunks.tenant", "chunks.id"], ondelete="CASCADE"),
)

RECORD_COLUMNS = [
    documents_table.c[name]
    for name in (
        "id", "name", "title", "collection", "mime_type", "metadata", "state", "failure", "chunk_count", "size_bytes", "ingested_at",
    )
]  # fmt: skip
REPLACED_COLUMNS = [column.name for column in documents_table.c if column.name not in {"tenant", "id", "revision", "stale"}]
"""What a new version of a document brings."""
STANDING_COLUMNS = [
    documents_table.c[name] for name in ("id", "revision", "fingerprint", "mime_type", "chunk_count", "state", "stale", "failure")
]
SELECT_CHUNKS: Select[Any] = select(
    chunks_table.c.id,
    chunks_table.c.document_id,
    chunks_table.c.ordinal,
    chunks_table.c.headings,
    chunks_table.c.text,
    chunks_table.c.span_start,
    chunks_table.c.span_end,
    documents_table.c.name.label("document_name"),
    documents_table.c.collection,
    documents_table.c.title,
    documents_table.c.metadata,
    pictures_table.c.id.label("picture_id"),
    pictures_table.c.mime_type.label("picture_type"),
    pictures_table.c.width,
    pictures_table.c.height,
    picture_labels_table.c.labels,
).select_from(
    chunks_table.join(documents_table)
    .outerjoin(pictures_table, and_(pictures_table.c.tenant == chunks_table.c.tenant, pictures_table.c.chunk_id == chunks_table.c.id))
    .outerjoin(
        picture_labels_table,
        and_(picture_labels_table.c.tenant == pictures_table.c.tenant, picture_labels_table.c.chunk_id == pictures_table.c.chunk_id),
    )
)


def document_values(tenant: str, document: NewDocument) -> dict[str, Any]:
    return {
        "tenant": tenant,
        "id": document.id,
        "name": document.name,
        "collection": document.collection,
        "title": document.title,
        "mime_type": document.mime_type,
        "metadata": json.dumps(dict(document.metadata)),
        "fingerprint": document.fingerprint,
        "size_bytes": document.size_bytes,
        "chunk_count": len(document.chunks),
        "state": DocumentState.DURABLE.value,
        "failure": None,
        "revision": 1,
        "stale": False,
        "ingested_at": time.time_ns() // 1000,
        "text": document.text,
    }


def chunk_values(tenant: str, chunk: Chunk) -> dict[str, Any]:
    return {
        "tenant": tenant,
        "id": chunk.id,
        "document_id": chunk.document_id,
        "ordinal": chunk.ordinal,
        "span_start": chunk.span.start,
        "span_end": chunk.span.end,
        "headings": json.dumps(chunk.headings),
        "text": chunk.text,
    }


def picture_values(tenant: str, chunk: Chunk, picture: Picture) -> dict[str, Any]:
    return {
        "tenant": tenant,
        "chunk_id": chunk.id,
        "document_id": chunk.document_id,
        "id": picture.id,
        "mime_type": picture.mime_type,
        "width": picture.width,
        "height": picture.height,
    }


def label_values(labels: Sequence[PictureLabel]) -> str:
    return json.dumps([(label.name, label.probability) for label in labels])


def region_values(tenant: str, chunk: Chunk, regions: Sequence[TextRegion]) -> dict[str, Any]:
    told = [(seen.text, seen.left, seen.top, seen.width, seen.height, seen.confidence) for seen in regions]
    return {"tenant": tenant, "chunk_id": chunk.id, "regions": json.dumps(told)}


def to_regions(text: str | None) -> tuple[TextRegion, ...]:
    return tuple(TextRegion(*region) for region in json.loads(text or "[]"))


def to_chunk(row: Any) -> Chunk:
    return Chunk(
        id=row.id,
        document_id=row.document_id,
        collection=row.collection,
        ordinal=row.ordinal,
        title=row.title,
        headings=tuple(json.loads(row.headings)),
        text=row.text,
        span=Span(row.span_start, row.span_end),
        metadata=_to_metadata(row.metadata),
        document_name=row.document_name,
        picture=None if row.picture_id is None else _to_picture(row),
    )


def _to_picture(row: Any) -> Picture:
    labels = tuple(PictureLabel(*label) for label in json.loads(row.labels or "[]"))
    return Picture(row.picture_id, row.picture_type, row.width, row.height, labels=labels)


def to_standing(row: Any) -> Standing:
    state = None if row.state == DELETING else DocumentState(row.state)
    return Standing(row.revision, row.fingerprint, row.mime_type, row.chunk_count, state, row.stale, to_failure(row.failure))


def to_record(row: Any) -> DocumentRecord:
    return DocumentRecord(
        id=row.id,
        name=row.name,
        title=row.title or PurePosixPath(row.name).stem,
        collection=row.collection,
        mime_type=row.mime_type,
        metadata=_to_metadata(row.metadata),
        state=DocumentState(row.state),
        failure=to_failure(row.failure),
        chunk_count=row.chunk_count,
        size_bytes=row.size_bytes,
        ingested_at=datetime.fromtimestamp(row.ingested_at / 1e6, UTC),
    )


def _to_metadata(text: str) -> Metadata:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in json.loads(text).items()}


def to_failure(text: str | None) -> Failure | None:
    return Failure(**json.loads(text)) if text else None
