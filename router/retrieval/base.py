"""The seam of a source: one method. `run.py` wraps any retriever with deadline, timing and error -> SourceReport."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from router.stores.base import Scored
from router.types import Caller, Evidence, Query, Vector

if TYPE_CHECKING:
    from router.retrieval.relation_paths import RelationPath


@dataclass(frozen=True, slots=True)
class LinkedName:
    """An entity that the question names, with the words that name it and the probability that they mean it."""

    entity_id: str
    name: str
    surface: str
    probability: float
    rarity: float = 1.0
    """How much the name says, 0 to 1 (`GraphSnapshot.rarity`)."""
    about: float = 0.0
    """How sure it is that some passage is about the entity: 1 for a title."""
    has_facts: bool = False
    """Whether structured facts speak of it."""
    is_shown: bool = False
    """Whether a picture of the question shows it; then no word names it, and the surface is the words that point at the picture, if any."""


@dataclass(frozen=True, slots=True)
class Nearest:
    """One hit of the probe's vector search."""

    chunk_id: str
    cosine: float


@dataclass(frozen=True, slots=True)
class Probe:
    """The cheap look at this corpus that routing decides on and the retrievers reuse."""

    vector: Vector
    """The one embedding of the question's words, or of its pictures when it has no words."""
    nearest: tuple[Nearest, ...] | None
    """Nearest passages under the query's filter over all collections; None when the vector store did not answer."""
    linked: tuple[LinkedName, ...] | None
    """Names of the graph that stand in the question, longest first; None when the graph cannot be read."""
    is_recent: bool
    """Whether the question asks for something current (recency words, or a date after the corpus's newest)."""
    unnamed: Vector | asyncio.Future[Vector] | None = None
    """Embedding of the question without the names in it, or who computes it; None when it names nothing. No policy looks at it."""
    words: tuple[Scored, ...] | None = None
    """Best passages by BM25 under the query's filter over all collections; None without BM25."""
    coverage: tuple[float, ...] | None = None
    """Of each of the first passages by meaning and by words, the share of the question's words that stand in it, 0 to 1, rare words
    counting more; after them the share that stands in any. None without BM25 in the process; empty for a question without words."""
    paths: tuple[RelationPath, ...] | None = None
    """Relation paths that the question asks for, likeliest first; None when the graph cannot be read."""
    picture_vector: Vector | None = None
    """Embedding of the question's pictures; None when it has none."""
    pictures: tuple[Nearest, ...] = ()
    """Passages of pictures that are alike enough to be what the question's pictures show, the likest first."""
    picture_query: Vector | None = None
    """What pictures of the corpus are compared with: the question's words, its pictures, or both together, in the space of the pictures.
    None where none are to be looked for."""

    async def asked(self) -> Vector:
        """What is asked about the names: the names say where to begin, and this what to look for from there.

        Raises:
            ModelUnavailable: It was still to be computed, and the model failed.
            Overloaded: So too.
        """
        if self.unnamed is None:
            return self.vector
        # Shielded: several wait for it, and one that leaves must not take it from the others.
        return await asyncio.shield(self.unnamed) if isinstance(self.unnamed, asyncio.Future) else self.unnamed


@dataclass(frozen=True, slots=True)
class RetrievalRequest:
    query: Query
    probe: Probe
    caller: Caller
    limit: int


@dataclass(frozen=True, slots=True)
class Retrieved:
    """What a source found.

    `seeds` is where the walk of the fusion starts for this source: id of evidence, chunk or entity -> weight >= 0, any sum.
    Empty means: the evidence's own scores, normalised. `links` ties items of this query to nodes of the graph
    (evidence id -> entity ids), for items that the graph does not hold, such as web pages and relation paths.
    """

    evidence: tuple[Evidence, ...]
    seeds: Mapping[str, float] = field(default_factory=dict)
    links: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    degraded: str = ""
    """Why the result may be incomplete or old; empty when all is well."""


class Retriever(Protocol):
    async def search(self, request: RetrievalRequest) -> Retrieved:
        """Find evidence, best first.

        Raises:
            RouterError: The source cannot serve; never an empty result in its place.
        """
