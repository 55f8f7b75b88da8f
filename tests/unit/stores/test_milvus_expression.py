"""For random metadata and random filters, Milvus Lite finds exactly what the reference semantics find."""

import asyncio
import itertools
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.filters import check_filter, check_metadata, matches
from router.settings import MilvusSettings
from router.stores.milvus import MilvusVectorStore
from router.stores.milvus.expression import expression, literal, metadata_keys
from router.testing.vector_store import AXIS, DIMENSION, HOSTILE_TEXTS, chunk
from router.types import NO_FILTER, Condition, Filter

FIELDS = st.sampled_from(["a", "b", "_C9", "is_a"])
TEXTS = st.one_of(
    st.sampled_from(["", "a", "a\n", "b", "2026-01-01", *HOSTILE_TEXTS]), st.text(max_size=8).filter(lambda text: text.isprintable())
)
NUMBERS = st.one_of(
    st.sampled_from([0, 1, -1, 2, 0.5, 1.0, -0.0, 2**53, 2**53 + 1, float(2**53), 2**63 - 1, -(2**63), float(2**63), 1e300, 5e-324, -1.5]),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
)
SCALARS = st.one_of(TEXTS, NUMBERS, st.booleans())
METADATA = st.dictionaries(FIELDS, st.one_of(SCALARS, st.lists(TEXTS, max_size=3).map(tuple)), max_size=4)


@st.composite
def conditions(draw):
    field = draw(FIELDS)
    match draw(st.sampled_from(["equals", "any_of", "range", "exists"])):
        case "equals":
            return Condition(field, equals=draw(SCALARS))
        case "any_of":
            return Condition(field, any_of=tuple(draw(st.lists(SCALARS, min_size=1, max_size=4))))
        case "exists":
            return Condition(field, exists=draw(st.booleans()))
        case _:
            low, high = draw(st.one_of(st.tuples(TEXTS, TEXTS), st.tuples(NUMBERS, NUMBERS)))
            kept = draw(st.sampled_from([(low, None), (None, high), (low, high)]))
            return Condition(field, at_least=kept[0], at_most=kept[1])


GROUP = st.lists(conditions(), max_size=2).map(tuple)
FILTERS = st.builds(Filter, must=GROUP, should=GROUP, must_not=GROUP)


@pytest.fixture(scope="module")
def found_by_lite(tmp_path_factory):
    """A function (list of metadata, filter) -> positions that Milvus Lite finds; each call is a tenant of its own."""
    with asyncio.Runner() as runner:
        folder = tmp_path_factory.mktemp("lite")
        store = runner.run(MilvusVectorStore.open(MilvusSettings(), folder, space="property", dimension=DIMENSION))
        numbers = itertools.count()

        async def find(many, filters):
            tenant = f"t{next(numbers)}"
            chunks = [chunk(str(position), metadata=metadata) for position, metadata in enumerate(many)]
            await store.upsert(tenant, chunks, np.tile(AXIS, (len(chunks), 1)))
            return [{int(hit.chunk_id) for hit in await store.search(tenant, AXIS, 50, where=where)} for where in filters]

        yield lambda many, filters: runner.run(find(many, filters))
        runner.run(store.aclose())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(many=st.lists(METADATA, min_size=1, max_size=12), filters=st.lists(FILTERS, min_size=1, max_size=6))
def test_lite_finds_what_matches_says(found_by_lite, many, filters):
    for metadata in many:
        check_metadata(metadata)
    for where in filters:
        check_filter(where)
    expected = [{position for position, metadata in enumerate(many) if matches(where, metadata)} for where in filters]
    assert found_by_lite(many, filters) == expected


def test_a_literal_escapes_what_milvus_knows():
    assert literal('a"b\\c\nd\re\tf') == '"a\\"b\\\\c\\nd\\re\\tf"'


def test_the_columns_come_first_and_none_is_not_tested():
    assert expression(NO_FILTER, tenant='a" or 1 == 1', collection=None) == 'tenant == "a\\" or 1 == 1"'
    where = Filter(must_not=(Condition("year", exists=True),))
    assert expression(where, tenant="t", collection="c") == 'tenant == "t" and collection == "c" and not (exists $meta["is_year"])'


def test_values_that_are_equal_share_a_key_and_others_do_not():
    keys = [frozenset(metadata_keys({"a": value})) - {"int_a", "float_a", "text_a"} for value in (1, 1.0, True, "1", "True", ("1",))]
    assert keys[0] == keys[1]
    assert keys[3] == keys[5]
    assert len(set(keys)) == 4


@given(bound=NUMBERS, value=NUMBERS)
def test_no_literal_leaves_64_bits(bound, value):
    text = expression(Filter(must=(Condition("a", at_least=bound, at_most=max(bound, value)),)))
    for word in text.replace("(", " ").replace(")", " ").split():
        if word.lstrip("-").isdigit():
            assert -(2**63) < int(word) < 2**63
        elif word.lstrip("-")[:1].isdigit():
            assert math.isfinite(float(word))
