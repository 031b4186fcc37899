"""Plots of who takes what from whom, of the way between, of those who are called, and of the decision."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from analysis_run import Run
from foreshock_dashboard.analysis.baseline.gpu_shares import GpuShares
from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.baseline.signals import Key
from foreshock_dashboard.analysis.detectors.contention import SQUEEZE_SLOWDOWN, predicted_slowdown
from foreshock_dashboard.analysis.detectors.dependency import FAILED_ATTEMPTS
from foreshock_dashboard.analysis.detectors.registry import findings
from foreshock_dashboard.analysis.incidents.triage import FINDING_STRENGTH, PAGE_CHANCE
from foreshock_dashboard.model.world import Tenant
from foreshock_dashboard.web.charts.svg import SvgLine


def sharing(run: Run) -> str:
    """Parts of the GPUs that the two share, and what the victim is predicted to become slower by."""
    victim, other, points = run.origin, run.service("batch-embed"), run.shown()
    gpus = {each.gpu for each in run.world.tenants if each.service == victim}
    gpus &= {each.gpu for each in run.world.tenants if each.service == other}
    gpu = min(gpus)
    rows = [run.world.tenants.index(Tenant(gpu, who)) for who in (victim, other)]
    x = run.minutes(points)
    lines = []
    for color, row in enumerate(rows):
        parts = run.over(points, lambda point, row=row: float(GpuShares(point).now[row]))  # type: ignore[misc]
        usual = run.over(points, lambda point, row=row: float(GpuShares(point).baseline[row]))  # type: ignore[misc]
        who = run.world.tenants[row].service.name
        lines += [SvgLine(who, x, parts, color=color), SvgLine(f"{who}, usually", x, usual, color=color + 2)]
    return run.chart(f"Who has {gpu.label}", "share of its time", lines)


def slowdown(run: Run) -> str:
    """The slow-down that the parts predict, and the one that requests show."""
    victim, points = run.origin, run.shown(after=480.0)
    x = run.minutes(points)

    def from_parts(point: EvaluationPoint) -> float:
        parts = GpuShares(point)
        rows = point.tenant_rows[victim]
        return predicted_slowdown(parts.baseline[rows], parts.newest[rows], parts.full[rows])

    lines = [
        SvgLine("predicted from parts", x, run.over(points, from_parts)),
        SvgLine("time per token", x, run.over(points, lambda point: point.ratio("per_token", victim)), color=2),
        SvgLine("p95", x, run.over(points, lambda point: point.ratio("p95", victim)), color=4),
        SvgLine(f"half sure, {SQUEEZE_SLOWDOWN:g}", [x[0], x[-1]], [SQUEEZE_SLOWDOWN] * 2, color=1),
    ]
    return run.chart(f"Slow-down of {victim.name}", "times the usual", lines)


def excess(run: Run) -> str:
    """The client's p95 over the server's on the bad path, and on others."""
    points = run.shown(after=1500.0)
    x = run.minutes(points)
    edges = [each for each in run.world.edges if each.connection != "virtual_node" and each.client.name == "gateway"]
    lines = [
        SvgLine(f"{edge.client.name} → {edge.server.name}", x, _ratios(run, points, "excess", edge), color=color)
        for color, edge in enumerate(edges)
    ]
    host = max(run.point(points[-1])["retransmitted"].keys, key=lambda each: _last(run, points, each))
    lost = run.over(points, lambda point: 100 * point.value("retransmitted", host))
    lines.append(SvgLine(f"% of segments of {host} sent again", x, lost, color=len(edges)))
    return run.chart("What the way takes", "p95 of client over server, times the usual; %", lines)


def _last(run: Run, points: list[int], host: Key) -> float:
    return float(np.nan_to_num(run.point(points[-1]).value("retransmitted", host)))


def _ratios(run: Run, points: list[int], name: str, key: Key) -> list[float]:
    return run.over(points, lambda point: point.ratio(name, key))


def dependency(run: Run) -> str:
    """Attempts that the callee's clients give up, and requests that fail because of it."""
    points = run.shown(after=1500.0)
    x = run.minutes(points)
    lines = []
    served = {edge.server for edge in run.world.edges}
    edges = [each for each in run.world.edges if each.server == run.origin and each.client in served]
    for color, edge in enumerate(edges):
        calls = run.over(points, lambda point, edge=edge: 100 * point.value("edge_failed", edge))  # type: ignore[misc]
        own = run.over(points, lambda point, who=edge.client: 100 * point.value("failed", who))  # type: ignore[misc]
        lines += [
            SvgLine(f"attempts of {edge.client.name}", x, calls, color=2 * color),
            SvgLine(f"requests to {edge.client.name}", x, own, color=2 * color + 1),
        ]
    lines.append(
        SvgLine(f"half sure, {FAILED_ATTEMPTS[0]:.0%}", [x[0], x[-1]], [100 * FAILED_ATTEMPTS[0]] * 2, color=4)
    )
    return run.chart(f"Calls to {run.origin.name}", "per cent that fail", lines)


def decision(run: Run) -> str:
    """What each grid point weighs: the strength of the best finding, and the chance of a breach."""
    who, points = run.origin, run.shown()
    x = run.minutes(points)
    chance = [own.chance if (own := run.states[at].own.get(who)) else math.nan for at in points]
    sure = run.over(
        points, lambda point: max((each.strength for each in findings(point) if each.service == who), default=0.0)
    )
    lines = [
        SvgLine("strength of a finding", x, sure),
        SvgLine("chance of a breach", x, chance, color=2),
        SvgLine(f"page, {PAGE_CHANCE:g}", [x[0], x[-1]], [PAGE_CHANCE] * 2, color=1),
        SvgLine(f"counts, {FINDING_STRENGTH:g}", [x[0], x[-1]], [FINDING_STRENGTH] * 2, color=4),
    ]
    return run.chart(f"What decides about {who.name}", "0…1", lines)


def ahead(run: Run) -> str:
    """When each service was expected to miss its objective, and when it did."""
    points = run.shown(0.0, max(run.truth.breached.values()) - run.onset)
    x = run.minutes(points)
    lines = []
    for color, (who, when) in enumerate(sorted(run.truth.breached.items(), key=lambda item: item[1])):
        told = [
            next((risk.p50 for risk in each.at_risk if risk.service == who), math.nan)
            if (each := run.incident(at))
            else math.nan
            for at in points
        ]
        y = [m + seconds / 60 if 0 < seconds < math.inf else math.nan for m, seconds in zip(x, told, strict=True)]
        lines.append(SvgLine(who.name, x, y, dots=True, color=color))
        lines.append(SvgLine("", x, [(when - run.onset) / 60] * len(x), color=color))
    return run.chart("When each was said to miss its objective, and did", "minutes since t₀", lines)


PLOTS: dict[str, tuple[str, Callable[[Run], str]]] = {
    "sharing": ("noisy-neighbour", sharing),
    "slowdown": ("noisy-neighbour", slowdown),
    "excess": ("packet-loss", excess),
    "dependency": ("slow-dependency", dependency),
    "ahead": ("outage", ahead),
    "decision": ("noisy-neighbour", decision),
}
