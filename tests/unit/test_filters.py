"""What a filter and metadata may hold, what a filter means, and that Milvus Lite means the same."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router import filters
from router.errors import InvalidInput
from router.filters import check_filter, check_metadata, matches
from router.types import NO_FILTER, Condition, Filter


def must(*conditions):
    return Filter(must=conditions)


@pytest.mark.parametrize(
    ("where", "field"),
    [
        (must(Condition("a", equals=1), Condition("1a", equals=1)), "query.filter.must[1].field"),
        (must(Condition("", equals=1)), "query.filter.must[0].field"),
        (must(Condition('a"] == 1 or $meta["b', equals=1)), "query.filter.must[0].field"),
        (must(Condition("é", equals=1)), "query.filter.must[0].field"),
        (must(Condition("a\n", equals=1)), "query.filter.must[0].field"),
        (must(Condition("a" * 65, equals=1)), "query.filter.must[0].field"),
        (Filter(should=(Condition("a"),)), "query.filter.should[0]"),
        (Filter(must_not=(Condition("a", equals=1, exists=True),)), "query.filter.must_not[0]"),
        (must(Condition("a", equals=1, at_least=0)), "query.filter.must[0]"),
        (must(Condition("a", any_of=())), "query.filter.must[0].any_of"),
        (must(Condition("a", any_of=(1, math.nan))), "query.filter.must[0].any_of.values[1]"),
        (must(Condition("a", equals=math.inf)), "query.filter.must[0].equals"),
        (must(Condition("a", equals=2**63)), "query.filter.must[0].equals"),
        (must(Condition("a", equals="x" * 4097)), "query.filter.must[0].equals"),
        (must(Condition("a", equals="\ud800")), "query.filter.must[0].equals"),
        (must(Condition("a", at_least=1, at_most="2")), "query.filter.must[0].range"),
        (must(Condition("a", at_least=True)), "query.filter.must[0].range.at_least"),
        (must(Condition("a", at_most=math.nan)), "query.filter.must[0].range.at_most"),
        (must(*[Condition("a", equals=1)] * 65), "query.filter"),
        (must(*[Condition("a", any_of=tuple(range(100)))] * 3), "query.filter"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_filter_without_meaning_is_refused_by_field(where, field):
    with pytest.raises(InvalidInput) as refused:
        check_filter(where)
    assert refused.value.field == field
    assert refused.value.message.startswith(field)


@pytest.mark.parametrize(
    ("metadata", "field"),
    [
        ({"a b": 1}, "metadata.a b"),
        ({"a": math.nan}, "metadata.a"),
        ({"a": -(2**63) - 1}, "metadata.a"),
        ({"a": None}, "metadata.a"),
        ({"a": ["x"]}, "metadata.a"),
        ({"a": ("x", 1)}, "metadata.a[1]"),
        ({"a": "\udfff"}, "metadata.a"),
        ({"a": "x" * 4097}, "metadata.a"),
        ({f"a{number}": 1 for number in range(65)}, "metadata"),
        ({"a": ("x",) * 200, "b": ("x",) * 57}, "metadata"),
        ({f"a{number}": "é" * 2000 for number in range(5)}, "metadata"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_metadata_that_cannot_be_kept_is_refused_by_field(metadata, field):
    with pytest.raises(InvalidInput) as refused:
        check_metadata(metadata)
    assert refused.value.field == field


def test_what_is_allowed_passes():
    check_filter(NO_FILTER)
    check_filter(must(Condition("_a9", equals=False), Condition("a", at_least=0, at_most=2.5), Condition("a", exists=False)))
    check_metadata({"_A": "", "b": (), "c": -(2**63), "d": True, "e": 1e300, "f": ("x", "\n")})


@pytest.mark.parametrize(
    ("condition", "value", "expected"),
    [
        (Condition("a", equals=1), 1.0, True),
        (Condition("a", equals=1), True, False),
        (Condition("a", equals=True), 1, False),
        (Condition("a", equals=True), True, True),
        (Condition("a", equals="1"), 1, False),
        (Condition("a", equals=2**53 + 1), float(2**53), False),
        (Condition("a", equals="x"), ("y", "x"), True),
        (Condition("a", any_of=("z", 3)), ("y", "z"), True),
        (Condition("a", any_of=(1, 2)), 2.0, True),
        (Condition("a", any_of=(1, 2)), True, False),
        (Condition("a", at_least=1), True, False),
        (Condition("a", at_least=1), "1", False),
        (Condition("a", at_least="2026-01-01", at_most="2026-12-31"), "2026-05-01T10:00", True),
        (Condition("a", at_least="a"), ("b",), False),
        (Condition("a", at_most=2), 2.0, True),
        (Condition("a", exists=True), (), True),
        (Condition("a", exists=False), 0, False),
    ],
    ids=str,
)
def test_a_condition_on_a_value(condition, value, expected):
    assert matches(must(condition), {"a": value}) is expected
    assert matches(Filter(must_not=(condition,)), {"a": value}) is not expected


@pytest.mark.parametrize(
    "condition", [Condition("a", equals=1), Condition("a", any_of=(1,)), Condition("a", at_least=0), Condition("a", exists=True)]
)
def test_a_missing_field_satisfies_only_that_it_is_missing(condition):
    assert not matches(must(condition), {"b": 1})
    assert matches(must(Condition("a", exists=False)), {"b": 1})


def test_groups():
    one, two = Condition("a", equals=1), Condition("b", equals=2)
    assert matches(NO_FILTER, {})
    assert not matches(must(one, two), {"a": 1})
    assert matches(Filter(should=(one, two)), {"b": 2})
    assert not matches(Filter(should=(one, two)), {})
    assert not matches(Filter(must=(one,), must_not=(two,)), {"a": 1, "b": 2})


@given(st.dictionaries(st.text(max_size=70), st.one_of(st.text(), st.integers(), st.floats(), st.booleans(), st.none())))
def test_metadata_is_taken_or_refused_and_nothing_else(metadata):
    if all(filters.FIELD_NAME.fullmatch(name) and is_kept(value) for name, value in metadata.items()):
        check_metadata(metadata)
    else:
        with pytest.raises(InvalidInput) as refused:
            check_metadata(metadata)
        assert refused.value.field.startswith("metadata.")


def is_kept(value):
    match value:
        case None:
            return False
        case float():
            return math.isfinite(value)
        case int():
            return -(2**63) <= value < 2**63
    return True
