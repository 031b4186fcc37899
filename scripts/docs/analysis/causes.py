"""Plots of GPU sharing, network, dependencies, decisions, forecasts, and root causes."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from foreshock_dashboard.analysis.baseline.gpu_shares import GpuShares
from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.baseline.signals import Key
from foreshock_dashboard.analysis.detectors.dependency import FAILED_ATTEMPTS
from foreshock_dashboard.analysis.detectors.gpu_contention import SQUEEZE_SLOWDOWN, predicted_slowdown
from foreshock_dashboard.analysis.detectors.registry import findings
from foreshock_dashboard.analysis.incidents.paging import FINDING_STRENGTH, PAGE_SCORE
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Gpu, Tenant
from foreshock_dashboard.web.charts.svg import Axis, SvgLine
from foreshock_dashboard.web.charts.svg import draw as svg
from scripts.docs.analysis.run import TIME_AXIS, Run


def sharing(run: Run) -> str:
    """Shares of a GPU that two services use, now and normally."""
    victim, other, points = run.origin, run.service("batch-embed"), run.shown()
    gpu = min(tenant.gpu for tenant in run.world.tenants if {victim, other} <= _services_on(run, tenant.gpu))
    rows = [run.world.tenants.index(Tenant(gpu, service)) for service in (victim, other)]
    x, shares = run.minutes(points), [GpuShares(run.point(at)) for at in points]
    lines = []
    for color, row in enumerate(rows):
        name = run.world.tenants[row].service.name
        lines.append(SvgLine(name, x, [float(share.now[row]) for share in shares], color=color))
        lines.append(SvgLine(f"{name}, baseline", x, [float(share.baseline[row]) for share in shares], color=color + 2))
    return run.chart(f"Shares of {gpu.label}", "share of GPU time", lines)


def _services_on(run: Run, gpu: Gpu) -> set[Service]:
    return {tenant.service for tenant in run.world.tenants if tenant.gpu == gpu}


def slowdown(run: Run) -> str:
    """Slowdown predicted from GPU shares, and that of requests."""
    victim, points = run.origin, run.shown(after=480.0)
    x = run.minutes(points)

    def predicted(point: EvaluationPoint) -> float:
        shares, rows = GpuShares(point), point.tenant_rows[victim]
        return predicted_slowdown(shares.baseline[rows], shares.newest[rows], shares.full[rows])

    lines = [
        SvgLine("predicted from parts", x, run.over(points, predicted)),
        SvgLine("time per token", x, run.over(points, lambda point: point.ratio("per_token", victim)), color=2),
        SvgLine("p95", x, run.over(points, lambda point: point.ratio("p95", victim)), color=4),
        SvgLine(f"weight 0.5 at {SQUEEZE_SLOWDOWN:g}", [x[0], x[-1]], [SQUEEZE_SLOWDOWN] * 2, color=1),
    ]
    return run.chart(f"Slowdown of {victim.name}", "ratio to baseline", lines)


def excess(run: Run) -> str:
    """p95 of the client over that of the server, on the lossy path and on others."""
    points = run.shown(after=1500.0)
    x = run.minutes(points)
    edges = [edge for edge in run.world.edges if edge.connection != "virtual_node" and edge.client.name == "gateway"]
    lines = [
        SvgLine(f"{edge.client.name} → {edge.server.name}", x, _ratios(run, points, "excess", edge), color=color)
        for color, edge in enumerate(edges)
    ]
    host = max(run.point(points[-1])["retransmitted"].keys, key=lambda host: _last(run, points, host))
    lost = run.over(points, lambda point: 100 * point.value("retransmitted", host))
    lines.append(SvgLine(f"% of segments of {host} retransmitted", x, lost, color=len(edges)))
    return run.chart("Latency between services", "p95 of client over server, ratio to baseline; %", lines)


def _last(run: Run, points: list[int], host: Key) -> float:
    return float(np.nan_to_num(run.point(points[-1]).value("retransmitted", host)))


def _ratios(run: Run, points: list[int], name: str, key: Key) -> list[float]:
    return run.over(points, lambda point: point.ratio(name, key))


def dependency(run: Run) -> str:
    """Failed attempts of the callee's clients, and failed requests to these clients."""
    points = run.shown(after=1500.0)
    x = run.minutes(points)
    lines = []
    served = {edge.server for edge in run.world.edges}
    edges = [edge for edge in run.world.edges if edge.server == run.origin and edge.client in served]
    for color, edge in enumerate(edges):
        calls = run.over(points, lambda point, edge=edge: 100 * point.value("edge_error_rate", edge))  # type: ignore[misc]
        own = run.over(points, lambda point, client=edge.client: 100 * point.value("error_rate", client))  # type: ignore[misc]
        lines += [
            SvgLine(f"attempts of {edge.client.name}", x, calls, color=2 * color),
            SvgLine(f"requests to {edge.client.name}", x, own, color=2 * color + 1),
        ]
    lines.append(
        SvgLine(f"weight 0.5 at {FAILED_ATTEMPTS[0]:.0%}", [x[0], x[-1]], [100 * FAILED_ATTEMPTS[0]] * 2, color=4)
    )
    return run.chart(f"Calls to {run.origin.name}", "errors, %", lines)


