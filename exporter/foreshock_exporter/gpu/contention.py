"""Who used a GPU and who waited for whom: fast samples integrated into counters. Pure; shares are 0…1, time is seconds.

The definition, for a sample of length Δt with device busy share U and shares u_k of the services on it: the GPU is
*contended* if U ≥ 0.9 and at least two u_k ≥ 0.05. While it is, each such service k is *stalled* for Δt·(1 − u_k/U), of
which by another service j Δt·u_j/U, and the rest by nobody known. It is an upper bound of waiting.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import NamedTuple, TypeVar

_Key = TypeVar("_Key")

MIN_CONTENDED_BUSY_RATIO = 0.9
"""Busy share of the device from which it can be contended."""
MIN_ACTIVE_SHARE = 0.05
"""Share from which a service counts as active."""
MAX_REGISTERED_PAIRS = 64
"""Pairs of one GPU that get a counter before they have stalled: all pairs of up to eight services. Those that do stall
get one in any case."""


class ServiceKey(NamedTuple):
    """A service: the pair of namespace and name."""

    namespace: str
    name: str


UNATTRIBUTED = ServiceKey("", "")
"""Stands for the part of a stall that no service accounts for."""


@dataclass(frozen=True, slots=True)
class FastSample:
    """One fast sample of a GPU.

    `utilization` is the device's own reading, `shares` the time of each service, `unknown` the time of processes whose
    service was not found. None where the driver does not say.
    """

    seconds: float
    utilization: float | None
    shares: Mapping[ServiceKey, float] | None
    unknown: float = 0.0


@dataclass(frozen=True, slots=True)
class TimeSplit:
    """A device's time in one sample: `busy` is the sum of `services` and `unattributed`, `device` its own reading."""

    device: float
    busy: float
    services: Mapping[ServiceKey, float]
    unattributed: float


@dataclass(frozen=True, slots=True)
class Totals:
    """Counters of one GPU in seconds. They never go back, and `busy` is the sum of `service_busy` and `unattributed`.

    For each victim, `stalled` is the sum of its entries in `stalled_by` (victim, by). Only `forget` takes parts away.
    """

    busy: float = 0.0
    unattributed: float = 0.0
    contended: float = 0.0
    service_busy: Mapping[ServiceKey, float] = field(default_factory=dict)
    stalled: Mapping[ServiceKey, float] = field(default_factory=dict)
    stalled_by: Mapping[tuple[ServiceKey, ServiceKey], float] = field(default_factory=dict)


def split_time(step: FastSample) -> TimeSplit | None:
    """Divide the device's time among the services; None where the driver said nothing of it.

    The driver measures the device and its processes over windows that differ a little. Where the processes sum to more
    than the device, the device is taken to have been busy as long as they were; beyond 1 they are scaled down.
    """
    if step.utilization is None and step.shares is None:
        return None
    shares = step.shares or {}
    attributed = sum(shares.values())
    processes = attributed + step.unknown
    scale = 1.0 / processes if processes > 1.0 else 1.0
    busy = min(1.0, max(step.utilization or 0.0, processes))
    services = {service: share * scale for service, share in shares.items()}
    return TimeSplit(
        busy if step.utilization is None else step.utilization, busy, services, max(0.0, busy - attributed * scale)
    )


def is_contended(parts: TimeSplit) -> bool:
    """Whether at least two services were active on a busy device."""
    return (
        parts.device >= MIN_CONTENDED_BUSY_RATIO
        and sum(share >= MIN_ACTIVE_SHARE for share in parts.services.values()) > 1
    )


def stall_shares(parts: TimeSplit) -> dict[tuple[ServiceKey, ServiceKey], float]:
    """For which share of the sample each active service (victim, by) waited for another; empty if uncontended."""
    if not is_contended(parts):
        return {}
    waits: dict[tuple[ServiceKey, ServiceKey], float] = {}
    for victim, own in parts.services.items():
        if own < MIN_ACTIVE_SHARE:
            continue
        for other, share in parts.services.items():
            if other != victim and share > 0.0:
                waits[victim, other] = share / parts.busy
        if parts.unattributed > 0.0:
            waits[victim, UNATTRIBUTED] = parts.unattributed / parts.busy
    return waits


def accumulate(totals: Totals, step: FastSample, *, comparable: bool = True) -> Totals:
    """The counters after one more sample. `comparable` is false where no wait follows from shares (MPS, MIG)."""
    parts = split_time(step)
    if parts is None or step.seconds <= 0.0:
        return totals
    waits = stall_shares(parts) if comparable else {}
    stalled: dict[ServiceKey, float] = {}
    for (victim, _), share in waits.items():
        stalled[victim] = stalled.get(victim, 0.0) + share
    return Totals(
        busy=totals.busy + step.seconds * parts.busy,
        unattributed=totals.unattributed + step.seconds * parts.unattributed,
        contended=totals.contended + (step.seconds if waits else 0.0),
        service_busy=_added(totals.service_busy, parts.services, step.seconds),
        stalled=_added(totals.stalled, stalled, step.seconds),
        stalled_by=_added(totals.stalled_by, waits, step.seconds),
    )


def register(totals: Totals, services: Iterable[ServiceKey]) -> Totals:
    """Give services that hold the GPU, and pairs of them, counters that start at zero before anything is added.

    A rate sees only differences: the first increment of a counter that appears with it would be lost.
    """
    here = sorted(set(services))
    if len(here) < 2 and totals.service_busy.keys() >= {*here}:  # one alone never stalls
        return totals
    zeros = {service: 0.0 for service in here if service not in totals.service_busy}
    pairs = _pairs_ahead(totals, here)
    if not zeros and not pairs:
        return totals
    return replace(
        totals,
        service_busy={**totals.service_busy, **zeros},
        stalled={**zeros, **totals.stalled},
        stalled_by={**totals.stalled_by, **pairs},
    )


def _pairs_ahead(totals: Totals, here: Sequence[ServiceKey]) -> dict[tuple[ServiceKey, ServiceKey], float]:
    """Pairs (victim, by) that may stall and have no counter yet, as far as the bound allows."""
    room = MAX_REGISTERED_PAIRS - len(totals.stalled_by)
    if room <= 0 or len(here) < 2:
        return {}
    new = (
        (victim, by)
        for victim in here
        for by in (*here, UNATTRIBUTED)
        if victim != by and (victim, by) not in totals.stalled_by
    )
    return dict.fromkeys(islice(new, room), 0.0)


def remove_services(totals: Totals, gone: Iterable[ServiceKey]) -> Totals:
    """Drop the series of services that left the GPU long ago; moving their sums elsewhere would look like a burst."""
    left = frozenset(gone)
    if not left:
        return totals
    return replace(
        totals,
        service_busy={service: seconds for service, seconds in totals.service_busy.items() if service not in left},
        stalled={service: seconds for service, seconds in totals.stalled.items() if service not in left},
        stalled_by={pair: seconds for pair, seconds in totals.stalled_by.items() if left.isdisjoint(pair)},
    )


def _added(totals: Mapping[_Key, float], shares: Mapping[_Key, float], seconds: float) -> Mapping[_Key, float]:
    if not shares:
        return totals
    after = dict(totals)
    for key, share in shares.items():
        after[key] = after.get(key, 0.0) + share * seconds
    return after
