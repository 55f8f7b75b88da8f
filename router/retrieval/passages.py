"""Passages as evidence."""

from __future__ import annotations

from router.types import Chunk, Evidence, EvidenceKind, Metadata, Provenance

LABELS = "labels"
"""Metadata of a picture's evidence: what it seems to show, unless its document has a field of that name."""


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
        metadata=_metadata(chunk),
        picture=chunk.picture,
    )


def _metadata(chunk: Chunk) -> Metadata:
    if chunk.picture is None or not chunk.picture.labels:
        return chunk.metadata
    return {LABELS: tuple(map(str, chunk.picture.labels)), **chunk.metadata}
