"""GPU contention: a service is slowed, or is about to be, by a noisy neighbor on its GPUs.

Either of two signs is enough, and weaker ones add up, as they are measured apart: the strength follows the root of the
sum of their squares. Squeezed: the neighbor's share of a full GPU grows and the service's falls, although its request
rate does not. A batching server is then slower by its baseline share over its current share, a scrape or two later,
before any histogram moves. Pressed: the service is slower, waits longer for the neighbor than at baseline, and the
neighbor takes more. The wait of a service that is too light for the exporter is not measured. Its estimate is the
growth of the neighbor's share of full GPUs: a request finds the GPU taken for that share of the time. The neighbor is
chosen by its share of the growth, weighted by a non-negative regression: correlation would pick whichever shares the
common load.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.analysis.baseline.excess import DURATION_SIGNALS, MAX_SLOWDOWN_RATIO, Slowdown, slowdown
from foreshock_dashboard.analysis.baseline.gpu_shares import (
    GPU_SHARE,
    MIN_SHARE_CHANGE,
    GpuShares,
    Rows,
    pool_of,
)
from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.baseline.replicas import wanted_replicas
from foreshock_dashboard.analysis.baseline.signals import SIGNAL_BY_NAME
from foreshock_dashboard.analysis.detectors.finding import Finding, known_evidence
from foreshock_dashboard.analysis.detectors.hardware import clock_slowdown
from foreshock_dashboard.analysis.remediation.effect import first, of_signal
from foreshock_dashboard.model.action import Action, Reason
from foreshock_dashboard.model.incident import Evidence, SuspectedCause
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Bools, Floats
from foreshock_dashboard.model.world import Gpu, GpuWaitPair, Tenant, gpu_order
from foreshock_dashboard.stats.nnls import nonnegative_weights
from foreshock_exporter.gpu.contention import MIN_ACTIVE_SHARE

SQUEEZE_SLOWDOWN = 1.25
"""Predicted slowdown of a squeezed service; GPU shares vary by a few percent."""
PRESSED_SLOWDOWN, PRESSED_Z, WAIT_GROWTH, BUSY_GROWTH = 1.2, 3.0, 0.08, 0.10
"""Thresholds of a pressed service, all of which must be exceeded: slowdown, scales above the baseline, growth of its
wait, and growth of the neighbor's share."""
URGENT_SLOWDOWN = 2.0
"""Predicted slowdown that takes a service down before a trend shows."""
MIN_DEMAND_RATIO = 0.85
"""Baseline share of a GPU that a service still demands, below which it has less load."""
MIN_CONTENTION_STRENGTH = 0.2
"""Strength below which there is no finding."""
REGRESSION_SECONDS = 600.0
MIN_REGRESSION_POINTS = 10
"""Seconds of history, or grid points if longer, in which a slowdown is explained by shares of neighbors."""
EFFECT_SIGNALS = ("p95", "first_token", "per_token")
"""Signals of the expected effect, the first that is known."""


class NoisyNeighbor(NamedTuple):
    """A neighbor that took time of a service's GPUs.

    gpus: those on which its share grew; growth: summed over them; share: of the growth of all neighbors.
    """

    service: Service
    gpus: tuple[Gpu, ...]
    growth: float
    share: float


class ContendedShares(NamedTuple):
    """Shares of GPU time of a service and a neighbor, means over the GPUs on which the neighbor grew.

    baseline, now: of the service. neighbor_baseline, neighbor_growth: of the neighbor. wait, wait_baseline: ratio of
    time that the service waits for the neighbor; NaN if unknown. full_growth: of the neighbor, 0 on GPUs that are not
    full. since: Unix seconds at which the neighbor left its baseline.
    """

    baseline: float
    now: float
    neighbor_baseline: float
    neighbor_growth: float
    wait: float
    wait_baseline: float
    full_growth: float
    since: float

    @property
    def neighbor_share(self) -> float:
        """Share of the neighbor."""
        return self.neighbor_baseline + self.neighbor_growth

    @property
    def wait_growth(self) -> float:
        """Growth of the ratio of time that the service waits for the neighbor.

        Without GPU wait, its loss of share; at least the estimate while it is too light for the exporter.
        """
        growth = self.wait - self.wait_baseline if math.isfinite(self.wait) else self.baseline - self.now
        return max(growth, self.full_growth) if max(self.baseline, self.now) < MIN_ACTIVE_SHARE else growth


