"""The course of an incident: SLO breaches, the peak of its symptom, its cost in requests, and its recovery."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.verdict.reading import Metric


@dataclass(frozen=True)
class Breach:
    """The SLO breaches of services during an incident, from the first to the last; until: None while one lasts.

    In Unix seconds. service: the first one. earlier: whether the first began before `since`, which is then the first
    time that was looked at. pauses: times between, in which data show no SLO breach; paused: their seconds.
    """

    service: str
    since: float
    until: float | None
    earlier: bool = False
    pauses: int = 0
    paused: float = 0.0


@dataclass(frozen=True)
class Peak:
    """The worst value of the symptom of an incident. before: its normal value. Values in `unit`; None if unknown."""

    metric: Metric
    unit: Literal["s", "ratio"]
    before: float | None
    peak: float
    limit: float | None


@dataclass(frozen=True)
class Recovery:
    """A figure that returns from its worst value of an incident: request rate (req/s), ready replicas, or GPU time.

    GPU time: the mean over the GPUs of the suspected cause, 0 to 1. is_back: whether it is near its normal value;
    since: Unix seconds from which on it is. baseline: before the first anomaly, None if unknown; of ready replicas, the
    most before the worst value, which is the same where replicas were only added.
    """

    service: str
    signal: Literal["request rate", "ready replicas", "GPU time"]
    worst: float
    now: float
    is_back: bool = True
    since: float | None = None
    baseline: float | None = None


@dataclass(frozen=True)
class ContentionCheck:
    """GPU wait of a service of an incident that has another cause: shares of time, 0 to 1; None if unknown.

    service: the first affected one, or the suspected cause. neighbor: on which its wait exceeds the normal range most.
    ratio: newest, mean over the GPUs that they share. baseline: before the first anomaly. peak: the most since then.
    is_normal: whether that is within the normal range. is_on_one_gpu: the mean is, and the figures are those of the GPU
    on which the wait is not.
    """

    service: str
    neighbor: str
    ratio: float | None
    baseline: float | None
    peak: float | None
    is_normal: bool
    is_on_one_gpu: bool = False


class Impact(NamedTuple):
    """An estimate: requests to services in a time range, and those that failed or were too slow.

    services: where requests are counted, the one with most of those first. limit: of one service, its SLO in seconds,
    else NaN. behind: the other affected services, whose requests count at their callers.
    """

    services: tuple[Service, ...]
    requests: float
    failed: float
    slow: float
    limit: float = math.nan
    behind: tuple[Service, ...] = ()
