"""The rows that are kept of a Milvus Lite file, against Milvus Lite itself."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.errors import RouterError
from router.settings import MilvusSettings
from router.stores.milvus import MilvusVectorStore, lite
from router.stores.milvus import store as milvus_store
from router.stores.milvus.rows import ExactRows, Row
from router.testing.vector_store import AXIS, DIMENSION, chunk, rows, unit_vectors

COLLECTIONS = ("one", "two")


async def opened(folder):
    return await MilvusVectorStore.open(MilvusSettings(), folder, space="space", dimension=DIMENSION)


def kept(store):
    return lite.rows_of(store.connection.lite_file, "default", store.collection)


async def written(store, tenant, number, seed, collection="one"):
    chunks = [chunk(f"{seed}-{place}", document=f"doc-{seed}-{place % 3}", collection=collection) for place in range(number)]
    await store.upsert(tenant, chunks, unit_vectors(number, seed))


async def answers(store):
    """By vector, tenant and collection."""
    return [
        await store.search(tenant, vector, limit, collection=collection)
        for vector in unit_vectors(4, 99)
        for tenant in ("t", "u/1", "nobody")
        for collection in (None, *COLLECTIONS)
        for limit in (1, 7, 500)
    ]


async def test_they_answer_as_milvus_does_while_rows_come_change_and_go(tmp_path, monkeypatch):
    monkeypatch.setattr(milvus_store, "ROWS_PER_PAGE", 50)
    store = await opened(tmp_path)
    await written(store, "t", 300, 1)
    await written(store, "t", 40, 2, "two")
    await written(store, "u/1", 30, 3)
    await store.delete_document("t", "doc-1-1")
    await store.upsert("t", [chunk("1-0", document="another", collection="two")], rows([0.25]))
    await store.delete_document("t", "doc-1-0")
    by_rows = await answers(store)
    assert kept(store).count == 300 - 200 + 1 + 40 + 30
    await store.aclose()

    store = await opened(tmp_path)
    assert kept(store).are_whole
    assert await answers(store) == by_rows
    ids = ["1-0", "1-2", "2-1", "gone"]
    by_rows_vectors = await store.vectors("t", ids)
    kept(store).let_go()
    by_milvus = await answers(store)
    assert [[hit.chunk_id for hit in hits] for hits in by_milvus] == [[hit.chunk_id for hit in hits] for hits in by_rows]
    for ours, theirs in zip(by_rows, by_milvus, strict=True):
        np.testing.assert_allclose([hit.score for hit in ours], [hit.score for hit in theirs], atol=1.5e-6)
    by_milvus_vectors = await store.vectors("t", ids)
    assert by_rows_vectors.keys() == by_milvus_vectors.keys() == {"1-0", "1-2", "2-1"}
    for chunk_id, vector in by_milvus_vectors.items():
        np.testing.assert_array_equal(by_rows_vectors[chunk_id], vector)
    await store.aclose()


async def test_they_are_one_for_all_stores_of_a_file(tmp_path):
    one, other = await opened(tmp_path), await opened(tmp_path)
    await one.upsert("t", [chunk("a")], rows([0.9]))
    await other.upsert("t", [chunk("b")], rows([0.5]))
    assert [hit.chunk_id for hit in await one.search("t", AXIS, 5)] == ["a", "b"]
    await one.delete_document("t", "doc")
    assert await other.search("t", AXIS, 5) == []
    await one.aclose()
    await other.aclose()


async def test_after_a_write_that_failed_milvus_is_asked(tmp_path):
    store = await opened(tmp_path)
    await store.upsert("t", [chunk("a")], rows([0.9]))
    with pytest.raises(RouterError):
        await store.upsert("t", [chunk("an id that Milvus refuses" * 30)], rows([0.1]))
    assert not kept(store).are_whole
    await store.upsert("t", [chunk("b")], rows([0.5]))
    assert [hit.chunk_id for hit in await store.search("t", AXIS, 5)] == ["a", "b"]
    assert (await store.vectors("t", ["b"])).keys() == {"b"}
    await store.aclose()


@pytest.mark.parametrize("index", [{"type": "HNSW"}, {"metric": "L2"}], ids=str)
async def test_another_index_is_asked_itself(tmp_path, index):
    store = await MilvusVectorStore.open(MilvusSettings(index=index), tmp_path, space="space", dimension=DIMENSION)
    assert kept(store) is None
    await store.aclose()


def test_more_rows_than_may_be_are_let_go():
    few = ExactRows(2, max_rows=2)
    few.put([Row("t", str(number), "doc", "", np.float32([1, 0])) for number in range(2)])
    assert few.search("t", np.float32([1, 0]), 5, None, 6) == [("0", 1.0), ("1", 1.0)]
    few.put([Row("u", "2", "doc", "", np.float32([1, 0]))])
    assert (few.are_whole, few.search("t", np.float32([1, 0]), 5, None, 6), few.vectors("t", ["0"])) == (False, None, None)


numbers = st.integers(0, 5)
operation = st.one_of(
    st.tuples(st.just("put"), numbers, numbers, st.sampled_from(COLLECTIONS), st.integers(-2, 2), st.integers(-2, 2)),
    st.tuples(st.just("remove"), numbers),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(operation, max_size=40), st.integers(1, 4), st.sampled_from((None, *COLLECTIONS)))
def test_whatever_comes_and_goes_the_nearest_are_found(operations, limit, collection):
    ours, plain = ExactRows(2), {}
    for step in operations:
        if step[0] == "put":
            _, chunk_id, document, name, *numbers = step
            ours.put([Row("t", str(chunk_id), str(document), name, np.float32(numbers))])
            plain[str(chunk_id)] = (str(document), name, np.float64(numbers))
        else:
            ours.remove("t", str(step[1]))
            plain = {chunk_id: row for chunk_id, row in plain.items() if row[0] != str(step[1])}
    asked = np.float64([3, 1])
    scored = [
        (chunk_id, round(float(vector @ asked / (np.linalg.norm(vector) or 1) / np.linalg.norm(asked)), 5))
        for chunk_id, (_, name, vector) in plain.items()
        if collection in (None, name)
    ]
    assert ours.count == len(plain)
    assert ours.search("t", np.float32(asked), limit, collection, 5) == sorted(scored, key=lambda hit: (-hit[1], hit[0]))[:limit]
