"""GPU contention: a service is slowed, or is about to be, by a noisy neighbor on its GPUs.

Either of two signs is enough. Squeezed: the neighbor's share of a full GPU grows and the service's falls, although its
request rate does not. A batching server is then slower by its baseline share over its current share, a scrape or two
later, before any histogram moves. Pressed: the service is slower, waits longer for the neighbor than at baseline, and
the neighbor takes more. The neighbor is chosen by its share of the growth, weighted by a non-negative regression:
correlation would pick whichever shares the common load.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.analysis.baseline.excess import DURATION_SIGNALS, MAX_SLOWDOWN_RATIO, Slowdown, slowdown
from foreshock_dashboard.analysis.baseline.gpu_shares import MIN_SHARE_CHANGE, BoolArray, GpuShares, Rows, pool_of
from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.baseline.signals import SIGNAL_BY_NAME
from foreshock_dashboard.analysis.detectors.finding import Finding
from foreshock_dashboard.analysis.detectors.hardware import clock_slowdown
from foreshock_dashboard.analysis.detectors.model_swapping import model_swapping
from foreshock_dashboard.analysis.remediation.effect import first, of_signal
from foreshock_dashboard.model.action import Action, Effect, Reason
from foreshock_dashboard.model.incident import Evidence, SuspectedCause
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import Gpu, Stall, Tenant, gpu_order
from foreshock_dashboard.stats.nnls import nonnegative_weights

SQUEEZE_SLOWDOWN = 1.25
"""Predicted slowdown of a squeezed service; GPU shares vary by a few percent."""
PRESSED_SLOWDOWN, PRESSED_Z, WAIT_GROWTH, BUSY_GROWTH = 1.2, 3.0, 0.08, 0.10
"""Thresholds of a pressed service, all of which must be exceeded: slowdown, scales above the baseline, growth of its
wait, and growth of the neighbor's share."""
URGENT_SLOWDOWN = 2.0
"""Predicted slowdown that takes a service down before a trend shows."""
MIN_DEMAND_RATIO = 0.85
"""Baseline share of a GPU that a service still demands, below which it has less load."""
MIN_STRENGTH = 0.2
"""Strength below which there is no finding."""
REGRESSION_SECONDS = 600.0
"""Seconds of history in which a slowdown is explained by shares of neighbors."""
EFFECT_SIGNALS = ("p95", "first_token", "per_token")
"""Signals of the expected effect, the first that is known."""


class Aggressor(NamedTuple):
    """A neighbor that took time of a service's GPUs.

    gpus: those on which its share grew; growth: summed over them; share: of the growth of all neighbors.
    """

    service: Service
    gpus: tuple[Gpu, ...]
    growth: float
    share: float


class ContendedShares(NamedTuple):
    """Shares of GPU time of a service and a neighbor, means over the GPUs on which the neighbor grew.

    baseline, now: of the service. theirs: baseline of the neighbor; growth: above it. waits, waited: ratio of time that
    the service waits for the neighbor, now and at baseline; NaN if unknown. since: Unix seconds at which the neighbor
    left its baseline.
    """

    baseline: float
    now: float
    theirs: float
    growth: float
    waits: float
    waited: float
    since: float


def gpu_contention(point: EvaluationPoint) -> tuple[Finding, ...]:
    """Findings for services slowed by neighbors on their GPUs or by model swapping, the strongest first."""
    if not point.world.tenants:
        return ()
    sharing = point.memo(GpuShares)
    found = [finding for victim in _suspects(point, sharing) if (finding := _finding(point, sharing, victim))]
    found += model_swapping(point)
    return tuple(sorted(found, key=lambda finding: (-finding.strength, finding.service)))


