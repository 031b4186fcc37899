"""Which spans were counted already."""

from __future__ import annotations

from foreshock_dashboard.model.span import Id, Kind

MAX_SEEN = 2_000_000
"""Spans remembered, about 100 bytes each, to tell those that come again."""

_SLOT_NS = 10_000_000_000


class Seen:
    """The spans that were counted, as long as one that comes again would not be late anyway, and `limit` at most.

    A span that comes again ends when it did before, so it is looked for only among those that ended in its ten seconds.
    Of each, 64 bits of a hash are kept, whose key nobody outside knows: of 10^9 spans about one is taken for another.
    """

    def __init__(self, slack: float, limit: int = MAX_SEEN) -> None:
        self._slack = slack
        self._limit = limit
        self._size = 0
        self._slots: dict[int, set[int]] = {}

    def add(self, span: Id, kind: Kind, end_ns: int) -> bool:
        """Remember a span by its id, kind and end; False where it was seen before."""
        place = end_ns // _SLOT_NS
        slot = self._slots.get(place)
        if slot is None:
            slot = self._slots[place] = set()
        before = len(slot)
        slot.add(hash((span, kind)))
        if len(slot) == before:
            return False
        self._size += 1
        if self._size > self._limit:
            self._drop(min(self._slots))
        return True

    def forget(self, now: float) -> None:
        """Drop the slots whose spans would be late by now."""
        last = (now - self._slack) * 1e9
        for slot in [slot for slot in self._slots if (slot + 1) * _SLOT_NS < last]:
            self._drop(slot)

    def _drop(self, slot: int) -> None:
        self._size -= len(self._slots.pop(slot))
