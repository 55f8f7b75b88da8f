"""Items with numbers and ids, in versions that share what they have in common."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")

MAX_CHANGED = 1_000
"""Changed items beside the list; with more of them the list is copied."""


@dataclass(frozen=True, eq=False)
class Numbered(Generic[T]):
    """One version: the first `len(self)` items of lists that only grow, of which some are alive and some were changed since.

    A number means the same item in every version that has it. Versions form a line: only the newest may be extended.

    Args:
        returns: Whether an item that was removed and comes again gets its old number back.
    """

    returns: bool
    alive: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))
    _items: list[T] = field(default_factory=list)
    _ids: list[str] = field(default_factory=list)
    _numbers: dict[str, int] = field(default_factory=dict)
    _earlier: dict[int, int] = field(default_factory=dict)
    """Number that an item had before it came again."""
    _changed: Mapping[int, T] = field(default_factory=dict)

    def __len__(self) -> int:
        """Numbers given, also to items that are gone."""
        return len(self.alive)

    def __getitem__(self, number: int) -> T:
        changed = self._changed.get(number)
        return self._items[number] if changed is None else changed

    def __iter__(self) -> Iterator[T]:
        return (self[number] for number in range(len(self)))

    def ids(self, numbers: Iterable[int]) -> list[str]:
        """Ids by number, many at a time."""
        return list(map(self._ids.__getitem__, numbers))

    def living(self) -> Iterator[T]:
        return (self[number] for number in np.flatnonzero(self.alive).tolist())

    def number(self, identity: str) -> int | None:
        """Of an item that is alive."""
        number = self._last_number(identity)
        return number if number is not None and self.alive[number] else None

    def with_items(self, items: Mapping[str, T]) -> Numbered[T]:
        """Add, revive or change items by id."""
        assert len(self._items) == len(self.alive), "only the newest version is extended"
        alive, changed = self.alive.copy(), dict(self._changed)
        for identity, item in items.items():
            number = self._last_number(identity)
            if number is not None and (self.returns or alive[number]):
                alive[number] = True
                if self[number] != item:
                    changed[number] = item
                continue
            fresh = len(self._items)
            self._items.append(item)
            self._ids.append(identity)
            if number is not None:
                self._earlier[fresh] = number
            self._numbers[identity] = fresh
        grown = np.concatenate([alive, np.ones(len(self._items) - len(alive), dtype=np.bool_)])
        later = replace(self, alive=grown, _changed=changed)
        return later if len(changed) <= MAX_CHANGED else replace(later, _items=list(later), _changed={})

    def without(self, numbers: NDArray[np.integer[Any]]) -> Numbered[T]:
        alive = self.alive.copy()
        alive[numbers] = False
        return replace(self, alive=alive)

    def _last_number(self, identity: str) -> int | None:
        number = self._numbers.get(identity)
        while number is not None and number >= len(self.alive):
            number = self._earlier.get(number)
        return number


class NumberById(Mapping[str, int], Generic[T]):
    """Numbers of the items that are alive, by id."""

    def __init__(self, numbered: Numbered[T]) -> None:
        self._numbered = numbered

    def __getitem__(self, identity: str) -> int:
        number = self._numbered.number(identity)
        if number is None:
            raise KeyError(identity)
        return number

    def __contains__(self, identity: object) -> bool:
        return isinstance(identity, str) and self._numbered.number(identity) is not None

    def __iter__(self) -> Iterator[str]:
        return (identity for identity in list(self._numbered._numbers) if identity in self)

    def __len__(self) -> int:
        return int(np.count_nonzero(self._numbered.alive))