def _suspects(point: EvaluationPoint, sharing: GpuShares) -> tuple[Service, ...]:
    """Services with requests that are slower or lost time of full GPUs while a neighbor's share grew.

    A cheap filter: each passes what a finding of `MIN_STRENGTH` needs.
    """
    weight = np.where(sharing.baseline > MIN_SHARE_CHANGE, sharing.baseline, 0.0)
    has_grown = sharing.now - sharing.baseline > 2 * MIN_STRENGTH * BUSY_GROWTH
    beside = sharing.by_service(sharing.neighbors(has_grown)) > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        lost = sharing.by_service(weight * _slower(sharing.baseline, sharing.now, sharing.full)) / sharing.by_service(
            weight
        )
    z = np.array([[point.z(name, service) for service in sharing.services] for name in DURATION_SIGNALS])
    worse = (lost - 1 >= 2 * MIN_STRENGTH * (SQUEEZE_SLOWDOWN - 1)) | (z >= 2 * MIN_STRENGTH * PRESSED_Z).any(axis=0)
    found = (sharing.services[row] for row in np.flatnonzero(beside & worse))
    serving = [
        service for service in found if not all(math.isnan(point.level(name, service)) for name in ("rate", "running"))
    ]
    return tuple(sorted(serving))


def predicted_slowdown(baseline: Floats, now: Floats, full: BoolArray) -> float:
    """Predicted slowdown: baseline share over current share on full GPUs, mean weighted by baseline share.

    Requests are assumed to spread over GPUs as baseline shares do. A GPU that is not full takes nothing away.
    """
    held = baseline > MIN_SHARE_CHANGE
    if not held.any():
        return 1.0
    return float(np.average(_slower(baseline[held], now[held], full[held]), weights=baseline[held]))


def _slower(baseline: Floats, now: Floats, full: BoolArray) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        slower = np.clip(baseline / now, 1.0, MAX_SLOWDOWN_RATIO)
    return np.where(full & np.isfinite(slower), slower, 1.0)


def _finding(point: EvaluationPoint, sharing: GpuShares, victim: Service) -> Finding | None:
    rows = sharing.rows[victim]
    slow = slowdown(point, victim)
    most = predicted_slowdown(sharing.baseline[rows], sharing.newest[rows], sharing.full[rows])
    if (
        max((most - 1) / (SQUEEZE_SLOWDOWN - 1), _least((slow.ratio - 1) / (PRESSED_SLOWDOWN - 1), slow.z / PRESSED_Z))
        / 2
        < MIN_STRENGTH
    ):
        return None
    neighbors = _neighbors(point, sharing, victim, rows)
    if not neighbors:
        return None
    worst = _suspected_neighbor(point, sharing, victim, neighbors, slow)
    pair = _shares(point, sharing, victim, worst)
    kept = sharing.full[rows]
    kept = kept & _demands(point, sharing, victim, rows, slow) if kept.any() else kept
    squeeze = predicted_slowdown(sharing.baseline[rows], sharing.newest[rows], kept)
    squeezed = _least((squeeze - 1) / (SQUEEZE_SLOWDOWN - 1), _fall(point, sharing, rows[kept]) / PRESSED_Z)
    lost = pair.waits - pair.waited if math.isfinite(pair.waits) else pair.baseline - pair.now
    gpus = [point.world.tenants[row].gpu for row in rows]
    pressed = _least(
        (slow.ratio / clock_slowdown(point, gpus) - 1) / (PRESSED_SLOWDOWN - 1),
        slow.z / PRESSED_Z,
        lost / WAIT_GROWTH,
        pair.growth / BUSY_GROWTH if pair.growth > pair.now - pair.baseline else 0.0,
    )
    strength = worst.share * min(1.0, max(squeezed, pressed) / 2)
    if strength < MIN_STRENGTH:
        return None
    held = squeeze if squeezed > 0 else 1.0
    severity = max(held, min(MAX_SLOWDOWN_RATIO, slow.ratio) if pressed > 0 else 1.0)
    return Finding(
        service=victim,
        cause="pool contention",
        suspect=SuspectedCause(worst.service, worst.gpus, pool_of(point.world, worst.gpus)),
        strength=strength,
        severity=severity,
        since=pair.since,
        evidence=_evidence(point, victim, worst, slow, pair),
        action=_action(point, victim, worst, pair, severity),
        urgent=held >= URGENT_SLOWDOWN and squeezed >= 1,
    )


