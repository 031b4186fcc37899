"""The cost of a time range: who held which GPU time, and which GPUs are idle."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from foreshock_dashboard.model.cost.ledger import CostKey
from foreshock_dashboard.model.incident import Quality
from foreshock_dashboard.model.world import Gpu

LASTING_SECONDS = 86_400.0
"""Idle time from which GPUs may be given back: it holds a night and a working day."""


@dataclass(frozen=True, slots=True)
class CostRow:
    """GPU time of a line, GPU-seconds; NaN where unknown. hourly: price of a GPU-hour.

    use_known: the part of `allocated` whose use is known: the sum of `busy`, `waiting`, and `idle` of a service.
    borrowed: busy beyond what it held, in the time of its neighbors. unused: the part of `idle` in steps without any
    kernel. sm_active: SM activity while busy, 0 to 1. joules: estimate. inferred: the part of `allocated` that rests on
    processes alone. sampled: the part whose use rests on gauges.
    """

    key: CostKey
    allocated: float
    use_known: float
    busy: float
    waiting: float
    idle: float
    unused: float
    borrowed: float
    joules: float
    sm_active: float
    inferred: float
    sampled: float
    hourly: float = math.nan

    @property
    def unknown(self) -> float:
        """GPU-seconds held whose use is unknown."""
        return self.allocated - self.use_known

    @property
    def money(self) -> float:
        """Price of what it held."""
        return self.allocated / 3600 * self.hourly


@dataclass(frozen=True, slots=True)
class IdleHolding:
    """GPUs of a line on each of which no kernel of its service ran in any step of the last `seconds`.

    on: the GPUs. gpus: what it held of them all the time. gpu_seconds: what it held of them since each is idle.
    can_pause: no GPU of the service is used for `LASTING_SECONDS`, by allocations and counters, and it is a Deployment
    without an autoscaler all of whose replicas are seen.
    """

    key: CostKey
    on: tuple[Gpu, ...]
    gpus: float
    seconds: float
    gpu_seconds: float
    quality: Quality
    hourly: float = math.nan
    can_pause: bool = False

    @property
    def is_lasting(self) -> bool:
        """Whether they may be given back."""
        return self.seconds >= LASTING_SECONDS

    @property
    def money(self) -> float:
        """Price of the idle time so far."""
        return self.gpu_seconds / 3600 * self.hourly

    @property
    def gpu_hours_per_day(self) -> float:
        """GPU-hours per day that could be given back; NaN unless it is lasting."""
        return self.gpus * 24 if self.is_lasting else math.nan

    @property
    def money_per_day(self) -> float:
        """The price of them; NaN without a price, too."""
        return self.gpu_hours_per_day * self.hourly


@dataclass(frozen=True, slots=True)
class CostReport:
    """A time range. start, end: Unix seconds. seconds: of it with data. rows: they sum to the fleet's GPU time.

    idle: holdings idle at its end, the largest first, whatever its start. unread: whether older hours of the range are
    still to be read. gpu_wait: GPU-seconds of `Figure.GPU_WAIT` by line, where they were summed.
    """

    start: float
    end: float
    seconds: float
    currency: str
    rows: tuple[CostRow, ...] = field(default=(), repr=False)
    idle: tuple[IdleHolding, ...] = field(default=(), repr=False)
    unread: bool = False
    gpu_wait: Mapping[CostKey, float] = field(default_factory=dict, repr=False)
