"""Which row of the World's GPUs each tenant is on, and which waits each pair has: looking it up is slow.

Kept from tick to tick, for as long as the identities are the same; one World at a time, for a hub has one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Gpu, Stall, Tenant, World
from foreshock_dashboard.web.state.numbers import last, number

Rows = NDArray[np.int64]
Shared = tuple[tuple[tuple[Service, Service], tuple[int, ...]], ...]
"""Victim and aggressor, in the order of their names, and the rows of their waits: one for each GPU they share."""


@dataclass(frozen=True, slots=True)
class Placed:
    """gpu: the row of each tenant's GPU, shape (tenants,). service: of each tenant, a row of `services`."""

    gpu: Rows
    service: Rows
    services: tuple[Service, ...]
    of: tuple[tuple[Gpu, ...], tuple[Tenant, ...]]

    def on(self, gpu: int) -> Rows:
        """The rows of the tenants of a GPU."""
        return np.flatnonzero(self.gpu == gpu)


_last: Placed | None = None


def placed(world: World) -> Placed:
    """Where the World's tenants are. Safe to call from several threads."""
    global _last  # whichever thread writes last, what it writes is whole and checked before use
    key = (world.gpus, world.tenants)
    known = _last
    if known is not None and known.of == key:  # quick: what stayed is the same objects
        return known
    rows = {gpu: row for row, gpu in enumerate(world.gpus)}
    services: dict[Service, int] = {}
    on = [services.setdefault(tenant.service, len(services)) for tenant in world.tenants]
    gpu = [rows[tenant.gpu] for tenant in world.tenants]
    _last = found = Placed(np.array(gpu, np.int64), np.array(on, np.int64), tuple(services), key)
    return found


_last_shared: tuple[tuple[Stall, ...], Shared] | None = None


def shared(world: World) -> Shared:
    """Who shares GPUs with whom. Safe to call from several threads."""
    global _last_shared  # as above
    known = _last_shared
    if known is not None and known[0] == world.stalls:
        return known[1]
    found: dict[tuple[Service, Service], list[int]] = {}
    for row, stall in enumerate(world.stalls):
        found.setdefault((stall.victim, stall.aggressor), []).append(row)
    listed = tuple((pair, tuple(found[pair])) for pair in sorted(found))
    _last_shared = world.stalls, listed
    return listed


WAITING = 0.005
"""Share of time from which a wait is worth a line."""


class Pair(NamedTuple):
    """A victim and an aggressor. `ratio`: share of time, mean over the GPUs they share; None where nothing is known."""

    victim: Service
    aggressor: Service
    ratio: float | None
    gpus: tuple[tuple[Gpu, float | None], ...]


def pairs(world: World) -> tuple[Pair, ...]:
    """Every victim and aggressor that share a GPU, the longest waits first."""
    ratios = last(world.stalled_by)
    listed = []
    for (victim, aggressor), rows in shared(world):
        known = [ratio for row in rows if (ratio := ratios[row]) is not None]
        mean = number(sum(known) / len(known)) if known else None
        listed.append(Pair(victim, aggressor, mean, tuple((world.stalls[row].gpu, ratios[row]) for row in rows)))
    return tuple(sorted(listed, key=lambda pair: -(pair.ratio or 0.0)))
