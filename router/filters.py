"""Metadata and the filters over it: what is allowed, and what a filter means. Every store's own language is held to `matches`."""

from __future__ import annotations

import json
import math
import re

from router.errors import InvalidInput
from router.types import Condition, Filter, Metadata, MetadataValue, Scalar

FIELD_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")

# Bounds on one request or document. They keep the encoded metadata of a chunk under Milvus's 65,536 bytes for a JSON field and a
# filter's expression short enough to parse in milliseconds; no real document or question comes near them.
MAX_FIELDS = 64
MAX_LIST_ITEMS = 256
MAX_METADATA_BYTES = 16_384
MAX_TEXT_LENGTH = 4_096
MAX_CONDITIONS = 64
MAX_FILTER_VALUES = 256

INT64_MIN = -(2**63)
INT64_MAX = 2**63 - 1


def check_filter(where: Filter, path: str = "query.filter") -> None:
    """Refuse a filter that has no defined meaning or is too large.

    Raises:
        InvalidInput: Names the field (`query.filter.must[0].field`) and the remedy.
    """
    groups = {"must": where.must, "should": where.should, "must_not": where.must_not}
    count = sum(len(conditions) for conditions in groups.values())
    if count > MAX_CONDITIONS:
        raise InvalidInput(f"{path}: {count} conditions; give at most {MAX_CONDITIONS}", field=path)
    values = 0
    for group, conditions in groups.items():
        for position, condition in enumerate(conditions):
            _check_condition(condition, f"{path}.{group}[{position}]")
            values += len(condition.any_of or ())
    if values > MAX_FILTER_VALUES:
        raise InvalidInput(f"{path}: {values} values in any_of tests; give at most {MAX_FILTER_VALUES} in all", field=path)


def check_metadata(metadata: Metadata, path: str = "metadata") -> None:
    """Refuse metadata that the stores cannot keep and compare exactly.

    Raises:
        InvalidInput: Names the entry (`metadata.year`) and the remedy.
    """
    if len(metadata) > MAX_FIELDS:
        raise InvalidInput(f"{path}: {len(metadata)} fields; give at most {MAX_FIELDS}", field=path)
    items = 0
    for name, value in metadata.items():
        _check_name(name, f"{path}.{name}" if isinstance(name, str) else path)
        if isinstance(value, tuple):
            items += len(value)
            for position, item in enumerate(value):
                if not isinstance(item, str):
                    raise InvalidInput(f"{path}.{name}[{position}]: a list holds texts only", field=f"{path}.{name}[{position}]")
                _check_text(item, f"{path}.{name}[{position}]")
        else:
            _check_scalar(value, f"{path}.{name}")
    if items > MAX_LIST_ITEMS:
        raise InvalidInput(f"{path}: {items} list items; give at most {MAX_LIST_ITEMS} in all", field=path)
    size = len(json.dumps(dict(metadata), ensure_ascii=False).encode())
    if size > MAX_METADATA_BYTES:
        raise InvalidInput(
            f"{path}: {size} bytes as JSON; at most {MAX_METADATA_BYTES} are kept, put long text into the document", field=path
        )


def matches(where: Filter, metadata: Metadata) -> bool:
    """Whether metadata passes a filter that `check_filter` accepts: the reference semantics."""
    return (
        all(_satisfies(condition, metadata) for condition in where.must)
        and (not where.should or any(_satisfies(condition, metadata) for condition in where.should))
        and not any(_satisfies(condition, metadata) for condition in where.must_not)
    )


def is_number(value: object) -> bool:
    """Python calls a bool an int; a filter does not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _satisfies(condition: Condition, metadata: Metadata) -> bool:
    present = condition.field in metadata
    if condition.exists is not None:
        return present == condition.exists
    if not present:
        return False
    value = metadata[condition.field]
    if condition.equals is not None:
        return _equals(value, condition.equals)
    if condition.any_of is not None:
        return any(_equals(value, wanted) for wanted in condition.any_of)
    return _in_range(value, condition)


def _equals(value: MetadataValue, wanted: Scalar) -> bool:
    if isinstance(value, tuple):
        return wanted in value if isinstance(wanted, str) else False
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    return value == wanted  # int and float compare by value, text never equals a number


def _in_range(value: MetadataValue, condition: Condition) -> bool:
    low, high = condition.at_least, condition.at_most
    if isinstance(value, str):
        return (low is None or (isinstance(low, str) and low <= value)) and (high is None or (isinstance(high, str) and value <= high))
    if isinstance(value, tuple | bool) or isinstance(low, str) or isinstance(high, str):
        return False
    return (low is None or low <= value) and (high is None or value <= high)


def _check_condition(condition: Condition, path: str) -> None:
    _check_name(condition.field, f"{path}.field")
    is_range = condition.at_least is not None or condition.at_most is not None
    tests = [condition.equals is not None, condition.any_of is not None, is_range, condition.exists is not None]
    if sum(tests) != 1:
        raise InvalidInput(f"{path}: {sum(tests)} tests; give exactly one of equals, any_of, a range, exists", field=path)
    if condition.equals is not None:
        _check_scalar(condition.equals, f"{path}.equals")
    elif condition.any_of is not None:
        if not condition.any_of:
            raise InvalidInput(f"{path}.any_of: empty; give at least one value, or leave the condition out", field=f"{path}.any_of")
        for position, value in enumerate(condition.any_of):
            _check_scalar(value, f"{path}.any_of.values[{position}]")
    elif is_range:
        _check_range(condition, f"{path}.range")
    elif not isinstance(condition.exists, bool):
        raise InvalidInput(f"{path}.exists: must be true or false", field=f"{path}.exists")


def _check_range(condition: Condition, path: str) -> None:
    bounds = {"at_least": condition.at_least, "at_most": condition.at_most}
    given = {name: bound for name, bound in bounds.items() if bound is not None}
    for name, bound in given.items():
        if isinstance(bound, bool):
            raise InvalidInput(f"{path}.{name}: truth values have no order; use equals", field=f"{path}.{name}")
        _check_scalar(bound, f"{path}.{name}")
    if len({isinstance(bound, str) for bound in given.values()}) > 1:
        raise InvalidInput(f"{path}: one bound is text and the other a number; give both of one type", field=path)


def _check_name(name: object, path: str) -> None:
    if not isinstance(name, str) or not FIELD_NAME.fullmatch(name):
        raise InvalidInput(
            f"{path}: {str(name)[:80]!r} is not a field name; use a letter or underscore, then up to 63 letters, digits or underscores",
            field=path,
        )


def _check_scalar(value: object, path: str) -> None:
    if isinstance(value, bool):
        return
    if isinstance(value, str):
        _check_text(value, path)
    elif isinstance(value, int):
        if not INT64_MIN <= value <= INT64_MAX:
            raise InvalidInput(f"{path}: does not fit into 64 bits; send it as text", field=path)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidInput(f"{path}: {value} is not a finite number", field=path)
    else:
        raise InvalidInput(f"{path}: must be a text, a number or a truth value, not {type(value).__name__}", field=path)


def _check_text(text: str, path: str) -> None:
    if len(text) > MAX_TEXT_LENGTH:
        raise InvalidInput(f"{path}: {len(text)} characters; give at most {MAX_TEXT_LENGTH}", field=path)
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidInput(f"{path}: holds half of a surrogate pair; send valid Unicode", field=path)
