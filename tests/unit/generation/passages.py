"""What the tests of generation share."""

from __future__ import annotations

from collections.abc import Sequence

from router.types import (
    Caller,
    Deadline,
    Evidence,
    EvidenceKind,
    PathStep,
    Provenance,
    Query,
    Retrieval,
    Route,
    RouteDecision,
    TextPart,
    Timings,
    Turn,
)


def passage(identity: str, title: str, text: str, **fields) -> Evidence:
    return Evidence(identity, EvidenceKind.PASSAGE, title, text, (Provenance("vector", 1, 0.5, "cosine"),), **fields)


def fact(identity: str, text: str, *steps: PathStep) -> Evidence:
    return Evidence(identity, EvidenceKind.FACT, steps[0].subject, text, (Provenance("graph", 1, 0.5, "walk", steps),))


def question(text: str, *history: Turn) -> Query:
    return Query((TextPart(text),), history)


def retrieval(evidence: Sequence[Evidence], *, asked: bool = True) -> Retrieval:
    decision = RouteDecision("rules", (Route("vector", asked, 0.9, "because"),), "because")
    return Retrieval(decision, tuple(evidence), (), Timings({}, 0.0))


def caller(seconds: float = 60.0) -> Caller:
    return Caller("acme", "request-1", Deadline.after(seconds))


FOUNDRY = passage(
    "p1",
    "Aster Foundry",
    "# Aster Foundry\n\nAster Foundry casts pump housings in Halden. It was founded by Jonas Weld in 1987.[4] "
    "The canteen serves soup on Fridays.",
)
WELD = passage("p2", "Jonas Weld", "Jonas Weld, the founder of a foundry, was born in Tromsø. He likes sailing in the winter.")
SOUP = passage("p3", "Soup", "Leek soup is made of leeks and potatoes. It is served hot.")
