"""Fusion by seeding: what it promises."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.ranking.base import FusionRequest
from router.ranking.merge import KEPT
from router.ranking.symmetric import ReciprocalRankFusion, WeightedFusion
from router.ranking.walk import WalkFusion
from router.retrieval.base import Probe, Retrieved
from router.retrieval.passages import passage_evidence
from router.settings import WalkSettings
from router.stores.vectors import PassageVectors
from router.types import NO_FILTER, Condition, Evidence, EvidenceKind, Filter, Provenance
from tests.unit.graphs import TENANT, mirror_of, passage

PROBE = Probe(np.zeros(4, np.float32), (), (), is_recent=False)

CHAIN = (
    passage("incident", "Incident 12", "The pump failed. It came from Aster Foundry.", year="2024"),
    passage("supplier", "Aster Foundry", "The account is held by Jonas Weld.", year="2024"),
    passage("person", "Jonas Weld", "He works in the Harbour Office.", year="2023"),
    passage("menu", "Canteen", "Soup.", year="2024"),
)


def listed(source: str, *ids: str) -> Retrieved:
    by_id = {chunk.id: chunk for chunk in CHAIN}
    return Retrieved(
        tuple(passage_evidence(by_id[key], Provenance(source, rank, 1.0 / rank, "hybrid")) for rank, key in enumerate(ids, start=1))
    )


def request(results: dict[str, Retrieved], trust: dict[str, float], where: Filter = NO_FILTER, limit: int = 10) -> FusionRequest:
    kinds = {name: name if name in {"vector", "graph", "web"} else "vector" for name in results}
    return FusionRequest(TENANT, results, trust, kinds, where, limit, PROBE)


async def fusion(tmp_path) -> WalkFusion:
    mirror, passages, _ = await mirror_of(CHAIN, tmp_path)
    return WalkFusion(WalkSettings(), mirror, PassageVectors(4), passages)


async def test_the_walk_reaches_what_no_list_has(tmp_path) -> None:
    fused = await (await fusion(tmp_path)).fuse(
        request({"vector": listed("vector", "incident", "menu"), "graph": Retrieved(())}, {"vector": 1.0, "graph": 1.0})
    )
    ids = [item.id for item in fused]
    assert {"supplier", "person"} <= set(ids)
    assert ids.index("supplier") < ids.index("person")
    reached = fused[ids.index("supplier")]
    assert reached.sources == ("graph",)
    assert reached.provenance[0].path[-1].object == "Aster Foundry"


async def test_without_the_graph_the_own_order_is_kept(tmp_path) -> None:
    fused = await (await fusion(tmp_path)).fuse(request({"vector": listed("vector", "menu", "person", "incident")}, {"vector": 0.9}))
    assert [item.id for item in fused] == ["menu", "person", "incident"]


async def test_one_item_from_two_sources_is_one_evidence(tmp_path) -> None:
    results = {"vector": listed("vector", "incident"), "graph": listed("graph", "incident")}
    before = {name: retrieved.evidence for name, retrieved in results.items()}
    fused = await (await fusion(tmp_path)).fuse(request(results, {"vector": 1.0, "graph": 1.0}))
    assert next(item for item in fused if item.id == "incident").sources == ("vector", "graph")
    assert sum(item.id == "incident" for item in fused) == 1
    assert {name: retrieved.evidence for name, retrieved in results.items()} == before, "the inputs are left as they are"


async def test_what_the_filter_forbids_is_not_reached(tmp_path) -> None:
    only_2024 = Filter(must=(Condition("year", equals="2024"),))
    fused = await (await fusion(tmp_path)).fuse(
        request({"vector": listed("vector", "incident"), "graph": Retrieved(())}, {"vector": 1.0, "graph": 1.0}, only_2024)
    )
    assert "supplier" in {item.id for item in fused}
    assert "person" not in {item.id for item in fused}


async def test_a_web_page_leads_to_the_passages_it_names(tmp_path) -> None:
    mirror, passages, _ = await mirror_of(CHAIN, tmp_path)
    name = (await mirror.current(TENANT)).names_in("Jonas Weld")[0]
    page = Evidence("web:1", EvidenceKind.WEB_PAGE, "News", "Jonas Weld was promoted", (Provenance("web", 1, 1.0, "reciprocal_rank"),))
    results = {"web": Retrieved((page,), links={"web:1": (name.entity.id,)}), "graph": Retrieved(())}
    fused = await WalkFusion(WalkSettings(), mirror, PassageVectors(4), passages).fuse(request(results, {"web": 1.0, "graph": 1.0}))
    assert fused[0].id == "web:1"
    assert "person" in {item.id for item in fused}


async def test_trust_decides_between_disjoint_sources(tmp_path) -> None:
    walk = await fusion(tmp_path)
    results = {"vector": listed("vector", "menu"), "second": listed("second", "person")}
    one = await walk.fuse(request(results, {"vector": 0.9, "second": 0.2}))
    other = await walk.fuse(request(results, {"vector": 0.2, "second": 0.9}))
    assert [item.id for item in one] == ["menu", "person"]
    assert [item.id for item in other] == ["person", "menu"]


@settings(deadline=None)
@given(st.permutations(["incident", "supplier", "person", "menu"]), st.integers(1, 4), st.floats(0.05, 1), st.floats(0.05, 1))
async def test_fusions_are_deterministic_bounded_and_complete(tmp_path_factory, order, limit, trust_one, trust_other) -> None:
    walk = await fusion(tmp_path_factory.mktemp("graph"))
    results = {"vector": listed("vector", *order[:3]), "second": listed("second", *reversed(order))}
    asked = request(results, {"vector": trust_one, "second": trust_other}, limit=limit)
    for method in (walk, ReciprocalRankFusion(60), WeightedFusion()):
        fused = await method.fuse(asked)
        assert fused == await method.fuse(asked)
        assert len(fused) == limit
        assert len({item.id for item in fused}) == limit
        scores = [item.score for item in fused[KEPT:]]  # before them may stand the best of a source
        assert scores == sorted(scores, reverse=True)


async def test_ties_are_ordered_by_id() -> None:
    tied = {"vector": listed("vector", "person"), "second": listed("second", "menu")}
    for method in (ReciprocalRankFusion(60), WeightedFusion()):
        fused = await method.fuse(request(tied, {"vector": 1.0, "second": 1.0}))
        assert [item.id for item in fused] == ["menu", "person"]


async def test_reciprocal_ranks_are_those_of_the_paper() -> None:
    fused = await ReciprocalRankFusion(60).fuse(
        request({"vector": listed("vector", "menu", "person"), "second": listed("second", "person")}, {"vector": 1.0, "second": 1.0})
    )
    assert {item.id: item.score for item in fused} == pytest.approx({"person": 1 / 62 + 1 / 61, "menu": 1 / 61})


async def test_each_item_says_how_much_of_it_came_from_which_source(tmp_path) -> None:
    fused = await (await fusion(tmp_path)).fuse(
        request({"vector": listed("vector", "menu", "incident"), "graph": listed("graph", "incident")}, {"vector": 1.0, "graph": 0.5})
    )
    shares = {item.id: item.shares for item in fused}
    assert shares["menu"] == pytest.approx({"vector": 1.0, "graph": 0.0})
    for item in ("incident", "supplier", "person"):
        assert sum(shares[item].values()) == pytest.approx(1.0)
        # A third of the vector source's seeds (trust 1) and all of the graph's (trust 1/2) stand there.
        assert shares[item]["graph"] == pytest.approx(0.5 / (0.5 + 1 / 3), abs=1e-6)
    alone = await (await fusion(tmp_path)).fuse(request({"vector": listed("vector", "menu")}, {"vector": 1.0}))
    assert [item.shares for item in alone] == [{}]
