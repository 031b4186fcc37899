"""Since when a healthy platform is healthy, and what exceeded an SLO without being a breach of it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from foreshock_dashboard.analysis.baseline.counts import MIN_REQUESTS
from foreshock_dashboard.analysis.forecast.breach import SLO_WINDOW_SECONDS
from foreshock_dashboard.model.forecast import ServiceSlo
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.verdict.healthy import Coverage, Ended, Exceedance, HealthySince
from foreshock_dashboard.model.verdict.reading import Reading
from foreshock_dashboard.model.world import World
from foreshock_dashboard.web.panels.limits import reading
from foreshock_dashboard.web.panels.timeline import Lane
from foreshock_dashboard.web.state.conditions import too_few_requests
from foreshock_dashboard.web.state.freshness import Freshness
from foreshock_dashboard.web.state.stages import ServiceHistory


def healthy_since(snapshot: Snapshot, history: ServiceHistory) -> HealthySince | None:
    """Since when no incident is open and no service breaches its SLO; None without any history."""
    if not len(history.times):
        return None
    ends: list[tuple[float, Ended]] = [
        (interval.end, "breach")
        for service in history.anomalous_services()
        for interval in history.intervals(service)
        if interval.stage == "breached"
    ]
    ends += [
        (item.resolved, "early_warning" if item.severity == "warning" else "incident")
        for item in snapshot.incidents
        if item.resolved is not None and item.affected
    ]
    first = float(history.times[0])
    last, ended = max(ends, default=(first, None))
    at_least = last <= first
    return HealthySince(round(max(first, last), 3), at_least, None if at_least else ended)


def exceedances(world: World, slos: Sequence[ServiceSlo], seconds: float) -> list[Exceedance]:
    """The services whose p95 was above the SLO in the last `seconds` with too few requests for a breach."""
    columns = slice(-world.points(seconds), None)
    times, found = world.times[columns], []
    window = max(SLO_WINDOW_SECONDS, world.step)
    row_by_service = {service: row for row, service in enumerate(world.services)}
    for slo in slos:
        row = row_by_service.get(slo.service)
        if row is None:
            continue
        requests = np.nan_to_num(world.red.rate[row, columns].astype(np.float64)) * window
        above = np.nan_to_num(world.red.p95[row, columns].astype(np.float64)) > slo.seconds
        uncounted = above & (requests < MIN_REQUESTS)
        if uncounted.any():
            edges = np.flatnonzero(np.diff(uncounted, prepend=False, append=False)).reshape(-1, 2)
            start, end = edges[np.diff(edges).argmax()]
            found.append(
                Exceedance(
                    str(slo.service),
                    round(float(times[start]), 3),
                    int(end - start) * world.step,
                    round(float(requests[start:end].max()), 1),
                    MIN_REQUESTS,
                )
            )
    return found


def peaks(world: World, slos: Sequence[ServiceSlo], lanes: Sequence[Lane]) -> list[Reading]:
    """The worst p95 or error rate of services during their lanes, whichever used more of its SLO."""
    found = []
    slo_by_service = {str(slo.service): slo for slo in slos}
    for lane in lanes:
        slo = slo_by_service.get(lane.service)
        edges = [edge for start, end, _ in lane.intervals for edge in (start, end) if edge is not None]
        if slo is None or slo.service not in world.services or not edges:
            continue
        first, last = np.searchsorted(world.times, (min(edges), max(edges))).tolist()
        row, columns = world.services.index(slo.service), slice(first, last + 1)
        during = (np.nan_to_num(values[row, columns]) for values in (world.red.p95, world.red.error_rate))
        p95, failed = (float(values.max(initial=0.0)) for values in during)
        if failed * slo.seconds > p95 * slo.error_rate:
            found.append(reading(slo.service, "error rate", failed, slo.error_rate, "ratio", lasting=False))
        elif slo.seconds > 0:
            found.append(reading(slo.service, "p95", p95, slo.seconds, "s", lasting=False))
    return found


def coverage(snapshot: Snapshot, world: World, seen: Freshness) -> Coverage:
    """The data on which a healthy verdict rests."""
    slos, targets, gpus = snapshot.forecast.slos, len(world.targets), len(world.gpus)
    few = sorted(too_few_requests(world) & {slo.service for slo in slos}, key=str)
    learned = sum(slo.learned for slo in slos)
    fresh = targets - len(seen.stale_targets), gpus - len(seen.stale_gpus)
    return Coverage(fresh[0], targets, fresh[1], gpus, tuple(few), len(slos), learned)
