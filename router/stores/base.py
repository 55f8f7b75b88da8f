"""What the engine and the corpus ask of stores. Every method takes the tenant; no method returns another tenant's data."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from router.types import NO_FILTER, Chunk, Entity, Fact, Filter, Matrix, Mention, Scalar, Vector

Statement = tuple[str, str, str]
"""Subject, relation and object, in words."""


@dataclass(frozen=True, slots=True)
class Scored:
    """A chunk's id with its score; higher is better."""

    chunk_id: str
    score: float


class VectorStore(Protocol):
    """Dense search over chunks. Scores are cosines, whatever the metric of the index."""

    async def upsert(self, tenant: str, chunks: Sequence[Chunk], vectors: Matrix) -> None:
        """Write chunks with their vectors, shape (len(chunks), dimension). Idempotent: an id that exists is replaced."""

    async def search(
        self, tenant: str, vector: Vector, limit: int, *, collection: str | None = None, where: Filter = NO_FILTER
    ) -> list[Scored]:
        """The nearest chunks, best first; equal scores are ordered by id."""

    async def vectors(self, tenant: str, chunk_ids: Sequence[str]) -> dict[str, Vector]:
        """The stored vectors of some chunks; unknown ids and other tenants' ids are absent."""

    async def delete_document(self, tenant: str, document_id: str) -> None:
        """Remove all chunks of a document. Removing what is not there is fine."""

    async def count(self, tenant: str) -> int:
        """Chunks of the tenant."""

    async def ping(self) -> None:
        """Raise StoreUnavailable unless the store answers."""

    async def aclose(self) -> None: ...


class LexicalIndex(Protocol):
    """BM25 over chunks."""

    async def search(self, tenant: str, text: str, limit: int, *, collection: str | None = None, where: Filter = NO_FILTER) -> list[Scored]:
        """The best chunks, best first, scores above 0 only; equal scores are ordered by id."""


@dataclass(frozen=True, slots=True)
class Subject:
    """That a chunk is about an entity (its document's title, a heading). One per chunk and entity: a later one takes its place."""

    chunk_id: str
    entity_id: str
    confidence: float = 1.0
    """0..1: 1 for a title, less for a subject that is guessed."""


@dataclass(frozen=True, slots=True)
class GraphBatch:
    """What one write adds to the graph: all of it or, after an error, a prefix that a repeat completes (upserts by id)."""

    chunks: tuple[Chunk, ...] = ()
    entities: tuple[Entity, ...] = ()
    subjects: tuple[Subject, ...] = ()
    mentions: tuple[Mention, ...] = ()
    facts: tuple[Fact, ...] = ()


@dataclass(frozen=True, slots=True)
class GraphNodeChunk:
    """A chunk as the graph keeps it: enough to walk and to name it (`title` is its label), not its text."""

    id: str
    document_id: str
    collection: str
    ordinal: int
    title: str


@dataclass(frozen=True, slots=True)
class GraphContent:
    """A tenant's whole graph, from which a snapshot is built. Sorted by id, so that equal graphs are equal values."""

    chunks: tuple[GraphNodeChunk, ...]
    entities: tuple[Entity, ...]
    subjects: tuple[Subject, ...]
    mentions: tuple[Mention, ...]
    facts: tuple[Fact, ...]


EMPTY_GRAPH = GraphContent((), (), (), (), ())


class GraphStore(Protocol):
    """Chunks, entities, mentions and facts as a property graph."""

    async def upsert(self, tenant: str, batch: GraphBatch) -> None:
        """Write a batch. Idempotent."""

    async def delete_document(self, tenant: str, document_id: str) -> None:
        """Remove a document's chunks, their mentions and facts, and entities that nothing mentions any more."""

    async def load(self, tenant: str) -> GraphContent:
        """Everything of the tenant."""

    async def neighbours(self, tenant: str, entity_ids: Collection[str], limit: int) -> list[Fact]:
        """Facts that touch one of the entities, ordered by id."""

    async def counts(self, tenant: str) -> Mapping[str, int]:
        """`chunks`, `entities`, `mentions`, `facts`."""

    async def ping(self) -> None:
        """Raise StoreUnavailable unless the database answers."""

    async def aclose(self) -> None: ...


@dataclass(frozen=True, slots=True)
class ReadStatement:
    """A generated query that was checked: each of its patterns carries `$tenant`, which the store binds and nobody else."""

    cypher: str
    parameters: Mapping[str, Scalar | tuple[Scalar, ...]]
    columns: tuple[str, ...]
    """What a person calls the columns, in their order."""
    limit: int
    """Most rows that are taken."""


@dataclass(frozen=True, slots=True)
class Relation:
    """An edge in a row, by its name."""

    name: str


Value = Scalar | None | Entity | GraphNodeChunk | Relation | tuple["Value", ...] | Mapping[str, "Value"]
"""One value of a row; a path is a tuple of nodes and relations by turns."""


@dataclass(frozen=True, slots=True)
class Rows:
    columns: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]
    truncated: bool
    """Whether there were more than the limit."""


class GraphReader(Protocol):
    """Runs generated queries: plans them first, may not write, and gives up in time."""

    async def read(self, tenant: str, statement: ReadStatement, timeout_s: float) -> Rows:
        """The rows of a checked statement.

        Raises:
            InvalidInput: The database refuses the statement, or its plan does more than read (reason CYPHER_REJECTED).
            DeadlineExceeded: It took longer than `timeout_s` and was stopped (reason CYPHER_TOO_SLOW).
            StoreUnavailable: The database does not answer.
        """


class PassageStore(Protocol):
    """The text of the chunks, from the journal: what evidence is made of, whichever store found its id."""

    async def chunks(self, tenant: str, ids: Collection[str]) -> dict[str, Chunk]:
        """Chunks by id; unknown ids and other tenants' ids are absent."""
