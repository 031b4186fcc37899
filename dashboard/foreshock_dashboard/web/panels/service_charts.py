"""Charts of one service over time: pure functions of a World and its incidents."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from foreshock_dashboard.model.forecast import Slo
from foreshock_dashboard.model.incident import Incident
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats, Json
from foreshock_dashboard.model.world import World
from foreshock_dashboard.web.charts.chart import Look
from foreshock_dashboard.web.charts.lines import Line, Mark, blank, lines

MAX_SERIES = 6
"""Neighbours, or replicas, that are told apart in a chart; the others are drawn as one."""

Span = tuple[float, float]


def requests(world: World, who: Service, look: Look, span: Span, marks: Sequence[Mark] = ()) -> Json:
    """Requests per second, and those that failed."""
    row = world.services.index(who)
    rate = world.red.rate[row]
    with np.errstate(invalid="ignore"):
        failed = rate * world.red.failed[row]
    drawn = [Line("requests", rate, "ok", fill=True), Line("failed", failed, "crit")]
    return lines(world.times, drawn, look, unit="per_second", span=span, marks=marks, empty=_no_requests(who))


def durations(
    world: World, who: Service, look: Look, span: Span, promise: Slo | None = None, marks: Sequence[Mark] = ()
) -> Json:
    """p50, p95 and p99, and what p95 is not to pass."""
    row, red = world.services.index(who), world.red
    drawn = [
        Line("p50", red.p50[row], "idle"),
        Line("p95", red.p95[row], "ok"),
        Line("p99", red.p99[row], "blind", dash="dot"),
    ]
    if promise is not None and np.isfinite(red.p95[row]).any():
        name = "usual p95 at most" if promise.learned else "promised p95"
        drawn.append(Line(name, np.full(len(world.times), promise.seconds), "crit", dash="dash"))
    return lines(world.times, drawn, look, unit="s", span=span, marks=marks, empty=_no_requests(who))


def gpu_time(world: World, who: Service, look: Look, span: Span, marks: Sequence[Mark] = ()) -> Json:
    """Share of time that it waits on its GPUs, by whom for, and that it uses them; means over its GPUs."""
    on = [i for i, tenant in enumerate(world.tenants) if tenant.service == who]
    if not on:
        return blank(f"{who} is on no GPU that is known.", look)
    by: dict[Service, list[int]] = {}
    for i, stall in enumerate(world.stalls):
        if stall.victim == who:
            by.setdefault(stall.aggressor, []).append(i)
    waits = {str(other): _sum(world.stalled_by[rows]) / len(on) for other, rows in by.items()}
    first = sorted(waits, key=lambda name: (-float(np.nansum(waits[name])), name))
    drawn = [Line(name, waits[name], stack="waits") for name in first[:MAX_SERIES]]
    if rest := first[MAX_SERIES:]:
        drawn.append(Line("others", _sum(np.array([waits[name] for name in rest])), "idle", stack="waits"))
    used = Line("uses itself", _mean(world.busy[on]), "text", dash="dash")
    figure = lines(world.times, [*drawn, used], look, unit="ratio", span=span, marks=marks)
    for trace in figure["data"]:
        if trace.get("stackgroup"):
            trace["name"] = f"waits for {trace['name']}"
    return figure


def queue(world: World, who: Service, look: Look, span: Span) -> Json:
    """Requests that model servers work on, and those that wait for it."""
    row = _server(world, who)
    if row is None or world.model_servers is None:
        return blank(_no_server(who), look)
    found = world.model_servers
    drawn = [
        Line("running", found.running[row], "ok", fill=True),
        Line("waiting", found.waiting[row], "crit"),
    ]
    return lines(world.times, drawn, look, unit="count", span=span)


def cache(world: World, who: Service, look: Look, span: Span) -> Json:
    """KV cache in use."""
    row = _server(world, who)
    if row is None or world.model_servers is None:
        return blank(_no_server(who), look)
    drawn = [Line("KV cache", world.model_servers.cache[row], "ok", fill=True)]
    return lines(world.times, drawn, look, unit="ratio", span=span, top=1.0)


def first_token(world: World, who: Service, look: Look, span: Span) -> Json:
    """p95 of the time to the first token, and the mean time in the queue before it."""
    row = _server(world, who)
    if row is None or world.model_servers is None:
        return blank(_no_server(who), look)
    found = world.model_servers
    drawn = [
        Line("first token, p95", found.first_token[row], "ok"),
        Line("in the queue, mean", found.queued[row], "warn", dash="dot"),
    ]
    return lines(world.times, drawn, look, unit="s", span=span)


def per_token(world: World, who: Service, look: Look, span: Span) -> Json:
    """Mean time for each further token."""
    row = _server(world, who)
    if row is None or world.model_servers is None:
        return blank(_no_server(who), look)
    return lines(
        world.times, [Line("each token, mean", world.model_servers.per_token[row], "ok")], look, unit="s", span=span
    )


def replicas(world: World, who: Service, look: Look, span: Span) -> Json:
    """Replicas that the autoscaler wants, that serve, and pods that wait for a node."""
    found = world.capacity
    if found is None or who not in found.services:
        return blank(f"Nothing tells of the replicas of {who}.", look)
    row = found.services.index(who)
    drawn = [
        Line("wanted", found.wanted[row], "idle", dash="dash"),
        Line("ready", found.ready[row], "ok"),
        Line("pending", found.pending[row], "crit"),
    ]
    return lines(world.times, drawn, look, unit="count", span=span)


def marks_of(incidents: Sequence[Incident]) -> list[Mark]:
    """Where incidents begin; not those of which nothing has happened yet."""
    return [
        Mark(item.since, item.cause, "warn" if item.phase == "advisory" else "crit")
        for item in sorted(incidents, key=lambda item: item.since)
        if item.victims
    ]


def _server(world: World, who: Service) -> int | None:
    found = world.model_servers
    return None if found is None or who not in found.services else found.services.index(who)


def _sum(rows: Floats) -> Floats:
    """Of rows; NaN where none is known."""
    known = np.isfinite(rows).any(axis=0)
    return np.where(known, np.nansum(rows, axis=0), np.nan)


def _mean(rows: Floats) -> Floats:
    known = np.isfinite(rows)
    count = known.sum(axis=0)
    return np.where(count > 0, np.nansum(rows, axis=0) / np.maximum(count, 1), np.nan)


def _no_requests(who: Service) -> str:
    return f"No requests of {who} are known in this range."


def _no_server(who: Service) -> str:
    return f"No model server of {who} tells of itself."
