"""The GPU time of a noisy neighbor during an incident, and since when it is normal again. Pure."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.analysis.baseline.gpu_shares import GPU_SHARE
from foreshock_dashboard.model.incident import Incident
from foreshock_dashboard.model.world import Tenant, World

MAX_RECOVERED_GROWTH = 0.25
"""Share of its growth up to which the GPU time of a noisy neighbor counts as normal again."""


class NeighborTime(NamedTuple):
    """GPU time of a noisy neighbor, 0 to 1, mean over the GPUs of the incident: the most, and the newest.

    is_back: whether it is normal again; since: Unix seconds from which on it is, None where it never was anything else.
    """

    worst: float
    now: float
    is_back: bool
    since: float | None


def neighbor_time(world: World, item: Incident) -> NeighborTime | None:
    """The GPU time of an incident's noisy neighbor beside its share before it; None where that is unknown."""
    suspect, end = item.suspect, math.inf if item.resolved is None else item.resolved
    columns = slice(*np.searchsorted(world.times, (item.since, end)).tolist())
    tenants = {Tenant(gpu, suspect.service) for gpu in suspect.gpus if suspect.service is not None}
    rows = [row for row, tenant in enumerate(world.tenants) if tenant in tenants]
    before = [row.baseline for row in item.evidence if row.name == GPU_SHARE and row.entity == str(suspect.service)]
    values = world.busy[rows, columns].astype(np.float64)
    if item.cause != "gpu_contention" or not before or not values.size or not np.isfinite(values[:, -1]).all():
        return None
    mean = values.mean(axis=0)
    now, worst = float(mean[-1]), float(np.nanmax(mean))
    above = np.flatnonzero(mean - before[0] > MAX_RECOVERED_GROWTH * (worst - before[0]))
    is_back = not len(above) or above[-1] < len(mean) - 1
    normal = np.flatnonzero(np.isfinite(mean[above[-1] + 1 :])) if is_back and len(above) else np.array([], int)
    since = float(world.times[columns][above[-1] + 1 + normal[0]]) if len(normal) else None
    return NeighborTime(worst, now, is_back, since)
