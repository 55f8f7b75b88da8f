"""A corpus in memory that keeps the promises of `CorpusService`: for tests of what stands above it."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime

from router.corpus.base import Acknowledgement, CorpusStats, DocumentPage, DocumentRecord, DocumentState, Failure, Upload
from router.errors import InvalidInput, NotFound
from router.filters import check_metadata
from router.types import Notice, Picture

MAX_PAGE_SIZE = 1000


class InMemoryCorpus:
    """Documents are UTF-8 texts, each one passage; they are durable and searchable at once."""

    def __init__(self) -> None:
        self._documents: dict[tuple[str, str], tuple[DocumentRecord, str]] = {}
        self.notices: tuple[Notice, ...] = ()
        """What `stats` says is down."""
        self.pictures: dict[tuple[str, str], tuple[Picture, bytes]] = {}
        """By tenant and id; put here by whoever wants some."""
        self.taken = 0
        """Uploads read so far."""

    async def ingest(self, tenant: str, uploads: AsyncIterator[Upload]) -> AsyncIterator[Acknowledgement]:
        async for upload in uploads:
            self.taken += 1
            key = hashlib.sha256(upload.name.encode()).hexdigest()[:32]
            try:
                check_metadata(upload.metadata)
                text = upload.content.decode()
                if not (upload.name and text):
                    raise InvalidInput("the document has no name" if text else "the document is empty", reason="EMPTY")
            except (InvalidInput, UnicodeDecodeError) as error:
                failure = Failure(error.reason, error.message) if isinstance(error, InvalidInput) else Failure("BINARY", "not UTF-8")
                yield Acknowledgement(upload.name, "", DocumentState.FAILED, failure=failure)
                continue
            known = self._documents.get((tenant, key))
            if known and known[1] == text:
                yield Acknowledgement(upload.name, key, DocumentState.UNCHANGED, 1)
                continue
            record = DocumentRecord(
                id=key,
                name=upload.name,
                title=upload.title or upload.name,
                collection=upload.collection,
                mime_type=upload.mime_type or "text/plain",
                metadata=upload.metadata,
                state=DocumentState.SEARCHABLE,
                failure=None,
                chunk_count=1,
                size_bytes=len(upload.content),
                ingested_at=datetime.now(UTC),
            )
            self._documents[tenant, key] = record, text
            yield Acknowledgement(upload.name, key, DocumentState.DURABLE, 1)
            yield Acknowledgement(upload.name, key, DocumentState.SEARCHABLE, 1)

    async def delete(self, tenant: str, document_id: str) -> int:
        record, _ = await self.get(tenant, document_id)
        del self._documents[tenant, document_id]
        return record.chunk_count

    async def get(self, tenant: str, document_id: str) -> tuple[DocumentRecord, str]:
        if (tenant, document_id) not in self._documents:
            raise NotFound(f"there is no document {document_id!r}", field="document_id")
        return self._documents[tenant, document_id]

    async def picture(self, tenant: str, picture_id: str) -> tuple[Picture, bytes]:
        if (tenant, picture_id) not in self.pictures:
            raise NotFound(f"there is no picture {picture_id!r}", field="picture_id")
        return self.pictures[tenant, picture_id]

    async def list(self, tenant: str, *, page_size: int = 100, page_token: str = "", collection: str = "") -> DocumentPage:
        if not 1 <= page_size <= MAX_PAGE_SIZE:
            raise InvalidInput(f"a page has 1 to {MAX_PAGE_SIZE} documents, not {page_size}", field="page_size")
        if page_token and not page_token.isdecimal():
            raise InvalidInput("the page token is not one of ours", field="page_token")
        start = int(page_token or 0)
        records = sorted(
            (record for (owner, _), (record, _) in self._documents.items() if owner == tenant and collection in {"", record.collection}),
            key=lambda record: record.name,
        )
        end = start + page_size
        return DocumentPage(tuple(records[start:end]), str(end) if end < len(records) else "")

    async def stats(self, tenant: str) -> CorpusStats:
        count = sum(owner == tenant for owner, _ in self._documents)
        graph = {"chunks": count, "entities": 0, "mentions": 0, "facts": 0}
        return CorpusStats({DocumentState.SEARCHABLE.value: count}, count, count, graph, self.notices)
