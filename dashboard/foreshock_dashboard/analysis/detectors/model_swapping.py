"""Callers that want different things of one service: it waits for weights to be swapped while its GPUs idle.

Demand keeps GPUs busy and slower work keeps them busier for each request. A service whose requests take many times as
long although its GPUs have time left and each request costs them no more waits for something else; where that began
as a caller began to ask more of it, or a kind of request came up, these do not go together with the others.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.analysis.baseline.excess import (
    LOAD_PERCENTILE,
    MAX_SLOWDOWN_RATIO,
    Excesses,
    Slowdown,
    anomaly_confidence,
    slowdown,
)
from foreshock_dashboard.analysis.baseline.gpu_shares import pool_of
from foreshock_dashboard.analysis.baseline.point import Scan
from foreshock_dashboard.analysis.baseline.signals import SIGNAL_BY_NAME
from foreshock_dashboard.analysis.detectors.finding import Finding
from foreshock_dashboard.model.action import Action, Reason
from foreshock_dashboard.model.incident import Culprit, Evidence
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Edge, Gpu, gpu_order
from foreshock_dashboard.stats.robust import median, percentile

MAX_BUSY_RATIO = 0.5
"""Busy share of the fullest of its GPUs up to which a service does not wait for their time."""
WAIT_SLOWDOWN, WAIT_Z = 2.0, 3.0
"""How many times as long as usual requests take, and in scales, at which waiting is as likely as not; both at once."""
MAX_WAIT_SECONDS = 3600.0
"""Seconds that the waiting is looked back for at most."""
BASELINE_SECONDS, LEAD_SECONDS = 180.0, 30.0
"""Seconds before the waiting began that a caller's requests are compared with, but for the last of them."""


MIN_OPERATION_RATE, MIN_OPERATION_SHARE = 0.05, 0.002
"""Requests of a kind a second, and as a share of all of a service, whose coming and going means little."""


class CallGrowth(NamedTuple):
    """The caller that asks more than before: on which edge, calls a second before and now, by how many scales; of what
    kind, where that is one kind of them."""

    edge: Edge
    usual: float
    now: float
    z: float
    kind: str = ""


def model_swapping(scan: Scan) -> tuple[Finding, ...]:
    """One finding for each service that waits with idle GPUs since a caller asks more of it, the surest first."""
    slow = [who for who in sorted(scan.tenant_rows) if scan.z("p95", who) >= WAIT_Z or scan.z("queued", who) >= WAIT_Z]
    excesses = Excesses(scan)
    found = [finding for service in slow if (finding := _judged(excesses, service))]
    return tuple(sorted(found, key=lambda finding: (-finding.strength, finding.service)))


def _judged(excesses: Excesses, service: Service) -> Finding | None:
    scan = excesses.scan
    slow = _slowdown(scan, service)
    if not slow.ratio > 1:
        return None
    gpus = [scan.world.tenants[row].gpu for row in scan.tenant_rows[service]]
    fullest = max(scan.value("utilization", gpu) for gpu in gpus)
    if not fullest < MAX_BUSY_RATIO:
        return None
    waits = slow.ratio / max(1.0, _dearer(scan, service))
    evident = min(1.0, min((waits - 1) / (WAIT_SLOWDOWN - 1), slow.z / WAIT_Z) / 2)
    if not evident > 0 or _passed_on(excesses, service):
        return None
    since = scan.since(slow.signal, service, lookback=MAX_WAIT_SECONDS)
    asking = _asking(scan, service, since)
    if asking is None:
        return None
    begun = _begun(scan, service, since, asking.edge)
    if begun is not None and begun.z > asking.z:
        asking = begun
    if not asking.z > 0:
        return None
    strength = anomaly_confidence(asking.z) * evident
    caller = asking.edge.client
    now, usual = (of(slow.signal, service) for of in (scan.value, scan.level))
    busy, busy_usual = _busy(scan, service)
    waiting_on = tuple(gpus)
    return Finding(
        service=service,
        cause="pool contention",
        culprit=Culprit(caller, tuple(sorted(gpus, key=gpu_order)), pool_of(scan.world, gpus)),
        strength=strength,
        severity=min(MAX_SLOWDOWN_RATIO, slow.ratio),
        since=since,
        evidence=(
            Evidence(SIGNAL_BY_NAME[slow.signal].text, now, usual, "s", since, str(service)),
            Evidence(f"calls {asking.kind}".rstrip(), asking.now, asking.usual, "1/s", since, f"{caller} -> {service}"),
            Evidence("GPU time", busy, busy_usual, "ratio", since, str(service)),
        ),
        action=_action(asking, waiting_on, 1 - fullest),
        urgent=strength >= 0.5 and slow.ratio >= WAIT_SLOWDOWN,
    )


