"""Monotonic counters from device counters that wrap around or reset with the driver."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, MutableMapping
from dataclasses import fields, replace
from typing import Any, NamedTuple, TypeVar

from foreshock_exporter.model.device import Activity, Counters, Health, LinkBytes, Reason

MAX_FAST_WRAP = 2.0**33
"""Bytes. A counter that wraps at or below this value is 32-bit, and wraps within a second on a busy link."""

_Part = TypeVar("_Part", Activity, Counters, Health)
_COUNTER_FIELDS = {
    Activity: frozenset(field.name for field in fields(Activity)) - {"absent"},
    Counters: frozenset(field.name for field in fields(Counters)) - {"wraps", "absent"},
    Health: frozenset(
        {"ecc_errors", "ecc_location_errors", "nvlink_errors", "c2c_errors", "pcie_aer_errors", "pcie_replays"}
    ),
}
_PCIE_BYTES = ("pcie_transmit_bytes", "pcie_receive_bytes")


class CounterState(NamedTuple):
    """Last raw value of a device counter and the monotonic total."""

    raw: float
    total: float


CounterStates = MutableMapping[tuple[object, ...], CounterState]
"""Counter states of one GPU by field and key."""


def advance(state: CounterState | None, raw: float, wraps: float | None = None) -> CounterState:
    """State after one more raw value. The total starts at the first raw value.

    A decrease is a wrap if it implies less than half of the wrap range, otherwise a reset. A decrease of a 32-bit
    counter is always a wrap.
    """
    if state is None:
        return CounterState(raw, raw)
    step = raw - state.raw
    if step < 0.0:
        unwrapped = step + wraps if wraps is not None else -1.0
        max_step = 0.0 if wraps is None else wraps if wraps <= MAX_FAST_WRAP else wraps / 2.0
        step = unwrapped if 0.0 <= unwrapped < max_step else raw
    return CounterState(raw, state.total + max(0.0, step))


def make_monotonic(counter_states: CounterStates, part: _Part) -> _Part:
    """Copy of `part` with monotonic counters. Updates `counter_states`."""
    return _advance_part(counter_states, (), part)


def follow(counter_states: CounterStates, counters: Counters, names: Collection[str]) -> None:
    """Update the states of these fields of the counters, so that none wraps twice between two readings of all."""
    for name in names:
        if (value := getattr(counters, name)) not in (None, {}):
            _advance_value(counter_states, (Counters.__name__, name), value, counters.wraps.get(name))


def with_activity_bytes(
    counter_states: CounterStates, counters: Counters, activity: Activity | None, from_activity: set[str]
) -> Counters:
    """Raw counters with the PCIe bytes of `activity`, where the driver counts none (R535), or in 32 bits.

    A full link of generation 5 wraps 32 bits 15 times a second, more often than counters are read. `from_activity` has
    the fields last taken from there. These are missing while the activity fails or begins again, and their totals go on
    at a change of the source.
    """
    taken: dict[str, Any] = {}
    reasons: dict[str, Reason] = {}
    for name in _PCIE_BYTES:
        if name in counters.absent:
            continue
        counted, sent, was_taken = getattr(counters, name), getattr(activity, name, None), name in from_activity
        reason = activity.absent.get(name, "not_supported") if activity else "driver" if was_taken else None
        suffices = counted is not None and counters.wraps.get(name, math.inf) > MAX_FAST_WRAP
        takes = not suffices and (sent is not None or counted is None or (was_taken and reason != "not_supported"))
        if takes:
            taken[name] = sent
            if sent is None and reason not in (None, "not_supported"):
                reasons[name] = reason
        value, key = sent if takes else counted, (Counters.__name__, name)
        if value is not None and takes != was_taken:
            from_activity ^= {name}
            if (state := counter_states.get(key)) is not None:
                counter_states[key] = state._replace(raw=value)
    if not taken:
        return counters
    wraps = {name: value for name, value in counters.wraps.items() if name not in taken}
    return replace(counters, **taken, wraps=wraps, absent={**counters.absent, **reasons})


def _advance_part(counter_states: CounterStates, key: tuple[object, ...], part: _Part) -> _Part:
    wraps: Mapping[str, float] = part.wraps if isinstance(part, Counters) else {}
    updates: dict[str, Any] = {}
    for field in _COUNTER_FIELDS[type(part)]:
        value = getattr(part, field)
        if value is not None and value != {}:
            updates[field] = _advance_value(counter_states, (*key, type(part).__name__, field), value, wraps.get(field))
    return replace(part, **updates)


def _advance_value(counter_states: CounterStates, key: tuple[object, ...], value: Any, wraps: float | None) -> Any:  # noqa: ANN401 - by field
    if isinstance(value, (float, int)):
        count = counter_states[key] = advance(counter_states.get(key), float(value), wraps)
        return count.total
    if isinstance(value, LinkBytes):
        return LinkBytes(*(_advance_value(counter_states, (*key, end), item, wraps) for end, item in enumerate(value)))
    if isinstance(value, Activity):
        return _advance_part(counter_states, key, value)
    return {name: _advance_value(counter_states, (*key, name), item, wraps) for name, item in value.items()}
