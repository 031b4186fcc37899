"""Calls take longer between two services than at either: packets are lost, or an interface is full.

Edge excess: what the client sees over what the server sees. It is guilty where it is high while the server itself is
as usual: a server that only answers late what its clients gave up on tells of the fast ones alone, and looks like a
fast server behind a slow network. Host counters are surer: a segment sent again waits for a time-out of at least
200 ms (RFC 6298; Linux), so at a few percent most requests wait for one. Several guilty edges have a common node.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.analysis.baseline.point import Scan
from foreshock_dashboard.analysis.detectors.evidence import EXTREME_Z, WORSE_Z, degradation, evidence_of
from foreshock_dashboard.analysis.detectors.finding import Finding
from foreshock_dashboard.analysis.remediation.effect import at_baseline, first, of_signal
from foreshock_dashboard.model.action import Action, Effect
from foreshock_dashboard.model.incident import Culprit, Evidence
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Edge
from foreshock_dashboard.stats.threshold import Threshold, confidence

LOST_SEGMENTS = Threshold(0.02, 0.005)
"""Share of TCP segments sent again that is as likely felt as not, and the width of the doubt: of requests of thirty
segments half then meet one; 0.5…1 % is common on busy links and is felt in the tail only."""
LINK_UTILIZATION = Threshold(0.9, 0.02)
"""Share of an interface's rate from which packets queue (ρ/(1 − ρ) is 9), and the width of the doubt."""
DROPPED_PACKETS = Threshold(10.0, 3.0)
"""Packets dropped per second more than usual, and the width of the doubt."""
MAX_EDGE_STRENGTH = 0.7
"""How sure an excess on edges can make one where hosts tell nothing of their network."""
MAX_DENIED_STRENGTH = 0.4
"""The same where hosts tell that nothing is lost: what is between them may be slow, or the client itself."""
MAX_UNFELT_STRENGTH = 0.45
"""How sure one can be of a host that loses packets and of which no service is worse than usual."""
HOST_EVIDENCE = {"retransmitted": 0.001, "nic": 0.5, "dropped": 1.0}
"""What is told of a host, and from which value on."""
MAX_SEVERITY = 100.0


class SlowEdge(NamedTuple):
    """An edge that takes longer than its server. lost: seconds per second that its calls wait more than usual."""

    edge: Edge
    strength: float
    lost: float


def network(scan: Scan) -> tuple[Finding, ...]:
    """Services whose calls are slower or fail between hosts: one finding each, all of one fault with one culprit."""
    hosts = lossy_hosts(scan)
    edges = slow_edges(scan, hosts)
    by_edges = _of_edges(scan, edges, hosts)
    found = [*by_edges, *_of_hosts(scan, hosts, by_edges)]
    return tuple(sorted(found, key=lambda each: (-each.strength, each.service)))


def lossy_hosts(scan: Scan) -> Mapping[str, float]:
    """How sure it is that each host loses or delays packets, 0…1; only those that may."""
    found = {}
    lost, full, dropped = scan["retransmitted"], scan["nic"], scan["dropped"]
    for host, row in lost.keys.items():
        doubts = (
            min(LOST_SEGMENTS.confidence(float(lost.value[row])), confidence(float(lost.z[row]), EXTREME_Z, 1.0)),
            min(LINK_UTILIZATION.confidence(float(full.value[row])), confidence(float(full.z[row]), EXTREME_Z, 1.0)),
            DROPPED_PACKETS.confidence(float(dropped.value[row] - dropped.level[row])),
        )
        if max(doubts) > 0.1:
            found[str(host)] = max(doubts)
    return found