def outage(run: Run) -> str:
    """Calls to the origin, and those that it answers."""
    points, service = run.shown(before=120.0, after=180.0), run.origin
    x = run.minutes(points)

    def calls(point: EvaluationPoint) -> float:
        return sum(point.value("edge_rate", edge) for edge in point.calls_to(service))

    lines = [
        SvgLine("calls by clients", x, run.over(points, calls)),
        SvgLine("requests served", x, run.over(points, lambda point: point.value("rate", service)), color=2),
        SvgLine("requests served, baseline", x, run.over(points, lambda point: point.level("rate", service)), color=1),
    ]
    return run.chart(f"Calls to {service.name}", "req/s", lines)


def decision(run: Run) -> str:
    """Strength of the strongest finding, and score of a breach."""
    service, points = run.origin, run.shown()
    x = run.minutes(points)
    score = [own.score if (own := run.states[at].service_risks.get(service)) else math.nan for at in points]
    strength = run.over(
        points, lambda point: max((item.strength for item in findings(point) if item.service == service), default=0.0)
    )
    lines = [
        SvgLine("strength of a finding", x, strength),
        SvgLine("score of a breach", x, score, color=2),
        SvgLine(f"page, {PAGE_SCORE:g}", [x[0], x[-1]], [PAGE_SCORE] * 2, color=1),
        SvgLine(f"finding counts, {FINDING_STRENGTH:g}", [x[0], x[-1]], [FINDING_STRENGTH] * 2, color=4),
    ]
    return run.chart(f"Evidence for {service.name}", "0…1", lines)


def ahead(run: Run) -> str:
    """Forecast and actual time of the SLO breach of each service."""
    points = run.shown(0.0, max(run.truth.breached.values()) - run.onset)
    x = run.minutes(points)
    lines = []
    for color, (service, time) in enumerate(sorted(run.truth.breached.items(), key=lambda item: item[1])):
        forecasts = [
            next((risk.p50 for risk in incident.at_risk if risk.service == service), math.nan)
            if (incident := run.incident(at))
            else math.nan
            for at in points
        ]
        y = [m + seconds / 60 if 0 < seconds < math.inf else math.nan for m, seconds in zip(x, forecasts, strict=True)]
        lines.append(SvgLine(service.name, x, y, dots=True, color=color))
        lines.append(SvgLine("", x, [(time - run.onset) / 60] * len(x), color=color))
    return run.chart("Forecast and actual SLO breach of each service", "minutes since t₀", lines)


def weights(run: Run) -> str:
    """Slowdown of requests, request rate of the second caller, and idle GPUs."""
    service, points = run.origin, run.shown(after=1500.0)
    x = run.minutes(points)
    gpus = {tenant.gpu for tenant in run.world.tenants if tenant.service == service}
    rows = [run.world.gpus.index(gpu) for gpu in sorted(gpus)]
    idle = 100.0 * (1.0 - np.nanmean(run.world.utilization[rows][:, points], axis=0))
    ingest = next(edge for edge in run.world.edges if edge.server == service and edge.client.name == "gateway")
    lines = [
        SvgLine("median over its baseline", x, run.over(points, lambda point: point.ratio("p50", service))),
        SvgLine("calls of gateway, 1/s", x, run.over(points, lambda point: point.value("edge_rate", ingest)), color=1),
        SvgLine("GPUs idle, %", x, idle.tolist(), color=2),
    ]
    title = f"GPU contention at {service.name} ({run.truth.scenario})"
    return svg(title, TIME_AXIS, Axis("ratio to baseline; 1/s; %", log=True), lines, run.marks())


def suspicion(run: Run) -> str:
    """Score of each candidate while the incident is open."""
    points = run.shown(0.0, 600.0)
    incidents = [run.incident(at) for at in points]
    scores = [{c.service: c.score for c in incident.candidates} if incident else None for incident in incidents]
    services = sorted({service for by_service in scores if by_service for service in by_service})
    x = run.minutes(points)
    lines = [
        SvgLine(service.name, x, [s.get(service, 0.0) if s is not None else math.nan for s in scores], color=color)
        for color, service in enumerate(services[:6])
    ]
    return run.chart("Share of suspicion by candidate", "share of suspicion", lines)


PLOTS: dict[str, tuple[str, Callable[[Run], str]]] = {
    "sharing": ("noisy-neighbor", sharing),
    "slowdown": ("noisy-neighbor", slowdown),
    "excess": ("packet-loss", excess),
    "dependency": ("slow-dependency", dependency),
    "outage": ("gpu-lost", outage),
    "ahead": ("outage", ahead),
    "decision": ("noisy-neighbor", decision),
    "weights": ("model-thrash", weights),
    "suspicion": ("starve", suspicion),
}
