"""Whether GPU contention is ruled out as the cause of an incident that has another one. Pure."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.analysis.baseline.point import smoothing_points
from foreshock_dashboard.model.incident import Incident
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.verdict.course import ContentionCheck
from foreshock_dashboard.model.world import World
from foreshock_dashboard.stats.robust import nan_mean
from foreshock_dashboard.stats.runs import moving_median
from foreshock_dashboard.web.panels.vitals import SPARKLINE_SECONDS, affecting, normal_wait, tile_columns
from foreshock_dashboard.web.state.numbers import number
from foreshock_dashboard.web.state.placement import pair_rows


class _Wait(NamedTuple):
    """The wait on a neighbor: mean over the shared GPUs, shape (times,); the GPUs whose newest wait is known."""

    neighbor: Service
    values: Floats
    gpus: int

    @property
    def newest(self) -> float:
        return float(np.nan_to_num(self.values[-1], nan=-1.0))


def contention_check(snapshot: Snapshot, world: World, item: Incident) -> ContentionCheck | None:
    """The GPU wait of an incident's service, judged as in the tile; None without shared GPUs, or if it is the cause."""
    if item.cause == "gpu_contention" or (item.later is not None and item.later.cause == "gpu_contention"):
        return None
    waits = [
        _Wait(neighbor, nan_mean(world.gpu_wait_by[list(rows)].astype(np.float64), axis=0), _known(world, rows))
        for (service, neighbor), rows in pair_rows(world)
        if service == item.service
    ]
    if not waits:
        return None
    longest = max(waits, key=lambda wait: wait.newest)
    columns, past = tile_columns(world, affecting(snapshot), SPARKLINE_SECONDS)
    baseline, most = normal_wait(longest.values[columns[: past if snapshot.learning.done else 0]])
    start = int(np.searchsorted(world.times, item.since))
    during = moving_median(longest.values[None, start:], smoothing_points(world))[0]
    peak = float(np.nanmax(during)) if np.isfinite(during).any() else math.nan
    return ContentionCheck(
        *(str(item.service), str(longest.neighbor), longest.gpus),
        *(number(longest.values[-1]), number(baseline), number(peak)),
        is_normal=peak <= most,
    )


def _known(world: World, rows: tuple[int, ...]) -> int:
    return int(np.isfinite(world.gpu_wait_by[list(rows), -1]).sum())
