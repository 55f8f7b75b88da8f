"""What a group of passages is about: a title of its names, and the sentences that say most."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from router.generation.sentences import sentences
from router.models.base import Embedder
from router.retrieval.passages import passage_evidence
from router.settings import GraphSource
from router.stores.base import PassageStore
from router.stores.edges import Floats
from router.stores.relation import Numbers
from router.stores.snapshot import GraphSnapshot
from router.stores.vectors import PassageVectors
from router.types import Chunk, Matrix, Vector

CENTRAL_PASSAGES = 6
"""Passages of a group whose sentences may stand in its summary."""
SENTENCES_EACH = 4
"""The first ones of a passage."""
MAX_SENTENCES = 4
RELEVANCE = 0.7
"""Share of being central in the choice of a passage or a sentence; the rest is being unlike those already chosen."""
FIRST = 0.1
"""What the first sentence of a passage is worth beside its cosine with the centre; the n-th: an n-th of that."""
NAMING = 0.1
"""What it is worth that a sentence holds a telling name."""
TITLE_NAMES = 3
TELLING_NAMES = 10
_LEANS_ON_ANOTHER = re.compile(
    r"\W*(?:he|she|it|they|his|hers?|its|theirs?|him|them|this|that|these|those|such|but|and|or|so|however|therefore|also|then|both|yes|no)\b",
    re.IGNORECASE,
)
"""A sentence that begins so does not stand by itself."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What some passages are about."""

    id: str
    """Of exactly these passages."""
    title: str
    """The names that tell most about them."""
    text: str
    quoted: tuple[str, ...]
    """Id of the passage that each sentence was taken from."""
    passage_count: int
    documents: tuple[str, ...]
    """Ids of the passages' documents, the most central one first."""


@dataclass(frozen=True, slots=True)
class _Outline:
    """What a summary is written from."""

    names: tuple[str, ...]
    """The most telling first."""
    documents: tuple[str, ...]
    central: tuple[str, ...]
    """Ids of the passages that are quoted from."""
    centre: Vector


class SummaryWriter:
    """Chooses sentences; it writes none.

    The choice is that of MEAD (Radev et al., Centroid-based summarization of multiple documents, 2004): near the centre of the group,
    early in the passage, about its names; and unlike what was already chosen.

    Args:
        settings: How long a summary is.
        vectors: Vectors of the passages.
        passages: Their texts.
        embedder: Compares their sentences with the centre of the group.
    """

    def __init__(self, settings: GraphSource, vectors: PassageVectors, passages: PassageStore, embedder: Embedder) -> None:
        self._settings = settings
        self._vectors = vectors
        self._passages = passages
        self._embedder = embedder

    async def write(self, tenant: str, snapshot: GraphSnapshot, key: str, group: Numbers) -> Summary:
        """Summary of a group of passages (their nodes). Its text is empty where no sentence can be quoted.

        Raises:
            StoreUnavailable: The journal is down.
            ModelUnavailable: The embedding model failed.
            Overloaded: Its queue is full.
        """
        outline = await asyncio.to_thread(self._outline, tenant, snapshot, group)
        chunks = await self._passages.chunks(tenant, outline.central)
        quotable = await asyncio.to_thread(_sentences, outline, chunks)
        chosen = self._chosen(outline, quotable, await self._embedder.embed([item.text for item in quotable])) if quotable else []
        return Summary(
            key,
            ", ".join(outline.names[:TITLE_NAMES]),
            " ".join(item.text for item in chosen),
            tuple(item.chunk_id for item in chosen),
            len(group),
            outline.documents,
        )

    def _outline(self, tenant: str, snapshot: GraphSnapshot, group: Numbers) -> _Outline:
        chunks = [snapshot.chunks[node] for node in group.tolist()]
        vectors = self._vectors.vectors(tenant, [chunk.id for chunk in chunks])
        # What is tied to much of the group says more about it; what is tied to nothing in it (under a filter) still says something.
        centre = vectors.T @ (_inner_strength(snapshot, group) + 0.01).astype(np.float32)
        centre /= max(float(np.linalg.norm(centre)), 1e-9)
        nearness: Floats = (vectors @ centre).astype(np.float64)
        by_nearness = np.argsort(-nearness, kind="stable").tolist()
        return _Outline(
            _names(snapshot, group, [chunks[place].title for place in by_nearness]),
            tuple(dict.fromkeys(chunks[place].document_id for place in by_nearness)),
            tuple(chunks[place].id for place in _diverse(vectors, nearness, CENTRAL_PASSAGES)),
            centre,
        )

    def _chosen(self, outline: _Outline, quotable: list[_Sentence], vectors: Matrix) -> list[_Sentence]:
        worth: Floats = (vectors @ outline.centre).astype(np.float64) + [sentence.worth for sentence in quotable]
        chosen: list[_Sentence] = []
        left = self._settings.summary_chars
        for place in _diverse(vectors, worth, len(quotable)):
            if len(chosen) < MAX_SENTENCES and len(quotable[place].text) <= left:
                chosen.append(quotable[place])
                left -= len(quotable[place].text) + 1
        return chosen


