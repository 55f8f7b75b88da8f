"""The judge: readable weights, and more of the question held means more probably an answer."""

from __future__ import annotations

import numpy as np

from router.correction.judge import MEANINGS, EvidenceJudge, _weights, judged
from router.retrieval.base import LinkedName, Nearest, Probe
from router.types import EvidenceKind, Query, TextPart
from tests.unit.correction.states import PROBE, item


def question(text: str) -> Query:
    return Query((TextPart(text),))


def test_every_feature_has_a_weight_and_a_meaning() -> None:
    seen = judged(question("Who maintains the pump?"), PROBE, [])
    assert seen.keys() == MEANINGS.keys()
    assert _weights().keys() == {"intercept", *MEANINGS}
    assert all(0.0 <= value <= 1.0 for value in seen.values())


def test_what_is_looked_at() -> None:
    names = (LinkedName("e1", "Otter Pump", "Otter Pump", 1.0), LinkedName("e2", "Net Loft", "Net Loft", 1.0))
    probe = Probe(np.zeros(2, np.float32), (Nearest("c", 0.6),), names, is_recent=False)
    evidence = [
        item("The Otter Pump is maintained by Team Sluice."),
        item("Prices of pumps rise.", EvidenceKind.WEB_PAGE),
        *(item(f"Filler {number}.") for number in range(5)),
    ]
    seen = judged(question("Who maintains the Otter Pump at the Net Loft?"), probe, evidence)
    assert seen["held_best"] == 3 / 6  # maintain, otter and pump, of who, net and loft too
    assert seen["held_any"] == 3 / 6
    assert seen["near"] == 0.6
    assert seen["page"] == 1 / 5
    assert seen["page_held"] == 1 / 6
    assert seen["names_held"] == 1 / 2
    assert seen["nothing"] == 0.0


def test_evidence_that_holds_the_question_is_believed_more_than_none_or_other() -> None:
    asked = question("Who maintains the Otter Pump?")
    holding = EvidenceJudge().judge(asked, PROBE, [item("The Otter Pump is maintained by Team Sluice.")])
    other = EvidenceJudge().judge(asked, PROBE, [item("Lunch is at noon.")])
    nothing = EvidenceJudge().judge(asked, PROBE, [])
    assert holding.probability > other.probability
    assert other.probability >= nothing.probability
    assert holding.reason
