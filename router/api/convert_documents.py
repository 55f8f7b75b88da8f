"""Documents: the messages of the contract and the corpus's dataclasses, both ways."""

from __future__ import annotations

from datetime import UTC

from google.protobuf.timestamp_pb2 import Timestamp

from router.api.convert import member, metadata_from_proto, metadata_to_proto, notice_to_proto, notices_from_proto, writing
from router.corpus.base import Acknowledgement, CorpusStats, DocumentPage, DocumentRecord, DocumentState, Failure, Upload
from router.pb import corpus_service_pb2 as pb

DEFAULT_COLLECTION = "main"

_STATES = {
    DocumentState.DURABLE: pb.DOCUMENT_STATE_DURABLE,
    DocumentState.SEARCHABLE: pb.DOCUMENT_STATE_SEARCHABLE,
    DocumentState.UNCHANGED: pb.DOCUMENT_STATE_UNCHANGED,
    DocumentState.FAILED: pb.DOCUMENT_STATE_FAILED,
}


def upload_from_proto(message: pb.IngestDocumentsRequest) -> Upload:
    """Raises InvalidInput for a metadata value without a kind."""
    return Upload(
        name=message.name,
        content=message.content,
        mime_type=message.mime_type,
        title=message.title,
        collection=message.collection or DEFAULT_COLLECTION,
        metadata=metadata_from_proto(message.metadata, "metadata"),
    )


def upload_to_proto(upload: Upload) -> pb.IngestDocumentsRequest:
    """Raises InvalidInput for text that is not Unicode and for numbers of more than 64 bits."""
    with writing("document"):
        return pb.IngestDocumentsRequest(
            name=upload.name,
            content=upload.content,
            mime_type=upload.mime_type,
            title=upload.title,
            collection=upload.collection,
            metadata=metadata_to_proto(upload.metadata),
        )


def acknowledgement_from_proto(message: pb.IngestDocumentsResponse) -> Acknowledgement:
    failure = _failure(message.error) if message.HasField("error") else None
    return Acknowledgement(message.name, message.document_id, member(_STATES, message.state), message.chunk_count, failure)


def acknowledgement_to_proto(acknowledgement: Acknowledgement) -> pb.IngestDocumentsResponse:
    return pb.IngestDocumentsResponse(
        name=acknowledgement.name,
        document_id=acknowledgement.document_id,
        state=_STATES[acknowledgement.state],
        chunk_count=acknowledgement.chunk_count,
        error=_failure_to_proto(acknowledgement.failure),
    )


def record_from_proto(message: pb.Document) -> DocumentRecord:
    return DocumentRecord(
        id=message.id,
        name=message.name,
        title=message.title,
        collection=message.collection,
        mime_type=message.mime_type,
        metadata=metadata_from_proto(message.metadata, "document.metadata"),
        state=member(_STATES, message.state),
        failure=_failure(message.error) if message.HasField("error") else None,
        chunk_count=message.chunk_count,
        size_bytes=message.size_bytes,
        ingested_at=message.ingested_at.ToDatetime(UTC),
    )


def record_to_proto(record: DocumentRecord) -> pb.Document:
    ingested_at = Timestamp()
    ingested_at.FromDatetime(record.ingested_at)
    return pb.Document(
        id=record.id,
        name=record.name,
        title=record.title,
        collection=record.collection,
        mime_type=record.mime_type,
        metadata=metadata_to_proto(record.metadata),
        state=_STATES[record.state],
        error=_failure_to_proto(record.failure),
        chunk_count=record.chunk_count,
        size_bytes=record.size_bytes,
        ingested_at=ingested_at,
    )


def page_from_proto(message: pb.ListDocumentsResponse) -> DocumentPage:
    return DocumentPage(tuple(map(record_from_proto, message.documents)), message.next_page_token)


def page_to_proto(page: DocumentPage) -> pb.ListDocumentsResponse:
    return pb.ListDocumentsResponse(documents=map(record_to_proto, page.documents), next_page_token=page.next_page_token)


def stats_from_proto(message: pb.GetCorpusStatsResponse) -> CorpusStats:
    return CorpusStats(
        documents=dict(message.documents),
        chunk_count=message.chunk_count,
        vector_count=message.vector_count if message.HasField("vector_count") else None,
        graph=dict(message.graph),
        notices=notices_from_proto(message.warnings),
    )


def stats_to_proto(stats: CorpusStats) -> pb.GetCorpusStatsResponse:
    return pb.GetCorpusStatsResponse(
        documents=stats.documents,
        chunk_count=stats.chunk_count,
        vector_count=stats.vector_count,
        graph=stats.graph,
        warnings=map(notice_to_proto, stats.notices),
    )


def _failure(message: pb.DocumentError) -> Failure:
    return Failure(message.reason, message.message, message.retryable)


def _failure_to_proto(failure: Failure | None) -> pb.DocumentError | None:
    return pb.DocumentError(reason=failure.reason, message=failure.message, retryable=failure.retryable) if failure else None