def slow_edges(scan: Scan, hosts: Mapping[str, float]) -> tuple[SlowEdge, ...]:
    """Edges that are slower for their client than for their server, the costliest first.

    Where hosts lose packets a smaller excess will do, and the server need not be as usual.
    """
    world, excess = scan.world, scan["excess"]
    heard = bool(np.isfinite(scan["retransmitted"].value).any())
    most = max(hosts.values(), default=0.0) if heard else MAX_EDGE_STRENGTH
    with np.errstate(invalid="ignore"):
        rows = np.flatnonzero((excess.z > 0.5 * EXTREME_Z) & (excess.value > 1.0))
    found = []
    shown: dict[Service, float] = {}
    for row in rows:
        edge = world.edges[row]
        z = float(excess.z[row])
        told = min(most, confidence(z, WORSE_Z, 0.5)) if hosts else 0.0
        quiet = min(MAX_EDGE_STRENGTH if not heard else MAX_DENIED_STRENGTH, confidence(z, EXTREME_Z, 1.0))
        if edge.server not in shown:
            shown[edge.server] = own_excess(scan, edge.server)
        calm = not max(shown[edge.server], np.nan_to_num(scan.z("edge_server", edge))) >= WORSE_Z
        strength = max(told, quiet if calm else 0.0)
        seconds = max(0.0, scan.value("edge_p95", edge) - _ideal(scan, edge))
        if strength > 0.1:
            found.append(SlowEdge(edge, strength, seconds * np.nan_to_num(scan.value("edge_rate", edge))))
    return tuple(sorted(found, key=lambda each: (-each.lost, each.edge)))


def _ideal(scan: Scan, edge: Edge) -> float:
    """The client's p95 in seconds if it were above the server's as it usually is."""
    return scan.value("edge_server", edge) * scan.level("excess", edge)


def own_excess(scan: Scan, server: Service) -> float:
    """By how many scales a server is itself worse than usual, or those whom it waits for; 0 where that is not known."""
    worst = [scan.z(name, server) for name in ("p95", "failed", "waiting", "flight")]
    rows = scan.out.get(server, [])
    worst += [*scan["edge_p95"].z[rows].tolist(), *scan["edge_failed"].z[rows].tolist()]
    return max((z for z in worst if not math.isnan(z)), default=0.0)


def common_endpoint(edges: Sequence[Edge]) -> Service | None:
    """The service that most of the edges lead to or from (greedy set cover); None where no two have one in common."""
    ends: dict[Service, int] = {}
    for edge in edges:
        for end in (edge.client, edge.server):
            ends[end] = ends.get(end, 0) + 1
    best = max(ends, key=lambda end: (ends[end], end), default=None)
    return best if best is not None and ends[best] > 1 else None


def hosts_of_services(scan: Scan) -> Mapping[Service, Set[str]]:
    """Hosts of the services that have GPUs; where others run is not told by metrics."""
    found: dict[Service, set[str]] = {}
    for tenant in scan.world.tenants:
        found.setdefault(tenant.service, set()).add(tenant.gpu.host)
    return found


def exposed_edge(
    scan: Scan, end: Service, hosts: Mapping[str, float], where: Mapping[Service, Set[str]]
) -> Edge | None:
    """Of the edges of a service that cross hosts that lose packets, the one with most time spent on its calls.

    All of them cross the same links; which of them shows most is chance of its usual duration. None where it has none.
    """
    own = [scan.world.edges[row] for row in (*scan.into.get(end, ()), *scan.out.get(end, ()))]
    crossing = [edge for edge in own if any(host in hosts for each in edge[:2] for host in where.get(each, ()))]
    spent = {edge: scan.level("edge_rate", edge) * scan.level("edge_p95", edge) for edge in crossing}
    return max((edge for edge in crossing if spent[edge] > 0), key=lambda edge: (spent[edge], edge), default=None)


