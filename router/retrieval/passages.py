"""Passages as evidence."""

from __future__ import annotations

from router.types import Chunk, Evidence, EvidenceKind, Provenance


def passage_evidence(chunk: Chunk, *provenance: Provenance) -> Evidence:
    return Evidence(
        id=chunk.id,
        kind=EvidenceKind.PASSAGE,
        title=chunk.label,
        text=chunk.text,
        provenance=provenance,
        document_id=chunk.document_id,
        uri=chunk.document_name,
        span=chunk.span,
        headings=chunk.headings,
        metadata=chunk.metadata,
        picture=chunk.picture,
    )
