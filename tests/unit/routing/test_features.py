"""What policies see of a question."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from router.retrieval.base import LinkedName, Nearest, Probe
from router.routing.features import MEANINGS, features
from router.stores.base import Scored
from tests.unit.routing.questions import question

shares = st.floats(0, 1)


def test_all_is_seen_of_a_whole_probe() -> None:
    nearest = tuple(Nearest(str(number), 0.8 - number / 20) for number in range(12))
    linked = (
        LinkedName("e1", "Otter Pump", "Otter Pump", 1.0, rarity=0.9, about=1.0),
        LinkedName("e2", "1962", "1962", 1.0, has_facts=True),
    )
    words = (Scored("0", 9.0), Scored("x", 8.0), Scored("2", 7.0))
    probe = Probe(np.zeros(4, np.float32), nearest, linked, is_recent=True, words=words, coverage=(0.5, 0.25, 0.75), paths=())
    text = "Who built the Otter Pump for Nordhelm in 1962?"
    seen = features(question(text), probe)
    assert seen.keys() == MEANINGS.keys()
    assert seen["near_first"] == 0.8
    assert abs(seen["near_gap"] - 0.45) < 1e-9
    assert (seen["covered_best"], seen["covered_any"]) == (0.5, 0.75)
    assert seen["agreement"] == 2 / 5
    assert seen["title"] == len("Otter Pump") / len(text)
    assert (seen["titles"], seen["rare_title"]) == (1 / 3, 0.9)
    assert seen["fact_name"] == 4 / len(text)
    assert seen["unknown_name"] == 1 / 3
    assert (seen["recent"], seen["path"], seen["path_best"]) == (1.0, 0.0, 0.0)


def test_what_could_not_be_looked_at_is_absent() -> None:
    seen = features(question("Who built it?"), Probe(np.zeros(4, np.float32), None, None, is_recent=False))
    assert seen.keys() == {"recent", "relational", "length"}


@given(
    st.text(max_size=60),
    st.lists(st.floats(-1, 1), max_size=20),
    st.lists(st.tuples(st.text(max_size=10), shares, shares, shares, st.booleans()), max_size=4),
    st.lists(shares, max_size=7),
)
def test_every_feature_lies_between_0_and_1(text: str, cosines: list[float], names, coverage: list[float]) -> None:
    linked = tuple(LinkedName(str(n), s, text[:n], p, rarity=r, about=a, has_facts=f) for n, (s, p, r, a, f) in enumerate(names))
    nearest = tuple(Nearest(str(n), cosine) for n, cosine in enumerate(sorted(cosines, reverse=True)))
    probe = Probe(np.zeros(4, np.float32), nearest, linked, is_recent=False, words=(), coverage=tuple(coverage), paths=())
    seen = features(question(text or "?"), probe)
    assert all(0.0 <= value <= 1.0 for name, value in seen.items() if name != "near_gap")
    assert -1e-9 <= seen["near_gap"] <= 1.0