def _of_edges(scan: Scan, edges: Sequence[SlowEdge], hosts: Mapping[str, float]) -> list[Finding]:
    if not edges:
        return []
    where = hosts_of_services(scan)
    worst = edges[0]
    host = _host(scan, [each.edge for each in edges], hosts, where)
    shared = common_endpoint([each.edge for each in edges]) or worst.edge.client
    path = exposed_edge(scan, shared, hosts, where) or worst.edge
    culprit = Culprit(shared, edge=path[:2], host=host)
    by_client: dict[Service, SlowEdge] = {}
    for each in edges:
        for who in (each.edge.client, each.edge.server):
            if who not in by_client or each.strength > by_client[who].strength:
                by_client[who] = each
    found = []
    for who, each in sorted(by_client.items()):
        if who == each.edge.server and not hosts:
            continue
        ratio = scan.ratio("edge_p95", each.edge)
        found.append(
            Finding(
                service=who,
                cause="network",
                culprit=culprit,
                strength=min(each.strength, _late(scan, who, each.edge)),
                severity=min(MAX_SEVERITY, max(1.0, ratio if math.isfinite(ratio) else 1.0)),
                since=min([scan.since("excess", each.edge), *(scan.since("retransmitted", name) for name in hosts)]),
                evidence=_evidence(scan, each.edge, host),
                action=Action(
                    "inspect_links",
                    path.client,
                    callee=path.server,
                    target=host,
                    effect=_effect(scan, who, path, each.edge),
                ),
                urgent=bool(hosts),
            )
        )
    return found


def _late(scan: Scan, who: Service, edge: Edge) -> float:
    """How sure one can be at most that an end of a guilty edge suffers: who serves nobody has nobody to be late for."""
    if math.isnan(scan.level("rate", who)):
        return MAX_UNFELT_STRENGTH
    return 1.0 if who == edge.client else degradation(scan, who)


def _host(scan: Scan, edges: Sequence[Edge], hosts: Mapping[str, float], where: Mapping[Service, Set[str]]) -> str:
    """Of the hosts that lose packets, one that most of the edges cross, and of those the one that loses most."""
    crossed = {
        host: sum(bool(host in where.get(edge.client, ()) or host in where.get(edge.server, ())) for edge in edges)
        for host in hosts
    }

    def rank(host: str) -> tuple[float, float, str]:
        return crossed[host], float(np.nan_to_num(scan.value("retransmitted", host))) + hosts[host], host

    return max(crossed, key=rank, default="")


def _of_hosts(scan: Scan, hosts: Mapping[str, float], known: Sequence[Finding]) -> list[Finding]:
    """Services on hosts that lose packets, where no edge tells of them: without spans, or before they tell."""
    named = {each.service for each in known}
    found = []
    for service, where in sorted(hosts_of_services(scan).items()):
        losses = {host: hosts[host] for host in where if host in hosts}
        if not losses or service in named:
            continue
        host = max(losses, key=lambda each: (losses[each], each))
        felt = degradation(scan, service)
        found.append(
            Finding(
                service=service,
                cause="network",
                culprit=known[0].culprit if known else Culprit(host=host),
                strength=min(losses[host], max(felt, MAX_UNFELT_STRENGTH)),
                severity=max(1.0, min(MAX_SEVERITY, np.nan_to_num(scan.ratio("p95", service), nan=1.0))),
                since=scan.since("retransmitted", host),
                evidence=_evidence(scan, None, host),
                action=Action("drain_host", target=host, effect=at_baseline(scan, service, "without_losses")),
                urgent=felt > 0.5,
            )
        )
    return found


def _evidence(scan: Scan, edge: Edge | None, host: str) -> tuple[Evidence, ...]:
    told = []
    if edge is not None:
        told = [evidence_of(scan, name, edge) for name in ("excess", "edge_p95", "edge_failed")]
    told += [
        evidence_of(scan, name, host)
        for name, least in HOST_EVIDENCE.items()
        if host and scan.value(name, host) > least
    ]
    return tuple(each for each in told if math.isfinite(each.value) and not each.value == each.baseline == 0)


def _effect(scan: Scan, service: Service, path: Edge, edge: Edge) -> Effect | None:
    """The effect of a healthy network: on calls over the path, else over the edge, else on the affected service."""
    return first(
        of_signal(scan, "edge_p95", each, _ideal(scan, each), "as_fast_as_server") for each in (path, edge)
    ) or at_baseline(scan, service, "network_as_usual")
