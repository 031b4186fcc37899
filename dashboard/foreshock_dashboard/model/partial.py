"""Answers that know whether they are complete."""

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
        made = super().__new__(cls, tuple(items))
        made.note = note
        made.total = len(made) if total is None else total
        return made


def note_of(found: object) -> str:
    """Why an answer may be incomplete; "" for a complete one."""
    return found.note if isinstance(found, Partial) else ""


def total_of(found: Sequence[object]) -> int:
    """Number of items, also those that an answer lacks."""
    return found.total if isinstance(found, Partial) else len(found)
