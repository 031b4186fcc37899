"""What the analysis knows of the platform's ordinary ways, taken anew each minute."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import Any, TypeVar

from foreshock_dashboard.analysis.batching import Law, learned
from foreshock_dashboard.analysis.signals import Usual, usual_at
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Edge, Stall, Tenant, World

Value = TypeVar("Value")

EVERY = 60.0
"""Seconds from one look to the next, on the grid since the epoch: two hubs look at the same times."""


@dataclass(frozen=True, slots=True)
class Learned:
    """Baselines of all signals, and how model servers slow down with their load."""

    usual: Usual = field(default_factory=lambda: Usual(float("-inf"), {}))
    laws: Mapping[Service, Law] = field(default_factory=dict)


def refreshed(known: Learned, world: World, at: int, frozen: Set[Service]) -> Learned:
    """Look again where a minute has gone by. What concerns `frozen` services stays as it was, if anything was known.

    So what lasts for as long as an incident does not become what is usual.
    """
    time = float(world.times[at])
    if known.usual.levels and time // EVERY == known.usual.time // EVERY:
        return known
    usual, laws = usual_at(world, at), learned(world, at)
    if not frozen or not known.usual.levels:
        return Learned(usual, laws)
    levels = {
        name: {**found, **_of(known.usual.levels.get(name, {}).items(), frozen)} for name, found in usual.levels.items()
    }
    return Learned(Usual(usual.time, levels), {**laws, **_of(known.laws.items(), frozen)})


def _of(rows: Iterable[tuple[Any, Value]], services: Set[Service]) -> dict[Any, Value]:
    return {key: value for key, value in rows if _concerns(key, services)}


def _concerns(key: Hashable, services: Set[Service]) -> bool:
    if isinstance(key, Edge):
        return key.client in services or key.server in services
    if isinstance(key, Stall):
        return key.victim in services
    return key.service in services if isinstance(key, Tenant) else key in services
