"""First time at which the services of a GPU pool together need more GPUs than are free, though each alone may fit."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from foreshock_dashboard.analysis.capacity.seasonal import DAY_POINTS
from foreshock_dashboard.analysis.capacity.shortage import first_step, hourly_means
from foreshock_dashboard.model.capacity.load import LoadForecast, LoadKind, Shortage, Subject
from foreshock_dashboard.model.types import Floats


def pool_shortages(loads: Sequence[LoadForecast]) -> Iterator[Shortage]:
    """Shortages of pools with a known number of free GPUs.

    The band sums the quantiles of the services: it holds where they peak together, and is too wide where they do not.

    Args:
        loads: one kind of each service, and the quotas of pools.
    """
    for pool in loads:
        if pool.subject.service is not None or pool.kind is not LoadKind.GPU_QUOTA or not pool.room >= 0:
            continue
        services = [load for load in loads if load.subject.service and load.subject.pool == pool.subject.pool]
        low, median, high = np.zeros((3, len(pool.p50)))
        for load in services:
            low += _gpus_needed(load, load.p10)
            median += _gpus_needed(load, load.p50)
            high += _gpus_needed(load, load.p90)
        at = first_step(median > pool.room)
        if at is None:
            continue
        earliest, latest = first_step(high > pool.room), first_step(low > pool.room)
        day = median[at : at + DAY_POINTS]
        missing = float(day.max()) - pool.room
        yield Shortage(
            subject=Subject(None, pool.subject.pool),
            kind=LoadKind.GPU_QUOTA,
            at=float(pool.times[at]),
            earliest=float(pool.times[at if earliest is None else min(earliest, at)]),
            latest=math.inf if latest is None else float(pool.times[max(latest, at)]),
            peak=pool.safe + missing,
            peak_at=float(pool.times[at + int(day.argmax())]),
            safe=pool.safe,
            replicas=math.ceil(missing),
            ready=pool.ready,
            room=pool.room,
            provisioning_seconds=pool.provisioning_seconds,
        )


def _gpus_needed(load: LoadForecast, values: Floats) -> Floats:
    """GPUs of the replicas that the autoscaler adds to those ready, by step; 0 where unknown. values: load."""
    most = load.replicas - load.ready
    if not (load.safe > 0 and most > 0 and load.gpus_per_replica > 0):
        return np.zeros(len(values))
    replicas = np.ceil(load.replicas * hourly_means(values) / load.safe - 1e-9) - load.ready
    needed: Floats = np.clip(np.nan_to_num(replicas), 0.0, most) * load.gpus_per_replica
    return needed
