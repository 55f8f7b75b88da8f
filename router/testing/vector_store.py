"""What every VectorStore must do. Subclass, override `store`, and pytest runs the suite on your store.

    class TestMyStore(VectorStoreContract):
        @pytest.fixture
        async def store(self):
            store = await MyStore.open(dimension=DIMENSION)
            yield store
            await store.aclose()

The store may hold other tenants' rows already, but none of the tenants named here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest

from router.errors import InternalError, InvalidInput, StoreUnavailable
from router.filters import matches
from router.stores.base import VectorStore
from router.types import Chunk, Condition, Filter, Matrix, Metadata, Span, Vector

DIMENSION = 16

HOSTILE_TEXTS = (
    '"',
    "'",
    "\\",
    '\\"',
    "\n\r\t",
    "%_*",
    "é漢🙂\u0000\u2028",
    '" or 1 == 1 or tenant == "',
    "') or (id != '",
    '["a"]',
    "true",
    "1",
)

METADATA: tuple[Metadata, ...] = (
    {},
    {"text": "a"},
    {"text": "b", "number": 1},
    {"text": "a\n", "number": 1.0},
    {"text": "", "number": True},
    {"text": 1, "number": "1"},
    {"text": True, "number": False},
    {"number": 2, "tags": ("x", "y")},
    {"number": 2.5, "text": "a", "tags": ("x",)},
    {"number": -3, "text": "true", "tags": ()},
    {"number": 2**53, "tags": "x"},
    {"number": 2**53 + 1, "tags": '["x"]'},
    {"number": -(2**63), "tags": 1},
    {"number": 2**63 - 1},
    {"number": 1e300},
)

FILTERS = (
    Filter(must=(Condition("text", equals="a"),)),
    Filter(must=(Condition("text", any_of=("a", "b", 1, True)),)),
    Filter(must=(Condition("text", at_least="b"),)),
    Filter(must=(Condition("text", at_least="a", at_most="a\n"),)),
    Filter(must=(Condition("number", equals=1),)),
    Filter(must=(Condition("number", equals=1.0),)),
    Filter(must=(Condition("number", equals=True),)),
    Filter(must=(Condition("number", equals="1"),)),
    Filter(must=(Condition("number", at_least=0),)),
    Filter(must=(Condition("number", at_least=0.5, at_most=2),)),
    Filter(must=(Condition("number", at_most=2**53),)),
    Filter(must=(Condition("number", at_least=2**53 + 1),)),
    Filter(must=(Condition("number", at_least=-(2**63), at_most=2**63 - 1),)),
    Filter(must=(Condition("tags", equals="x"),)),
    Filter(must=(Condition("tags", any_of=("y", "z")),)),
    Filter(must=(Condition("tags", at_least=""),)),
    Filter(must=(Condition("tags", exists=True),)),
    Filter(must=(Condition("tags", exists=False),)),
    Filter(must_not=(Condition("tags", equals="x"),)),
    Filter(must_not=(Condition("number", at_least=0), Condition("text", equals="a"))),
    Filter(should=(Condition("number", equals=2.5), Condition("text", equals="b"))),
    Filter(
        must=(Condition("text", exists=True),),
        should=(Condition("number", at_least=1), Condition("tags", equals="x")),
        must_not=(Condition("number", equals=2),),
    ),
    Filter(must=(Condition("absent", exists=False),)),
    Filter(must=(Condition("absent", equals="a"),)),
)


def unit_vectors(count: int, seed: int = 0) -> Matrix:
    """Random directions, shape (count, DIMENSION)."""
    vectors = np.random.default_rng(seed).standard_normal((count, DIMENSION)).astype(np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def at_cosine(cosine: float) -> Vector:
    """A unit vector that has this cosine to the first axis."""
    vector = np.zeros(DIMENSION, dtype=np.float32)
    vector[0], vector[1] = cosine, np.sqrt(1 - cosine**2)
    return vector


AXIS = at_cosine(1.0)


def chunk(id_: str, *, document: str = "doc", collection: str = "main", metadata: Metadata | None = None, text: str = "text") -> Chunk:
    return Chunk(id_, document, collection, 0, "Title", (), text, Span(0, len(text)), metadata or {})


def rows(cosines: Sequence[float]) -> Matrix:
    return np.stack([at_cosine(cosine) for cosine in cosines])


class VectorStoreContract:
    """The suite; see the module."""

    score_tolerance = 1e-4
    """How far a score may be from the true cosine. A quantising index needs more."""

    @pytest.fixture
    async def store(self) -> VectorStore:
        raise NotImplementedError("override the fixture `store`")

    @pytest.fixture
    def tenant(self, request: pytest.FixtureRequest) -> str:
        """One per test, so that a shared server can run the suite."""
        return f"tenant-{abs(hash(request.node.nodeid)) % 10**9}-{np.random.default_rng().integers(10**9)}"

    async def test_an_empty_store_finds_nothing(self, store: VectorStore, tenant: str) -> None:
        assert await store.search(tenant, AXIS, 5) == []
        assert await store.count(tenant) == 0
        await store.delete_document(tenant, "nothing")
        await store.upsert(tenant, [], np.zeros((0, DIMENSION), dtype=np.float32))
        await store.ping()

    async def test_the_nearest_come_first_with_their_cosines(self, store: VectorStore, tenant: str) -> None:
        cosines = {"c": 0.9, "a": 0.5, "d": 0.1, "b": -0.4}
        await store.upsert(tenant, [chunk(id_) for id_ in cosines], rows(list(cosines.values())))
        found = await store.search(tenant, AXIS, 10)
        assert [hit.chunk_id for hit in found] == ["c", "a", "d", "b"]
        assert [hit.score for hit in found] == pytest.approx(list(cosines.values()), abs=self.score_tolerance)
        assert [hit.chunk_id for hit in await store.search(tenant, AXIS, 2)] == ["c", "a"]

    async def test_equal_scores_are_ordered_by_id(self, store: VectorStore, tenant: str) -> None:
        ids = ["k", "b", "z", "a", "m"]
        for id_ in ids:  # each in a write of its own
            await store.upsert(tenant, [chunk(id_)], rows([0.5]))
        assert [hit.chunk_id for hit in await store.search(tenant, AXIS, 5)] == sorted(ids)
        assert [hit.chunk_id for hit in await store.search(tenant, AXIS, 2)] == ["a", "b"]

    async def test_an_upsert_replaces(self, store: VectorStore, tenant: str) -> None:
        await store.upsert(tenant, [chunk("a", metadata={"year": 1}), chunk("b")], rows([0.9, 0.5]))
        await store.upsert(tenant, [chunk("a", document="other", collection="late", metadata={"day": "x"})], rows([0.1]))
        assert await store.count(tenant) == 2
        found = await store.search(tenant, AXIS, 5)
        assert [hit.chunk_id for hit in found] == ["b", "a"]
        assert found[1].score == pytest.approx(0.1, abs=self.score_tolerance)
        assert await store.search(tenant, AXIS, 5, where=Filter(must=(Condition("year", exists=True),))) == []
        assert [hit.chunk_id for hit in await store.search(tenant, AXIS, 5, collection="late")] == ["a"]
        await store.delete_document(tenant, "doc")
        assert [hit.chunk_id for hit in await store.search(tenant, AXIS, 5)] == ["a"]

    async def test_an_upsert_replaces_what_was_written_long_ago(self, store: VectorStore, tenant: str) -> None:
        """Rows that a store has moved to where it keeps old ones."""
        chunks = [chunk(f"{number:03}", metadata={"old": number}) for number in range(600)]
        await store.upsert(tenant, chunks, unit_vectors(600))
        await store.upsert(tenant, [chunk("007", metadata={"new": 1}), chunk("590", metadata={"new": 2})], rows([0.9, 0.8]))
        assert await store.count(tenant) == 600
        found = await store.search(tenant, AXIS, 600, where=Filter(must=(Condition("new", exists=True),)))
        assert [hit.chunk_id for hit in found] == ["007", "590"]
        assert len(await store.search(tenant, AXIS, 600, where=Filter(must=(Condition("old", exists=True),)))) == 598

    async def test_an_upsert_is_idempotent(self, store: VectorStore, tenant: str) -> None:
        for _ in range(2):
            await store.upsert(tenant, [chunk("a"), chunk("b")], rows([0.9, 0.5]))
        assert await store.count(tenant) == 2
        assert [hit.chunk_id for hit in await store.search(tenant, AXIS, 5)] == ["a", "b"]

    async def test_tenants_never_see_each_other(self, store: VectorStore, tenant: str) -> None:
        others = [f'{tenant}" or tenant != "', f"{tenant}'", f"{tenant}/", f"{tenant}\\", f"{tenant}%2F", tenant.upper()]
        await store.upsert(tenant, [chunk("same"), chunk("/same")], rows([0.9, 0.8]))
        for number, other in enumerate(others):
            await store.upsert(other, [chunk("same")], rows([0.1 * number]))
        assert await store.count(tenant) == 2
        for number, other in enumerate(others):
            assert await store.count(other) == 1
            [hit] = await store.search(other, AXIS, 10)
            assert hit.score == pytest.approx(0.1 * number, abs=self.score_tolerance)
        await store.delete_document(others[0], "doc")
        assert await store.count(others[0]) == 0
        assert await store.count(tenant) == 2
        assert [await store.count(other) for other in others[1:]] == [1] * len(others[1:])

    async def test_a_small_tenant_is_found_among_many_rows(self, store: VectorStore, tenant: str) -> None:
        """An approximate index that filters after it has looked finds none of these."""
        crowd = 600
        await store.upsert(f"{tenant}-crowd", [chunk(f"c{number}") for number in range(crowd)], np.tile(AXIS, (crowd, 1)))
        await store.upsert(tenant, [chunk("a"), chunk("b")], rows([-0.5, -0.9]))
        assert [hit.chunk_id for hit in await store.search(tenant, AXIS, 5)] == ["a", "b"]

    async def test_vectors_come_back_as_they_were_given(self, store: VectorStore, tenant: str) -> None:
        vectors = unit_vectors(300)
        await store.upsert(tenant, [chunk(f"{number:03}") for number in range(300)], vectors)
        await store.upsert(f"{tenant}-other", [chunk("007")], rows([0.5]))
        await store.delete_document(tenant, "nothing")
        found = await store.vectors(tenant, [f"{number:03}" for number in range(298, 302)] + ["007"])
        assert sorted(found) == ["007", "298", "299"]
        for number in (7, 298, 299):
            np.testing.assert_allclose(found[f"{number:03}"], vectors[number], atol=self.score_tolerance)
        assert await store.vectors(f"{tenant}-third", ["007"]) == {}
        await store.delete_document(tenant, "doc")
        assert await store.vectors(tenant, ["007", "298"]) == {}

    async def test_a_collection_is_searched_alone(self, store: VectorStore, tenant: str) -> None:
        await store.upsert(tenant, [chunk("a", collection="left"), chunk("b", collection='ri"ght')], rows([0.5, 0.9]))
        assert [hit.chunk_id for hit in await store.search(tenant, AXIS, 5, collection="left")] == ["a"]
        assert [hit.chunk_id for hit in await store.search(tenant, AXIS, 5, collection='ri"ght')] == ["b"]
        assert await store.search(tenant, AXIS, 5, collection="none") == []

    async def test_a_document_is_deleted_whole_and_alone(self, store: VectorStore, tenant: str) -> None:
        hostile = 'd" or document_id != "'
        chunks = [chunk("a", document="one"), chunk("b", document="one"), chunk("c", document="two"), chunk("d", document=hostile)]
        await store.upsert(tenant, chunks, rows([0.9, 0.8, 0.7, 0.6]))
        await store.delete_document(tenant, hostile)
        assert await store.count(tenant) == 3
        await store.delete_document(tenant, "one")
        await store.delete_document(tenant, "one")
        assert [hit.chunk_id for hit in await store.search(tenant, AXIS, 5)] == ["c"]
        assert await store.count(tenant) == 1
        await store.upsert(tenant, [chunk("a", document="one")], rows([0.9]))
        assert [hit.chunk_id for hit in await store.search(tenant, AXIS, 5)] == ["a", "c"]

    async def test_a_filter_means_what_matches_says(self, store: VectorStore, tenant: str) -> None:
        chunks = [chunk(f"{number:02}", metadata=metadata) for number, metadata in enumerate(METADATA)]
        await store.upsert(tenant, chunks, unit_vectors(len(chunks)))
        for where in FILTERS:
            found = {hit.chunk_id for hit in await store.search(tenant, AXIS, 100, where=where)}
            assert found == {held.id for held in chunks if matches(where, held.metadata)}, where

    async def test_hostile_values_are_values(self, store: VectorStore, tenant: str) -> None:
        chunks = [chunk(f"{number:02}", metadata={"note": text, "tags": (text,)}) for number, text in enumerate(HOSTILE_TEXTS)]
        await store.upsert(tenant, chunks, unit_vectors(len(chunks)))
        await store.upsert(f"{tenant}-other", chunks, unit_vectors(len(chunks)))
        for held, text in zip(chunks, HOSTILE_TEXTS, strict=True):
            for condition in (
                Condition("note", equals=text),
                Condition("tags", equals=text),
                Condition("note", any_of=(text,)),
                Condition("note", at_least=text, at_most=text),
            ):
                found = await store.search(tenant, AXIS, 100, where=Filter(must=(condition,)))
                assert [hit.chunk_id for hit in found] == [held.id], condition

    @pytest.mark.parametrize("field", ['a"] == 1 or $meta["b', "a b", ""])
    async def test_a_field_that_is_no_name_is_refused(self, store: VectorStore, tenant: str, field: str) -> None:
        """Even when nobody has checked the filter before."""
        with pytest.raises(InvalidInput):
            await store.search(tenant, AXIS, 5, where=Filter(must=(Condition(field, exists=True),)))

    async def test_searches_at_once_find_what_each_finds_alone(self, store: VectorStore, tenant: str) -> None:
        vectors = unit_vectors(40)
        chunks = [chunk(f"{number:02}", metadata={"even": number % 2 == 0}) for number in range(40)]
        await store.upsert(tenant, chunks, vectors)
        filters = [Filter(), Filter(must=(Condition("even", equals=True),)), Filter(must=(Condition("even", equals=1),))]
        asked = [(vector, where) for vector in vectors[:20] for where in filters]
        alone = [await store.search(tenant, vector, 5, where=where) for vector, where in asked]
        together = await asyncio.gather(*(store.search(tenant, vector, 5, where=where) for vector, where in asked))
        assert [len(found) for found in alone] == [5, 5, 0] * 20
        for one, other in zip(alone, together, strict=True):
            assert [hit.chunk_id for hit in one] == [hit.chunk_id for hit in other]
            assert [hit.score for hit in one] == pytest.approx([hit.score for hit in other], abs=1e-5)

    async def test_a_wrong_dimension_is_refused(self, store: VectorStore, tenant: str) -> None:
        with pytest.raises(InternalError):
            await store.upsert(tenant, [chunk("a")], np.ones((1, DIMENSION + 1), dtype=np.float32))
        with pytest.raises(InternalError):
            await store.upsert(tenant, [chunk("a"), chunk("b")], rows([1.0]))
        with pytest.raises(InternalError):
            await store.search(tenant, np.ones(DIMENSION - 1, dtype=np.float32), 5)
        assert await store.count(tenant) == 0

    @pytest.mark.parametrize("limit", [0, -1, 10**6])
    async def test_a_limit_out_of_range_is_refused(self, store: VectorStore, tenant: str, limit: int) -> None:
        with pytest.raises(InvalidInput) as refused:
            await store.search(tenant, AXIS, limit)
        assert refused.value.field == "limit"

    async def test_a_closed_store_says_so(self, store: VectorStore, tenant: str) -> None:
        await store.aclose()
        await store.aclose()
        with pytest.raises(StoreUnavailable):
            await store.search(tenant, AXIS, 5)
        with pytest.raises(StoreUnavailable):
            await store.upsert(tenant, [chunk("a")], rows([1.0]))
        with pytest.raises(StoreUnavailable):
            await store.count(tenant)
        with pytest.raises(StoreUnavailable):
            await store.ping()
