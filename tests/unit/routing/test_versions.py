"""Versions of weights on a real folder: what may go live, what is refused, and that a running policy follows."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from structlog.testing import capture_logs

from router.errors import ConfigurationError, Conflict, InvalidInput, NotFound
from router.routing.learned import LearnedPolicy
from router.routing.registry import open_policies
from router.routing.versions import SHIPPED, Comparison, LiveLearnedPolicy, PolicyVersions
from router.settings import RoutingSettings
from tests.unit.routing.questions import SOURCES, caller, probe, question
from tests.unit.routing.weights import sure_of


@pytest.fixture
def versions(tmp_path) -> PolicyVersions:
    kept = PolicyVersions(tmp_path)
    kept.add("a", sure_of("a", "web"))
    kept.add("b", sure_of("b", "graph"))
    return kept


def compared(versions: PolicyVersions, version: str, against: str, low: float = 0.01, doubts: tuple[str, ...] = ()) -> Comparison:
    found = Comparison(
        version=version,
        sha256=versions.sha256(version),
        against=against,
        against_sha256=versions.sha256(against),
        by="questions",
        questions=100,
        mean=low + 0.01,
        low=low,
        high=low + 0.02,
        doubts=doubts,
        made_at=datetime.now(UTC),
    )
    versions.keep_comparison(found)
    return found


def promoted(versions: PolicyVersions, version: str) -> None:
    compared(versions, version, versions.manifest().live)
    versions.promote(version)


async def chosen(policy) -> tuple[str, tuple[str, ...]]:
    decision = await policy.decide(question("Who keeps the lantern?"), probe(), SOURCES, caller())
    return decision.version, decision.selected


def test_without_a_promotion_the_shipped_weights_are_live(tmp_path) -> None:
    versions = PolicyVersions(tmp_path)
    assert versions.manifest().live == SHIPPED
    assert versions.live_model().version == "1"
    assert list(tmp_path.iterdir()) == []  # looking makes nothing
    with pytest.raises(Conflict) as caught:
        versions.rollback()
    assert caught.value.reason == "NOTHING_PROMOTED"


def test_promotions_are_kept_and_taken_back_one_by_one(versions) -> None:
    promoted(versions, "a")
    promoted(versions, "b")
    assert (versions.manifest().live, versions.live_model().version) == ("b", "b")
    assert [versions.rollback(), versions.rollback()] == ["a", SHIPPED]
    assert [(step.action, step.version) for step in versions.manifest().history] == [
        *(("promote", "a"), ("promote", "b")),
        *(("rollback", "a"), ("rollback", SHIPPED)),
    ]


def test_only_what_is_surely_better_than_what_is_live_is_promoted(versions) -> None:
    def refused(version: str) -> Conflict:
        with pytest.raises(Conflict) as caught:
            versions.promote(version)
        return caught.value

    assert refused("a").reason == "NOT_COMPARED"
    compared(versions, "a", SHIPPED, low=0.0)
    unsure = refused("a")
    assert (unsure.reason, "+0.0100 [+0.0000, +0.0200]" in unsure.message) == ("NOT_SURELY_BETTER", True)
    compared(versions, "a", SHIPPED, doubts=("a single decision makes up 40 % of the weight",))
    assert "a single decision" in refused("a").message
    compared(versions, "a", "b")
    assert refused("a").reason == "NOT_COMPARED"
    compared(versions, "b", SHIPPED)
    promoted(versions, "a")
    assert refused("b").reason == "NOT_COMPARED"  # it was compared with what was live before
    assert refused("a").reason == "ALREADY_LIVE"
    with pytest.raises(InvalidInput):
        versions.promote(SHIPPED)
    with pytest.raises(NotFound, match=r"there are \['shipped', 'a', 'b'\]"):
        versions.promote("c")
    assert versions.manifest().promoted == ("a",)


def test_a_comparison_of_other_weights_does_not_count(versions) -> None:
    found = compared(versions, "a", SHIPPED)
    versions.keep_comparison(found.model_copy(update={"against_sha256": "0" * 64}))
    with pytest.raises(Conflict) as caught:
        versions.promote("a")
    assert caught.value.reason == "NOT_COMPARED"


def test_weights_that_were_changed_are_refused(versions, tmp_path) -> None:
    compared(versions, "a", SHIPPED)
    path = tmp_path / "policies" / "learned" / "a.json"
    path.write_text(path.read_text().replace("3.0", "2.0"))
    for use in (versions.open, versions.promote):
        with pytest.raises(Conflict, match="sha256") as caught:
            use("a")
        assert caught.value.reason == "VERSION_CHANGED"
    path.unlink()
    with pytest.raises(Conflict):
        versions.open("a")


@pytest.mark.parametrize("name", ["", "../a", "a/b", ".a", "shipped", "1", "x" * 64, "a b"])
def test_a_name_that_is_none_is_refused(versions, name: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        versions.add(name, sure_of("x", "web"))
    assert caught.value.field == "version"


def test_a_version_is_never_written_over(versions) -> None:
    with pytest.raises(Conflict) as caught:
        versions.add("a", sure_of("a", "vector"))
    assert caught.value.reason == "VERSION_EXISTS"
    with pytest.raises(ConfigurationError):
        versions.add("c", "{}")
    assert set(versions.manifest().versions) == {"a", "b"}


def test_a_manifest_that_is_none_is_told(versions, tmp_path) -> None:
    (tmp_path / "policies" / "learned.json").write_text('{"versions": ')
    with pytest.raises(Conflict, match=r"learned\.json") as caught:
        versions.manifest()
    assert caught.value.reason == "MANIFEST_UNREADABLE"


def test_versions_that_are_added_at_once_are_all_kept(tmp_path) -> None:
    names = [f"v{number}" for number in range(12)]
    threads = [threading.Thread(target=PolicyVersions(tmp_path).add, args=(name, sure_of(name, "web"))) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(PolicyVersions(tmp_path).manifest().versions) == set(names)
    assert not list(tmp_path.rglob("*.unfinished"))


async def test_a_running_policy_takes_a_promotion_up_and_a_rollback_too(versions) -> None:
    policy = LiveLearnedPolicy(versions)
    before = await chosen(policy)
    with capture_logs() as lines:
        promoted(versions, "a")
        assert await chosen(policy) == ("a", ("web",))
        assert await chosen(policy) == ("a", ("web",))
        versions.rollback()
        assert await chosen(policy) == before
    taken = [(line["event"], line["version"], line["before"]) for line in lines]
    assert taken == [("live_version_taken_up", "a", "1"), ("live_version_taken_up", "1", "a")]


async def test_weights_that_cannot_be_taken_up_leave_the_ones_before(versions, tmp_path) -> None:
    promoted(versions, "a")
    policy = LiveLearnedPolicy(versions)
    promoted(versions, "b")
    (tmp_path / "policies" / "learned" / "b.json").write_text("{}")
    with capture_logs() as lines:
        assert [await chosen(policy), await chosen(policy)] == [("a", ("web",))] * 2
    assert [(line["event"], line["reason"], line["kept"]) for line in lines] == [("live_version_refused", "VERSION_CHANGED", "a")]
    with pytest.raises(Conflict):  # a start with them is refused
        LiveLearnedPolicy(versions)


@dataclass(frozen=True)
class Given:
    """What the setting says, and what decides."""

    model: bool
    version: str


@pytest.mark.parametrize("given", [Given(model=False, version="a"), Given(model=True, version="b")])
async def test_the_setting_goes_before_what_is_promoted(versions, tmp_path, given: Given) -> None:
    promoted(versions, "a")
    path = tmp_path / "policies" / "learned" / "b.json" if given.model else None
    policy, _ = open_policies(RoutingSettings(model=path), None, versions)["learned"]
    assert isinstance(policy, LearnedPolicy)
    assert (await chosen(policy))[0] == given.version