def gpu_contention(point: EvaluationPoint) -> Iterator[Finding]:
    """Findings for services slowed by neighbors on their GPUs."""
    if point.world.tenants:
        sharing = point.memo(GpuShares)
        for affected in _suspects(point, sharing):
            if finding := _finding(point, sharing, affected):
                yield finding


def _suspects(point: EvaluationPoint, sharing: GpuShares) -> list[Service]:
    """Services with requests that are slower or lost time of full GPUs while a neighbor's share grew.

    A cheap filter: each passes what a finding of `MIN_CONTENTION_STRENGTH` needs.
    """
    least = math.sqrt(2) * MIN_CONTENTION_STRENGTH  # of the larger of two signs that add up
    weight = np.where(sharing.baseline > MIN_SHARE_CHANGE, sharing.baseline, 0.0)
    has_grown = sharing.now - sharing.baseline > least * BUSY_GROWTH
    beside = sharing.by_service(sharing.neighbors(has_grown)) > 0
    slowdowns = weight * _slower(sharing.baseline, sharing.now, sharing.full)
    with np.errstate(invalid="ignore", divide="ignore"):
        lost = sharing.by_service(slowdowns) / sharing.by_service(weight)
    z = np.array([[point.z(name, service) for service in sharing.services] for name in DURATION_SIGNALS])
    worse = (lost - 1 >= least * (SQUEEZE_SLOWDOWN - 1)) | (z >= least * PRESSED_Z).any(axis=0)
    suspects = sorted(sharing.services[row] for row in np.flatnonzero(beside & worse))
    return [
        service
        for service in suspects
        if math.isfinite(point.level("rate", service)) or math.isfinite(point.level("running", service))
    ]


def predicted_slowdown(baseline: Floats, now: Floats, full: Bools) -> float:
    """Predicted slowdown: baseline share over current share on full GPUs, mean weighted by baseline share.

    Requests are assumed to spread over GPUs as baseline shares do. A GPU that is not full takes nothing away.
    """
    held = baseline > MIN_SHARE_CHANGE
    if not held.any():
        return 1.0
    return float(np.average(_slower(baseline[held], now[held], full[held]), weights=baseline[held]))


def _slower(baseline: Floats, now: Floats, full: Bools) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        slower = np.clip(baseline / now, 1.0, MAX_SLOWDOWN_RATIO)
    return np.where(full & np.isfinite(slower), slower, 1.0)


def _finding(point: EvaluationPoint, sharing: GpuShares, affected: Service) -> Finding | None:
    rows = np.array(point.tenant_rows[affected], np.intp)
    neighbors = _neighbors(point, sharing, affected, rows)
    if not neighbors:
        return None
    slow = slowdown(point, affected)
    worst = _suspected_neighbor(point, sharing, neighbors, affected, slow)
    pair = _shares(point, sharing, affected, worst)
    contended = sharing.full[rows]
    if contended.any():
        contended = contended & _demands(point, sharing, affected, rows, slow)
    squeeze = predicted_slowdown(sharing.baseline[rows], sharing.newest[rows], contended)
    squeezed = _least((squeeze - 1) / (SQUEEZE_SLOWDOWN - 1), _fall(point, sharing, rows[contended]) / PRESSED_Z)
    pressed = _least(
        (slow.ratio / clock_slowdown(point, affected) - 1) / (PRESSED_SLOWDOWN - 1),
        slow.z / PRESSED_Z,
        pair.wait_growth / WAIT_GROWTH,
        pair.neighbor_growth / BUSY_GROWTH if pair.neighbor_growth > pair.now - pair.baseline else 0.0,
    )
    strength = worst.share * min(1.0, math.hypot(squeezed, pressed) / 2)
    if strength < MIN_CONTENTION_STRENGTH:
        return None
    predicted = squeeze if squeezed > 0 else 1.0
    severity = max(predicted, min(MAX_SLOWDOWN_RATIO, slow.ratio) if pressed > 0 else 1.0)
    return Finding(
        service=affected,
        cause="gpu_contention",
        suspect=SuspectedCause(worst.service, worst.gpus, pool_of(point.pool_by_gpu, worst.gpus)),
        strength=strength,
        severity=severity,
        since=pair.since,
        evidence=_evidence(point, affected, worst, slow, pair),
        actions=_actions(point, affected, worst, pair, severity),
        urgent=predicted >= URGENT_SLOWDOWN and squeezed >= 1,
    )


