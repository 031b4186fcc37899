"""Sequences of results that may be incomplete."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")


class Partial(tuple[T, ...]):
    """A tuple with a `note` on why items may be missing, "" for a complete answer.

    `total` counts all items, also those not in the tuple.
    """

    note: str
    total: int

    def __new__(cls, items: Iterable[T] = (), note: str = "", total: int | None = None) -> Partial[T]:
        """Items in order; `total` defaults to their number."""
        partial = super().__new__(cls, tuple(items))
        partial.note = note
        partial.total = len(partial) if total is None else total
        return partial


def note_of(items: object) -> str:
    """Why an answer may be incomplete; "" for a complete one."""
    return items.note if isinstance(items, Partial) else ""


def total_of(items: Sequence[object]) -> int:
    """Number of items, also those that an answer lacks."""
    return items.total if isinstance(items, Partial) else len(items)
