"""A shorter time range of a World: the same rows, fewer columns. Nothing is copied."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import TypeVar

import numpy as np

from foreshock_dashboard.model.world import World

Section = TypeVar("Section")


def slice_world(world: World, start: float, end: float) -> World:
    """The World from `start` to `end` (Unix seconds, both included).

    Raises:
        ValueError: the World has no grid point in the range.
    """
    first = int(np.searchsorted(world.times, start, side="left"))
    after = int(np.searchsorted(world.times, end, side="right"))
    if first >= after:
        raise ValueError(f"no grid point from {start:.0f} to {end:.0f}: the World is of {_reach(world)}")
    return world if (first, after) == (0, len(world.times)) else _cut(world, slice(first, after), len(world.times))


def _cut(section: Section, columns: slice, points: int) -> Section:
    """Slice every array with one column per grid point, also in nested dataclasses."""
    changes: dict[str, object] = {}
    for field in fields(section):  # type: ignore[arg-type]  # World and its parts are dataclasses
        value = getattr(section, field.name)
        if isinstance(value, np.ndarray) and value.shape[-1] == points:
            changes[field.name] = value[..., columns]
        elif is_dataclass(value) and not isinstance(value, type):
            changes[field.name] = _cut(value, columns, points)
    return replace(section, **changes)  # type: ignore[type-var]  # as above


def nbytes(section: object) -> int:
    """Bytes of all arrays of a World or of a part of it."""
    total = 0
    for field in fields(section):  # type: ignore[arg-type]  # World and its parts are dataclasses
        value = getattr(section, field.name)
        if isinstance(value, np.ndarray):
            total += value.nbytes
        elif is_dataclass(value) and not isinstance(value, type):
            total += nbytes(value)
    return total


def _reach(world: World) -> str:
    return f"{world.times[0]:.0f} to {world.times[-1]:.0f}" if len(world.times) else "no time at all"