def _action(
    point: EvaluationPoint, victim: Service, neighbor: Aggressor, pair: ContendedShares, slowdown: float
) -> Action:
    """Move the neighbor, or cap it at its baseline; services of different tiers are better on pools of their own."""
    tiers = dict(zip(point.world.services, point.world.tier, strict=False))
    tier, other_tier = tiers.get(victim, ""), tiers.get(neighbor.service, "")
    alternatives = [
        Action("cap_gpu_share", neighbor.service, gpus=neighbor.gpus, amount=max(pair.theirs, MIN_SHARE_CHANGE))
    ]
    if tier and other_tier and tier != other_tier:
        alternatives.append(Action("dedicate_pool", target=tier))
    return Action(
        "move_off_gpus",
        neighbor.service,
        gpus=neighbor.gpus,
        reason=Reason("gpu_share", victim, value=pair.now, baseline=pair.baseline),
        effect=_effect(point, victim, slowdown),
        alternatives=tuple(alternatives),
    )


def _effect(point: EvaluationPoint, victim: Service, slowdown: float) -> Effect | None:
    """The effect of the baseline share of the GPUs, on the first signal that shows it."""
    return first(
        of_signal(point, name, victim, point.value(name, victim) / slowdown, "gpu_share_restored")
        for name in EFFECT_SIGNALS
    )


def _shares(point: EvaluationPoint, sharing: GpuShares, victim: Service, other: Aggressor) -> ContendedShares:
    at = [row for row in sharing.rows[victim] if point.world.tenants[row].gpu in other.gpus]
    theirs = [point.level("busy", Tenant(gpu, other.service)) for gpu in other.gpus]
    waits, waited = _stalled(point, victim, other)
    return ContendedShares(
        baseline=float(np.mean(sharing.baseline[at])),
        now=float(np.mean(sharing.now[at])),
        theirs=float(np.mean(np.nan_to_num(theirs))),
        growth=other.growth / len(other.gpus),
        waits=waits,
        waited=waited,
        since=min(_onset(point, Tenant(gpu, other.service)) for gpu in other.gpus),
    )


def _evidence(
    point: EvaluationPoint, victim: Service, other: Aggressor, slow: Slowdown, pair: ContendedShares
) -> tuple[Evidence, ...]:
    takes, took = (of(slow.signal, victim) for of in (point.value, point.level))
    theirs, since, part = pair.theirs + pair.growth, pair.since, "share of the GPUs' time"
    evidence = (
        Evidence(part, pair.now, pair.baseline, "ratio", since, str(victim)),
        Evidence(part, theirs, pair.theirs, "ratio", since, str(other.service)),
        Evidence("GPU time waited", pair.waits, pair.waited, "ratio", since, f"{victim} by {other.service}"),
        Evidence(SIGNAL_BY_NAME[slow.signal].text, takes, took, "s", since, str(victim)),
    )
    return tuple(item for item in evidence if math.isfinite(item.value))


def _least(*shares: float) -> float:
    """The smallest share; 0 if one is unknown or negative."""
    return max(0.0, min(shares)) if all(map(math.isfinite, shares)) else 0.0


def _apart(point: EvaluationPoint, gpu: Gpu, victim: Service, other: Service) -> bool:
    """Whether two services are on separate MIG instances: where waiting is measured, it is for all that contend."""
    return bool(point.world.stalls) and Stall(gpu, victim, other) not in point["stalled_by"].keys


def _neighbors(point: EvaluationPoint, sharing: GpuShares, victim: Service, rows: Rows) -> tuple[Aggressor, ...]:
    """Neighbors with a growing share of the service's GPUs, the largest growth first."""
    growths: dict[Service, dict[Gpu, float]] = {}
    for gpu in (point.world.tenants[row].gpu for row in rows):
        for row in sharing.on(gpu):
            other, growth = point.world.tenants[row].service, float(sharing.now[row] - sharing.baseline[row])
            if other != victim and growth > MIN_SHARE_CHANGE and not _apart(point, gpu, victim, other):
                growths.setdefault(other, {})[gpu] = growth
    total = sum(sum(by_gpu.values()) for by_gpu in growths.values())
    found = [
        Aggressor(neighbor, tuple(sorted(by_gpu, key=gpu_order)), sum(by_gpu.values()), sum(by_gpu.values()) / total)
        for neighbor, by_gpu in growths.items()
    ]
    return tuple(sorted(found, key=lambda other: (-other.growth, other.service)))


