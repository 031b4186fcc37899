"""Network faults: calls take longer for their client than for their server, packets are lost, or a link is full.

The excess of an edge is the client's latency over the server's. It points at the network if the server itself is
healthy: a server that answers late what its clients abandoned reports only the fast calls, and looks like a fast server
behind a slow network. Host counters are surer: a retransmitted segment waits for a timeout of at least 200 ms (RFC
6298; Linux), so at a few percent of loss most requests wait for one. Several slow edges share an endpoint.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.detectors.evidence import EXTREME_Z, WORSE_Z, degradation, evidence_of
from foreshock_dashboard.analysis.detectors.finding import Finding
from foreshock_dashboard.analysis.remediation.effect import at_baseline, first, of_signal
from foreshock_dashboard.model.action import Action, Effect
from foreshock_dashboard.model.incident import Evidence, SuspectedCause
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Edge
from foreshock_dashboard.stats.threshold import Threshold, confidence

LOST_SEGMENTS = Threshold(0.02, 0.005)
"""Ratio of retransmitted TCP segments: half of all requests of thirty segments then have one; 0.5 to 1 % is common on
busy links and affects only the tail."""
LINK_UTILIZATION = Threshold(0.9, 0.02)
"""Utilization of an interface from which packets queue: ρ/(1 − ρ) is 9."""
DROPPED_PACKETS = Threshold(10.0, 3.0)
"""Dropped packets per second above the baseline."""
MAX_EDGE_STRENGTH = 0.7
"""Largest strength of slow edges without host counters."""
MAX_DENIED_STRENGTH = 0.4
"""The same while host counters show no loss: a device in between may be slow, or the client."""
MAX_UNFELT_STRENGTH = 0.45
"""Largest strength of a lossy host without an affected service."""
HOST_EVIDENCE = {"retransmitted": 0.001, "nic": 0.5, "dropped": 1.0}
"""Signals of a host that are evidence, and from which value on."""
MAX_SEVERITY = 100.0


class SlowEdge(NamedTuple):
    """An edge that takes longer than its server. lost: extra seconds of waiting per second, over all calls."""

    edge: Edge
    strength: float
    lost: float


def network(point: EvaluationPoint) -> tuple[Finding, ...]:
    """Findings for services with slow or failing calls between hosts; those of one fault share a suspected cause."""
    hosts = lossy_hosts(point)
    edges = slow_edges(point, hosts)
    by_edges = _of_edges(point, edges, hosts)
    found = [*by_edges, *_of_hosts(point, hosts, by_edges)]
    return tuple(sorted(found, key=lambda finding: (-finding.strength, finding.service)))


def lossy_hosts(point: EvaluationPoint) -> Mapping[str, float]:
    """Confidence (0 to 1) that a host loses or delays packets, for each host that may."""
    found = {}
    lost, full, dropped = point["retransmitted"], point["nic"], point["dropped"]
    for host, row in lost.keys.items():
        doubts = (
            min(LOST_SEGMENTS.confidence(float(lost.value[row])), confidence(float(lost.z[row]), EXTREME_Z, 1.0)),
            min(LINK_UTILIZATION.confidence(float(full.value[row])), confidence(float(full.z[row]), EXTREME_Z, 1.0)),
            DROPPED_PACKETS.confidence(float(dropped.value[row] - dropped.level[row])),
        )
        if max(doubts) > 0.1:
            found[str(host)] = max(doubts)
    return found


def slow_edges(point: EvaluationPoint, hosts: Mapping[str, float]) -> tuple[SlowEdge, ...]:
    """Edges that are slower for their client than for their server, the costliest first.

    With lossy hosts a smaller excess is enough, and the server need not be healthy.
    """
    world, excess = point.world, point["excess"]
    has_counters = bool(np.isfinite(point["retransmitted"].value).any())
    most = max(hosts.values(), default=0.0) if has_counters else MAX_EDGE_STRENGTH
    with np.errstate(invalid="ignore"):
        rows = np.flatnonzero((excess.z > 0.5 * EXTREME_Z) & (excess.value > 1.0))
    found = []
    shown: dict[Service, float] = {}
    for row in rows:
        edge = world.edges[row]
        z = float(excess.z[row])
        lossy = min(most, confidence(z, WORSE_Z, 0.5)) if hosts else 0.0
        quiet = min(MAX_EDGE_STRENGTH if not has_counters else MAX_DENIED_STRENGTH, confidence(z, EXTREME_Z, 1.0))
        if edge.server not in shown:
            shown[edge.server] = own_excess(point, edge.server)
        calm = not max(shown[edge.server], np.nan_to_num(point.z("edge_server", edge))) >= WORSE_Z
        strength = max(lossy, quiet if calm else 0.0)
        seconds = max(0.0, point.value("edge_p95", edge) - _ideal(point, edge))
        if strength > 0.1:
            found.append(SlowEdge(edge, strength, seconds * np.nan_to_num(point.value("edge_rate", edge))))
    return tuple(sorted(found, key=lambda slow: (-slow.lost, slow.edge)))


def _ideal(point: EvaluationPoint, edge: Edge) -> float:
    """The client's p95 in seconds at the baseline excess over the server's."""
    return point.value("edge_server", edge) * point.level("excess", edge)


def own_excess(point: EvaluationPoint, server: Service) -> float:
    """Scales by which a server or one of its callees is worse; 0 if unknown."""
    worst = [point.z(name, server) for name in ("p95", "failed", "waiting", "flight")]
    rows = point.out.get(server, [])
    worst += [*point["edge_p95"].z[rows].tolist(), *point["edge_failed"].z[rows].tolist()]
    return max((z for z in worst if not math.isnan(z)), default=0.0)


def common_endpoint(edges: Sequence[Edge]) -> Service | None:
    """The service at which most of the edges begin or end (greedy set cover); None if no two share one."""
    ends: dict[Service, int] = {}
    for edge in edges:
        for end in (edge.client, edge.server):
            ends[end] = ends.get(end, 0) + 1
    best = max(ends, key=lambda end: (ends[end], end), default=None)
    return best if best is not None and ends[best] > 1 else None


def hosts_of_services(point: EvaluationPoint) -> Mapping[Service, Set[str]]:
    """Hosts of the services with GPUs; metrics do not show where others run."""
    found: dict[Service, set[str]] = {}
    for tenant in point.world.tenants:
        found.setdefault(tenant.service, set()).add(tenant.gpu.host)
    return found


def exposed_edge(
    point: EvaluationPoint, end: Service, hosts: Mapping[str, float], where: Mapping[Service, Set[str]]
) -> Edge | None:
    """Of a service's edges over lossy hosts the one with the most time spent in calls; None without such edges.

    All of them cross the same links; which shows most depends on its baseline latency.
    """
    own = [point.world.edges[row] for row in (*point.into.get(end, ()), *point.out.get(end, ()))]
    crossing = [edge for edge in own if any(host in hosts for service in edge[:2] for host in where.get(service, ()))]
    spent = {edge: point.level("edge_rate", edge) * point.level("edge_p95", edge) for edge in crossing}
    return max((edge for edge in crossing if spent[edge] > 0), key=lambda edge: (spent[edge], edge), default=None)


def _of_edges(point: EvaluationPoint, edges: Sequence[SlowEdge], hosts: Mapping[str, float]) -> list[Finding]:
    if not edges:
        return []
    where = hosts_of_services(point)
    worst = edges[0]
    host = _host(point, [slow.edge for slow in edges], hosts, where)
    shared = common_endpoint([slow.edge for slow in edges]) or worst.edge.client
    path = exposed_edge(point, shared, hosts, where) or worst.edge
    suspect = SuspectedCause(shared, edge=path[:2], host=host)
    by_client: dict[Service, SlowEdge] = {}
    for slow in edges:
        for service in (slow.edge.client, slow.edge.server):
            if service not in by_client or slow.strength > by_client[service].strength:
                by_client[service] = slow
    found = []
    for service, slow in sorted(by_client.items()):
        if service == slow.edge.server and not hosts:
            continue
        ratio = point.ratio("edge_p95", slow.edge)
        found.append(
            Finding(
                service=service,
                cause="network",
                suspect=suspect,
                strength=min(slow.strength, _late(point, service, slow.edge)),
                severity=min(MAX_SEVERITY, max(1.0, ratio if math.isfinite(ratio) else 1.0)),
                since=min([point.since("excess", slow.edge), *(point.since("retransmitted", name) for name in hosts)]),
                evidence=_evidence(point, slow.edge, host),
                action=Action(
                    "inspect_links",
                    path.client,
                    callee=path.server,
                    target=host,
                    effect=_effect(point, service, path, slow.edge),
                ),
                urgent=bool(hosts),
            )
        )
    return found


def _late(point: EvaluationPoint, service: Service, edge: Edge) -> float:
    """Largest strength for an endpoint of a slow edge: a service without requests has no latency."""
    if math.isnan(point.level("rate", service)):
        return MAX_UNFELT_STRENGTH
    return 1.0 if service == edge.client else degradation(point, service)


def _host(
    point: EvaluationPoint, edges: Sequence[Edge], hosts: Mapping[str, float], where: Mapping[Service, Set[str]]
) -> str:
    """Of the lossy hosts one that most of the edges cross, and of those the one that loses most."""
    crossed = {
        host: sum(bool(host in where.get(edge.client, ()) or host in where.get(edge.server, ())) for edge in edges)
        for host in hosts
    }

    def rank(host: str) -> tuple[float, float, str]:
        return crossed[host], float(np.nan_to_num(point.value("retransmitted", host))) + hosts[host], host

    return max(crossed, key=rank, default="")


def _of_hosts(point: EvaluationPoint, hosts: Mapping[str, float], known: Sequence[Finding]) -> list[Finding]:
    """Findings for services on lossy hosts without a slow edge: without spans, or before these show it."""
    named = {finding.service for finding in known}
    found = []
    for service, where in sorted(hosts_of_services(point).items()):
        losses = {host: hosts[host] for host in where if host in hosts}
        if not losses or service in named:
            continue
        host = max(losses, key=lambda name: (losses[name], name))
        felt = degradation(point, service)
        found.append(
            Finding(
                service=service,
                cause="network",
                suspect=known[0].suspect if known else SuspectedCause(host=host),
                strength=min(losses[host], max(felt, MAX_UNFELT_STRENGTH)),
                severity=max(1.0, min(MAX_SEVERITY, np.nan_to_num(point.ratio("p95", service), nan=1.0))),
                since=point.since("retransmitted", host),
                evidence=_evidence(point, None, host),
                action=Action("drain_host", target=host, effect=at_baseline(point, service, "without_losses")),
                urgent=felt > 0.5,
            )
        )
    return found


def _evidence(point: EvaluationPoint, edge: Edge | None, host: str) -> tuple[Evidence, ...]:
    evidence = []
    if edge is not None:
        evidence = [evidence_of(point, name, edge) for name in ("excess", "edge_p95", "edge_failed")]
    evidence += [
        evidence_of(point, name, host)
        for name, least in HOST_EVIDENCE.items()
        if host and point.value(name, host) > least
    ]
    return tuple(item for item in evidence if math.isfinite(item.value) and not item.value == item.baseline == 0)


def _effect(point: EvaluationPoint, service: Service, path: Edge, edge: Edge) -> Effect | None:
    """The effect of a healthy network: on calls over the path, else over the edge, else on the affected service."""
    return first(
        of_signal(point, "edge_p95", key, _ideal(point, key), "as_fast_as_server") for key in (path, edge)
    ) or at_baseline(point, service, "network_as_usual")
