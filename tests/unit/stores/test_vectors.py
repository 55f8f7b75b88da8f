import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from router.stores.base import GraphBatch
from router.stores.vectors import FIRST_ROWS, PassageVectors
from router.testing.fakes import InMemoryVectorStore
from router.testing.vector_store import AXIS, DIMENSION, chunk, rows, unit_vectors

NOTHING = GraphBatch()


async def test_cosines_are_those_of_the_vectors_and_zero_for_the_unknown() -> None:
    vectors = PassageVectors(DIMENSION)
    await vectors.on_written("a", [chunk("x"), chunk("y")], rows([0.9, -0.25]), NOTHING)
    np.testing.assert_allclose(vectors.cosines("a", AXIS, ["y", "unknown", "x"]), [-0.25, 0.0, 0.9], atol=4e-3)
    assert vectors.cosines("b", AXIS, ["x"]).tolist() == [0.0]
    assert vectors.cosines("a", AXIS, []).shape == (0,)


async def test_a_corpus_is_read_from_its_store() -> None:
    store = InMemoryVectorStore()
    chunks = [chunk(str(number), document=f"d{number % 3}") for number in range(10)]
    await store.upsert("a", chunks[:9], unit_vectors(9))

    vectors = PassageVectors(DIMENSION)
    assert not await vectors.load("a", store, chunks[:4])
    assert await vectors.load("a", store, chunks[4:]) == {"d0": 1}
    assert await vectors.load("b", store, chunks) == {"d0": 4, "d1": 3, "d2": 3}
    ids = [each.id for each in chunks]
    np.testing.assert_allclose(vectors.cosines("a", AXIS, ids), [*(unit_vectors(9) @ AXIS), 0.0], atol=4e-3)


@given(st.lists(st.tuples(st.sampled_from("wd"), st.integers(0, 4), st.integers(0, 6)), max_size=60))
async def test_it_follows_every_sequence_of_writes_and_deletions(steps: list[tuple[str, int, int]]) -> None:
    vectors = PassageVectors(DIMENSION)
    known: dict[str, tuple[str, np.ndarray]] = {}
    for number, (what, document, passage) in enumerate(steps):
        name = f"d{document}"
        if what == "w":
            vector = unit_vectors(1, seed=number)
            await vectors.on_written("a", [chunk(f"{name}/{passage}", document=name)], vector, NOTHING)
            known[f"{name}/{passage}"] = (name, vector[0])
        else:
            await vectors.on_deleted("a", name)
            known = {key: value for key, value in known.items() if value[0] != name}
    ids = [f"d{document}/{passage}" for document in range(5) for passage in range(7)]
    expected = [float(known[key][1] @ AXIS) if key in known else 0.0 for key in ids]
    np.testing.assert_allclose(vectors.cosines("a", AXIS, ids), expected, atol=4e-3)


async def test_the_table_grows_and_rows_are_used_again() -> None:
    vectors = PassageVectors(DIMENSION)
    count = FIRST_ROWS + 10
    for seed in (1, 2):
        table = unit_vectors(count, seed=seed)
        await vectors.on_written("a", [chunk(str(number)) for number in range(count)], table, NOTHING)
        np.testing.assert_allclose(vectors.vectors("a", [str(number) for number in range(count)]), table, atol=4e-3)
        await vectors.on_deleted("a", "doc")
        assert not vectors.vectors("a", ["0", str(count - 1)]).any()
