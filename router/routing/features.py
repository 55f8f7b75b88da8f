"""What the probe says of a question and this corpus, as numbers: what learned policies decide on.

Words tell the style of a question, the corpus tells the need; so nothing here is learned from words. All values lie in 0..1. A value is
absent when its part of the probe could not be looked at.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from router.retrieval.base import LinkedName, Probe
from router.routing.rules import asks_relations
from router.types import Query

NEAREST = 10
"""Passages by meaning that are looked at."""
AGREEING = 5
"""First passages by meaning and by words that are compared."""
MANY_NAMES = 3
LONG = 30
"""Words; a longer question counts as this long."""
_NAME = re.compile(r"(?<![.?!]\s)(?<!^)\b[A-Z][\w'’-]*")
_WORD = re.compile(r"\w+")

Features = Mapping[str, float]

MEANINGS: Mapping[str, str] = {
    "near_first": "cosine of the nearest passage",
    "near_fifth": "cosine of the fifth passage",
    "near_mean": "mean cosine of the first ten",
    "near_gap": "how far the nearest passage stands out",
    "covered_best": "words of the question that one passage holds",
    "covered_any": "words of the question that some passage holds",
    "agreement": "meaning and words find the same passages",
    "title": "share of the question that is the name of a document's subject",
    "titles": "names of subjects in the question",
    "rare_title": "how rare the named subject is",
    "fact_name": "share of the question that names something with facts",
    "path": "a relation path answers the question",
    "path_best": "one relation path stands out",
    "unknown_name": "share of its names that are not known here",
    "recent": "asks for something recent",
    "relational": "asks how things relate",
    "length": "length of the question",
}
"""Every feature, in words."""


def features(query: Query, probe: Probe) -> Features:
    """The features of one question; those that could not be looked at are absent."""
    words = _WORD.findall(query.text)
    found = {
        "recent": float(probe.is_recent),
        "relational": float(asks_relations(query.text)),
        "length": min(len(words), LONG) / LONG,
    }
    if probe.nearest is not None:
        found |= _nearness([hit.cosine for hit in probe.nearest])
    if probe.coverage is not None:
        found |= {"covered_best": max(probe.coverage[:-1], default=0.0), "covered_any": max(probe.coverage[-1:], default=0.0)}
    if probe.nearest is not None and probe.words is not None:
        by_words = {hit.chunk_id for hit in probe.words[:AGREEING]}
        found["agreement"] = len({hit.chunk_id for hit in probe.nearest[:AGREEING]} & by_words) / AGREEING
    if probe.linked is not None:
        found |= _names(query.text, probe.linked)
    if probe.paths is not None:
        likely = [path.probability for path in probe.paths]
        found |= {"path": min(1.0, sum(likely)), "path_best": max(likely, default=0.0)}
    return found


def _nearness(cosines: Sequence[float]) -> dict[str, float]:
    first = [max(0.0, cosine) for cosine in cosines[:NEAREST]] or [0.0]
    return {
        "near_first": first[0],
        "near_fifth": first[min(4, len(first) - 1)],
        "near_mean": sum(first) / len(first),
        "near_gap": first[0] - first[-1],
    }


def _names(text: str, linked: Sequence[LinkedName]) -> dict[str, float]:
    subjects = [name for name in linked if name.about > 0]
    named = [name.surface for name in linked]
    capitalised = _NAME.findall(text)
    unknown = [word for word in capitalised if not any(word in surface for surface in named)]
    return {
        "title": max((name.about * name.probability * len(name.surface) for name in subjects), default=0.0) / max(1, len(text)),
        "titles": min(len({name.surface for name in subjects}), MANY_NAMES) / MANY_NAMES,
        "rare_title": max((name.about * name.probability * name.rarity for name in subjects), default=0.0),
        "fact_name": max((name.probability * len(name.surface) for name in linked if name.has_facts), default=0.0) / max(1, len(text)),
        "unknown_name": len(unknown) / len(capitalised) if capitalised else 0.0,
    }
