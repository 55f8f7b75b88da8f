from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from router.settings import JournalSettings
from router.stores.fingerprints import MAX_DISTANCE, NearDuplicates
from router.stores.journal import open_journal

BITS = 256
# Few bits set, so that many are near one another and some are not.
FINGERPRINTS = st.sets(st.integers(0, 2 * MAX_DISTANCE), max_size=2 * MAX_DISTANCE).map(
    lambda bits: sum(1 << bit for bit in bits).to_bytes(BITS // 8)
)
NAMES = st.sampled_from("abcdefgh")


def distance(one: bytes, other: bytes) -> int:
    return (int.from_bytes(one) ^ int.from_bytes(other)).bit_count()


@given(st.lists(st.tuples(NAMES, st.none() | st.just(b"") | FINGERPRINTS), max_size=40))
def test_the_near_ones_are_those_that_comparing_all_finds(steps: list[tuple[str, bytes | None]]) -> None:
    near, known = NearDuplicates(), {}
    for name, value in steps:
        if value is None:
            near.remove("t", name)
            known.pop(name, None)
        else:
            near.put("t", {name: value})
            known[name] = value
    for name in "abcdefgh":
        own = known.get(name)
        expected = sorted((distance(own, value), other) for other, value in known.items() if other != name and value) if own else []
        assert near.of("t", name) == tuple(other for bits, other in expected if bits <= MAX_DISTANCE)
        assert near.of("another tenant", name) == ()


def test_a_table_that_has_grown_finds_all() -> None:
    near = NearDuplicates()
    near.put("t", {f"{number:03}": bytes(BITS // 8) for number in range(200)})
    assert near.of("t", "007") == tuple(f"{number:03}" for number in range(200) if number != 7)


async def test_they_are_kept_by_tenant_over_a_restart(journal_settings: JournalSettings, tmp_path: Path) -> None:
    journal = await open_journal(journal_settings, tmp_path)
    await journal.fingerprints.keep("t", {"a": b"1", "b": b""})
    await journal.fingerprints.keep("t", {"a": b"2"})
    await journal.fingerprints.keep("t", {})
    await journal.fingerprints.keep("u", {"a": b"3"})
    await journal.aclose()
    journal = await open_journal(journal_settings, tmp_path)
    assert await journal.fingerprints.all("t") == {"a": b"2", "b": b""}
    await journal.fingerprints.forget("t", "a")
    assert await journal.fingerprints.all("t") == {"b": b""}
    assert await journal.fingerprints.all("u") == {"a": b"3"}
    await journal.aclose()


async def test_a_journal_of_a_release_without_them_opens_and_has_none(tmp_path: Path) -> None:
    await (await open_journal(JournalSettings(), tmp_path)).aclose()
    with contextlib.closing(sqlite3.connect(tmp_path / "journal.db")) as database:
        database.execute("DROP TABLE picture_fingerprints")
        database.commit()
    journal = await open_journal(JournalSettings(), tmp_path)
    assert await journal.fingerprints.all("t") == {}
    await journal.fingerprints.keep("t", {"a": b"1"})
    assert await journal.fingerprints.all("t") == {"a": b"1"}
    await journal.aclose()
