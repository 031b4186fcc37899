"""What an incident cost: requests that failed or were slow because of it, by the service at which people come in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.analysis.baseline.levels import baselines_at
from foreshock_dashboard.analysis.baseline.objectives import Slo, slos
from foreshock_dashboard.analysis.baseline.point import Scan
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import Red, World

REACTION_SECONDS = 120.0
"""Seconds from a page until what was done about it works: to shed load or move a job takes about two minutes."""
QUANTILES = ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
"""Shares of requests that take no longer than these."""


class Cost(NamedTuple):
    """Requests of those outside at one entry while the incident lasted.

    failed: those beyond the usual share. slowed: answered, but later than the objective allows; an estimate between
    the quantiles. `_after`: of these, the ones that came `ACTED` seconds after the page or later; 0 where none paged.
    objective: p95 in seconds that was promised, or learned.
    """

    service: Service
    requests: float
    failed: float
    slowed: float
    failed_after: float
    slowed_after: float
    objective: float


def ingress_services(world: World) -> tuple[Service, ...]:
    """The services that those outside ask; those that nobody known calls where nobody tells of any outside."""
    outside = {edge.server for edge in world.edges if edge.connection == "virtual_node"}
    called = {edge.server for edge in world.edges if edge.connection != "virtual_node"}
    asked = {who for who, rate in zip(world.services, world.red.rate, strict=True) if np.nansum(rate) > 0}
    return tuple(sorted((outside or asked - called) & asked))


def incident_costs(world: World, since: float, until: float, paged: float | None) -> tuple[Cost, ...]:
    """What each entry lost from `since` to `until`, of it after the page (Unix seconds); none is left out."""
    first = int(np.searchsorted(world.times, since))
    columns = slice(first, int(np.searchsorted(world.times, until, side="right")))
    scan = Scan(world, min(first, len(world.times) - 1), baselines_at(world, first))
    promised = slos(scan, {})
    acted = world.times[columns] >= (math.inf if paged is None else paged + REACTION_SECONDS)
    return tuple(_cost(world, who, columns, promised.get(who), acted) for who in ingress_services(world))


def _cost(world: World, who: Service, columns: slice, promised: Slo | None, acted: NDArray[np.bool_]) -> Cost:
    limit = promised.seconds if promised else math.nan
    served = _quantiles(world.red, world.services.index(who), columns)
    asked = [_lost(red, row, columns, served, limit) * world.step for red, row in _from_outside(world, who)]
    requests, failed, slowed = np.sum(asked, axis=0)
    return Cost(
        who,
        float(requests.sum()),
        float(failed.sum()),
        float(slowed.sum()),
        float(failed[acted].sum()),
        float(slowed[acted].sum()),
        limit,
    )


def _from_outside(world: World, who: Service) -> Sequence[tuple[Red, int]]:
    """What those outside ask of an entry, as figures and their row: what its own neighbours ask of it is counted where
    that came in. All that it is asked, where nobody tells them apart."""
    into = [i for i, edge in enumerate(world.edges) if edge.server == who and edge.connection == "virtual_node"]
    told = [row for row in into if np.nansum(world.calls.rate[row]) > 0]
    return [(world.calls, row) for row in told] or [(world.red, world.services.index(who))]


def _lost(red: Red, row: int, columns: slice, served: Floats, limit: float) -> Floats:
    """Requests, and those of them that failed and that were slowed, all a second; shape (3, times).

    Whoever is outside tells of no durations, as a rule: there those that were `served` stand for them.
    """
    requests = np.nan_to_num(red.rate[row, columns])
    before = red.failed[row, : columns.start]
    before = before[np.isfinite(before)]
    usual = float(np.median(before)) if len(before) else 0.0
    failed = requests * np.maximum(np.nan_to_num(red.failed[row, columns]) - usual, 0.0)
    seen = _quantiles(red, row, columns)
    quantiles = np.where(np.isfinite(seen).all(axis=0), seen, served)
    slowed = np.minimum(requests * late_ratio(quantiles, limit), requests - failed)
    return np.stack([requests, failed, slowed])


def _quantiles(red: Red, row: int, columns: slice) -> Floats:
    """Durations of a row as `KNOWN`, shape (3, times)."""
    return np.stack([getattr(red, name)[row, columns] for _, name in QUANTILES])


def late_ratio(quantiles: Floats, limit: float) -> Floats:
    """Share 0…1 of requests that take longer than `limit` seconds, at each time; quantiles: shape (3, times), as KNOWN.

    Between the quantiles by the logarithm of the duration, below the first in proportion to it; beyond the last none
    are counted, and 0 where nothing is known.
    """
    shares = np.array([share for share, _ in QUANTILES])
    out = np.zeros(quantiles.shape[1])
    if not limit > 0:
        return out
    for at, column in enumerate(quantiles.T):
        if np.isfinite(column).all() and column[0] > 0:
            if limit < column[0]:
                out[at] = 1 - shares[0] * limit / column[0]
            elif limit <= column[-1]:
                out[at] = 1 - float(np.interp(math.log(limit), np.log(np.maximum.accumulate(column)), shares))
    return out
