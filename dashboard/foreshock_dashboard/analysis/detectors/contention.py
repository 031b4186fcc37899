"""Contention: a service is slowed down, or is about to be, because a neighbour takes the time of GPUs they share.

Either of two signs is enough. *Squeezed*: a neighbour's part of a full GPU grows and the service's falls, although
there are not fewer requests. A server that batches is then slower by usual part over present part, which is seen a
scrape or two after it begins, before any histogram moves. *Pressed*: the service is slower, waits longer for a
neighbour than usual, and that neighbour takes more than usual. Which neighbour it is goes by their shares of the
growth, weighed by a regression without negative weights: correlation would blame whoever shares the common demand.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.analysis.baseline.excess import DURATION_SIGNALS, MAX_SLOWDOWN_RATIO, Slowdown, slowdown
from foreshock_dashboard.analysis.baseline.gpu_shares import MIN_SHARE_CHANGE, BoolArray, GpuShares, Rows, pool_of
from foreshock_dashboard.analysis.baseline.point import Scan
from foreshock_dashboard.analysis.baseline.signals import SIGNAL_BY_NAME
from foreshock_dashboard.analysis.detectors.finding import Finding
from foreshock_dashboard.analysis.detectors.hardware import clock_slowdown
from foreshock_dashboard.analysis.detectors.model_swapping import model_swapping
from foreshock_dashboard.analysis.remediation.effect import first, of_signal
from foreshock_dashboard.model.action import Action, Effect, Reason
from foreshock_dashboard.model.incident import Culprit, Evidence
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import Gpu, Stall, Tenant, gpu_order
from foreshock_dashboard.stats.nnls import nonnegative_weights

SQUEEZE_SLOWDOWN = 1.25
"""Predicted slow-down at which a squeeze is as likely as not: shares of GPUs waver by a few per cent."""
PRESSED_SLOWDOWN, PRESSED_Z, WAIT_GROWTH, BUSY_GROWTH = 1.2, 3.0, 0.08, 0.10
"""What a pressed service shows at which that is as likely as not; all of it must be there."""
URGENT_SLOWDOWN = 2.0
"""Predicted slow-down from which a service goes down before a trend could be seen."""
MIN_DEMAND_RATIO = 0.85
"""Share of what a service usually wants of a GPU below which it is asked less."""
MIN_STRENGTH = 0.2
"""Strength below which there is nothing to be said."""
REGRESSION_SECONDS = 600.0
"""Seconds over which a slow-down is explained by what neighbours took."""
EFFECT_SIGNALS = ("p95", "first_token", "per_token")
"""Signals that tell what would be better, the first that does."""


class Aggressor(NamedTuple):
    """One that took time of a victim's GPUs: `gpus` on which it grew, growth summed over them, share of all growth."""

    service: Service
    gpus: tuple[Gpu, ...]
    growth: float
    share: float


class ContendedShares(NamedTuple):
    """Victim and neighbour on the GPUs on which the neighbour grew; means over these, as ratios 0…1 of time.

    usual, now: the victim's part; theirs: the neighbour's usual one, and its growth; waits, waited: how long the victim
    waits for it, now and usually, NaN where nobody tells. since: when the neighbour's part left what is usual.
    """

    usual: float
    now: float
    theirs: float
    growth: float
    waits: float
    waited: float
    since: float


def gpu_contention(scan: Scan) -> tuple[Finding, ...]:
    """A finding for each service that shares its GPUs, or itself, with what slows it down, the surest first."""
    if not scan.world.tenants:
        return ()
    sharing = scan.memo(GpuShares)
    found = [finding for victim in _suspects(scan, sharing) if (finding := _judged(scan, sharing, victim))]
    found += model_swapping(scan)
    return tuple(sorted(found, key=lambda finding: (-finding.strength, finding.service)))


