"""The stages of a service, from healthy to an SLO breach, and its anomalous signals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.analysis.baseline.signals import SIGNAL_BY_NAME
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats, Stage

STAGES: tuple[Stage, ...] = ("healthy", "early_warning", "degraded", "breached")
LEADING_SIGNALS = (
    *("gpu_wait_by", "per_token", "first_token", "waiting", "cache", "preempted", "queued", "attempts", "excess"),
    *("flight", "throttled", "errors", "ready"),
)
"""Signals that move before users feel anything."""


class Sign(NamedTuple):
    """A figure of a service that differs from its baseline. entity: the object it is of. since: Unix seconds.

    value, baseline, threshold: current value, baseline, and limit, in the signal's unit. scales: distance from the
    baseline.
    """

    service: Service
    signal: str
    entity: str
    since: float
    value: float
    baseline: float
    threshold: float
    scales: float

    @property
    def text(self) -> str:
        """Display name of the signal."""
        return SIGNAL_BY_NAME[self.signal].text

    @property
    def unit(self) -> str:
        """Unit of the figures."""
        return SIGNAL_BY_NAME[self.signal].unit


class Interval(NamedTuple):
    """A time in one stage, Unix seconds. end: time of the first point after it, or of the last point of all."""

    start: float
    end: float
    stage: Stage


@dataclass(frozen=True, slots=True)
class ServiceHistory:
    """The stage of every service of a World over a time range.

    stages: index into `STAGES`, -1 where nothing is known; shape (services, points). signs: those that hold at the last
    point, sorted by onset.
    """

    times: Floats
    services: tuple[Service, ...]
    stages: NDArray[np.int8] = field(repr=False)
    signs: tuple[Sign, ...]

    def now(self) -> Mapping[Service, Stage | None]:
        """The stage of each service at the last point; None where nothing is known."""
        last = self.stages[:, -1].tolist() if self.stages.shape[1] else [-1] * len(self.services)
        return {
            service: STAGES[stage] if stage >= 0 else None for service, stage in zip(self.services, last, strict=True)
        }

    def anomalous_services(self) -> tuple[Service, ...]:
        """The services that were not always healthy, in the World's order."""
        return tuple(self.services[row] for row in np.flatnonzero((self.stages > 0).any(axis=1)).tolist())

    def intervals(self, service: Service) -> tuple[Interval, ...]:
        """The intervals in which a service was not healthy."""
        row, times = self.stages[self.services.index(service)], self.times
        starts = np.flatnonzero(np.diff(row, prepend=-2)).tolist()
        ends = [*starts[1:], len(times) - 1]
        return tuple(
            Interval(float(times[start]), float(times[end]), STAGES[row[start]])
            for start, end in zip(starts, ends, strict=False)
            if row[start] > 0
        )