@dataclass(frozen=True, slots=True)
class _Sentence:
    text: str
    chunk_id: str
    worth: float
    """Beside its nearness to the centre."""


def _sentences(outline: _Outline, chunks: Mapping[str, Chunk]) -> list[_Sentence]:
    """Sentences of the central passages that can stand by themselves, each once."""
    found: dict[str, _Sentence] = {}
    names = [name.casefold() for name in outline.names]
    for chunk_id in outline.central:
        if chunk_id not in chunks:
            continue
        for number, text in enumerate(sentences(passage_evidence(chunks[chunk_id]))[:SENTENCES_EACH], start=1):
            if not _LEANS_ON_ANOTHER.match(text):
                naming = NAMING * any(name in text.casefold() for name in names)
                found.setdefault(text, _Sentence(text, chunk_id, FIRST / number + naming))
    return list(found.values())


def _inner_strength(snapshot: GraphSnapshot, group: Numbers) -> Floats:
    """How strongly each passage is tied to others of the group, directly and by names that both hold."""
    rows = snapshot.weights[group]
    direct, named = rows[:, group], rows[:, len(snapshot.chunks) :]
    is_shared = np.asarray((named > 0).sum(axis=0)).ravel() > 1
    strength: Floats = np.asarray(direct.sum(axis=1)).ravel() + np.asarray(named @ is_shared).ravel()
    return strength


def _names(snapshot: GraphSnapshot, group: Numbers, titles: list[str]) -> tuple[str, ...]:
    """The names with the most weight in the group that are not as much at home elsewhere; then the titles of its passages."""
    first_entity = len(snapshot.chunks)
    inside = np.asarray(snapshot.weights[group][:, first_entity:].sum(axis=0)).ravel()
    entities = np.flatnonzero(inside)
    everywhere = np.asarray(snapshot.weights[entities + first_entity][:, :first_entity].sum(axis=1)).ravel()
    telling = inside[entities] ** 2 / everywhere
    named = sorted(zip((-telling).tolist(), (snapshot.entities[entity].name for entity in entities.tolist()), strict=True))
    chosen: list[str] = []
    for name in (*(name for _, name in named), *titles):
        if len(chosen) < TELLING_NAMES and name and not any(_is_within(name, other) or _is_within(other, name) for other in chosen):
            chosen.append(name)
    return tuple(chosen)


def _is_within(name: str, other: str) -> bool:
    return name.casefold() in other.casefold()


def _diverse(vectors: Matrix, worth: Floats, count: int) -> list[int]:
    """Rows that are worth much and unlike each other, in the order of their choice; ties by row.

    Source: Carbonell and Goldstein, The use of MMR, diversity-based reranking, SIGIR 1998.
    """
    likeness = np.zeros(len(vectors), dtype=np.float32)
    left = np.ones(len(vectors), dtype=bool)
    chosen: list[int] = []
    for _ in range(min(count, len(vectors))):
        best = int(np.where(left, RELEVANCE * worth - (1.0 - RELEVANCE) * likeness, -np.inf).argmax())
        chosen.append(best)
        left[best] = False
        likeness = np.maximum(likeness, vectors @ vectors[best])
    return chosen