def _suspects(scan: Scan, sharing: GpuShares) -> tuple[Service, ...]:
    """Services that serve requests, are slower or lost time of full GPUs, and beside whom somebody grew.

    Each by what a finding of `LEAST` needs, so that the rest is looked at for few only.
    """
    weight = np.where(sharing.usual > MIN_SHARE_CHANGE, sharing.usual, 0.0)
    grown = sharing.now - sharing.usual > 2 * MIN_STRENGTH * BUSY_GROWTH
    beside = sharing.by_service(sharing.neighbors(grown)) > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        lost = sharing.by_service(weight * _slower(sharing.usual, sharing.now, sharing.full)) / sharing.by_service(
            weight
        )
    z = np.array([[scan.z(name, service) for service in sharing.services] for name in DURATION_SIGNALS])
    worse = (lost - 1 >= 2 * MIN_STRENGTH * (SQUEEZE_SLOWDOWN - 1)) | (z >= 2 * MIN_STRENGTH * PRESSED_Z).any(axis=0)
    found = (sharing.services[row] for row in np.flatnonzero(beside & worse))
    serving = [who for who in found if not all(math.isnan(scan.level(name, who)) for name in ("rate", "running"))]
    return tuple(sorted(serving))


def predicted_slowdown(usual: Floats, now: Floats, full: BoolArray) -> float:
    """How many times as long requests take: mean of usual part over present part, by usual part, of GPUs that are full.

    Requests are spread over GPUs as their usual parts are; where a GPU is not full, nobody is kept from more of it.
    """
    held = usual > MIN_SHARE_CHANGE
    if not held.any():
        return 1.0
    return float(np.average(_slower(usual[held], now[held], full[held]), weights=usual[held]))


def _slower(usual: Floats, now: Floats, full: BoolArray) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        slower = np.clip(usual / now, 1.0, MAX_SLOWDOWN_RATIO)
    return np.where(full & np.isfinite(slower), slower, 1.0)


def _judged(scan: Scan, sharing: GpuShares, victim: Service) -> Finding | None:
    rows = sharing.rows[victim]
    slow = slowdown(scan, victim)
    most = predicted_slowdown(sharing.usual[rows], sharing.newest[rows], sharing.full[rows])
    if (
        max((most - 1) / (SQUEEZE_SLOWDOWN - 1), _least((slow.ratio - 1) / (PRESSED_SLOWDOWN - 1), slow.z / PRESSED_Z))
        / 2
        < MIN_STRENGTH
    ):
        return None
    neighbours = _neighbours(scan, sharing, victim, rows)
    if not neighbours:
        return None
    worst = _explained(scan, sharing, victim, neighbours, slow)
    fight = _fight(scan, sharing, victim, worst)
    kept = sharing.full[rows]
    kept = kept & _asked(scan, sharing, victim, rows, slow) if kept.any() else kept
    squeeze = predicted_slowdown(sharing.usual[rows], sharing.newest[rows], kept)
    squeezed = _least((squeeze - 1) / (SQUEEZE_SLOWDOWN - 1), _fall(scan, sharing, rows[kept]) / PRESSED_Z)
    lost = fight.waits - fight.waited if math.isfinite(fight.waits) else fight.usual - fight.now
    gpus = [scan.world.tenants[row].gpu for row in rows]
    pressed = _least(
        (slow.ratio / clock_slowdown(scan, gpus) - 1) / (PRESSED_SLOWDOWN - 1),
        slow.z / PRESSED_Z,
        lost / WAIT_GROWTH,
        fight.growth / BUSY_GROWTH if fight.growth > fight.now - fight.usual else 0.0,
    )
    strength = worst.share * min(1.0, max(squeezed, pressed) / 2)
    if strength < MIN_STRENGTH:
        return None
    held = squeeze if squeezed > 0 else 1.0
    severity = max(held, min(MAX_SLOWDOWN_RATIO, slow.ratio) if pressed > 0 else 1.0)
    return Finding(
        service=victim,
        cause="pool contention",
        culprit=Culprit(worst.service, worst.gpus, pool_of(scan.world, worst.gpus)),
        strength=strength,
        severity=severity,
        since=fight.since,
        evidence=_evidence(scan, victim, worst, slow, fight),
        action=_action(scan, victim, worst, fight, severity),
        urgent=held >= URGENT_SLOWDOWN and squeezed >= 1,
    )


