"""Plots of what is usual, of load, of the time that is left, and of queues."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from analysis_run import Run
from foreshock_dashboard.analysis.baseline.levels import baselines_at
from foreshock_dashboard.analysis.baseline.signals import SIGNAL_BY_NAME, model_servers
from foreshock_dashboard.analysis.detectors.finding import EXTREME_Z
from foreshock_dashboard.analysis.detectors.retry_risk import SHORT_OUTAGE_SECONDS, retry_loops
from foreshock_dashboard.analysis.saturation.batching_model import moving_average
from foreshock_dashboard.analysis.saturation.overload import SAFE_LIMITS
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.stats.cusum import queue_wait_seconds
from foreshock_dashboard.stats.level_crossing import QUANTILES
from foreshock_dashboard.stats.metastability import MAX_OUTAGE_SECONDS, RetryLoop, outage_margin_seconds
from foreshock_dashboard.web.charts.svg import Axis, SvgLine, SvgMark
from foreshock_dashboard.web.charts.svg import draw as svg


def baseline(run: Run) -> str:
    """p95 of the embedder, and how far out 4 scales are with the floor and without it."""
    who, points = run.service("embedder"), run.shown(1500.0)
    signal = SIGNAL_BY_NAME["p95"]
    bare = [baselines_at(run.world, at, (signal._replace(floor=1e-9),)).of("p95").get(who) for at in points]
    x = run.minutes(points)

    def far(level: float, scale: float) -> float:
        return 1e3 * math.exp(level + EXTREME_Z * scale)

    known = [run.states[at].learned.baselines.of("p95").get(who) for at in points]
    lines = [
        SvgLine("p95", x, [1e3 * value for value in run.over(points, lambda point: point.value("p95", who))]),
        SvgLine("usual", x, [1e3 * math.exp(level) for level, _ in known], color=2),
        SvgLine(f"{EXTREME_Z:.0f} scales above", x, [far(*each) for each in known], color=1),
        SvgLine("the same without the floor", x, [far(*each) for each in bare], color=4),
    ]
    return run.chart(f"p95 of {who}, and what is usual", "milliseconds", lines)


def chance(run: Run) -> str:
    """p95 of the embedder, what it is hardly below, and what is usual."""
    who, points = run.service("embedder"), run.shown(1500.0)
    row, x = run.world.services.index(who), run.minutes(points)
    assert run.world.red.lower_bound is not None  # it was recorded with buckets
    known = [run.states[at].learned.baselines.of("p95").get(who)[0] for at in points]
    lines = [
        SvgLine("p95", x, (1e3 * run.world.red.p95[row, points]).tolist()),
        SvgLine("what it is hardly below", x, (1e3 * run.world.red.lower_bound[row, points]).tolist(), color=4),
        SvgLine("usual", x, [1e3 * math.exp(level) for level in known], color=2),
    ]
    return run.chart(f"p95 of {who}, and what may be chance", "milliseconds", lines)


class _Steps(NamedTuple):
    """Sequences per replica and milliseconds per token of the origin's model servers; shape (times,)."""

    sequences: Floats
    token: Floats


def _steps(run: Run) -> _Steps:
    found = model_servers(run.world)
    row, whole = found.services.index(run.origin), slice(0, len(run.world.times))
    sequences = moving_average(found.running / found.reporting_replicas(whole), run.world.step)[row]
    return _Steps(sequences, 1e3 * found.per_token[row])


def law(run: Run) -> str:
    """Time per token over sequences: while it was learned, and once a neighbor takes time."""
    found, start = _steps(run), int(np.searchsorted(run.world.times, run.onset))
    known = run.states[start].learned.laws[run.origin]
    breached = int(np.searchsorted(run.world.times, min(run.truth.breached.values())))
    n = np.linspace(0.0, float(np.nanmax(found.sequences[: breached + 30])), 20)
    lines = [
        SvgLine("before t₀", *_points(found, slice(0, start)), dots=True),
        SvgLine(
            "8 minutes from the first breach on", *_points(found, slice(breached, breached + 48)), dots=True, color=1
        ),
        SvgLine("a + b·n as learned by t₀", n.tolist(), (1e3 * known.seconds(n)).tolist(), color=2),
    ]
    title = f"A token of {run.origin.name} ({run.truth.scenario})"
    return svg(title, Axis("sequences on a replica, mean of a minute"), Axis("milliseconds per token"), lines)


def _points(found: _Steps, part: slice) -> tuple[list[float], list[float]]:
    return found.sequences[part].tolist(), found.token[part].tolist()


