"""What is worked out from who there is, kept from grid point to grid point for as long as it is the same who are."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, TypeVar

Key = TypeVar("Key", bound=Hashable)
Made = TypeVar("Made")


class IdentityCache:
    """What functions made of objects, for as long as the same objects are asked about.

    A World has the same tuples of keys as the one before it where nothing came and nothing went. What was not asked for
    between two calls of `following` is forgotten. Only the newest of those is to be asked; the older are not changed.
    """

    def __init__(self, before: Mapping[tuple[int, ...], tuple[Any, ...]] | None = None) -> None:
        self._before = before or {}
        self._now: dict[tuple[int, ...], tuple[Any, ...]] = {}

    def next_step(self) -> IdentityCache:
        """For the next grid point."""
        return IdentityCache(self._now)

    def get(self, make: Callable[..., Made], *objects: object) -> Made:
        """make(*objects), made once. `make` must be the same function each time, and its answer must not be changed."""
        token = (id(make), *map(id, objects))
        found = self._now.get(token)
        if found is None:
            # With what it was made of, so that nothing else gets the place in memory that tells them apart.
            found = self._before.get(token) or (make(*objects), make, objects)
            self._now[token] = found
        made: Made = found[0]
        return made


def row_by_key(keys: tuple[Key, ...]) -> Mapping[Key, int]:
    """The row of each key."""
    return {key: row for row, key in enumerate(keys)}


def rows_by_key(whose: Iterable[Key]) -> Mapping[Key, list[int]]:
    """The rows of each."""
    found: dict[Key, list[int]] = {}
    for row, key in enumerate(whose):
        found.setdefault(key, []).append(row)
    return found
