"""Memoization by object identity, for values that derive from the entities of a World."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

Key = TypeVar("Key", bound=Hashable)
T = TypeVar("T")


class IdentityCache:
    """Results of functions, kept for as long as they are called with the same objects.

    A World shares its tuples of keys with the previous World where no entity appeared or disappeared. Results that were
    not used between two calls of `next_step` are dropped. Only the newest cache may be used; earlier ones stay as they
    are.
    """

    def __init__(self, previous: Mapping[tuple[int, ...], tuple[Any, ...]] | None = None) -> None:
        self._previous = previous or {}
        self._results: dict[tuple[int, ...], tuple[Any, ...]] = {}

    def next_step(self) -> IdentityCache:
        """The cache for the next grid point."""
        return IdentityCache(self._results)

    def get(self, function: Callable[..., T], *objects: object) -> T:
        """`function(*objects)`, computed once. `function` is the same object in each call; its result is read-only."""
        token = (id(function), *map(id, objects))
        entry = self._results.get(token)
        if entry is None:
            # The entry refers to the function and the objects, so that no other object gets one of their ids.
            entry = self._previous.get(token) or (function(*objects), function, objects)
            self._results[token] = entry
        result: T = entry[0]
        return result


def row_by_key(keys: Sequence[Key]) -> Mapping[Key, int]:
    """The row of each key."""
    return {key: row for row, key in enumerate(keys)}


def rows_by_field(items: Sequence[object], field: str) -> Mapping[Any, list[int]]:
    """The rows of the items with each value of a field."""
    return rows_by_key(getattr(item, field) for item in items)


def rows_by_key(keys: Iterable[Key]) -> Mapping[Key, list[int]]:
    """The rows of each key, which may occur several times."""
    rows: dict[Key, list[int]] = {}
    for row, key in enumerate(keys):
        rows.setdefault(key, []).append(row)
    return rows
