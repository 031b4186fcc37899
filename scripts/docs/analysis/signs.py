"""Plots of baselines, load, time to breach, and queues."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.analysis.baseline.levels import baselines_at
from foreshock_dashboard.analysis.baseline.signals import SIGNAL_BY_NAME, model_servers
from foreshock_dashboard.analysis.detectors.finding import EXTREME_Z
from foreshock_dashboard.analysis.detectors.retry_risk import SHORT_OUTAGE_SECONDS, retry_loops
from foreshock_dashboard.analysis.saturation.safe_limits import SAFE_LIMITS
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.stats.cusum import queue_wait_seconds
from foreshock_dashboard.stats.level_crossing import QUANTILES
from foreshock_dashboard.stats.metastability import MAX_OUTAGE_SECONDS, RetryLoop, outage_margin_seconds
from foreshock_dashboard.stats.robust import moving_average
from foreshock_dashboard.web.charts.svg import Axis, SvgLine, SvgMark
from foreshock_dashboard.web.charts.svg import draw as svg
from scripts.docs.analysis.run import Run


def baseline(run: Run) -> str:
    """p95 of the embedder, its baseline, and four scales above it with and without the floor."""
    service, points = run.service("embedder"), run.shown(1500.0)
    signal = SIGNAL_BY_NAME["p95"]
    bare = [baselines_at(run.world, at, (signal._replace(floor=1e-9),)).of("p95").get(service) for at in points]
    x = run.minutes(points)

    def limit_ms(level: float, scale: float) -> float:
        return 1e3 * math.exp(level + EXTREME_Z * scale)

    baselines = [run.states[at].learned.baselines.of("p95").get(service) for at in points]
    lines = [
        SvgLine("p95", x, [1e3 * value for value in run.over(points, lambda point: point.value("p95", service))]),
        SvgLine("baseline", x, [1e3 * math.exp(level) for level, _ in baselines], color=2),
        SvgLine(f"{EXTREME_Z:.0f} scales above", x, [limit_ms(*baseline) for baseline in baselines], color=1),
        SvgLine("the same without the floor", x, [limit_ms(*baseline) for baseline in bare], color=4),
    ]
    return run.chart(f"p95 of {service}, and its baseline", "milliseconds", lines)


def chance(run: Run) -> str:
    """p95 of the embedder, its lower bound, and its baseline."""
    service, points = run.service("embedder"), run.shown(1500.0)
    row, x = run.world.services.index(service), run.minutes(points)
    assert run.world.red.lower_bound is not None  # it was recorded with buckets
    levels = [run.states[at].learned.baselines.of("p95").get(service)[0] for at in points]
    lines = [
        SvgLine("p95", x, (1e3 * run.world.red.p95[row, points]).tolist()),
        SvgLine("lower bound", x, (1e3 * run.world.red.lower_bound[row, points]).tolist(), color=4),
        SvgLine("baseline", x, [1e3 * math.exp(level) for level in levels], color=2),
    ]
    return run.chart(f"p95 of {service}, and its lower bound", "milliseconds", lines)


class _Steps(NamedTuple):
    """Sequences per replica and milliseconds per token of the origin's model servers; shape (times,)."""

    sequences: Floats
    token: Floats


def _steps(run: Run) -> _Steps:
    servers = model_servers(run.world)
    row, whole = servers.services.index(run.origin), slice(0, len(run.world.times))
    sequences = moving_average(servers.running / servers.reporting_replicas(whole), run.world.step)[row]
    return _Steps(sequences, 1e3 * servers.per_token[row])


def law(run: Run) -> str:
    """Time per token over sequences: before the fault, and under GPU contention."""
    steps, start = _steps(run), int(np.searchsorted(run.world.times, run.onset))
    learned = run.states[start].learned.laws[run.origin]
    breached = int(np.searchsorted(run.world.times, min(run.truth.breached.values())))
    n = np.linspace(0.0, float(np.nanmax(steps.sequences[: breached + 30])), 20)
    lines = [
        SvgLine("before t₀", *_points(steps, slice(0, start)), dots=True),
        SvgLine(
            "8 minutes from the first breach on", *_points(steps, slice(breached, breached + 48)), dots=True, color=1
        ),
        SvgLine("a + b·n as learned by t₀", n.tolist(), (1e3 * learned.seconds(n)).tolist(), color=2),
    ]
    title = f"Time per token of {run.origin.name} ({run.truth.scenario})"
    return svg(title, Axis("sequences on a replica, mean of a minute"), Axis("milliseconds per token"), lines)


def _points(steps: _Steps, part: slice) -> tuple[list[float], list[float]]:
    return steps.sequences[part].tolist(), steps.token[part].tolist()


