"""What a source found in several lookups of one call, as if it were one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from router.retrieval.base import Retrieved
from router.types import Evidence, SourceCode, SourceReport

_WORSE = (SourceCode.OK, SourceCode.DEGRADED, SourceCode.DEADLINE_EXCEEDED, SourceCode.UNAVAILABLE, SourceCode.FAILED)


def merged_results(earlier: Mapping[str, Retrieved], later: Mapping[str, Retrieved]) -> dict[str, Retrieved]:
    """By source; the evidence of both lookups by score, each item once, the seeds of both with equal weight."""
    together = {source: _merged(earlier[source], later[source]) for source in later if source in earlier}
    return {**earlier, **later, **together}


def merged_reports(earlier: Mapping[str, SourceReport], later: Sequence[SourceReport]) -> dict[str, SourceReport]:
    """By source; a source that failed once is said to have failed."""
    reports = dict(earlier)
    for report in later:
        before = reports.get(report.source)
        reports[report.source] = report if before is None else _told(before, report)
    return reports


def _merged(one: Retrieved, other: Retrieved) -> Retrieved:
    items: dict[str, Evidence] = {}
    for item in (*one.evidence, *other.evidence):
        if item.id not in items or _score(item) > _score(items[item.id]):
            items[item.id] = item
    seeds: dict[str, float] = {}
    for retrieved in (one, other):
        own = retrieved.seeds or {item.id: _score(item) for item in retrieved.evidence}
        total = sum(own.values()) or 1.0
        for item_id, weight in own.items():
            seeds[item_id] = seeds.get(item_id, 0.0) + weight / total
    return Retrieved(
        tuple(sorted(items.values(), key=lambda item: (-_score(item), item.id))),
        seeds,
        {**one.links, **other.links},
        one.degraded or other.degraded,
    )


def _score(item: Evidence) -> float:
    return max(0.0, item.provenance[0].score)


def _told(before: SourceReport, after: SourceReport) -> SourceReport:
    worse = max(before, after, key=lambda report: _WORSE.index(report.code))
    return replace(worse, latency_s=before.latency_s + after.latency_s, count=before.count + after.count)