def load(run: Run) -> str:
    """Offered load beside the mean utilization of the same GPUs."""
    who, points = run.origin, run.shown(after=720.0)
    x = run.minutes(points)
    gpus = {tenant.gpu for tenant in run.world.tenants if tenant.service == who}
    offered = [
        own.utilization.loads if (own := run.states[at].own.get(who)) and own.utilization else () for at in points
    ]
    used = run.over(points, lambda point: float(np.mean([point.value("utilization", gpu) for gpu in gpus])))
    lines = [
        SvgLine("offered load, mean of 2 minutes", x, [each[1] if each else math.nan for each in offered]),
        SvgLine("GPU utilization", x, used, color=4),
        SvgLine(f"what is carried, {SAFE_LIMITS[1]:g}", [x[0], x[-1]], [SAFE_LIMITS[1]] * 2, color=1),
    ]
    return run.chart(f"Load of {who.name} over what it can do", "share of capacity", lines)


def hazard(run: Run) -> str:
    """The time to breach that was told, and the one that was left."""
    who, first = run.origin, run.breached(run.origin)
    points = run.shown(0.0, first - run.onset)
    x = run.minutes(points)
    told = [own.seconds if (own := run.states[at].own.get(who)) else () for at in points]
    lines = [SvgLine("left until its first breach", x, [(first - run.onset) / 60 - each for each in x], color=1)]
    for color, share in ((2, 0.2), (0, 0.5), (3, 0.8)):
        at = QUANTILES.index(share)
        minutes = [each[at] / 60 if each and math.isfinite(each[at]) else math.nan for each in told]
        lines.append(SvgLine(f"told, p{100 * share:.0f}", x, minutes, dots=True, color=color))
    return run.chart(f"Time to breach of {who.name} by its trend", "minutes", lines)


def waiting(run: Run) -> str:
    """How long who joins the queue waits, and how long its client does."""
    who, points = run.origin, run.shown()
    found, x = model_servers(run.world), run.minutes(points)
    row = [found.services.index(who)]
    done = moving_average(found.finished[row], run.world.step)
    queue = queue_wait_seconds(moving_average(found.waiting[row], run.world.step), done)[0]
    limit = _loop(run).timeout
    lines = [
        SvgLine("wait, queue over throughput", x, [float(queue[at]) for at in points]),
        SvgLine(f"clients give up, {limit:.0f} s", [x[0], x[-1]], [limit] * 2, color=1),
    ]
    return run.chart(f"Queue of {who.name} in seconds", "seconds", lines)


def survives(run: Run) -> str:
    """The shortest loss of all capacity that takes the origin down for good, by load and attempts."""
    now, loads = _loop(run), np.linspace(0.2, 0.98, 27)
    lines = []
    for color, attempts in enumerate(sorted({2.0, 3.0, now.attempts})):
        found = [outage_margin_seconds(now._replace(load=float(each), attempts=attempts)) for each in loads]
        seconds = [value if value <= MAX_OUTAGE_SECONDS else math.nan for value in found]
        lines.append(SvgLine(f"{attempts:.0f} attempts", loads.tolist(), seconds, color=color))
    lines.append(
        SvgLine(
            f"advisory, {SHORT_OUTAGE_SECONDS[0]:.0f} s", [loads[0], loads[-1]], [SHORT_OUTAGE_SECONDS[0]] * 2, color=4
        )
    )
    axes = Axis("load: first attempts over capacity"), Axis("seconds without capacity that keep it down")
    patience = f"time-out {now.timeout:.0f} s, slack {now.slack:.0f} s"
    title = f"What keeps {run.origin.name} down, {patience} ({run.truth.scenario})"
    return svg(title, *axes, lines, [SvgMark(now.load, "load before t₀")])


def _loop(run: Run) -> RetryLoop:
    """The loop of retries about the origin, as it is known before t₀."""
    last = run.shown(run.world.step, -run.world.step)[-1]
    loads = {service: own.utilization.load for service, own in run.states[last].own.items() if own.utilization}
    return retry_loops(run.point(last), loads)[run.origin].loop


PLOTS: dict[str, tuple[str, Callable[[Run], str]]] = {
    "baseline": ("outage", baseline),
    "chance": ("noisy-neighbour", chance),
    "law": ("noisy-neighbour", law),
    "load": ("outage", load),
    "hazard": ("outage", hazard),
    "waiting": ("retry-storm", waiting),
    "survives": ("retry-storm", survives),
}
