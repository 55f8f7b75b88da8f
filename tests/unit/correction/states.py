"""What the tests of correction share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from router.correction.base import Lookup, State, Verdict
from router.retrieval.base import Probe
from router.routing.base import SourceProfile
from router.types import Caller, Deadline, Evidence, EvidenceKind, Provenance, Query, Route, RouteDecision, TextPart

QUESTION = "Who maintains the pump?"
PROBE = Probe(np.zeros(2, np.float32), (), (), is_recent=False)
PRICES = {"vector": 0.02, "graph": 0.02, "web": 0.2}


def item(text: str, kind: EvidenceKind = EvidenceKind.PASSAGE, identity: str = "") -> Evidence:
    return Evidence(identity or text, kind, "", text, (Provenance("vector", 1, 1.0, "hybrid"),))


def state(
    probabilities: Mapping[str, float],
    asked: Sequence[str],
    carried: float,
    *,
    evidence: Sequence[Evidence] = (),
    made: Sequence[Lookup] = (),
) -> State:
    routes = tuple(Route(name, name in asked, probability, "", cost=PRICES[name]) for name, probability in probabilities.items())
    profiles = tuple(SourceProfile(name, name, "", PRICES[name]) for name in probabilities)
    lookups = frozenset(made or [Lookup(QUESTION, name) for name in asked])
    decision = RouteDecision("learned", routes, "")
    caller, verdict = Caller("acme", "r", Deadline.after(30)), Verdict(carried, "")
    return State(Query((TextPart(QUESTION),)), PROBE, caller, decision, profiles, evidence, verdict, lookups)