def _actions(
    point: EvaluationPoint, affected: Service, neighbor: NoisyNeighbor, pair: ContendedShares, slowdown: float
) -> tuple[Action, ...]:
    """Pause a batch job, move the neighbor, or cap it at its baseline; tiers are better on dedicated pools."""
    tiers = dict(zip(point.world.services, point.world.tier, strict=False))
    tier, other_tier = tiers.get(affected, ""), tiers.get(neighbor.service, "")
    reason = Reason("gpu_share", affected, value=pair.now, baseline=pair.baseline)
    if pair.now >= pair.baseline:  # its own share explains nothing
        reason = Reason("gpu_share", neighbor.service, value=pair.neighbor_share, baseline=pair.neighbor_baseline)
    projected = ((name, point.value(name, affected) / slowdown) for name in EFFECT_SIGNALS)
    effect = first(of_signal(point, name, affected, value) for name, value in projected)
    cap = max(pair.neighbor_baseline, MIN_SHARE_CHANGE)
    actions = [
        Action("move_off_gpus", neighbor.service, gpus=neighbor.gpus, effect=effect),
        Action("cap_gpu_share", neighbor.service, gpus=neighbor.gpus, amount=cap, effect=effect),
    ]
    if _is_batch(point, neighbor.service):
        actions.insert(
            0, Action("pause", neighbor.service, current=wanted_replicas(point, neighbor.service), effect=effect)
        )
    actions[0] = actions[0]._replace(reason=reason)
    if tier and other_tier and tier != other_tier:
        actions.append(Action("dedicate_pool", target=tier))
    return tuple(actions)


def _is_batch(point: EvaluationPoint, service: Service) -> bool:
    """Whether a service is known to answer no requests."""
    answers = service in point.models or math.isfinite(point.value("rate", service))
    return bool(point.world.edges) and not answers and not point.calls_to(service)


def _shares(point: EvaluationPoint, sharing: GpuShares, affected: Service, neighbor: NoisyNeighbor) -> ContendedShares:
    rows, grown = (
        [row for row in point.tenant_rows[service] if point.world.tenants[row].gpu in neighbor.gpus]
        for service in (affected, neighbor.service)
    )
    tenants = [Tenant(gpu, neighbor.service) for gpu in neighbor.gpus]
    pairs = [GpuWaitPair(gpu, affected, neighbor.service) for gpu in neighbor.gpus]
    waits = np.array([(point.value("gpu_wait_by", pair), point.level("gpu_wait_by", pair)) for pair in pairs])
    is_measured = np.isfinite(waits[:, 0]).any()
    return ContendedShares(
        baseline=float(np.mean(sharing.baseline[rows])),
        now=float(np.mean(sharing.now[rows])),
        neighbor_baseline=float(np.mean(np.nan_to_num([point.level("busy", tenant) for tenant in tenants]))),
        neighbor_growth=neighbor.growth / len(neighbor.gpus),
        wait=float(np.nanmean(waits[:, 0])) if is_measured else math.nan,
        wait_baseline=float(np.mean(np.nan_to_num(waits[:, 1]))) if is_measured else math.nan,
        full_growth=float(np.mean((sharing.now - sharing.baseline)[grown] * sharing.full[grown])),
        since=min(_onset(point, tenant) for tenant in tenants),
    )


def _evidence(
    point: EvaluationPoint, affected: Service, neighbor: NoisyNeighbor, slow: Slowdown, pair: ContendedShares
) -> tuple[Evidence, ...]:
    now, baseline, since = point.value(slow.signal, affected), point.level(slow.signal, affected), pair.since
    wait = f"{affected} waiting on {neighbor.service}"
    return known_evidence(
        Evidence(GPU_SHARE, pair.now, pair.baseline, "ratio", since, str(affected)),
        Evidence(GPU_SHARE, pair.neighbor_share, pair.neighbor_baseline, "ratio", since, str(neighbor.service)),
        Evidence("GPU wait", pair.wait, pair.wait_baseline, "ratio", since, wait),
        Evidence(SIGNAL_BY_NAME[slow.signal].text, now, baseline, "s", since, str(affected)),
        zeros=False,
    )


def _least(*shares: float) -> float:
    """The smallest share; 0 if one is unknown or negative."""
    return max(0.0, min(shares)) if all(map(math.isfinite, shares)) else 0.0


