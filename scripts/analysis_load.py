"""Plots of what is asked: growth, habits of the week, replicas that are late, longer requests, retries, objectives."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from analysis_run import Run
from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.baseline.retry_amplification import request_rates
from foreshock_dashboard.analysis.baseline.seasonality import LEVEL_BINS, NEIGHBOR_BINS, WEEK_LAGS_DAYS, seasonality
from foreshock_dashboard.analysis.baseline.signals import capacity, model_servers
from foreshock_dashboard.analysis.baseline.slos import slos
from foreshock_dashboard.analysis.detectors.demand import TOKEN_GROWTH
from foreshock_dashboard.analysis.detectors.kv_cache import REQUEST_LENGTH_GROWTH
from foreshock_dashboard.analysis.detectors.retry_storm import MINUTE
from foreshock_dashboard.model.seasonality import BIN_SECONDS, DAY_SECONDS
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.web.charts.svg import Axis, SvgLine
from foreshock_dashboard.web.charts.svg import draw as svg
from foreshock_simulator.traffic.rate import Curve, RelativeRate

HOUR = 3600.0


def growth(run: Run) -> str:
    """Tokens over the usual, and how they scatter where nothing grows."""
    who, points = run.origin, run.shown(after=900.0)
    x = run.minutes(points)
    lines = [
        SvgLine("tokens over minutes", x, run.over(points, lambda point: point.ratio("tokens", who))),
        SvgLine("requests", x, run.over(points, lambda point: point.ratio("rate", who)), color=2),
        SvgLine(f"half sure, {TOKEN_GROWTH[0]:g}", [x[0], x[-1]], [TOKEN_GROWTH[0]] * 2, color=1),
    ]
    return run.chart(f"What {who.name} is asked", "times the usual", lines)


def habit(run: Run) -> str:
    """A Monday's requests with a surge in the afternoon, what two hours call usual, and what four Mondays do."""
    who, flow = run.service("assistant-feature"), RelativeRate(Curve(), 0.0, diurnal=0.6, peak_hour=14.0, weekend=0.5)
    monday = (
        math.floor(run.world.times[0] / DAY_SECONDS / 7) * 7 * DAY_SECONDS + 4 * DAY_SECONDS
    )  # the first of January 1970 was a Thursday
    chance = np.random.default_rng(1)

    def requests(first: float, bins: int) -> Floats:
        times = first + BIN_SECONDS * np.arange(bins)
        level = np.array([flow(float(each)) for each in times])
        return np.asarray(chance.poisson(8.0 * level * BIN_SECONDS) / BIN_SECONDS, np.float64)

    start, bins = monday + 4 * HOUR, 56
    times = start + BIN_SECONDS * np.arange(bins)
    today = requests(start - LEVEL_BINS * BIN_SECONDS, LEVEL_BINS + bins)
    surge = (times >= monday + 15 * HOUR) & (times < monday + 16 * HOUR)
    today[LEVEL_BINS:][surge] *= 1.6
    usual = np.array([np.median(today[at : at + LEVEL_BINS]) for at in range(bins)])
    past = {
        ago: {who: requests(start - LEVEL_BINS * BIN_SECONDS - ago * DAY_SECONDS, LEVEL_BINS + bins + NEIGHBOR_BINS)}
        for ago in WEEK_LAGS_DAYS
    }
    known = seasonality(times, past)
    x = [(float(each) - monday) / HOUR for each in times]
    lines = [
        SvgLine("requests", x, today[LEVEL_BINS:].tolist()),
        SvgLine("usual of two hours", x, usual.tolist(), color=1),
        SvgLine("times what Mondays bring", x, (usual * known.growth[0]).tolist(), color=2),
    ]
    return svg("A Monday with a surge at three", Axis("hour of the day, UTC"), Axis("requests per second"), lines)


def storm(run: Run) -> str:
    """What is sent, what is really asked, and what is finished."""
    who, points = run.origin, run.shown(600.0, 1500.0)
    x = run.minutes(points)
    told = model_servers(run.world)
    row = told.services.index(who)

    def sent(point: EvaluationPoint) -> float:
        return float(np.nansum(request_rates(point, MINUTE).offered[point.into[who]]))

    def really(point: EvaluationPoint) -> float:
        return float(np.nansum(request_rates(point, MINUTE).fresh[point.into[who]]))

    def lost(point: EvaluationPoint) -> float:
        return point.value("rate", who) * point.value("failed", who)

    lines = [
        SvgLine("attempts", x, run.over(points, sent)),
        SvgLine("without retries", x, run.over(points, really), color=2),
        SvgLine("finished", x, [float(told.finished[row, at]) for at in points], color=4),
        SvgLine("failed", x, run.over(points, lost), color=1),
    ]
    return run.chart(f"Requests to {who.name}", "per second", lines)


def replicas(run: Run) -> str:
    """Replicas that are wanted and that are there, and how many the load would take."""
    who, points = run.origin, run.shown(after=900.0)
    x = run.minutes(points)
    told = capacity(run.world)
    row = told.services.index(who)
    load = [
        own.utilization.load if (own := run.states[at].own.get(who)) and own.utilization else math.nan for at in points
    ]
    ready = [float(told.ready[row, at]) for at in points]
    lines = [
        SvgLine("wanted", x, [float(told.wanted[row, at]) for at in points], color=1),
        SvgLine("ready", x, ready),
        SvgLine("load, in replicas", x, [share * count for share, count in zip(load, ready, strict=True)], color=2),
    ]
    return run.chart(f"Replicas of {who.name}", "replicas", lines)


def longer(run: Run) -> str:
    """Cache per request over the usual, and how full the cache is."""
    who, points = run.origin, run.shown()
    x = run.minutes(points)
    lines = [
        SvgLine("cache per request", x, run.over(points, lambda point: point.ratio("held", who))),
        SvgLine("cache in use, 0…1", x, run.over(points, lambda point: point.value("cache", who)), color=2),
        SvgLine(f"half sure, {REQUEST_LENGTH_GROWTH[0]:g}", [x[0], x[-1]], [REQUEST_LENGTH_GROWTH[0]] * 2, color=1),
    ]
    return run.chart(f"What the requests of {who.name} hold", "times the usual", lines)


def objective(run: Run) -> str:
    """p95 of a service, what is usual, and the objective that is learned from it."""
    who = run.origin
    points = run.shown(after=run.breached(who) - run.onset + 60.0)
    x = run.minutes(points)

    def promised(point: EvaluationPoint) -> float:
        found = slos(point, {}).get(who)
        return found.seconds if found else math.nan

    lines = [
        SvgLine("p95", x, run.over(points, lambda point: point.value("p95", who))),
        SvgLine("usual", x, run.over(points, lambda point: point.level("p95", who)), color=2),
        SvgLine("objective", x, run.over(points, promised), color=1),
    ]
    return run.chart(f"p95 of {who.name}, and what it promises", "seconds", lines)


PLOTS: dict[str, tuple[str, Callable[[Run], str]]] = {
    "growth": ("outage", growth),
    "habit": ("diurnal-peak", habit),
    "storm": ("retry-storm", storm),
    "replicas": ("quota-exhausted", replicas),
    "longer": ("long-prompts", longer),
    "objective": ("outage", objective),
}
