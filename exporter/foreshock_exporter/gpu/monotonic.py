"""Counters of a device that never go back, though the device's own wrap, or start again with the driver."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import fields, replace
from typing import Any, NamedTuple, TypeVar

from foreshock_exporter.model.device import Counters, Health, LinkBytes

MAX_FAST_WRAP = 2.0**33
"""Bytes. A counter that wraps below this is one of 32 bits, which a busy link fills in a fraction of a second."""

_Part = TypeVar("_Part", Counters, Health)
_COUNTED = {
    Counters: frozenset(field.name for field in fields(Counters)) - {"wraps", "absent"},
    Health: frozenset({"ecc_errors", "nvlink_errors", "pcie_replays"}),
}


class CounterState(NamedTuple):
    """What a device's counter last said, and what has been counted in all."""

    raw: float
    total: float


CounterStates = MutableMapping[tuple[object, ...], CounterState]
"""The counters of one GPU by field and key."""


def advance(before: CounterState | None, raw: float, wraps: float | None = None) -> CounterState:
    """The count after another look at a device's counter, which begins with what the device says.

    A value below the last one has wrapped if that makes for less than half a turn; otherwise it began anew. One of 32
    bits has wrapped in any case: a link fills more than half of it between two looks.
    """
    if before is None:
        return CounterState(raw, raw)
    step = raw - before.raw
    if step < 0.0:
        turned = step + wraps if wraps is not None else -1.0
        most = 0.0 if wraps is None else wraps if wraps <= MAX_FAST_WRAP else wraps / 2.0
        step = turned if 0.0 <= turned < most else raw
    return CounterState(raw, before.total + max(0.0, step))


def make_monotonic(book: CounterStates, part: _Part) -> _Part:
    """The part with its counters replaced by ones that never go back; notes in `book` what it saw."""
    wraps: Mapping[str, float] = part.wraps if isinstance(part, Counters) else {}
    changed: dict[str, Any] = {}
    for field in _COUNTED[type(part)]:
        value = getattr(part, field)
        if value is not None and value != {}:
            changed[field] = _follow_value(book, (field,), value, wraps.get(field))
    return replace(part, **changed)


def _follow_value(book: CounterStates, key: tuple[object, ...], value: Any, wraps: float | None) -> Any:  # noqa: ANN401 - by field
    if isinstance(value, (float, int)):
        count = book[key] = advance(book.get(key), float(value), wraps)
        return count.total
    if isinstance(value, LinkBytes):
        return LinkBytes(*(_follow_value(book, (*key, end), each, wraps) for end, each in enumerate(value)))
    return {name: _follow_value(book, (*key, name), each, wraps) for name, each in value.items()}
