"""The ledger of GPU time: GPU-seconds and energy of each holder by hour."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum, StrEnum
from typing import NamedTuple

from foreshock_dashboard.model.service import Service, split_cluster
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import Gpu

HOUR_SECONDS = 3600.0
MAX_LEDGER_HOURS = 30 * 24
"""Hours that a ledger goes back."""


class Holding(StrEnum):
    """Who holds GPU time: a service, no one, or processes that no data names."""

    SERVICE = "service"
    UNALLOCATED = "unallocated"
    UNKNOWN = "unknown"


class CostKey(NamedTuple):
    """A line of the ledger. service: None unless a service holds it. model: of the GPU, "" where unknown."""

    holding: Holding
    service: Service | None
    pool: str
    model: str

    @property
    def cluster(self) -> str:
        """The cluster; "" where there is only one."""
        return self.service.cluster if self.service else split_cluster(self.pool)[0]


class Figure(IntEnum):
    """A figure of a line in an hour, in GPU-seconds unless stated otherwise.

    ALLOCATED: held. KNOWN: the part of it whose use is known: of a service, the sum of BUSY, WAITING, and IDLE. BUSY:
    a kernel ran, within what is held. BORROWED: beyond it, in the time of neighbors. WAITING: work waited for a
    neighbor, within what is held and not busy. IDLE: the rest. UNUSED: the part of it in steps without any kernel.
    JOULES: energy, by busy share. POWERED: GPU-seconds with known energy. SM_BUSY, SM_ACTIVE: busy GPU-seconds with
    known SM activity, and its integral. INFERRED: held as far as processes show, without allocation data. SAMPLED: of
    KNOWN, as far as gauges show. GPU_WAIT: work waited for a neighbor, whatever is held: an upper bound. The reader of
    the history adds it.
    """

    ALLOCATED = 0
    KNOWN = 1
    BUSY = 2
    WAITING = 3
    IDLE = 4
    UNUSED = 5
    BORROWED = 6
    JOULES = 7
    POWERED = 8
    SM_BUSY = 9
    SM_ACTIVE = 10
    INFERRED = 11
    SAMPLED = 12
    GPU_WAIT = 13


class HeldGpu(NamedTuple):
    """A GPU that a line holds, or a part of it."""

    key: CostKey
    gpu: Gpu


class IdleRun(NamedTuple):
    """Time without a kernel up to the end of an hour: seconds, and what was held of the GPU all that time.

    is_measured: by allocations, not only processes.
    """

    seconds: float
    gpus: float
    is_measured: bool


@dataclass(frozen=True, slots=True)
class CostHour:
    """An hour. seconds: of it with data. values: shape (keys, figures).

    idle: what is idle at its end. pausable: services whose GPUs are all idle then, and that are Deployments without an
    autoscaler all of whose replicas are seen. requested: holders of GPUs that may have had requests in it.
    """

    seconds: float
    keys: tuple[CostKey, ...]
    values: Floats = field(repr=False)
    idle: Mapping[HeldGpu, IdleRun] = field(default_factory=dict, repr=False)
    pausable: frozenset[Service] = frozenset()
    requested: frozenset[Service] = frozenset()


@dataclass(frozen=True, slots=True)
class CostLedger:
    """Hours with data by their start (Unix seconds). computed_at: Unix seconds, NaN before the first read.

    end: Unix seconds up to which the newest hour is known. unread_hours: older ones that are still to be read. error:
    why the last read failed, "" if it did not.
    """

    computed_at: float = math.nan
    end: float = math.nan
    hours: Mapping[float, CostHour] = field(default_factory=dict, repr=False)
    unread_hours: int = 0
    error: str = ""

    @property
    def whole_end(self) -> float:
        """Unix seconds of the last full hour up to which GPU time is known."""
        return self.end // HOUR_SECONDS * HOUR_SECONDS

    def total(self, figure: Figure, start: float, end: float) -> dict[CostKey, float]:
        """Sum of a figure by line over the hours that begin from `start` to before `end`, Unix seconds."""
        sums: dict[CostKey, float] = {}
        for hour in (hour for at, hour in self.hours.items() if start <= at < end):
            for key, value in zip(hour.keys, hour.values[:, figure].tolist(), strict=True):
                sums[key] = sums.get(key, 0.0) + value
        return sums

    def of_cluster(self, cluster: str) -> CostLedger:
        """The lines of one cluster."""
        hours = {}
        for start, hour in self.hours.items():
            own = [i for i, key in enumerate(hour.keys) if key.cluster == cluster]
            idle = {held: run for held, run in hour.idle.items() if held.key.cluster == cluster}
            keys = tuple(hour.keys[i] for i in own)
            hours[start] = replace(hour, keys=keys, values=hour.values[own], idle=idle)
        return replace(self, hours=hours)