def _action(scan: Scan, victim: Service, neighbor: Aggressor, fight: ContendedShares, slowdown: float) -> Action:
    """Move the neighbor, or cap it at its baseline; services of different tiers are better on pools of their own."""
    tiers = dict(zip(scan.world.services, scan.world.tier, strict=False))
    tier, other_tier = tiers.get(victim, ""), tiers.get(neighbor.service, "")
    alternatives = [
        Action("cap_gpu_share", neighbor.service, gpus=neighbor.gpus, amount=max(fight.theirs, MIN_SHARE_CHANGE))
    ]
    if tier and other_tier and tier != other_tier:
        alternatives.append(Action("dedicate_pool", target=tier))
    return Action(
        "move_off_gpus",
        neighbor.service,
        gpus=neighbor.gpus,
        reason=Reason("gpu_share", victim, value=fight.now, baseline=fight.usual),
        effect=_effect(scan, victim, slowdown),
        alternatives=tuple(alternatives),
    )


def _effect(scan: Scan, victim: Service, slowdown: float) -> Effect | None:
    """The effect of the baseline share of the GPUs, on the first signal that shows it."""
    return first(
        of_signal(scan, name, victim, scan.value(name, victim) / slowdown, "gpu_share_restored")
        for name in EFFECT_SIGNALS
    )


def _fight(scan: Scan, sharing: GpuShares, victim: Service, other: Aggressor) -> ContendedShares:
    at = [row for row in sharing.rows[victim] if scan.world.tenants[row].gpu in other.gpus]
    theirs = [scan.level("busy", Tenant(gpu, other.service)) for gpu in other.gpus]
    waits, waited = _stalled(scan, victim, other)
    return ContendedShares(
        usual=float(np.mean(sharing.usual[at])),
        now=float(np.mean(sharing.now[at])),
        theirs=float(np.mean(np.nan_to_num(theirs))),
        growth=other.growth / len(other.gpus),
        waits=waits,
        waited=waited,
        since=min(_left(scan, Tenant(gpu, other.service)) for gpu in other.gpus),
    )


def _evidence(
    scan: Scan, victim: Service, other: Aggressor, slow: Slowdown, fight: ContendedShares
) -> tuple[Evidence, ...]:
    takes, took = (of(slow.signal, victim) for of in (scan.value, scan.level))
    theirs, since, part = fight.theirs + fight.growth, fight.since, "share of the GPUs' time"
    told = (
        Evidence(part, fight.now, fight.usual, "ratio", since, str(victim)),
        Evidence(part, theirs, fight.theirs, "ratio", since, str(other.service)),
        Evidence("GPU time waited", fight.waits, fight.waited, "ratio", since, f"{victim} by {other.service}"),
        Evidence(SIGNAL_BY_NAME[slow.signal].text, takes, took, "s", since, str(victim)),
    )
    return tuple(item for item in told if math.isfinite(item.value))


def _least(*shares: float) -> float:
    """The least of them; nothing where one is not known or negative."""
    return max(0.0, min(shares)) if all(map(math.isfinite, shares)) else 0.0


def _apart(scan: Scan, gpu: Gpu, victim: Service, other: Service) -> bool:
    """Whether the two are on instances of their own: where waiting is told of at all, it is of all who contend."""
    return bool(scan.world.stalls) and Stall(gpu, victim, other) not in scan["stalled_by"].keys


def _neighbours(scan: Scan, sharing: GpuShares, victim: Service, rows: Rows) -> tuple[Aggressor, ...]:
    """Who has more of the victim's GPUs than usual, the one that grew most first."""
    growths: dict[Service, dict[Gpu, float]] = {}
    for gpu in (scan.world.tenants[row].gpu for row in rows):
        for row in sharing.on(gpu):
            other, growth = scan.world.tenants[row].service, float(sharing.now[row] - sharing.usual[row])
            if other != victim and growth > MIN_SHARE_CHANGE and not _apart(scan, gpu, victim, other):
                growths.setdefault(other, {})[gpu] = growth
    total = sum(sum(by_gpu.values()) for by_gpu in growths.values())
    found = [
        Aggressor(who, tuple(sorted(by_gpu, key=gpu_order)), sum(by_gpu.values()), sum(by_gpu.values()) / total)
        for who, by_gpu in growths.items()
    ]
    return tuple(sorted(found, key=lambda other: (-other.growth, other.service)))


