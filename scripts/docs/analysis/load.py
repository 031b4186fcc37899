"""Plots of demand: growth, seasonality, late replicas, longer requests, retries, and SLOs."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.baseline.retry_amplification import request_rates
from foreshock_dashboard.analysis.baseline.seasonality import LEVEL_BINS, NEIGHBOR_BINS, WEEK_LAGS_DAYS, seasonality
from foreshock_dashboard.analysis.baseline.signals import capacity, model_servers
from foreshock_dashboard.analysis.baseline.slos import slos
from foreshock_dashboard.analysis.detectors.kv_cache_pressure import REQUEST_LENGTH_GROWTH
from foreshock_dashboard.analysis.detectors.overload import TOKEN_GROWTH
from foreshock_dashboard.analysis.detectors.retry_storm import MINUTE
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world_sections import BIN_SECONDS, DAY_SECONDS
from foreshock_dashboard.web.charts.svg import Axis, SvgLine
from foreshock_dashboard.web.charts.svg import draw as svg
from foreshock_simulator.traffic.rate import Curve, RelativeRate
from scripts.docs.analysis.run import Run

HOUR_SECONDS = 3600.0


def growth(run: Run) -> str:
    """Tokens and requests over their baseline."""
    service, points = run.origin, run.shown(after=900.0)
    x = run.minutes(points)
    lines = [
        SvgLine("tokens over minutes", x, run.over(points, lambda point: point.ratio("tokens", service))),
        SvgLine("requests", x, run.over(points, lambda point: point.ratio("rate", service)), color=2),
        SvgLine(f"weight 0.5 at {TOKEN_GROWTH[0]:g}", [x[0], x[-1]], [TOKEN_GROWTH[0]] * 2, color=1),
    ]
    return run.chart(f"Traffic of {service.name}", "ratio to baseline", lines)


def habit(run: Run) -> str:
    """Requests of a Monday with a surge, with the baseline of two hours and that of four Mondays."""
    service = run.service("assistant-feature")
    flow = RelativeRate(Curve(), 0.0, diurnal=0.6, peak_hour=14.0, weekend=0.5)
    weeks = math.floor(run.world.times[0] / DAY_SECONDS / 7)
    monday = (weeks * 7 + 4) * DAY_SECONDS  # 1 January 1970 was a Thursday
    rng = np.random.default_rng(1)

    def requests(first: float, bins: int) -> Floats:
        times = first + BIN_SECONDS * np.arange(bins)
        rates = np.array([flow(float(time)) for time in times])
        return np.asarray(rng.poisson(8.0 * rates * BIN_SECONDS) / BIN_SECONDS, np.float64)

    start, bins = monday + 4 * HOUR_SECONDS, 56
    times = start + BIN_SECONDS * np.arange(bins)
    today = requests(start - LEVEL_BINS * BIN_SECONDS, LEVEL_BINS + bins)
    surge = (times >= monday + 15 * HOUR_SECONDS) & (times < monday + 16 * HOUR_SECONDS)
    today[LEVEL_BINS:][surge] *= 1.6
    level = np.array([np.median(today[at : at + LEVEL_BINS]) for at in range(bins)])
    first = start - LEVEL_BINS * BIN_SECONDS
    past = {
        days: {service: requests(first - days * DAY_SECONDS, LEVEL_BINS + bins + NEIGHBOR_BINS)}
        for days in WEEK_LAGS_DAYS
    }
    season = seasonality(times, past)
    x = [(float(time) - monday) / HOUR_SECONDS for time in times]
    lines = [
        SvgLine("requests", x, today[LEVEL_BINS:].tolist()),
        SvgLine("baseline of two hours", x, level.tolist(), color=1),
        SvgLine("ratio to earlier Mondays", x, (level * season.growth[0]).tolist(), color=2),
    ]
    return svg("A Monday with a surge at three", Axis("hour of the day, UTC"), Axis("requests per second"), lines)


def storm(run: Run) -> str:
    """Attempts, requests without retries, finished requests, and failed ones."""
    service, points = run.origin, run.shown(600.0, 1500.0)
    x = run.minutes(points)
    servers = model_servers(run.world)
    row = servers.services.index(service)

    def attempts(point: EvaluationPoint) -> float:
        return float(np.nansum(request_rates(point, MINUTE).offered[point.incoming[service]]))

    def fresh(point: EvaluationPoint) -> float:
        return float(np.nansum(request_rates(point, MINUTE).fresh[point.incoming[service]]))

    def failed(point: EvaluationPoint) -> float:
        return point.value("rate", service) * point.value("error_rate", service)

    lines = [
        SvgLine("attempts", x, run.over(points, attempts)),
        SvgLine("without retries", x, run.over(points, fresh), color=2),
        SvgLine("finished", x, [float(servers.finished[row, at]) for at in points], color=4),
        SvgLine("failed", x, run.over(points, failed), color=1),
    ]
    return run.chart(f"Requests to {service.name}", "per second", lines)


def replicas(run: Run) -> str:
    """Desired replicas, ready ones, and those that the load needs."""
    service, points = run.origin, run.shown(after=900.0)
    x = run.minutes(points)
    pools = capacity(run.world)
    row = pools.services.index(service)
    load = [
        own.utilization.load if (own := run.states[at].service_risks.get(service)) and own.utilization else math.nan
        for at in points
    ]
    ready = [float(pools.ready[row, at]) for at in points]
    lines = [
        SvgLine("desired", x, [float(pools.wanted[row, at]) for at in points], color=1),
        SvgLine("ready", x, ready),
        SvgLine("load, in replicas", x, [share * count for share, count in zip(load, ready, strict=True)], color=2),
    ]
    return run.chart(f"Replicas of {service.name}", "replicas", lines)


def longer(run: Run) -> str:
    """KV cache per request over its baseline, and KV cache usage."""
    service, points = run.origin, run.shown()
    x = run.minutes(points)
    lines = [
        SvgLine("cache per request", x, run.over(points, lambda point: point.ratio("held", service))),
        SvgLine("cache in use, 0…1", x, run.over(points, lambda point: point.value("cache", service)), color=2),
        SvgLine(f"weight 0.5 at {REQUEST_LENGTH_GROWTH[0]:g}", [x[0], x[-1]], [REQUEST_LENGTH_GROWTH[0]] * 2, color=1),
    ]
    return run.chart(f"KV cache per request of {service.name}", "ratio to baseline", lines)


def slo(run: Run) -> str:
    """p95 of a service, its baseline, and its learned SLO."""
    service = run.origin
    points = run.shown(after=run.breached(service) - run.onset + 60.0)
    x = run.minutes(points)

    def slo_seconds(point: EvaluationPoint) -> float:
        slo = slos(point, {}).get(service)
        return slo.seconds if slo else math.nan

    lines = [
        SvgLine("p95", x, run.over(points, lambda point: point.value("p95", service))),
        SvgLine("baseline", x, run.over(points, lambda point: point.level("p95", service)), color=2),
        SvgLine("SLO", x, run.over(points, slo_seconds), color=1),
    ]
    return run.chart(f"p95 of {service.name}, and its SLO", "seconds", lines)


PLOTS: dict[str, tuple[str, Callable[[Run], str]]] = {
    "growth": ("outage", growth),
    "habit": ("diurnal-peak", habit),
    "storm": ("retry-storm", storm),
    "replicas": ("quota-exhausted", replicas),
    "longer": ("long-prompts", longer),
    "slo": ("outage", slo),
}
