"""An answer that may not be all there is, and says so."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")


class Partial(tuple[T, ...]):
    """A tuple with a `note`: why something of what was asked for may be missing; "" where nothing is known to be.

    total: how many items there are, given or not.
    """

    note: str
    total: int

    def __new__(cls, items: Iterable[T] = (), note: str = "", total: int | None = None) -> Partial[T]:
        """Items in their order; `total` is their number unless it is more."""
        made = super().__new__(cls, tuple(items))
        made.note = note
        made.total = len(made) if total is None else total
        return made


def note_of(found: object) -> str:
    """What an answer says of its completeness; "" where it says nothing."""
    return found.note if isinstance(found, Partial) else ""


def total_of(found: Sequence[object]) -> int:
    """How many items there are, those included that an answer lacks."""
    return found.total if isinstance(found, Partial) else len(found)