def _slowdown(scan: Scan, service: Service) -> Slowdown:
    """The surest sign of waiting: durations, or what model servers say of their queue, over a median that is known."""
    slow = slowdown(scan, service)
    queued = scan.value("queued", service) - scan.level("queued", service)
    waits = Slowdown("queued", 1 + queued / scan.level("p50", service), scan.z("queued", service))
    surer = waits.z > slow.z or not math.isfinite(slow.z)
    return waits if surer and math.isfinite(waits.ratio) else slow


def _asking(scan: Scan, service: Service, since: float) -> CallGrowth | None:
    """The caller whose calls grew most as the waiting began, against what they were in the minutes before."""
    step = scan.world.step
    rows = [row for row in scan.into.get(service, ()) if scan.world.edges[row].connection != "virtual_node"]
    points = min(
        max(1, round((scan.time - since + BASELINE_SECONDS) / step) + 1),
        round((MAX_WAIT_SECONDS + BASELINE_SECONDS) / step),
    )
    found = scan.past("edge_rate", rows, points)
    split = min(found.shape[1], round((BASELINE_SECONDS - LEAD_SECONDS) / step))
    usual, now = median(found[:, :split]), percentile(found[:, split:], LOAD_PERCENTILE)
    grown = np.where(np.isfinite(usual) & np.isfinite(now), np.exp(now) - np.exp(usual), -np.inf)
    if not np.isfinite(grown).any():
        return None
    most = int(grown.argmax())
    before, lately = float(usual[most]), float(now[most])
    z = (lately - before) / SIGNAL_BY_NAME["edge_rate"].floor
    return CallGrowth(scan.world.edges[rows[most]], math.exp(before), math.exp(lately), z)


def _begun(scan: Scan, service: Service, since: float, edge: Edge) -> CallGrowth | None:
    """The kind of request that grew most, against the hour before the waiting began; it is taken to come over `edge`.

    Ten requests a minute of another kind show in no sum, and who comes in bursts does so in all kinds.
    """
    step, at = scan.world.step, scan.at + 1
    points = min(at, round((scan.time - since + MAX_WAIT_SECONDS) / step))
    split = points - round((scan.time - since + LEAD_SECONDS) / step)
    rows, row = scan.operations.get(service, []), scan["rate"].keys.get(service)
    if not rows or row is None or split <= 0:
        return None
    told = np.isfinite(scan.past("rate", [row], points))
    if np.count_nonzero(told[:, :split]) < (BASELINE_SECONDS - LEAD_SECONDS) / step:
        return None
    found = np.where(told, np.nan_to_num(scan.world.operation_rate[rows, at - points : at]), np.nan)
    usual, now = median(found[:, :split]), percentile(found[:, split:], LOAD_PERCENTILE)
    few = max(MIN_OPERATION_RATE, MIN_OPERATION_SHARE * float(usual.sum()))
    grown = np.log((now + few) / (usual + few)) / SIGNAL_BY_NAME["edge_rate"].floor
    if not np.isfinite(grown).any():
        return None
    most = int(np.nanargmax(grown))
    kind = scan.world.operations[rows[most]].name
    return CallGrowth(edge, float(usual[most]), float(now[most]), float(grown[most]), kind)


def _action(asking: CallGrowth, gpus: tuple[Gpu, ...], idle: float) -> Action:
    """Keep the caller's requests apart from the others, or limit them to their baseline rate if there is one."""
    caller, service = asking.edge.client, asking.edge.server
    limit = Action("limit_calls", caller, callee=service, requests=asking.kind)
    return Action(
        "dedicate_replicas",
        caller,
        callee=service,
        gpus=gpus,
        requests=asking.kind,
        reason=Reason("idle_gpus", service, value=idle),
        alternatives=(limit._replace(amount=asking.usual) if asking.usual >= MIN_OPERATION_RATE else limit,),
    )


def _passed_on(excesses: Excesses, service: Service) -> bool:
    """Whether it waits for what it calls itself."""
    slow = excesses.own(service)[0].log
    return any(excesses.called(edge)[0].log > slow / 2 for edge in excesses.out.get(service, ()))


def _dearer(scan: Scan, service: Service) -> float:
    """How many times the usual GPU time each request takes; 1 where that is not known."""
    busy, usual = _busy(scan, service)
    more = scan.ratio("rate", service)
    return busy / usual / more if usual > 0 and more > 0 else 1.0


def _busy(scan: Scan, service: Service) -> tuple[float, float]:
    """GPUs' worth of time that a service takes, now and usually."""
    busy, rows = scan["busy"], scan.tenant_rows[service]
    return float(np.nansum(busy.value[rows].astype(np.float64))), float(np.nansum(busy.level[rows]))
