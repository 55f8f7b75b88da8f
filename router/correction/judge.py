"""The default judge: a small logistic model over what is known of question and evidence. Weights in judge.json, no model to ask."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import resources

from bm25s.stopwords import STOPWORDS_EN

from router.correction.base import Verdict
from router.names import folded
from router.retrieval.base import Probe
from router.stems import stem
from router.types import Evidence, EvidenceKind, Query

WEIGHTS = "judge.json"
JUDGED = 5
"""Items of evidence that are looked at."""
_STOP_WORDS = frozenset(STOPWORDS_EN)

MEANINGS: Mapping[str, str] = {
    "held_best": "words of the question in one item",
    "held_any": "words of the question in any item",
    "near": "cosine of the nearest passage",
    "fact": "a relation path that the question asks for is among the evidence",
    "fact_only": "facts are all the evidence",
    "page": "share of pages of the web",
    "page_held": "words of the question in one page of the web",
    "names_held": "names in the question that the evidence speaks of",
    "nothing": "there is no evidence",
}
"""Every feature, in words."""


class EvidenceJudge:
    """Judges by what the first items of evidence hold of the question. `scripts/train_judge` fits it on training sets."""

    def judge(self, query: Query, probe: Probe, evidence: Sequence[Evidence]) -> Verdict:
        weights = _weights()
        seen = judged(query, probe, evidence)
        terms = {name: weights[name] * value for name, value in seen.items()}
        probability = 1.0 / (1.0 + math.exp(-(weights["intercept"] + sum(terms.values()))))
        least = min(terms, key=lambda name: terms[name] - max(0.0, weights[name]))
        return Verdict(probability, f"{MEANINGS[least]}: {seen[least]:.2f}")


def judged(query: Query, probe: Probe, evidence: Sequence[Evidence]) -> dict[str, float]:
    """What the judge looks at, each 0 to 1."""
    first = evidence[:JUDGED]
    wanted = _stems(query.text)
    held = [_stems(f"{item.title} {item.text}") & wanted for item in first]
    share = [len(words) / max(1, len(wanted)) for words in held]
    together = set[str]().union(*held)
    text = folded(" ".join(f"{item.title} {item.text}" for item in first)).casefold()
    names = {name.surface for name in probe.linked or () if not name.is_shown}
    pages = [number for number, item in enumerate(first) if item.kind is EvidenceKind.WEB_PAGE]
    asked_for = {path.id: path.probability for path in probe.paths or ()}
    return {
        "held_best": max(share, default=0.0),
        "held_any": len(together) / max(1, len(wanted)),
        "near": max((hit.cosine for hit in probe.nearest or ()), default=0.0),
        "fact": max((asked_for.get(item.id, 0.0) for item in first), default=0.0),
        "fact_only": float(bool(first) and all(item.kind is EvidenceKind.FACT for item in first)),
        "page": len(pages) / JUDGED,
        "page_held": max((share[number] for number in pages), default=0.0),
        "names_held": sum(folded(name).casefold() in text for name in names) / len(names) if names else 0.0,
        "nothing": float(not first),
    }


def _stems(text: str) -> set[str]:
    return {stem(word) for word in _words(text)}


def _words(text: str) -> set[str]:
    return {word for word in "".join(c if c.isalnum() else " " for c in folded(text).casefold()).split() if word not in _STOP_WORDS}


@lru_cache(maxsize=1)
def _weights() -> Mapping[str, float]:
    weights: Mapping[str, float] = json.loads(resources.files("router.correction").joinpath(WEIGHTS).read_text(encoding="utf-8"))["weights"]
    return weights
