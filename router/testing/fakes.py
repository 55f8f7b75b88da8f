"""Small whole implementations of the stores and models, in memory and without weights: for tests of what stands above them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from router.errors import StoreUnavailable
from router.filters import matches
from router.models.base import Recognised, RecognisedName, RecognisedRelation
from router.stores.base import GraphBatch, GraphContent, GraphNodeChunk, Scored, Subject
from router.types import NO_FILTER, Chunk, Entity, Fact, Filter, Matrix, Mention, PictureLabel, Pixels, Span, Vector


class Switch:
    """A store that can be taken down: while `down`, every call raises StoreUnavailable."""

    def __init__(self) -> None:
        self.down = False

    def _check(self) -> None:
        if self.down:
            raise StoreUnavailable("the store is down")

    async def ping(self) -> None:
        self._check()

    async def aclose(self) -> None:
        pass


class InMemoryVectorStore(Switch):
    """A VectorStore that compares with every vector."""

    def __init__(self) -> None:
        super().__init__()
        self._rows: dict[tuple[str, str], tuple[Chunk, Vector]] = {}

    async def upsert(self, tenant: str, chunks: Sequence[Chunk], vectors: Matrix) -> None:
        self._check()
        for chunk, vector in zip(chunks, vectors, strict=True):
            self._rows[tenant, chunk.id] = (chunk, vector)

    async def search(
        self, tenant: str, vector: Vector, limit: int, *, collection: str | None = None, where: Filter = NO_FILTER
    ) -> list[Scored]:
        self._check()
        scored = [
            Scored(chunk.id, float(row @ vector))
            for (owner, _), (chunk, row) in self._rows.items()
            if owner == tenant and collection in (None, chunk.collection) and matches(where, chunk.metadata)
        ]
        return sorted(scored, key=lambda hit: (-hit.score, hit.chunk_id))[:limit]

    async def vectors(self, tenant: str, chunk_ids: Sequence[str]) -> dict[str, Vector]:
        self._check()
        return {chunk_id: self._rows[tenant, chunk_id][1] for chunk_id in chunk_ids if (tenant, chunk_id) in self._rows}

    async def delete_document(self, tenant: str, document_id: str) -> None:
        self._check()
        gone = [key for key, (chunk, _) in self._rows.items() if key[0] == tenant and chunk.document_id == document_id]
        for key in gone:
            del self._rows[key]

    async def count(self, tenant: str) -> int:
        self._check()
        return sum(owner == tenant for owner, _ in self._rows)


@dataclass
class _Graph:
    chunks: dict[str, GraphNodeChunk] = field(default_factory=dict)
    entities: dict[str, Entity] = field(default_factory=dict)
    subjects: dict[tuple[str, str], Subject] = field(default_factory=dict)
    """By entity and chunk."""
    mentions: set[Mention] = field(default_factory=set)
    facts: dict[str, Fact] = field(default_factory=dict)


class InMemoryGraphStore(Switch):
    def __init__(self) -> None:
        super().__init__()
        self._graphs: dict[str, _Graph] = {}

    async def upsert(self, tenant: str, batch: GraphBatch) -> None:
        self._check()
        graph = self._graphs.setdefault(tenant, _Graph())
        for chunk in batch.chunks:
            graph.chunks[chunk.id] = GraphNodeChunk(chunk.id, chunk.document_id, chunk.collection, chunk.ordinal, chunk.label)
        graph.entities.update({entity.id: entity for entity in batch.entities})
        graph.subjects.update({(subject.entity_id, subject.chunk_id): subject for subject in batch.subjects})
        graph.mentions.update(batch.mentions)
        graph.facts.update({fact.id: fact for fact in batch.facts})

    async def delete_document(self, tenant: str, document_id: str) -> None:
        self._check()
        graph = self._graphs.get(tenant, _Graph())
        gone = {chunk.id for chunk in graph.chunks.values() if chunk.document_id == document_id}
        graph.chunks = {key: chunk for key, chunk in graph.chunks.items() if key not in gone}
        graph.subjects = {key: subject for key, subject in graph.subjects.items() if subject.chunk_id not in gone}
        graph.mentions = {mention for mention in graph.mentions if mention.chunk_id not in gone}
        graph.facts = {key: fact for key, fact in graph.facts.items() if fact.document_id != document_id}
        named = {subject.entity_id for subject in graph.subjects.values()} | {mention.entity_id for mention in graph.mentions}
        named.update(end for fact in graph.facts.values() for end in (fact.subject_id, fact.object_id))
        graph.entities = {key: entity for key, entity in graph.entities.items() if key in named}

    async def load(self, tenant: str) -> GraphContent:
        self._check()
        graph = self._graphs.get(tenant, _Graph())
        return GraphContent(
            chunks=tuple(graph.chunks[key] for key in sorted(graph.chunks)),
            entities=tuple(graph.entities[key] for key in sorted(graph.entities)),
            subjects=tuple(graph.subjects[key] for key in sorted(graph.subjects)),
            mentions=tuple(sorted(graph.mentions, key=lambda mention: (mention.chunk_id, mention.span.start, mention.entity_id))),
            facts=tuple(graph.facts[key] for key in sorted(graph.facts)),
        )

    async def neighbours(self, tenant: str, entity_ids: Collection[str], limit: int) -> list[Fact]:
        self._check()
        facts = self._graphs.get(tenant, _Graph()).facts
        touching = (facts[key] for key in sorted(facts) if {facts[key].subject_id, facts[key].object_id} & set(entity_ids))
        return list(touching)[:limit]

    async def counts(self, tenant: str) -> Mapping[str, int]:
        content = await self.load(tenant)
        return {name: len(getattr(content, name)) for name in ("chunks", "entities", "mentions", "facts")}


_WORD = re.compile(r"\w+")


class HashEmbedder:
    """An Embedder whose vectors are hashed bags of words: texts that share words are near, and equal texts are equal everywhere."""

    name = "hash"

    def __init__(self, dimension: int = 64) -> None:
        self.dimension = dimension
        self.embedded = 0
        """Texts embedded so far."""

    async def embed(self, texts: Sequence[str]) -> Matrix:
        self.embedded += len(texts)
        return np.array([self._vector(text) for text in texts], dtype=np.float32).reshape(len(texts), self.dimension)

    async def aclose(self) -> None:
        pass

    def _vector(self, text: str) -> Vector:
        vector = np.zeros(self.dimension, dtype=np.float32)
        for word in _WORD.findall(text.lower()):
            place = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "big")
            vector[place % self.dimension] += 1 if place >> 63 else -1
        length = float(np.linalg.norm(vector))
        if length == 0:  # no words, or words that cancel out
            vector[0] = length = 1
        return vector / np.float32(length)


class ColourEncoder:
    """A PictureEmbedder by colours: the histogram of 4 x 4 x 4 colours, turned into the embedder's space by a fixed random matrix."""

    def __init__(self, dimension: int = 64) -> None:
        self.dimension = dimension
        self._projection = np.random.default_rng(7).standard_normal((64, dimension)).astype(np.float32)
        self.embedded = 0
        """Pictures embedded so far."""

    async def embed(self, pictures: Sequence[Pixels]) -> Matrix:
        self.embedded += len(pictures)
        return np.array([self._vector(pixels) for pixels in pictures], dtype=np.float32).reshape(len(pictures), -1)

    async def aclose(self) -> None:
        pass

    def _vector(self, pixels: Pixels) -> Vector:
        cells = (pixels // 64).reshape(-1, 3) @ np.array([16, 4, 1])
        vector = np.bincount(cells, minlength=64).astype(np.float32) @ self._projection
        return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)


