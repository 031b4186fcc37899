"""Charts of one service over time: pure functions of a World and its incidents."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

import numpy as np

from foreshock_dashboard.analysis.baseline.replicas import gpus_per_replica, pool_quota
from foreshock_dashboard.model.change import Change
from foreshock_dashboard.model.forecast import ServiceSlo
from foreshock_dashboard.model.incident import Incident
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats, Json
from foreshock_dashboard.model.world import World
from foreshock_dashboard.model.world_sections import Capacity, ModelServers
from foreshock_dashboard.render.change import CHANGE_SIGN, change_tooltip
from foreshock_dashboard.render.clause import filled_text, in_words
from foreshock_dashboard.render.incident_summary import cause_name
from foreshock_dashboard.render.units import duration, slo_name
from foreshock_dashboard.render.words.panels import EMPTY
from foreshock_dashboard.stats.robust import nan_mean
from foreshock_dashboard.stats.runs import held_over_gaps
from foreshock_dashboard.web.charts.chart import Look
from foreshock_dashboard.web.charts.lines import Line, Mark, Threshold, blank, lines

MAX_SERIES = 6
"""Neighbors, or replicas, with a series of their own; the others are drawn as one."""

MAX_CHANGES = 20
"""Changes that a chart marks."""

HELD_SECONDS = 60.0
"""Time for which a count is shown without a sample: one lost scrape of kube-state-metrics every 30 s."""

Span = tuple[float, float]


class Draw(Protocol):
    """Draws a chart of a service over a time range, with marks."""

    def __call__(self, world: World, service: Service, look: Look, span: Span, marks: Sequence[Mark] = ()) -> Json: ...


def requests(world: World, service: Service, look: Look, span: Span, marks: Sequence[Mark] = ()) -> Json:
    """Requests and errors per second."""
    row = world.services.index(service)
    rate = world.red.rate[row]
    with np.errstate(invalid="ignore"):
        failed = rate * world.red.error_rate[row]
    series = [Line("requests", rate, "data", fill=True), Line("errors", failed, "crit")]
    return lines(world.times, series, look, unit="per_second", span=span, marks=marks, empty=_no_requests(service))


def durations(
    world: World, service: Service, look: Look, span: Span, slo: ServiceSlo | None = None, marks: Sequence[Mark] = ()
) -> Json:
    """p50, p95, p99, and the SLO of p95."""
    row, red = world.services.index(service), world.red
    series = [
        Line("p50", red.p50[row], "idle"),
        Line("p95", red.p95[row], "data"),
        Line("p99", red.p99[row], "muted", dash="dot"),
    ]
    limit = None
    if slo is not None and np.isfinite(red.p95[row]).any():
        limit = Threshold(slo.seconds, f"{slo_name(learned=slo.learned)} {duration(slo.seconds)}")
    return lines(
        world.times, series, look, unit="s", span=span, marks=marks, threshold=limit, empty=_no_requests(service)
    )


def gpu_time(world: World, service: Service, look: Look, span: Span, marks: Sequence[Mark] = ()) -> Json:
    """Share of time that it waits for each neighbor, and that it is busy; means over its GPUs."""
    on = [i for i, tenant in enumerate(world.tenants) if tenant.service == service]
    if not on:
        return blank(filled_text(EMPTY["service_gpus"], service=in_words(service)), look)
    by: dict[Service, list[int]] = {}
    for i, pair in enumerate(world.gpu_wait_pairs):
        if pair.affected == service:
            by.setdefault(pair.noisy_neighbor, []).append(i)
    waits = {str(other): _sum(world.gpu_wait_by[rows]) / len(on) for other, rows in by.items()}
    first = sorted(waits, key=lambda name: (-float(np.nansum(waits[name])), name))
    series = [Line(name, waits[name], stack="waits") for name in first[:MAX_SERIES]]
    if rest := first[MAX_SERIES:]:
        series.append(Line("other neighbors", _sum(np.array([waits[name] for name in rest])), "idle", stack="waits"))
    used = Line("own GPU usage", nan_mean(world.busy[on], axis=0), "text", dash="dash")
    return lines(world.times, [*series, used], look, unit="ratio", span=span, marks=marks, legend=True)


def model_server_chart(
    unit: str, lines_of: Callable[[ModelServers, int], Sequence[Line]], top: float | None = None
) -> Draw:
    """The drawing of a chart of model servers. lines_of: the lines of a row of `ModelServers`."""

    def draw(world: World, service: Service, look: Look, span: Span, marks: Sequence[Mark] = ()) -> Json:
        servers = world.model_servers
        if servers is None or service not in servers.services:
            return blank(filled_text(EMPTY["model_servers"], service=service), look)
        series = lines_of(servers, servers.services.index(service))
        empty = filled_text(EMPTY["not_reported"], service=service)
        return lines(world.times, series, look, unit=unit, span=span, top=top, marks=marks, empty=empty)

    return draw


queue = model_server_chart(
    "count",
    lambda servers, row: [
        Line("running", servers.running[row], "data", fill=True),
        Line("waiting", servers.waiting[row], "text", dash="dot"),
    ],
)
cache = model_server_chart("ratio", lambda servers, row: [Line("KV cache", servers.cache[row], "data", fill=True)], 1.0)
first_token = model_server_chart(
    "s",
    lambda servers, row: [
        Line("TTFT p95", servers.first_token[row], "data"),
        Line("queue time, mean", servers.queued[row], "text", dash="dot"),
    ],
)
per_token = model_server_chart("s", lambda servers, row: [Line("TPOT, mean", servers.per_token[row], "data")])


def _counts(world: World, counts: Floats) -> Floats:
    """Counts over time without the gap of one lost scrape: rates, which are over a window, have none either."""
    return held_over_gaps(counts, world.points(HELD_SECONDS))


def replicas(world: World, service: Service, look: Look, span: Span, marks: Sequence[Mark] = ()) -> Json:
    """Ready replicas as an area, which the line of the desired ones does not hide; the maximum, and pending ones.

    The maximum is that of the autoscaler, or what the GPU quota allows, whichever is smaller.
    """
    capacity = world.capacity
    if capacity is None or service not in capacity.services:
        return blank(filled_text(EMPTY["service_replicas"], service=in_words(service)), look)
    row = capacity.services.index(service)
    series = [
        Line("ready", _counts(world, capacity.ready[row]), "data", fill=True),
        Line("desired", _counts(world, capacity.wanted[row]), "text", dash="dash"),
        Line(*_maximum(world, service, row, capacity), "muted", dash="longdashdot"),
        Line("pending", _counts(world, capacity.pending[row]), "text", dash="dot"),
    ]
    return lines(world.times, series, look, unit="count", span=span, marks=marks, top=1.0)


def _maximum(world: World, service: Service, row: int, capacity: Capacity) -> tuple[str, Floats]:
    """The largest number of replicas, by time, and its name. row: of the service."""
    most, found = _counts(world, capacity.max_replicas[row]), pool_quota(world, service)
    ready = _counts(world, capacity.ready[row])
    gpus = len({tenant.gpu for tenant in world.tenants if tenant.service == service})
    if found is None or not ready[-1] > 0 or not gpus:
        return "maximum", most
    pool = capacity.pools.index(found.pool)
    free = np.maximum(0.0, _counts(world, capacity.quota[pool]) - _counts(world, capacity.used[pool]))
    within_quota = ready + np.floor(free / gpus_per_replica(gpus, float(ready[-1])))
    limited = within_quota < most  # not where the quota is unknown
    return ("quota limit" if limited[-1] else "maximum"), np.where(limited, within_quota, most)


def marks_of(incidents: Sequence[Incident]) -> list[Mark]:
    """The onsets of incidents with affected services."""
    return [
        Mark(item.since, cause_name(item), "warn")
        for item in sorted(incidents, key=lambda item: item.since)
        if item.affected
    ]


def change_marks(
    changes: Sequence[Change], services: Collection[Service], span: Span, host: str | None = None
) -> list[Mark]:
    """The newest changes of some services, and of the whole platform, under the sign of a change.

    The newest has the word beside the sign, as a legend.
    host: the only one whose changes count; None for all.
    """
    start, end = span

    def is_shown(change: Change) -> bool:
        return change.service in services if change.service else host is None or change.host in ("", host)

    shown = [change for change in changes if start <= change.at <= end and is_shown(change)]
    marks = [Mark(change.at, CHANGE_SIGN, "text", change_tooltip(change)) for change in shown[-MAX_CHANGES:]]
    return [*marks[:-1], *(mark._replace(name=f"{CHANGE_SIGN} change") for mark in marks[-1:])]


def _sum(rows: Floats) -> Floats:
    """Sum over rows; NaN where none is known."""
    known = np.isfinite(rows).any(axis=0)
    return np.where(known, np.nansum(rows, axis=0), np.nan)


def _no_requests(service: Service) -> str:
    return filled_text(EMPTY["service_traffic"], service=in_words(service))