def _neighbors(point: EvaluationPoint, sharing: GpuShares, affected: Service, rows: Rows) -> tuple[NoisyNeighbor, ...]:
    """Neighbors with a growing share of the service's GPUs, the largest growth first."""
    growths: dict[Service, dict[Gpu, float]] = {}
    for gpu in (point.world.tenants[row].gpu for row in rows):
        for row in sharing.on(gpu):
            other, growth = point.world.tenants[row].service, float(sharing.now[row] - sharing.baseline[row])
            # Where waiting is measured, it is for all pairs but those on separate MIG instances.
            pairs = point["gpu_wait_by"].keys
            apart = bool(pairs) and GpuWaitPair(gpu, affected, other) not in pairs
            if other != affected and growth > MIN_SHARE_CHANGE and not apart:
                growths.setdefault(other, {})[gpu] = growth
    sums = {neighbor: sum(by_gpu.values()) for neighbor, by_gpu in growths.items()}
    total = sum(sums.values())
    neighbors = (
        NoisyNeighbor(neighbor, tuple(sorted(by_gpu, key=gpu_order)), sums[neighbor], sums[neighbor] / total)
        for neighbor, by_gpu in growths.items()
    )
    return tuple(sorted(neighbors, key=lambda neighbor: (-neighbor.growth, neighbor.service)))


def _suspected_neighbor(
    point: EvaluationPoint, sharing: GpuShares, neighbors: Sequence[NoisyNeighbor], affected: Service, slow: Slowdown
) -> NoisyNeighbor:
    """The neighbor with the largest share: its growth times the cost per unit from the regression."""
    if len(neighbors) == 1:
        return neighbors[0]
    history = point.history(slow.signal, affected, max(REGRESSION_SECONDS, MIN_REGRESSION_POINTS * point.world.step))
    level, _ = point.level_and_scale(slow.signal, affected)
    window = slice(point.column + 1 - len(history), point.column + 1)
    row_by_tenant = point["busy"].keys
    rows = [[row_by_tenant[Tenant(gpu, neighbor.service)] for gpu in neighbor.gpus] for neighbor in neighbors]
    busy = np.stack([point.world.busy[own, window].sum(axis=0) for own in rows], axis=1)
    baseline = [sum(sharing.baseline[own]) for own in rows]
    cost = nonnegative_weights(np.expm1(history - level), np.nan_to_num(busy - baseline))
    parts = cost * [neighbor.growth for neighbor in neighbors]
    if not parts.sum() > 0:
        return neighbors[0]
    shares = (parts / parts.sum() + [neighbor.share for neighbor in neighbors]) / 2
    worst = int(shares.argmax())
    return neighbors[worst]._replace(share=float(shares[worst]))


def _demands(point: EvaluationPoint, sharing: GpuShares, affected: Service, rows: Rows, slow: Slowdown) -> Bools:
    """GPUs on which the service's share fell although it demands as much: its share plus its wait.

    Without wait data: as many requests run, or it is slower.
    """
    pairs = [
        [GpuWaitPair(tenant.gpu, affected, point.world.tenants[row].service) for row in sharing.on(tenant.gpu)]
        for tenant in (point.world.tenants[row] for row in rows)
    ]
    waits = [[point.value("gpu_wait_by", pair) for pair in group] for group in pairs]
    baselines = [[point.level("gpu_wait_by", pair) for pair in group] for group in pairs]
    now, baseline = (np.array([np.nansum(group) for group in groups]) for groups in (waits, baselines))
    demands = sharing.now[rows] + now >= MIN_DEMAND_RATIO * (sharing.baseline[rows] + baseline)
    running = point.z("running", affected)
    is_measured = np.array([np.isfinite(group).any() for group in waits])
    return np.where(is_measured, demands, running > -1 if math.isfinite(running) else slow.z > 1)


def _fall(point: EvaluationPoint, sharing: GpuShares, rows: Rows) -> float:
    """Scales by which the service's share fell, over all rows."""
    if not len(rows):
        return 0.0
    unknown = 0.0, SIGNAL_BY_NAME["busy"].floor
    scales = [point.baselines.of("busy").get(point.world.tenants[row], unknown)[1] for row in rows]
    return float(np.sum(sharing.baseline[rows] - sharing.now[rows])) / math.hypot(*scales)


def _onset(point: EvaluationPoint, tenant: Tenant) -> float:
    """Unix seconds at which a tenant left its baseline, or appeared."""
    if math.isfinite(point.level("busy", tenant)):
        return point.since("busy", tenant)
    is_active = point.history("busy", tenant, 3600.0) > MIN_SHARE_CHANGE
    active_points = len(is_active) if is_active.all() else int(np.argmin(is_active[::-1]))
    return point.time - max(0, active_points - 1) * point.world.step
