"""What the tests of routing share: sources, a caller, probes, and the hand-written questions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from router.retrieval.base import LinkedName, Nearest, Probe
from router.routing.base import SourceProfile
from router.routing.recency import asks_for_recent
from router.settings import GraphSource, VectorSource, WebSource
from router.types import Caller, Deadline, Query, TextPart

WRITTEN_ON = date(2026, 11, 23)
SOURCES = tuple(
    SourceProfile(kind, kind, settings.description, settings.cost)
    for kind, settings in (("vector", VectorSource()), ("graph", GraphSource()), ("web", WebSource()))
)


def question(text: str) -> Query:
    return Query((TextPart(text),))


def caller(seconds: float = 60.0) -> Caller:
    return Caller("acme", "request-1", Deadline.after(seconds))


def probe(linked: Sequence[str] | None = (), cosine: float | None = 0.6, *, recent: bool = False) -> Probe:
    """`cosine` None: the vector store did not answer; -1: it is empty. `linked` None: the graph cannot be read."""
    nearest = None if cosine is None else () if cosine == -1 else (Nearest("c1", cosine), Nearest("c2", cosine - 0.1))
    names = None if linked is None else tuple(LinkedName(name.lower(), name, name, 1.0) for name in linked)
    return Probe(np.zeros(4, np.float32), nearest, names, recent)


def hand_written(name: str) -> list[dict[str, Any]]:
    """Questions with what a probe of an invented corpus would see, and the accepted sets of sources.

    `queries`: 40 that were at hand while rules and prompt were written. `queries_unseen`: 24 that were written afterwards.
    """
    lines = (Path(__file__).parent / "data" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def probe_of(row: dict[str, Any]) -> Probe:
    return probe(row["linked"], row["cosine"], recent=asks_for_recent(row["text"], WRITTEN_ON))
