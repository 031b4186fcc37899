"""Integration of fast samples into busy, contended, and GPU wait seconds. Pure; shares are 0 to 1, times are seconds.

A sample has length Δt, device busy share U, and service shares u_k. The GPU is *contended* if U ≥ 0.9 and at least two
u_k ≥ 0.05. Each such service k then *waits* for Δt·(U − u_k). The part due to another service j is Δt·u_j; the rest is
unattributed. It is an upper bound: no service waits for another one longer than that one runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import NamedTuple, TypeVar

_Key = TypeVar("_Key")

MIN_CONTENDED_BUSY_RATIO = 0.9
"""Device busy share at which contention starts."""
MIN_ACTIVE_SHARE = 0.05
"""Share at which a service counts as active."""
MAX_REGISTERED_PAIRS = 64
"""Pairs per GPU registered before their first stall: all pairs of up to eight services. A pair that stalls always gets
a counter.
"""


class ServiceKey(NamedTuple):
    """Namespace and name of a service."""

    namespace: str
    name: str


UNATTRIBUTED = ServiceKey("", "")
"""Key of the GPU wait that no service accounts for."""


@dataclass(frozen=True, slots=True)
class FastSample:
    """One fast sample of a GPU.

    `utilization` is the device's own reading. `shares` are SM time shares by service, `unknown` the share of processes
    without a known service. None if the driver does not report the value.
    """

    seconds: float
    utilization: float | None
    shares: Mapping[ServiceKey, float] | None
    unknown: float = 0.0


@dataclass(frozen=True, slots=True)
class TimeSplit:
    """Busy time of one sample as shares: `busy` = sum of `services` + `unattributed`; `device`: its own reading."""

    device: float
    busy: float
    services: Mapping[ServiceKey, float]
    unattributed: float


@dataclass(frozen=True, slots=True)
class Totals:
    """Cumulative seconds of one GPU; `busy` = sum of `service_busy` + `unattributed`.

    `gpu_wait_by` is keyed by (victim, aggressor) and sums to `gpu_wait` for each victim. `saturated` is keyed by
    resource, `resource_wait` by service and resource (`gpu/limits.py`). Values only grow; `remove_services` drops keys.
    """

    busy: float = 0.0
    unattributed: float = 0.0
    contended: float = 0.0
    service_busy: Mapping[ServiceKey, float] = field(default_factory=dict)
    gpu_wait: Mapping[ServiceKey, float] = field(default_factory=dict)
    gpu_wait_by: Mapping[tuple[ServiceKey, ServiceKey], float] = field(default_factory=dict)
    saturated: Mapping[str, float] = field(default_factory=dict)
    resource_wait: Mapping[tuple[ServiceKey, str], float] = field(default_factory=dict)


def split_time(sample: FastSample) -> TimeSplit | None:
    """Split the device's busy time among services. None if the driver reported neither value.

    The driver measures device and processes over slightly different windows. If the processes sum to more than the
    device, the device counts as busy for that sum. Sums above 1 are scaled down to 1.
    """
    if sample.utilization is None and sample.shares is None:
        return None
    shares = sample.shares or {}
    attributed = sum(shares.values())
    processes = attributed + sample.unknown
    scale = 1.0 / processes if processes > 1.0 else 1.0
    busy = min(1.0, max(sample.utilization or 0.0, processes))
    services = {service: share * scale for service, share in shares.items()}
    return TimeSplit(
        busy if sample.utilization is None else sample.utilization, busy, services, max(0.0, busy - attributed * scale)
    )


def is_contended(split: TimeSplit) -> bool:
    """Whether the device was busy and at least two services were active."""
    return (
        split.device >= MIN_CONTENDED_BUSY_RATIO
        and sum(share >= MIN_ACTIVE_SHARE for share in split.services.values()) > 1
    )


def stall_shares(split: TimeSplit) -> dict[tuple[ServiceKey, ServiceKey], float]:
    """Stalled share of the sample by (victim, aggressor); empty if the sample is uncontended."""
    if not is_contended(split):
        return {}
    waits: dict[tuple[ServiceKey, ServiceKey], float] = {}
    for victim, own in split.services.items():
        if own < MIN_ACTIVE_SHARE:
            continue
        for other, share in split.services.items():
            if other != victim and share > 0.0:
                waits[victim, other] = share
        if split.unattributed > 0.0:
            waits[victim, UNATTRIBUTED] = split.unattributed
    return waits


def accumulate(totals: Totals, sample: FastSample, *, shares_imply_waits: bool = True) -> Totals:
    """Totals after one more sample. `shares_imply_waits` is False under MPS and MIG."""
    split = split_time(sample)
    if split is None or sample.seconds <= 0.0:
        return totals
    waits = stall_shares(split) if shares_imply_waits else {}
    gpu_wait: dict[ServiceKey, float] = {}
    for (victim, _), share in waits.items():
        gpu_wait[victim] = gpu_wait.get(victim, 0.0) + share
    return Totals(
        busy=totals.busy + sample.seconds * split.busy,
        unattributed=totals.unattributed + sample.seconds * split.unattributed,
        contended=totals.contended + (sample.seconds if waits else 0.0),
        service_busy=_add_shares(totals.service_busy, split.services, sample.seconds),
        gpu_wait=_add_shares(totals.gpu_wait, gpu_wait, sample.seconds),
        gpu_wait_by=_add_shares(totals.gpu_wait_by, waits, sample.seconds),
        saturated=totals.saturated,
        resource_wait=totals.resource_wait,
    )


def register(totals: Totals, services: Iterable[ServiceKey]) -> Totals:
    """Add zero-valued counters for services and their pairs before their first increment.

    PromQL's `rate` misses the first increment of a counter that starts above zero.
    """
    present = sorted(set(services))
    if len(present) < 2 and totals.service_busy.keys() >= {*present}:  # one alone never stalls
        return totals
    zeros = {service: 0.0 for service in present if service not in totals.service_busy}
    pairs = _unregistered_pairs(totals, present)
    if not zeros and not pairs:
        return totals
    return replace(
        totals,
        service_busy={**totals.service_busy, **zeros},
        gpu_wait={**zeros, **totals.gpu_wait},
        gpu_wait_by={**totals.gpu_wait_by, **pairs},
    )


def _unregistered_pairs(totals: Totals, present: Sequence[ServiceKey]) -> dict[tuple[ServiceKey, ServiceKey], float]:
    """New (victim, aggressor) pairs at zero, up to `MAX_REGISTERED_PAIRS` in total."""
    room = MAX_REGISTERED_PAIRS - len(totals.gpu_wait_by)
    if room <= 0 or len(present) < 2:
        return {}
    new = (
        (victim, by)
        for victim in present
        for by in (*present, UNATTRIBUTED)
        if victim != by and (victim, by) not in totals.gpu_wait_by
    )
    return dict.fromkeys(islice(new, room), 0.0)


def remove_services(totals: Totals, gone: Iterable[ServiceKey]) -> Totals:
    """Totals without the given services. Their seconds are dropped; moving them would look like a burst."""
    removed = frozenset(gone)
    if not removed:
        return totals
    return replace(
        totals,
        service_busy={service: seconds for service, seconds in totals.service_busy.items() if service not in removed},
        gpu_wait={service: seconds for service, seconds in totals.gpu_wait.items() if service not in removed},
        gpu_wait_by={pair: seconds for pair, seconds in totals.gpu_wait_by.items() if removed.isdisjoint(pair)},
        resource_wait={key: seconds for key, seconds in totals.resource_wait.items() if key[0] not in removed},
    )


def _add_shares(totals: Mapping[_Key, float], shares: Mapping[_Key, float], seconds: float) -> Mapping[_Key, float]:
    if not shares:
        return totals
    after = dict(totals)
    for key, share in shares.items():
        after[key] = after.get(key, 0.0) + share * seconds
    return after
