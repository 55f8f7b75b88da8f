"""What a backend supports is checked before anything is created."""

import pytest

from router.errors import ConfigurationError
from router.settings import MilvusIndexSettings
from router.stores.milvus.collection import collection_name
from router.stores.milvus.connection import server_version
from router.stores.milvus.index import KINDS, LITE_TYPES, check_existing, check_reading, checked_index

LITE = {"is_lite": True, "version": (3, 2), "dimension": 384}
OLD = {"is_lite": False, "version": (2, 3), "dimension": 384}
NEW = {"is_lite": False, "version": (2, 6), "dimension": 384}


def index(kind="HNSW", **other):
    return MilvusIndexSettings(type=kind, **other)


@pytest.mark.parametrize("kind", sorted(set(KINDS) - set(LITE_TYPES)))
def test_lite_refuses_what_it_breaks_on(kind):
    with pytest.raises(ConfigurationError) as refused:
        checked_index(index(kind), **LITE)
    assert refused.value.field == "milvus.index.type"
    assert "IVF_SQ8" in refused.value.message


def test_an_old_server_refuses_what_came_later():
    with pytest.raises(ConfigurationError) as refused:
        checked_index(index("HNSW_SQ"), **OLD)
    assert refused.value.field == "milvus.index.type"
    assert "HNSW_SQ" not in refused.value.message.split("use one of")[1]
    assert checked_index(index("HNSW_SQ"), **NEW).build["sq_type"] == "SQ8"


@pytest.mark.parametrize(
    ("settings", "backend", "field"),
    [
        (index(build={"m": 16}), LITE, "milvus.index.build.m"),
        (index(build={"M": 1}), LITE, "milvus.index.build.M"),
        (index(build={"M": 16.5}), LITE, "milvus.index.build.M"),
        (index(search={"nprobe": 16}), LITE, "milvus.index.search.nprobe"),
        (index(search={"ef": 0}), LITE, "milvus.index.search.ef"),
        (index("FLAT", build={"M": 16}), LITE, "milvus.index.build.M"),
        (index("AUTOINDEX", search={"level": 1}), NEW, "milvus.index.search.level"),
        (index("HNSW_SQ", build={"sq_type": "SQ8"}), LITE, "milvus.index.build.sq_type"),
        (index("HNSW_SQ", build={"sq_type": "SQ9"}), NEW, "milvus.index.build.sq_type"),
        (index("IVF_FLAT", build={"nlist": 8}, search={"nprobe": 16}), LITE, "milvus.index.search.nprobe"),
        (index("IVF_PQ"), NEW, "milvus.index.build.m"),
        (index("IVF_PQ", build={"m": 7}), NEW, "milvus.index.build.m"),
    ],
    ids=str,
)
def test_a_wrong_parameter_is_refused_by_name(settings, backend, field):
    with pytest.raises(ConfigurationError) as refused:
        checked_index(settings, **backend)
    assert refused.value.field == field


@pytest.mark.parametrize(("m", "remedy"), [(7, "use 4, 6 or 8"), (50, "use 32, 48 or 64"), (500, "use 128, 192 or 384")])
def test_parts_that_do_not_divide_the_dimension_are_refused_with_some_that_do(m, remedy):
    with pytest.raises(ConfigurationError) as refused:
        checked_index(index("IVF_PQ", build={"m": m}), **NEW)
    assert refused.value.message.endswith(remedy)


@pytest.mark.parametrize("kind", KINDS)
def test_the_defaults_of_every_type_are_allowed(kind):
    build = {"m": 48} if kind == "IVF_PQ" else {}
    checked = checked_index(index(kind, build=build), **NEW)
    again = checked_index(index(kind, build=dict(checked.build), search=dict(checked.search)), **NEW)
    assert again == checked


def test_autoindex_is_flat_on_lite_and_the_servers_choice_elsewhere():
    assert checked_index(index("AUTOINDEX"), **LITE).type == "FLAT"
    assert checked_index(index("AUTOINDEX"), **NEW).type == "AUTOINDEX"


def test_search_parameters():
    assert checked_index(index(search={"ef": 100}), **NEW).search_parameters(10) == {"ef": 100}
    assert checked_index(index(), **NEW).search_parameters(500) == {"ef": 500}
    assert checked_index(index("IVF_FLAT", build={"nlist": 8}), **LITE).search_parameters(500) == {"nprobe": 8}


def test_an_index_that_may_miss_rows_can_look_at_all():
    assert checked_index(index(), **LITE).may_miss_rows
    assert checked_index(index(), **LITE).exhaustive_parameters(1000) == {"ef": 1000}
    assert checked_index(index("IVF_FLAT"), **NEW).may_miss_rows
    assert checked_index(index("IVF_FLAT"), **NEW).exhaustive_parameters(1000) == {"nprobe": 128}
    assert not checked_index(index(), **NEW).may_miss_rows
    assert not checked_index(index("FLAT"), **LITE).may_miss_rows
    assert not checked_index(index("AUTOINDEX"), **NEW).may_miss_rows


@pytest.mark.parametrize(
    ("settings", "there", "field"),
    [
        (index(), {"index_type": "IVF_FLAT", "metric_type": "COSINE"}, "milvus.index.type"),
        (index(), {"index_type": "HNSW", "metric_type": "L2"}, "milvus.index.metric"),
        (index("AUTOINDEX"), {"index_type": "HNSW", "metric_type": "L2"}, "milvus.index.metric"),
        (index(), {"index_type": "HNSW", "metric_type": "COSINE", "M": "32"}, "milvus.index.build.M"),
    ],
    ids=str,
)
def test_another_index_that_is_there_is_refused_with_the_ways_out(settings, there, field):
    with pytest.raises(ConfigurationError) as refused:
        check_existing(checked_index(settings, **NEW), there, "router_x")
    assert refused.value.field == field
    assert "milvus.collection_prefix" in refused.value.message


def test_the_same_index_that_is_there_is_fine():
    check_existing(checked_index(index(), **NEW), {"index_type": "HNSW", "metric_type": "COSINE", "M": "16"}, "router_x")
    check_existing(checked_index(index("AUTOINDEX"), **NEW), {"index_type": "HNSW", "metric_type": "COSINE"}, "router_x")


def test_spaces_have_names_of_their_own():
    names = {collection_name("router", space) for space in ("a-b", "a_b", "a b", "A-b", "a-b" * 60, "a-b" * 61)}
    assert len(names) == 6
    assert all(name.replace("_", "").isalnum() and len(name) < 120 for name in names)
    assert collection_name("router", "a_b") == "router_a_b"


@pytest.mark.parametrize(("text", "version"), [("v2.3.5-lite", (2, 3)), ("2.6.0", (2, 6)), ("milvus_lite-3.2.2", (3, 2)), ("?", (0, 0))])
def test_versions(text, version):
    assert server_version(text) == version


@pytest.mark.parametrize("kind", ["IVF_SQ8", "IVF_PQ"])
def test_vectors_are_not_read_where_that_may_destroy_them(kind):
    with pytest.raises(ConfigurationError) as refused:
        check_reading(kind, is_lite=False, version=(2, 3))
    assert refused.value.field == "milvus.index.type"
    assert "HNSW" in refused.value.message
    for is_lite, version in ((True, (3, 2)), (False, (2, 4)), (False, (2, 6)), (False, (0, 0))):
        check_reading(kind, is_lite=is_lite, version=version)


@pytest.mark.parametrize("kind", ["FLAT", "HNSW", "IVF_FLAT"])
def test_an_index_that_keeps_the_vectors_may_be_read_anywhere(kind):
    check_reading(kind, is_lite=False, version=(2, 3))
