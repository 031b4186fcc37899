"""Network faults: calls take longer for their client than for their server, packets are lost, or a link is full.

The excess of an edge is the client's latency over the server's. It points at the network if the server itself is
healthy: a server that answers late what its clients abandoned reports only the fast calls, and looks like a fast server
behind a slow network. Host counters are surer: a retransmitted segment waits for a timeout of at least 200 ms (RFC
6298; Linux), so at a few percent of loss most requests wait for one. Several slow edges share an endpoint.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set

import numpy as np

from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.detectors.finding import (
    EXTREME_Z,
    MAX_SEVERITY,
    MAX_UNOBSERVED_STRENGTH,
    MIN_STRENGTH,
    WORSE_Z,
    Finding,
    degradation,
    evidence_of,
    known_evidence,
)
from foreshock_dashboard.analysis.remediation.effect import at_baseline, first, of_signal
from foreshock_dashboard.model.action import Action
from foreshock_dashboard.model.incident import Evidence, SuspectedCause
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Edge
from foreshock_dashboard.stats.threshold import Threshold, confidence

LOST_SEGMENTS = Threshold(0.02, 0.005)
"""Ratio of retransmitted TCP segments: half of all requests of thirty segments then have one; 0.5% to 1% is common on
busy links and affects only the tail."""
LINK_UTILIZATION = Threshold(0.9, 0.02)
"""Utilization of an interface from which packets queue: ρ/(1 − ρ) is 9."""
DROPPED_PACKETS = Threshold(10.0, 3.0)
"""Dropped packets per second above the baseline."""
MAX_EDGE_STRENGTH = 0.7
"""Largest strength of slow edges without host counters."""
MAX_DENIED_STRENGTH = 0.4
"""The same while host counters show no loss: a device in between may be slow, or the client."""
HOST_EVIDENCE = {"retransmitted": 0.001, "nic": 0.5, "dropped": 1.0}
"""Signals of a host that are evidence, and from which value on."""


def network(point: EvaluationPoint) -> Iterator[Finding]:
    """Findings for services with slow or failing calls between hosts; those of one fault share a suspected cause."""
    lossy = point.memo(lossy_hosts)
    by_edges = list(_of_edges(point, slow_edges(point, lossy), lossy))
    yield from by_edges
    yield from _of_hosts(point, lossy, by_edges)


def lossy_hosts(point: EvaluationPoint) -> Mapping[str, float]:
    """Confidence (0 to 1) that a host loses or delays packets, for each host that may."""
    lossy = {}
    lost, full, dropped = point["retransmitted"], point["nic"], point["dropped"]
    for host, row in lost.keys.items():
        strength = max(
            min(LOST_SEGMENTS.confidence(float(lost.value[row])), confidence(float(lost.z[row]), EXTREME_Z, 1.0)),
            min(LINK_UTILIZATION.confidence(float(full.value[row])), confidence(float(full.z[row]), EXTREME_Z, 1.0)),
            DROPPED_PACKETS.confidence(float(dropped.value[row] - dropped.level[row])),
        )
        if strength > MIN_STRENGTH:
            lossy[str(host)] = strength
    return lossy


def slow_edges(point: EvaluationPoint, lossy: Mapping[str, float]) -> Mapping[Edge, float]:
    """Confidence (0 to 1) that an edge is slow, for edges slower for their client than for their server.

    The costliest edge is first. With lossy hosts a smaller excess is enough, and the server need not be healthy.
    """
    excess = point["excess"]
    has_counters = bool(np.isfinite(point["retransmitted"].value).any())
    lossy_bound = max(lossy.values(), default=0.0) if has_counters else MAX_EDGE_STRENGTH
    bound = MAX_DENIED_STRENGTH if has_counters else MAX_EDGE_STRENGTH
    with np.errstate(invalid="ignore"):
        rows = np.flatnonzero((excess.z > 0.5 * EXTREME_Z) & (excess.value > 1.0))
    slow, cost = {}, {}
    server_z: dict[Service, float] = {}
    for edge, z in ((point.world.edges[row], float(excess.z[row])) for row in rows):
        if edge.server not in server_z:
            server_z[edge.server] = own_excess(point, edge.server)
        is_healthy = not max(server_z[edge.server], np.nan_to_num(point.z("edge_server", edge))) >= WORSE_Z
        strength = max(
            min(lossy_bound, confidence(z, WORSE_Z, 0.5)) if lossy else 0.0,
            min(bound, confidence(z, EXTREME_Z, 1.0)) if is_healthy else 0.0,
        )
        if strength > MIN_STRENGTH:
            seconds = max(0.0, point.value("edge_p95", edge) - _ideal(point, edge))
            slow[edge], cost[edge] = strength, seconds * np.nan_to_num(point.value("edge_rate", edge))
    return {edge: slow[edge] for edge in sorted(slow, key=lambda edge: (-cost[edge], edge))}


def _ideal(point: EvaluationPoint, edge: Edge) -> float:
    """The client's p95 in seconds at the baseline excess over the server's."""
    return point.value("edge_server", edge) * point.level("excess", edge)


def own_excess(point: EvaluationPoint, server: Service) -> float:
    """Scales by which a server or one of its callees is worse; 0 if unknown."""
    z = [point.z(name, server) for name in ("p95", "error_rate", "waiting", "flight")]
    rows = point.outgoing.get(server, [])
    z += [*point["edge_p95"].z[rows].tolist(), *point["edge_error_rate"].z[rows].tolist()]
    return max((value for value in z if not math.isnan(value)), default=0.0)


def hosts_of_services(point: EvaluationPoint) -> Mapping[Service, Set[str]]:
    """Hosts of the services with GPUs; metrics do not show where others run."""
    hosts: dict[Service, set[str]] = {}
    for tenant in point.world.tenants:
        hosts.setdefault(tenant.service, set()).add(tenant.gpu.host)
    return hosts


def exposed_edge(
    point: EvaluationPoint, end: Service, lossy: Mapping[str, float], hosts: Mapping[Service, Set[str]]
) -> Edge | None:
    """Of a service's edges over lossy hosts the one with the most time spent in calls; None without such edges.

    All of them cross the same links; which shows most depends on its baseline latency.
    """
    own = [point.world.edges[row] for row in (*point.incoming.get(end, ()), *point.outgoing.get(end, ()))]
    crossing = [edge for edge in own if not lossy.keys().isdisjoint(_hosts(edge, hosts))]
    spent = {edge: point.level("edge_rate", edge) * point.level("edge_p95", edge) for edge in crossing}
    return max((edge for edge in crossing if spent[edge] > 0), key=lambda edge: (spent[edge], edge), default=None)


def _hosts(edge: Edge, hosts: Mapping[Service, Set[str]]) -> Set[str]:
    """Hosts of both ends of an edge, as far as known."""
    return hosts.get(edge.client, set()) | hosts.get(edge.server, set())


def _common_end(point: EvaluationPoint, slow: Mapping[Edge, float], worst: Edge, lossy: Mapping[str, float]) -> Service:
    """The service at which most slow edges begin or end (greedy set cover).

    Of a single slow edge it is the end with the larger share of slow edges, because a delay at a service shows in all
    of its calls; the server with equal shares. Where hosts lose packets, they decide, and the client names it.
    """
    ends = Counter(end for edge in slow for end in edge[:2])
    shared = max(ends, key=lambda end: (ends[end], end))
    if ends[shared] > 1:
        return shared
    if lossy:
        return worst.client
    excess = point["excess"].z

    def known_edges(end: Service) -> int:
        return int(np.isfinite(excess[[*point.incoming.get(end, ()), *point.outgoing.get(end, ())]]).sum())

    return worst.client if known_edges(worst.client) < known_edges(worst.server) else worst.server


def _of_edges(point: EvaluationPoint, slow: Mapping[Edge, float], lossy: Mapping[str, float]) -> Iterator[Finding]:
    if not slow:
        return
    hosts, worst = hosts_of_services(point), next(iter(slow))
    shared = _common_end(point, slow, worst, lossy)
    path = exposed_edge(point, shared, lossy, hosts) or worst

    def rank(host: str) -> tuple[float, float, str]:
        """By the number of slow edges that cross a host, then by its losses."""
        crossed = sum(host in _hosts(edge, hosts) for edge in slow)
        return crossed, float(np.nan_to_num(point.value("retransmitted", host))) + lossy[host], host

    host = max(lossy, key=rank, default="")
    suspect = SuspectedCause(shared, edge=path[:2], host=host)
    by_service: dict[Service, Edge] = {}
    for edge in slow:
        for service in edge[:2]:
            if service not in by_service or slow[edge] > slow[by_service[service]]:
                by_service[service] = edge
    for service, edge in sorted(by_service.items()):
        if service == edge.server and not lossy:
            continue
        # A service without requests has no latency.
        observed = 1.0 if service == edge.client else degradation(point, service)
        bound = MAX_UNOBSERVED_STRENGTH if math.isnan(point.level("rate", service)) else observed
        effects = (of_signal(point, "edge_p95", call, _ideal(point, call)) for call in (path, edge))
        effect = first(effects) or at_baseline(point, service)
        yield Finding(
            service=service,
            cause="network",
            suspect=suspect,
            strength=min(slow[edge], bound),
            severity=_severity(point.ratio("edge_p95", edge)),
            since=min([point.since("excess", edge), *(point.since("retransmitted", name) for name in lossy)]),
            evidence=_evidence(point, edge, host),
            actions=(
                *([Action("drain_host", target=host, effect=effect)] if host else []),
                Action("inspect_links", path.client, callee=path.server, target=host, effect=effect),
            ),
            urgent=bool(lossy),
        )


def _of_hosts(point: EvaluationPoint, lossy: Mapping[str, float], by_edges: Sequence[Finding]) -> Iterator[Finding]:
    """Findings for services on lossy hosts without a slow edge: without spans, or before these show it."""
    reported = {finding.service for finding in by_edges}
    for service, hosts in sorted(hosts_of_services(point).items()):
        losses = {host: lossy[host] for host in hosts if host in lossy}
        if not losses or service in reported:
            continue
        host = max(losses, key=lambda name: (losses[name], name))
        observed = degradation(point, service)
        yield Finding(
            service=service,
            cause="network",
            suspect=by_edges[0].suspect if by_edges else SuspectedCause(host=host),
            strength=min(losses[host], max(observed, MAX_UNOBSERVED_STRENGTH)),
            severity=_severity(point.ratio("p95", service)),
            since=point.since("retransmitted", host),
            evidence=_evidence(point, None, host),
            actions=(Action("drain_host", target=host, effect=at_baseline(point, service)),),
            urgent=observed > 0.5,
        )


def _severity(ratio: float) -> float:
    return min(MAX_SEVERITY, max(1.0, ratio)) if math.isfinite(ratio) else 1.0


def _evidence(point: EvaluationPoint, edge: Edge | None, host: str) -> tuple[Evidence, ...]:
    edge_signals = [(name, edge) for name in ("excess", "edge_p95", "edge_error_rate") if edge is not None]
    host_signals = [(name, host) for name, least in HOST_EVIDENCE.items() if host and point.value(name, host) > least]
    return known_evidence(*(evidence_of(point, *signal) for signal in [*edge_signals, *host_signals]), zeros=False)
