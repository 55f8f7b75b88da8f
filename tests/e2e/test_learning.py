"""Learning from use on the real service: a promotion is taken up while it runs; shadows, arms and exploration stand in the log."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from router.routing.versions import SHIPPED, Comparison, PolicyVersions
from tests.e2e.service import Service
from tests.unit.routing.weights import sure_of

QUESTION = "What does the handbook say about travel?"
SOURCES = {"vector": {"kind": "vector"}, "graph": {"kind": "graph"}}


async def test_a_running_service_learns_nothing_by_itself_and_takes_up_what_is_promoted(tmp_path) -> None:
    versions = PolicyVersions(tmp_path / "data")
    versions.add("graphs", sure_of("graphs", "graph"))
    versions.add("texts", sure_of("texts", "vector"))
    routing = {
        "shadow": ["learned@texts", "rules"],
        "experiment": {"name": "trial", "arms": {"learned@texts": 0.5, "learned@graphs": 0.5}},
        "exploration": 0.2,
    }
    service = Service(tmp_path, sources=SOURCES, routing=routing, learning={"log_questions": True})
    await service.start()
    try:
        async with service.client() as client:
            before = (await client.route(QUESTION)).version
            _promote(versions, "graphs")
            after = [await client.retrieve(QUESTION) for _ in range(40)]
            keyed = [await client.retrieve(QUESTION, experiment_key=f"user-{number}") for number in range(12)]
            neighbours = await client.route(QUESTION, policy="knn")
            decisions = [decision async for decision in client.list_decisions()]
    finally:
        await service.stop()
    assert (before, {one.decision.version for one in after}) == ("1", {"graphs"})
    taken = [line for line in map(json.loads, service.log.read_text().splitlines()) if line.get("event") == "live_version_taken_up"]
    assert [(line["version"], line["before"]) for line in taken] == [("graphs", "1")]
    assert (neighbours.policy, neighbours.version) == ("knn", "graphs")

    explored = [one for one in decisions if not one.arm]
    assert {one.policy for one in explored} == {"bandit"}
    assert {one.propensity for one in explored if one.chosen == ("graph",)} == {0.8}
    assert {round(one.propensity, 9) for one in explored if one.chosen != ("graph",)} <= {0.1}
    assert {(one.arm, one.chosen, one.propensity) for one in decisions if one.arm} == {
        ("learned@texts", ("vector",), 1.0),
        ("learned@graphs", ("graph",), 1.0),
    }
    assert [reply.decision.arm for reply in keyed] == [one.arm for one in decisions if one.arm]
    shadowed = [{shadow.policy: shadow for shadow in one.shadows} for one in decisions if one.shadows]
    assert shadowed
    for shadows in shadowed:
        assert (shadows["learned@texts"].version, shadows["learned@texts"].chosen) == ("texts", ("vector",))
        assert shadows.keys() == {"learned@texts", "rules"}


def _promote(versions: PolicyVersions, version: str) -> None:
    shas = {"sha256": versions.sha256(version), "against_sha256": versions.sha256(SHIPPED)}
    interval = {"by": "questions", "questions": 100, "mean": 0.1, "low": 0.05, "high": 0.15}
    versions.keep_comparison(Comparison(version=version, against=SHIPPED, made_at=datetime.now(UTC), **shas, **interval))
    versions.promote(version)
