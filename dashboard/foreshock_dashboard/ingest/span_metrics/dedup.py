"""Deduplication of spans that senders retry."""

from __future__ import annotations

from collections.abc import Sequence

from foreshock_dashboard.model.span import Kind, SpanKey

MAX_SEEN_SPANS = 2_000_000
"""Spans remembered, about 100 bytes each."""

_SLOT_NS = 10_000_000_000


class SeenSpans:
    """Counted spans, until a duplicate would be late anyway; at most `limit`.

    A duplicate has the same end, so it is looked up only among the spans that ended in the same 10 s. Each span is a
    64-bit hash with a secret key: of 10^9 spans, about one is mistaken for a duplicate.
    """

    def __init__(self, slack: float, limit: int = MAX_SEEN_SPANS) -> None:
        self._slack = slack
        self._limit = limit
        self._size = 0
        self._slots: dict[int, set[int]] = {}

    def add(self, spans: Sequence[SpanKey], kinds: Sequence[Kind], ends: Sequence[int]) -> list[bool]:
        """Add spans by id, kind and end (ns); return for each whether it is new."""
        hashes = [*map(hash, zip(spans, kinds, strict=True))]
        if not hashes:
            return []
        slot = min(ends) // _SLOT_NS
        if max(ends) // _SLOT_NS == slot:  # the usual case, in which usually all spans are new
            known, new = self._slots.setdefault(slot, set()), set(hashes)
            if len(new) == len(hashes) and known.isdisjoint(new):
                known |= new
                self._grow(len(new))
                return [True] * len(hashes)
        return [self._add(number, end // _SLOT_NS) for number, end in zip(hashes, ends, strict=True)]

    def _add(self, number: int, slot: int) -> bool:
        known = self._slots.setdefault(slot, set())
        is_new = number not in known
        known.add(number)
        self._grow(is_new)
        return is_new

    def _grow(self, spans: int) -> None:
        self._size += spans
        while self._size > self._limit:
            self._drop(min(self._slots))

    def expire(self, now: float) -> None:
        """Drop the slots of spans that would be late now."""
        earliest_ns = (now - self._slack) * 1e9
        for slot in [slot for slot in self._slots if (slot + 1) * _SLOT_NS < earliest_ns]:
            self._drop(slot)

    def _drop(self, slot: int) -> None:
        self._size -= len(self._slots.pop(slot))
