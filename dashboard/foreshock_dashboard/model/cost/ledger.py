"""The ledger of GPU time: GPU-seconds and energy of each holder by hour."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum, StrEnum
from typing import NamedTuple

from foreshock_dashboard.model.service import Service, split_cluster
from foreshock_dashboard.model.types import Floats

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

    ALLOCATED: held. KNOWN: the part of it whose use is known; BUSY, WAITING, IDLE, and UNUSED are of that part. BUSY: a
    kernel ran, which may be more than what is held of a shared GPU. WAITING: the rest of what is
    held at most, an upper bound. IDLE: held, neither busy
    nor waiting. UNUSED: held in steps without any kernel. JOULES: energy, by busy share. POWERED: GPU-seconds with
    known energy. SM_BUSY, SM_ACTIVE: busy GPU-seconds with known SM activity, and its integral. MEMORY: the highest
    used share of a GPU's memory, 0 to 1. INFERRED: held as far as processes show, without allocation data.
    """

    ALLOCATED = 0
    KNOWN = 1
    BUSY = 2
    WAITING = 3
    IDLE = 4
    UNUSED = 5
    JOULES = 6
    POWERED = 7
    SM_BUSY = 8
    SM_ACTIVE = 9
    MEMORY = 10
    INFERRED = 11


@dataclass(frozen=True, slots=True)
class CostHour:
    """An hour. seconds: of it with data. values: shape (keys, figures)."""

    seconds: float
    keys: tuple[CostKey, ...]
    values: Floats = field(repr=False)


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

    def of_cluster(self, cluster: str) -> CostLedger:
        """The lines of one cluster."""
        hours = {}
        for start, hour in self.hours.items():
            own = [i for i, key in enumerate(hour.keys) if key.cluster == cluster]
            hours[start] = CostHour(hour.seconds, tuple(hour.keys[i] for i in own), hour.values[own])
        return replace(self, hours=hours)
