"""Filters in Milvus's expression language, and metadata in the form that these expressions test.

A value is never compared where its presence can be tested. Each metadata value becomes a few keys of Milvus's dynamic field:

    is_<field>            the field is there
    eq_<field>_<digest>   it has this value, or a list item of this value; the digest covers type and value
    int_<field>, float_<field>, text_<field>   the value itself, for ranges; a list has none

So one key never holds two types, equality needs no literal, and a list is tested like a scalar. Reasons, all of Milvus Lite 3.2.2:
comparing a JSON key that holds different types gives wrong answers (`true == 1`), `json_contains` takes a text that looks like a list for
a list, and any test on a JSON column or `json_contains` converts every row with its vector to Python objects (300 ms at 10k rows against
30 ms for this form). Whole numbers beyond 2**53 stay exact since ints and fractions are kept apart.
"""

from __future__ import annotations

import hashlib
import math

from router.filters import INT64_MAX, INT64_MIN, check_filter, is_number
from router.types import Condition, Filter, Metadata, MetadataValue, Scalar


def metadata_keys(metadata: Metadata) -> dict[str, bool | int | float | str]:
    """The keys of the dynamic field that stand for a chunk's metadata."""
    keys: dict[str, bool | int | float | str] = {}
    for field, value in metadata.items():
        keys[f"is_{field}"] = True
        keys.update({_equality_key(field, item): True for item in _items(value)})
        if isinstance(value, str):
            keys[f"text_{field}"] = value
        elif is_number(value):
            number = _number(value)  # type: ignore[arg-type]
            keys[f"int_{field}" if isinstance(number, int) else f"float_{field}"] = number
    return keys


def expression(where: Filter, **columns: str | None) -> str:
    """The rows that pass the filter and whose columns have these values; a column given as None is not tested.

    Raises:
        InvalidInput: The filter is not a valid one; checked here too, since field names stand in the expression as they are.
    """
    check_filter(where)
    clauses = [f"{column} == {literal(value)}" for column, value in columns.items() if value is not None]
    clauses += [_condition(condition) for condition in where.must]
    if where.should:
        clauses.append(_any([_condition(condition) for condition in where.should]))
    clauses += [f"not {_condition(condition)}" for condition in where.must_not]
    return " and ".join(clauses)


def literal(text: str) -> str:
    """A text literal. Milvus Lite knows these five escapes only; every other character may stand as it is."""
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    return '"' + "".join(escapes.get(character, character) for character in text) + '"'


def _condition(condition: Condition) -> str:
    """True or false for every row, never unknown: a comparison is always guarded by `exists`."""
    field = condition.field
    if condition.exists is not None:
        return _there(f"is_{field}") if condition.exists else f"(not {_there(f'is_{field}')})"
    if condition.equals is not None:
        return _there(_equality_key(field, condition.equals))
    if condition.any_of is not None:
        return _any([_there(_equality_key(field, value)) for value in condition.any_of])
    return _range(field, condition.at_least, condition.at_most)


def _range(field: str, low: float | str | None, high: float | str | None) -> str:
    if isinstance(low, str) or isinstance(high, str):
        at_least = [] if low is None else [f">= {literal(str(low))}"]
        at_most = [] if high is None else [f"<= {literal(str(high))}"]
        return _compared(f"text_{field}", at_least + at_most)
    fractions = _fraction_between(f"float_{field}", low, high)
    whole = _whole_between(f"int_{field}", None if low is None else math.ceil(low), None if high is None else math.floor(high))
    return _any([whole, fractions]) if whole else fractions


def _whole_between(key: str, low: int | None, high: int | None) -> str:
    """Empty when no 64-bit integer lies there. Bounds that all of them pass are left out, and the upper one is written as `<`: so every
    literal and its negative fit into 64 bits, which Milvus reads apart from the minus sign.
    """
    if (low is not None and low > INT64_MAX) or (high is not None and high < INT64_MIN):
        return ""
    at_least = [] if low is None or low <= INT64_MIN else [f">= {low}"]
    at_most = [] if high is None or high >= INT64_MAX else [f"< {high + 1}"]
    return _compared(key, at_least + at_most)


def _fraction_between(key: str, low: float | None, high: float | None) -> str:
    at_least = [] if low is None else [f">= {_float_above(low)!r}"]
    at_most = [] if high is None else [f"<= {-_float_above(-high)!r}"]
    return _compared(key, at_least + at_most)


def _float_above(bound: float) -> float:
    """The least float that is not below the bound: beyond 2**53 converting an int may round it past a stored value."""
    nearest = float(bound)
    return nearest if nearest >= bound else math.nextafter(nearest, math.inf)


def _compared(key: str, tests: list[str]) -> str:
    return "(" + " and ".join([_there(key), *(f"{_key(key)} {test}" for test in tests)]) + ")"


def _there(key: str) -> str:
    # In parentheses always: in Milvus 2.3 `exists a and b` is `exists (a and b)`.
    return f"(exists {_key(key)})"


def _any(tests: list[str]) -> str:
    return "(" + " or ".join(tests) + ")"


def _key(key: str) -> str:
    return f'$meta["{key}"]'


def _equality_key(field: str, value: Scalar) -> str:
    typed = f"b{value}" if isinstance(value, bool) else f"t{value}" if isinstance(value, str) else f"n{_number(value)!r}"
    return f"eq_{field}_{hashlib.blake2b(typed.encode(), digest_size=16).hexdigest()}"


def _items(value: MetadataValue) -> tuple[Scalar, ...]:
    return value if isinstance(value, tuple) else (value,)


def _number(value: float) -> int | float:
    """One form per value: 2.0 is 2. A whole number that does not fit into 64 bits stays a float."""
    whole = int(value)
    return whole if whole == value and INT64_MIN <= whole <= INT64_MAX else float(value)
