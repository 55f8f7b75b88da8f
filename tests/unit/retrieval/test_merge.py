"""Several lookups of one source become one result."""

from __future__ import annotations

from router.retrieval.base import Retrieved
from router.retrieval.merge import merged_reports, merged_results
from router.types import Evidence, EvidenceKind, Provenance, SourceCode, SourceReport


def item(identity: str, score: float) -> Evidence:
    return Evidence(identity, EvidenceKind.PASSAGE, "", identity, (Provenance("vector", 1, score, "hybrid"),))


def test_evidence_is_ordered_by_score_each_item_once() -> None:
    one = {"vector": Retrieved((item("a", 0.9), item("b", 0.2)))}
    other = {"vector": Retrieved((item("b", 0.5), item("c", 0.3))), "web": Retrieved((item("w", 1.0),))}
    merged = merged_results(one, other)
    assert [(found.id, found.provenance[0].score) for found in merged["vector"].evidence] == [("a", 0.9), ("b", 0.5), ("c", 0.3)]
    assert merged["web"] is other["web"]
    assert len(one["vector"].evidence) == 2, "what came in stays as it was"


def test_seeds_of_both_lookups_weigh_the_same() -> None:
    one, other = Retrieved((), {"x": 3.0, "y": 1.0}, {"p": ("e",)}), Retrieved((item("z", 0.5),), degraded="old")
    merged = merged_results({"graph": one}, {"graph": other})["graph"]
    assert merged.seeds == {"x": 0.75, "y": 0.25, "z": 1.0}
    assert merged.links == {"p": ("e",)}
    assert merged.degraded == "old"


def test_a_source_that_failed_once_is_said_to_have_failed() -> None:
    fine = SourceReport("web", SourceCode.OK, 0.1, 3)
    late = SourceReport("web", SourceCode.DEADLINE_EXCEEDED, 0.5, 0, "no answer")
    for first, second in ((fine, late), (late, fine)):
        told = merged_reports({"web": first}, [second])["web"]
        assert (told.code, told.count, told.message) == (SourceCode.DEADLINE_EXCEEDED, 3, "no answer")
        assert abs(told.latency_s - 0.6) < 1e-9