def _suspected_neighbor(
    point: EvaluationPoint, sharing: GpuShares, victim: Service, neighbors: Sequence[Aggressor], slow: Slowdown
) -> Aggressor:
    """The neighbor with the largest share: its growth times the cost per unit from the regression."""
    if len(neighbors) == 1:
        return neighbors[0]
    world = point.world
    history = point.history(slow.signal, victim, REGRESSION_SECONDS)
    level, _ = point.level_and_scale(slow.signal, victim)
    first = point.at + 1 - len(history)
    places = point["busy"].keys
    columns = [
        np.sum(
            [world.busy[places[Tenant(gpu, neighbor.service)], first : point.at + 1] for gpu in neighbor.gpus], axis=0
        )
        for neighbor in neighbors
    ]
    baseline = [
        sum(sharing.baseline[places[Tenant(gpu, neighbor.service)]] for gpu in neighbor.gpus) for neighbor in neighbors
    ]
    cost = nonnegative_weights(np.expm1(history - level), np.nan_to_num(np.stack(columns, axis=1) - baseline))
    parts = cost * [neighbor.growth for neighbor in neighbors]
    if not parts.sum() > 0:
        return neighbors[0]
    shares = (parts / parts.sum() + [neighbor.share for neighbor in neighbors]) / 2
    return max(
        (neighbor._replace(share=float(share)) for neighbor, share in zip(neighbors, shares, strict=True)),
        key=lambda neighbor: neighbor.share,
    )


def _demands(point: EvaluationPoint, sharing: GpuShares, victim: Service, rows: Rows, slow: Slowdown) -> BoolArray:
    """GPUs on which the service's share fell although it demands as much: its share plus its wait.

    Without wait data: as many requests run, or it is slower.
    """
    gpus = [point.world.tenants[row].gpu for row in rows]
    others = [[point.world.tenants[row].service for row in sharing.on(gpu)] for gpu in gpus]
    waits = [[Stall(gpu, victim, neighbor) for neighbor in on] for gpu, on in zip(gpus, others, strict=True)]
    measured = np.array(
        [any(math.isfinite(point.value("stalled_by", stall)) for stall in on) for on in waits], dtype=bool
    )
    now, baseline = (
        np.array([np.nansum([of("stalled_by", stall) for stall in on]) for on in waits])
        for of in (point.value, point.level)
    )
    wants = sharing.now[rows] + now >= MIN_DEMAND_RATIO * (sharing.baseline[rows] + baseline)
    running = point.z("running", victim)
    return np.where(measured, wants, running > -1 if math.isfinite(running) else slow.z > 1)


def _fall(point: EvaluationPoint, sharing: GpuShares, rows: Rows) -> float:
    """Scales by which the service's share fell, over all rows."""
    if not len(rows):
        return 0.0
    levels = point.base.of("busy")
    tenants = point.world.tenants
    scales = [levels.get(tenants[row], (0.0, SIGNAL_BY_NAME["busy"].floor))[1] for row in rows]
    return float(np.sum(sharing.baseline[rows] - sharing.now[rows])) / math.hypot(*scales)


def _stalled(point: EvaluationPoint, victim: Service, other: Aggressor) -> tuple[float, float]:
    """Ratio of time that the service waits for the neighbor, mean over GPUs, now and at baseline; NaN if unknown."""
    stalls = [Stall(gpu, victim, other.service) for gpu in other.gpus]
    now, baseline = ([point_of("stalled_by", stall) for stall in stalls] for point_of in (point.value, point.level))
    if not np.isfinite(now).any():
        return math.nan, math.nan
    return float(np.nanmean(now)), float(np.mean(np.nan_to_num(baseline)))


def _onset(point: EvaluationPoint, tenant: Tenant) -> float:
    """Unix seconds at which a tenant left its baseline, or appeared."""
    if math.isfinite(point.level("busy", tenant)):
        return point.since("busy", tenant)
    there = point.history("busy", tenant, 3600.0) > MIN_SHARE_CHANGE
    absent = np.flatnonzero(~there)
    points = len(there) - 1 - (absent[-1] if len(absent) else -1)
    return point.time - max(0, int(points) - 1) * point.world.step
