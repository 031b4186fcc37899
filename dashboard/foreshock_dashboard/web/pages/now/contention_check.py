"""Whether GPU contention is ruled out as the cause of an incident that has another one. Pure."""

from __future__ import annotations

import math

import numpy as np

from foreshock_dashboard.analysis.baseline.point import smoothing_points
from foreshock_dashboard.model.incident import Incident
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.verdict.course import ContentionCheck
from foreshock_dashboard.model.world import World
from foreshock_dashboard.stats.robust import nan_mean
from foreshock_dashboard.stats.runs import moving_median
from foreshock_dashboard.web.panels.vitals import Columns, affecting, history_columns, normal_wait
from foreshock_dashboard.web.state.numbers import number
from foreshock_dashboard.web.state.placement import pair_rows


def contention_check(snapshot: Snapshot, world: World, item: Incident) -> ContentionCheck | None:
    """The GPU wait of an incident's service or suspect that exceeds its normal range most since the first anomaly.

    None if neither shares GPUs, or if GPU contention is the cause.
    """
    if item.cause == "gpu_contention" or (item.later is not None and item.later.cause == "gpu_contention"):
        return None
    services = {item.service, item.suspect.service}
    # An anomaly in the history would widen the normal range, and exonerate what it should show.
    trouble = [row for row in affecting(snapshot) if row.severity == "critical" or row.service in services]
    until = min(row.since for row in (item, *trouble))
    history = history_columns(world, until)[: None if snapshot.learning.done else 0]
    found = [_judged(world, pair, rows, history, item.since) for pair, rows in pair_rows(world) if pair[0] in services]
    return max(found, key=lambda row: row[0])[1] if found else None


def _judged(
    world: World, pair: tuple[Service, Service], rows: tuple[int, ...], history: Columns, since: float
) -> tuple[float, ContentionCheck]:
    """By how much a wait exceeded its normal range since then; 0 if that is unknown.

    So an unknown wait comes after those beyond their range, and before those within it. It is the mean over the shared
    GPUs, unless only that on some of them exceeded its range: then that on the one where it did most.
    """
    waits = world.gpu_wait_by[list(rows)].astype(np.float64)
    first = int(np.searchsorted(world.times, since))
    found = list[tuple[float, ContentionCheck]]()
    for values in (nan_mean(waits, axis=0), *waits):
        baseline, most = normal_wait(values[history])
        during = moving_median(values[None, first:], smoothing_points(world))[0]
        peak = float(np.nanmax(during)) if np.isfinite(during).any() else math.nan
        figures = number(values[-1]), number(baseline), number(peak)
        check = ContentionCheck(str(pair[0]), str(pair[1]), *figures, peak <= most, is_on_one_gpu=bool(found))
        found.append((float(np.nan_to_num(peak - most)), check))
    worst = max(found, key=lambda row: row[0])
    return found[0] if found[0][0] > 0 or worst[0] <= 0 else worst