def load(run: Run) -> str:
    """Offered load, and mean utilization of the same GPUs."""
    service, points = run.origin, run.shown(after=720.0)
    x = run.minutes(points)
    gpus = {tenant.gpu for tenant in run.world.tenants if tenant.service == service}
    risks = [run.states[at].service_risks.get(service) for at in points]
    offered = [risk.utilization.loads if risk and risk.utilization else () for risk in risks]
    utilization = run.over(points, lambda point: float(np.mean([point.value("utilization", gpu) for gpu in gpus])))
    lines = [
        SvgLine("load, mean of 2 minutes", x, [loads[1] if loads else math.nan for loads in offered]),
        SvgLine("GPU utilization", x, utilization, color=4),
        SvgLine(f"safe limit, {SAFE_LIMITS[1]:g}", [x[0], x[-1]], [SAFE_LIMITS[1]] * 2, color=1),
    ]
    return run.chart(f"Load of {service.name} over its capacity", "share of capacity", lines)


def hazard(run: Run) -> str:
    """Forecast and actual time to breach."""
    service, first = run.origin, run.breached(run.origin)
    points = run.shown(0.0, first - run.onset)
    x = run.minutes(points)
    forecasts = [own.seconds if (own := run.states[at].service_risks.get(service)) else () for at in points]
    lines = [SvgLine("actual time to first breach", x, [(first - run.onset) / 60 - minute for minute in x], color=1)]
    for color, share in ((2, 0.2), (0, 0.5), (3, 0.8)):
        i = QUANTILES.index(share)
        minutes = [seconds[i] / 60 if seconds and math.isfinite(seconds[i]) else math.nan for seconds in forecasts]
        lines.append(SvgLine(f"forecast, p{100 * share:.0f}", x, minutes, dots=True, color=color))
    return run.chart(f"Time to breach of {service.name} by its trend", "minutes", lines)


def waiting(run: Run) -> str:
    """Queue time, and the timeout of the clients."""
    service, points = run.origin, run.shown()
    servers, x = model_servers(run.world), run.minutes(points)
    row = [servers.services.index(service)]
    throughput = moving_average(servers.finished[row], run.world.step)
    queue = queue_wait_seconds(moving_average(servers.waiting[row], run.world.step), throughput)[0]
    limit = _loop(run).timeout
    lines = [
        SvgLine("queue time", x, [float(queue[at]) for at in points]),
        SvgLine(f"timeout of the clients, {limit:.0f} s", [x[0], x[-1]], [limit] * 2, color=1),
    ]
    return run.chart(f"Queue of {service.name} in seconds", "seconds", lines)


def survives(run: Run) -> str:
    """Shortest loss of all capacity after which the origin stays down, by load and attempts."""
    now, loads = _loop(run), np.linspace(0.2, 0.98, 27)
    lines = []
    for color, attempts in enumerate(sorted({2.0, 3.0, now.attempts})):
        margins = [outage_margin_seconds(now._replace(load=float(load), attempts=attempts)) for load in loads]
        seconds = [margin if margin <= MAX_OUTAGE_SECONDS else math.nan for margin in margins]
        lines.append(SvgLine(f"{attempts:.0f} attempts", loads.tolist(), seconds, color=color))
    lines.append(
        SvgLine(
            f"early warning, {SHORT_OUTAGE_SECONDS[0]:.0f} s",
            [loads[0], loads[-1]],
            [SHORT_OUTAGE_SECONDS[0]] * 2,
            color=4,
        )
    )
    axes = Axis("load: first attempts over capacity"), Axis("seconds without capacity")
    timing = f"timeout {now.timeout:.0f} s, slack {now.slack:.0f} s"
    title = f"Lasting overload of {run.origin.name}, {timing} ({run.truth.scenario})"
    return svg(title, *axes, lines, [SvgMark(now.load, "load before t₀")])


def _loop(run: Run) -> RetryLoop:
    """Retry loop of the origin before t₀."""
    last = run.shown(run.world.step, -run.world.step)[-1]
    risks = run.states[last].service_risks.items()
    loads = {service: risk.utilization.load for service, risk in risks if risk.utilization}
    return retry_loops(run.point(last), loads)[run.origin].loop


PLOTS: dict[str, tuple[str, Callable[[Run], str]]] = {
    "baseline": ("outage", baseline),
    "chance": ("noisy-neighbor", chance),
    "law": ("noisy-neighbor", law),
    "load": ("outage", load),
    "hazard": ("outage", hazard),
    "waiting": ("retry-storm", waiting),
    "survives": ("retry-storm", survives),
}
