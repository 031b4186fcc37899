"""An answer that may not be all there is, and says so."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")


class Partial(tuple[T, ...]):
    """A tuple with a `note`: why something of what was asked for may be missing; "" where nothing is known to be."""

    note: str

    def __new__(cls, items: Iterable[T] = (), note: str = "") -> Partial[T]:
        """Items in their order."""
        made = super().__new__(cls, tuple(items))
        made.note = note
        return made


def note_of(found: object) -> str:
    """What an answer says of its completeness; "" where it says nothing."""
    return found.note if isinstance(found, Partial) else ""
