"""Forecast of the load of a service or GPU pool, and its first shortage."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats

FORECAST_STEP_SECONDS = 600.0
"""Spacing of history and forecast; points are means over the step that begins there."""
FORECAST_POINTS = 1008
"""Points of a forecast: seven days."""


class LoadKind(StrEnum):
    """What is forecast, with its unit."""

    REQUESTS = "requests"
    """Requests per second that the service answers."""
    TOKENS = "tokens"
    """Generated tokens per second of its model servers."""
    KV_CACHE = "kv_cache"
    """KV-cache usage, 0 to 1, mean over replicas."""
    QUEUE = "queue"
    """Requests that wait in model servers."""
    GPU_BUSY = "gpu_busy"
    """Busy GPUs: the sum of utilization, 0 to 1 each. A day's mean times 24 is GPU-hours."""
    GPU_QUOTA = "gpu_quota"
    """GPUs of the pool's quota that are assigned."""


class Subject(NamedTuple):
    """What a forecast is of: a service, or a whole GPU pool, where `service` is None. pool: "" without one."""

    service: Service | None
    pool: str


@dataclass(frozen=True, slots=True)
class LoadForecast:
    """Forecast of one kind of load; values in the unit of `kind`, NaN where unknown.

    start: Unix seconds of the first forecast step. p10, p50, p90: quantiles by step, shape (`FORECAST_POINTS`,): 80%
    of actual values lie between p10 and p90. history: measured values of the last days, shape (n,); its last step ends
    at `start`. capacity: load at which `replicas` replicas are full, or the GPUs or quota of a pool. safe: safe limit.
    replicas: those that both assume: the most that the autoscaler may start and the pool has room for, else those
    ready. ready: those ready now. room: replicas for which the pool has free GPUs. provisioning_seconds: time from a
    request to a ready replica. gpus_per_replica: GPUs that a replica uses. max_replicas: the most that the autoscaler
    may start, whatever the room. safe_error: standard error of the logarithm of `safe`, 0 where it is exact.
    """

    subject: Subject
    kind: LoadKind
    start: float
    p10: Floats = field(repr=False)
    p50: Floats = field(repr=False)
    p90: Floats = field(repr=False)
    history: Floats = field(repr=False)
    capacity: float = math.nan
    safe: float = math.nan
    replicas: float = math.nan
    ready: float = math.nan
    room: float = math.nan
    provisioning_seconds: float = math.nan
    gpus_per_replica: float = math.nan
    max_replicas: float = math.nan
    safe_error: float = 0.0

    @property
    def times(self) -> Floats:
        """Starts of the forecast steps, Unix seconds."""
        return self.start + FORECAST_STEP_SECONDS * np.arange(len(self.p50), dtype=np.float64)

    @property
    def history_times(self) -> Floats:
        """Starts of the steps of `history`, Unix seconds."""
        return self.start + FORECAST_STEP_SECONDS * np.arange(-len(self.history), 0, dtype=np.float64)


class ShortageBasis(StrEnum):
    """What a shortage follows from."""

    FORECAST = "forecast"
    """The median of the forecast exceeds the limit."""
    RECENT = "recent"
    """Load exceeded the limit in the last seven days."""


@dataclass(frozen=True, slots=True)
class Shortage:
    """The first time at which load is expected to exceed its safe limit. Times in Unix seconds.

    at: when the median exceeds it, or the time of the day at which load last did, by `basis`. earliest, latest: when
    the upper and the lower end of the 80% band exceed it, which is wider by the error of the limit; NaN for a recent
    shortage, which follows from no quantile. `latest` is infinite if the load may as well stay below the limit for the
    whole forecast. peak: highest hourly mean of the median in the day from `at`, or of the last week, at `peak_at`.
    replicas: replicas to add to `ready`, or GPUs to a pool. room: replicas for which the pool has free GPUs; NaN
    unknown. provisioning_seconds: time from a request to a ready replica; act that long before `at`, or before
    `earliest` where it is known. max_replicas: the most that the autoscaler may start, whatever the room; NaN unknown,
    or without one.
    """

    subject: Subject
    kind: LoadKind
    at: float
    earliest: float
    latest: float
    peak: float
    peak_at: float
    safe: float
    replicas: int
    ready: float = math.nan
    room: float = math.nan
    provisioning_seconds: float = math.nan
    basis: ShortageBasis = ShortageBasis.FORECAST
    max_replicas: float = math.nan

    @property
    def is_autoscaler_limited(self) -> bool:
        """Whether the autoscaler's maximum is what to raise: it is too low, and the pool has room for more."""
        return self.max_replicas < self.ready + self.replicas and not self.ready + self.room <= self.max_replicas

    @property
    def act_by(self) -> float:
        """Latest time at which to request replicas, Unix seconds; NaN where the time that they take is unknown."""
        return (self.at if math.isnan(self.earliest) else self.earliest) - self.provisioning_seconds
