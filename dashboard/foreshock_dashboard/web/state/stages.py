"""The stages of a service, from healthy to an SLO breach, and the early signs of trouble."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.analysis.baseline.signals import SIGNAL_BY_NAME
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats

Stage = Literal["healthy", "early_warning", "degraded", "breached"]
STAGES: tuple[Stage, ...] = ("healthy", "early_warning", "degraded", "breached")
LEADING_SIGNALS: Mapping[str, str] = {
    "stalled_by": "its work waits while another service runs on the same GPU",
    "per_token": "each token takes longer: fuller batches, or somebody takes its GPU time",
    "first_token": "requests wait longer before their answer begins",
    "waiting": "requests come faster than they are served",
    "cache": "when the KV cache is full, requests wait or are thrown out and begin anew",
    "preempted": "requests are thrown out of a full KV cache and begin anew",
    "queued": "requests wait longer for a place in the batch",
    "attempts": "retries ask again for what failed: load that makes load",
    "excess": "callers wait longer than the service takes: the way to it is slow",
    "flight": "more requests are under way at once than usual",
    "throttled": "the GPU is held back by heat or power",
    "errors": "the GPU reports errors",
    "ready": "fewer replicas are ready than are wanted",
}
"""Signals that move before users feel anything, and why each of them matters."""


class Sign(NamedTuple):
    """A figure of a service that differs from its baseline. entity: the object it is of. since: Unix seconds.

    value, level, threshold: current value, baseline, and limit, in the signal's unit. scales: distance from the
    baseline.
    """

    service: Service
    signal: str
    entity: str
    since: float
    value: float
    level: float
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
    """A time in one stage, Unix seconds. end: time of its last point."""

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
        row = self.stages[self.services.index(service)].tolist()
        intervals = []
        for stage, points in groupby(zip(self.times.tolist(), row, strict=True), key=lambda point: point[1]):
            times = [time for time, _ in points]
            if stage > 0:
                intervals.append(Interval(times[0], times[-1], STAGES[stage]))
        return tuple(intervals)
