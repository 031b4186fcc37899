"""Which spans were counted already."""

from __future__ import annotations

from collections.abc import Sequence

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

    def add(self, spans: Sequence[Id], kinds: Sequence[Kind], ends: Sequence[int]) -> list[bool]:
        """Remember spans by their ids, kinds and ends (ns); for each, whether it was not seen before."""
        hashes = [*map(hash, zip(spans, kinds, strict=True))]
        if not hashes:
            return []
        place = min(ends) // _SLOT_NS
        if max(ends) // _SLOT_NS == place:  # nearly always, and then nearly always all of them are new
            slot, new = self._slot(place), set(hashes)
            if len(new) == len(hashes) and slot.isdisjoint(new):
                slot |= new
                self._grow(len(new))
                return [True] * len(hashes)
        return [self._add(number, end // _SLOT_NS) for number, end in zip(hashes, ends, strict=True)]

    def _add(self, number: int, place: int) -> bool:
        slot = self._slot(place)
        before = len(slot)
        slot.add(number)
        grown = len(slot) - before
        self._grow(grown)
        return bool(grown)

    def _slot(self, place: int) -> set[int]:
        return self._slots.setdefault(place, set())

    def _grow(self, spans: int) -> None:
        self._size += spans
        while self._size > self._limit:
            self._drop(min(self._slots))

    def forget(self, now: float) -> None:
        """Drop the slots whose spans would be late by now."""
        last = (now - self._slack) * 1e9
        for slot in [slot for slot in self._slots if (slot + 1) * _SLOT_NS < last]:
            self._drop(slot)

    def _drop(self, slot: int) -> None:
        self._size -= len(self._slots.pop(slot))
