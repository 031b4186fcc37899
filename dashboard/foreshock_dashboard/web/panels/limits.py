"""Services against their limits: p95 and error rate against the SLO, load against the safe limit. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.types import Stage
from foreshock_dashboard.model.verdict.reading import Metric, Reading, Status
from foreshock_dashboard.model.world import World
from foreshock_dashboard.web.state.conditions import too_few_requests
from foreshock_dashboard.web.state.numbers import last_median, rounded


def readings(snapshot: Snapshot, stages: Mapping[Service, Stage | None]) -> list[Reading]:
    """The newest reading of each metric that has a limit, by service.

    A value beyond its limit is a warning. It is critical where the SLO breach lasts, so that one slow sample does not
    look like one, and where a load is above the capacity.
    """
    world, found = snapshot.world, []
    if world is None:
        return []
    red = world.red
    values = zip(last_median(red.p95), last_median(red.error_rate), strict=True)
    newest = dict(zip(world.services, values, strict=True))
    for slo in snapshot.forecast.slos:
        p95, failed = newest.get(slo.service, (None, None))
        breached = stages.get(slo.service) == "breached"
        if p95 is not None and slo.seconds > 0:
            found.append(reading(slo.service, "p95", p95, slo.seconds, "s", breached))
        if failed is not None and slo.error_rate > 0:
            found.append(reading(slo.service, "error rate", failed, slo.error_rate, "ratio", breached))
    found += [
        reading(load.service, "load", load.ratio, load.safe, "ratio", True)
        for load in snapshot.forecast.loads
        if math.isfinite(load.ratio) and load.safe > 0
    ]
    return found


def reading(
    service: Service, metric: Metric, value: float, limit: float, unit: Literal["s", "ratio"], lasting: bool
) -> Reading:
    """A value beside its limit. lasting: whether a breach of the SLO lasts."""
    usage = value / limit
    status: Status = "ok" if usage <= 1 else "warning"
    if usage > 1 and lasting and (metric != "load" or value > 1):
        status = "critical"
    kind: Literal["SLO", "safe limit"] = "safe limit" if metric == "load" else "SLO"
    return Reading(str(service), metric, rounded(value), rounded(limit), kind, unit, rounded(usage), status)


def judged(world: World, found: Sequence[Reading]) -> list[Reading]:
    """Readings without p95 and error rates that too few requests show to judge; those of a lasting breach stay."""
    few = set(map(str, too_few_requests(world)))
    return [item for item in found if item.metric == "load" or item.status == "critical" or item.service not in few]


def worst(found: Sequence[Reading], *metrics: Metric, service: Service | None = None) -> Reading | None:
    """The reading that uses most of its limit, of some metrics and one or all services; None without any."""
    chosen = [
        reading
        for reading in found
        if reading.metric in metrics and (service is None or reading.service == str(service))
    ]
    return max(chosen, key=lambda reading: (reading.usage, reading.service), default=None)
