"""A relation between two kinds of numbered things as arrays, read from either side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.integer[Any]]
Column = NDArray[Any]

MERGED_AT = 8
"""Two neighbouring parts become one when the earlier is not this many times larger: few parts, and each row is moved few times."""


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    left: Numbers
    """Sorted."""
    right: Numbers
    columns: tuple[Column, ...]
    by_right: Numbers
    """Places of the rows in the order of `right`."""
    right_sorted: Numbers

    @classmethod
    def of(cls, left: Numbers, right: Numbers, columns: tuple[Column, ...]) -> _Part:
        order = np.lexsort((right, left))
        left, right, columns = left[order], right[order], tuple(column[order] for column in columns)
        by_right = np.argsort(right, kind="stable").astype(np.int32)
        return cls(left, right, columns, by_right, right[by_right])

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in (self.left, self.right, self.by_right, self.right_sorted, *self.columns))


class Relation:
    """Rows (left, right, columns). Immutable; with more rows it is another relation, which shares the parts that did not change.

    The parts are merged as they grow (O'Neil et al., The log-structured merge-tree, 1996), so a row costs O(log n) on the way, and a
    look-up asks few parts. Rows are not taken out: whoever reads knows which of the numbers are alive.
    """

    def __init__(self, parts: tuple[_Part, ...] = ()) -> None:
        self._parts = parts

    @property
    def nbytes(self) -> int:
        return sum(part.nbytes for part in self._parts)

    def __len__(self) -> int:
        return sum(len(part.left) for part in self._parts)

    def with_rows(self, left: Numbers, right: Numbers, *columns: Column) -> Relation:
        if len(left) == 0:
            return self
        parts = [*self._parts, _Part.of(left, right, columns)]
        while len(parts) > 1 and len(parts[-2].left) < MERGED_AT * len(parts[-1].left):
            last, other = parts.pop(), parts.pop()
            parts.append(_Part.of(*(_joined(other.left, last.left), _joined(other.right, last.right)), _columns((other, last))))
        return Relation(tuple(parts))

    def rows(self) -> tuple[Numbers, Numbers, tuple[Column, ...]]:
        """All rows: left, right, columns."""
        if not self._parts:
            return _NONE, _NONE, ()
        return _joined(*(part.left for part in self._parts)), _joined(*(part.right for part in self._parts)), _columns(self._parts)

    def right_of(self, left: int) -> Numbers:
        """The right ends of one number's rows."""
        some = [part.right[slice(*part.left.searchsorted((left, left + 1)))] for part in self._parts]
        return some[0] if len(some) == 1 else _joined(*some)

    def of_left(self, wanted: Numbers) -> tuple[Numbers, Numbers, tuple[Column, ...]]:
        """Rows of some left numbers: their places in `wanted`, the right ends, columns."""
        found = [(part, *_ranges(part.left, wanted)) for part in self._parts]
        return _gathered([(which, part.right[rows], tuple(column[rows] for column in part.columns)) for part, which, rows in found])

    def of_right(self, wanted: Numbers) -> tuple[Numbers, Numbers, tuple[Column, ...]]:
        """Rows of some right numbers: their places in `wanted`, the left ends, columns."""
        some = []
        for part in self._parts:
            which, places = _ranges(part.right_sorted, wanted)
            rows = part.by_right[places]
            some.append((which, part.left[rows], tuple(column[rows] for column in part.columns)))
        return _gathered(some)


_NONE: Numbers = np.empty(0, dtype=np.int32)


def _joined(*arrays: Column) -> Column:
    return np.concatenate(arrays) if arrays else _NONE


def _columns(parts: tuple[_Part, ...]) -> tuple[Column, ...]:
    return tuple(_joined(*columns) for columns in zip(*(part.columns for part in parts), strict=True))


def _gathered(some: list[tuple[Numbers, Numbers, tuple[Column, ...]]]) -> tuple[Numbers, Numbers, tuple[Column, ...]]:
    if len(some) == 1:
        return some[0]
    if not some:
        return _NONE, _NONE, ()
    which, ends, columns = zip(*some, strict=True)
    return _joined(*which), _joined(*ends), tuple(_joined(*column) for column in zip(*columns, strict=True))


def spread(items: Numbers, begin: Numbers, count: Numbers) -> tuple[Numbers, Numbers]:
    """Each item as often as it has rows, with the places of those rows: `count` of them from `begin` on."""
    first = np.repeat(begin - (np.cumsum(count) - count), count)
    return np.repeat(items, count), first + np.arange(len(first))


def _ranges(keys: Numbers, wanted: Numbers) -> tuple[Numbers, Numbers]:
    """Places of each wanted number in sorted keys: index into `wanted`, place."""
    begin = keys.searchsorted(wanted)
    return spread(np.arange(len(wanted), dtype=np.int32), begin, keys.searchsorted(wanted, side="right") - begin)