def _explained(
    scan: Scan, sharing: GpuShares, victim: Service, neighbours: Sequence[Aggressor], slow: Slowdown
) -> Aggressor:
    """The neighbour with the largest share: its growth times what the regression says that a unit of it costs."""
    if len(neighbours) == 1:
        return neighbours[0]
    world = scan.world
    history = scan.history(slow.signal, victim, REGRESSION_SECONDS)
    level, _ = scan.level_and_scale(slow.signal, victim)
    first = scan.at + 1 - len(history)
    places = scan["busy"].keys
    columns = [
        np.sum([world.busy[places[Tenant(gpu, who.service)], first : scan.at + 1] for gpu in who.gpus], axis=0)
        for who in neighbours
    ]
    usual = [sum(sharing.usual[places[Tenant(gpu, who.service)]] for gpu in who.gpus) for who in neighbours]
    cost = nonnegative_weights(np.expm1(history - level), np.nan_to_num(np.stack(columns, axis=1) - usual))
    parts = cost * [who.growth for who in neighbours]
    if not parts.sum() > 0:
        return neighbours[0]
    shares = (parts / parts.sum() + [who.share for who in neighbours]) / 2
    return max(
        (who._replace(share=float(share)) for who, share in zip(neighbours, shares, strict=True)),
        key=lambda who: who.share,
    )


def _asked(scan: Scan, sharing: GpuShares, victim: Service, rows: Rows, slow: Slowdown) -> BoolArray:
    """Where its part fell although it wants the GPU as much as ever: what it has and what it waits for, together.

    Where nobody tells of waiting: if as many requests run as ever, or it is slower.
    """
    gpus = [scan.world.tenants[row].gpu for row in rows]
    others = [[scan.world.tenants[row].service for row in sharing.on(gpu)] for gpu in gpus]
    waits = [[Stall(gpu, victim, who) for who in on] for gpu, on in zip(gpus, others, strict=True)]
    told = np.array([any(math.isfinite(scan.value("stalled_by", stall)) for stall in on) for on in waits], dtype=bool)
    now, usual = (
        np.array([np.nansum([of("stalled_by", stall) for stall in on]) for on in waits])
        for of in (scan.value, scan.level)
    )
    wants = sharing.now[rows] + now >= MIN_DEMAND_RATIO * (sharing.usual[rows] + usual)
    running = scan.z("running", victim)
    return np.where(told, wants, running > -1 if math.isfinite(running) else slow.z > 1)


def _fall(scan: Scan, sharing: GpuShares, rows: Rows) -> float:
    """By how many scales the victim's part fell, over these rows together."""
    if not len(rows):
        return 0.0
    levels = scan.base.of("busy")
    tenants = scan.world.tenants
    scales = [levels.get(tenants[row], (0.0, SIGNAL_BY_NAME["busy"].floor))[1] for row in rows]
    return float(np.sum(sharing.usual[rows] - sharing.now[rows])) / math.hypot(*scales)


def _stalled(scan: Scan, victim: Service, other: Aggressor) -> tuple[float, float]:
    """Share of time that the victim waits for the neighbour, mean over the GPUs, now and usually; NaN if untold."""
    stalls = [Stall(gpu, victim, other.service) for gpu in other.gpus]
    now, usual = ([scan_of("stalled_by", stall) for stall in stalls] for scan_of in (scan.value, scan.level))
    if not np.isfinite(now).any():
        return math.nan, math.nan
    return float(np.nanmean(now)), float(np.mean(np.nan_to_num(usual)))


def _left(scan: Scan, tenant: Tenant) -> float:
    """When a tenant's part left what is usual; where it is new, when it appeared."""
    if math.isfinite(scan.level("busy", tenant)):
        return scan.since("busy", tenant)
    there = scan.history("busy", tenant, 3600.0) > MIN_SHARE_CHANGE
    absent = np.flatnonzero(~there)
    points = len(there) - 1 - (absent[-1] if len(absent) else -1)
    return scan.time - max(0, int(points) - 1) * scan.world.step