class ColourNames(ColourEncoder):
    """A PictureLabeller: it says the name of a colour, where it has one, with the given probability."""

    def __init__(self, names: Mapping[tuple[int, int, int], PictureLabel], dimension: int = 64) -> None:
        super().__init__(dimension)
        self._names = names

    async def embed_and_label(self, pictures: Sequence[Pixels]) -> tuple[Matrix, list[tuple[PictureLabel, ...]]]:
        named = [self._names.get(tuple(pixels[0, 0].tolist())) for pixels in pictures]
        return await self.embed(pictures), [() if label is None else (label,) for label in named]


_NAME = re.compile(r"\b[A-Z]\w+(?: [A-Z]\w+)*")
_RELATION = re.compile(rf"({_NAME.pattern}) ([a-z]+(?: [a-z]+)?) ({_NAME.pattern})")


class SimpleRecogniser:
    """An EntityRecogniser: runs of capitalised words are names, and one or two small words between two of them are their relation."""

    async def recognise(self, texts: Sequence[str]) -> list[Recognised]:
        return [
            Recognised(
                tuple(_name(match[0], match.start()) for match in _NAME.finditer(text)),
                tuple(
                    RecognisedRelation(_name(match[1], match.start(1)), match[2], _name(match[3], match.start(3)))
                    for match in _RELATION.finditer(text)
                ),
            )
            for text in texts
        ]

    async def aclose(self) -> None:
        pass


def _name(text: str, start: int) -> RecognisedName:
    return RecognisedName(text, "NAME", Span(start, start + len(text)))
