"""The JSON forms of `--json`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from router.corpus.base import CorpusStats, DocumentRecord, Failure
from router.types import (
    Answer,
    Citation,
    Evidence,
    Feedback,
    LoggedDecision,
    Notice,
    Outcome,
    Picture,
    Retrieval,
    RouteDecision,
    SourceReport,
    Timings,
)

Document = dict[str, Any]


def of_answer(answer: Answer) -> Document:
    return {
        "answer": answer.text,
        "found": answer.found,
        "citations": [_citation(citation) for citation in answer.citations],
        **of_retrieval(answer.retrieval),
        "generator": answer.generator,
        "timings": _timings(answer.timings),
        "warnings": of_notices(answer.notices),
    }


def of_retrieval(retrieval: Retrieval) -> Document:
    return {
        "request_id": retrieval.request_id,
        "decision": of_decision(retrieval.decision),
        "evidence": [_evidence(item) for item in retrieval.evidence],
        "sources": [_report(report) for report in retrieval.sources],
        "turns": [asdict(turn) for turn in retrieval.turns],
        "timings": _timings(retrieval.timings),
        "warnings": of_notices(retrieval.notices),
    }


def of_routing(decision: RouteDecision, alternatives: Sequence[RouteDecision] = (), notices: Sequence[Notice] = ()) -> Document:
    return {
        "decision": of_decision(decision),
        "alternatives": [of_decision(alternative) for alternative in alternatives],
        "warnings": of_notices(notices),
    }


def of_decision(decision: RouteDecision) -> Document:
    return {
        "policy": decision.policy,
        "reason": decision.reason,
        "routes": [
            {
                "source": route.source,
                "probability": route.probability,
                "selected": route.selected,
                "reason": route.reason,
                "expected_quality": route.expected_quality,
                "cost": route.cost,
                "latency_ms": _optional_milliseconds(route.latency_s),
                "latency_p90_ms": _optional_milliseconds(route.latency_p90_s),
            }
            for route in decision.routes
        ],
        "expected_latency_ms": _optional_milliseconds(decision.expected_latency_s),
        "expected_latency_p90_ms": _optional_milliseconds(decision.expected_latency_p90_s),
        "version": decision.version,
        "features": dict(decision.features),
        **({"experiment": decision.experiment, "arm": decision.arm} if decision.experiment else {}),
    }


def of_logged(decision: LoggedDecision) -> Document:
    """A line of the export for off-policy evaluation: who decided what, with which probability, at which price, for which reward."""
    return {
        "request_id": decision.request_id,
        "time": decision.decided_at.isoformat(),
        "policy": decision.policy,
        "version": decision.version,
        "features": dict(decision.features),
        "chosen": list(decision.chosen),
        "propensity": decision.propensity,
        "cost": decision.cost,
        "reward": decision.reward,
        "as_asked": decision.as_asked,
        "probabilities": dict(decision.probabilities),
        "outcome": _outcome(decision.outcome),
        "feedback": _feedback(decision.feedback),
        **({"question": decision.question} if decision.question else {}),
        **({"experiment": decision.experiment, "arm": decision.arm} if decision.experiment else {}),
        **({"bucket": decision.bucket} if decision.bucket is not None else {}),
        **({"shadows": [{**asdict(shadow), "chosen": list(shadow.chosen)} for shadow in decision.shadows]} if decision.shadows else {}),
    }


def of_record(record: DocumentRecord) -> Document:
    return {
        "id": record.id,
        "name": record.name,
        "title": record.title,
        "collection": record.collection,
        "mime_type": record.mime_type,
        "metadata": {name: list(value) if isinstance(value, tuple) else value for name, value in record.metadata.items()},
        "state": record.state.value,
        "failure": of_failure(record.failure),
        "chunk_count": record.chunk_count,
        "size_bytes": record.size_bytes,
        "ingested_at": record.ingested_at.isoformat(),
    }


def of_failure(failure: Failure | None) -> Document | None:
    return {"reason": failure.reason, "message": failure.message, "retryable": failure.retryable} if failure else None


def of_stats(stats: CorpusStats) -> Document:
    return {
        "documents": dict(stats.documents),
        "chunk_count": stats.chunk_count,
        "vector_count": stats.vector_count,
        "graph": dict(stats.graph),
        "warnings": of_notices(stats.notices),
    }


def _evidence(item: Evidence) -> Document:
    return {
        "id": item.id,
        "kind": item.kind.value,
        "document_id": item.document_id,
        "title": item.title,
        "text": item.text,
        "sources": list(item.sources),
        "score": item.score,
        "uri": item.uri,
        "recorded": item.recorded,
        "metadata": dict(item.metadata),
        "shares": dict(item.shares),
        **({"picture": _picture(item.picture)} if item.picture else {}),
        "paths": [
            [{"subject": step.subject, "relation": step.relation, "object": step.object} for step in found.path]
            for found in item.provenance
            if found.path
        ],
    }


def _picture(picture: Picture) -> Document:
    return {
        "id": picture.id,
        "mime_type": picture.mime_type,
        "width": picture.width,
        "height": picture.height,
        **({"near_duplicates": list(picture.near_duplicates)} if picture.near_duplicates else {}),
        **({"regions": [asdict(region) for region in picture.regions]} if picture.regions else {}),
    }


def _citation(citation: Citation) -> Document:
    span = {"start": citation.span.start, "end": citation.span.end}
    return {"marker": citation.marker, "evidence_id": citation.evidence_id, "span": span}


def _report(report: SourceReport) -> Document:
    return {
        "source": report.source,
        "code": report.code.name,
        "latency_ms": _milliseconds(report.latency_s),
        "count": report.count,
        "message": report.message,
    }


def _outcome(outcome: Outcome | None) -> Document | None:
    if outcome is None:
        return None
    return {
        "evidence_count": outcome.evidence_count,
        "sources": {source: code.name for source, code in outcome.sources.items()},
        "latency_ms": _milliseconds(outcome.latency_s),
        "found": outcome.found,
    }


def _feedback(feedback: Feedback | None) -> Document | None:
    if feedback is None:
        return None
    return {
        "helpful": feedback.helpful,
        "corrected_answer": feedback.corrected_answer,
        "clicked_citations": list(feedback.clicked_citations),
        "correct_sources": list(feedback.correct_sources),
    }


def of_notices(notices: Sequence[Notice]) -> list[Document]:
    return [{"reason": notice.reason, "message": notice.message} for notice in notices]


def _timings(timings: Timings) -> Document:
    stages = {stage: _milliseconds(seconds) for stage, seconds in timings.stages_s.items()}
    return {"stages_ms": stages, "total_ms": _milliseconds(timings.total_s)}


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 3)


def _optional_milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else _milliseconds(seconds)
