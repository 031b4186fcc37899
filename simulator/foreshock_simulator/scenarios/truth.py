"""The ground truth of a run: which services breached their SLO, when first, and whether it was a cascade.

At each scrape, a service misses its SLO when over the last minute too few requests succeeded in time, or more than 1%
failed. It breaches with three misses in a row, from the first of them on. A cascade is a breach of a service other than
the origin, at or after the onset. The origin is the expected one, or else the service that breached first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from foreshock_simulator.core.names import ServiceName
from foreshock_simulator.spec.scenario import ScenarioSpec, Truth
from foreshock_simulator.spec.services import Slo

STEP_SECONDS = 10.0
"""Seconds between two scrapes."""
WINDOW_STEPS = 6
"""Steps in the evaluated minute."""
BREACH_STEPS = 3
MAX_FAILED_RATIO = 0.01
"""Ratio of failed requests above which a service misses any SLO."""
MIN_REQUESTS = 30
MIN_FAILED_REQUESTS = 5
"""Minimum counts within a minute for an evaluation."""


class StepCounts(NamedTuple):
    """Requests of a service that ended within one step: all, those failed or too slow, and those failed."""

    requests: int = 0
    bad: int = 0
    failed: int = 0


class SloWatch:
    """Counts the requests of a service by step."""

    __slots__ = ("_counts", "_latency")

    def __init__(self, slo: Slo) -> None:
        self._latency = slo.latency
        self._counts: list[list[int]] = []

    def observe(self, now: float, seconds: float, ok: bool) -> None:
        """Count a request that ended at `now` (seconds since the start) after `seconds`."""
        counts, step = self._counts, int(now / STEP_SECONDS)
        while len(counts) <= step:
            counts.append([0, 0, 0])
        slot = counts[step]
        slot[0] += 1
        if not ok:
            slot[1] += 1
            slot[2] += 1
        elif seconds > self._latency:
            slot[1] += 1

    def steps(self) -> tuple[StepCounts, ...]:
        """Counts of each step since the start."""
        return tuple(StepCounts(*slot) for slot in self._counts)


def breaches(answered: Sequence[StepCounts], objective: float) -> list[float]:
    """Start of each breach of one service: seconds from the start to the first scrape of a run of misses."""
    starts = []
    streak = 0
    for scrape in range(WINDOW_STEPS, len(answered) + 1):
        window = answered[scrape - WINDOW_STEPS : scrape]
        requests = sum(step.requests for step in window)
        bad = sum(step.bad for step in window)
        failed = sum(step.failed for step in window)
        slow = requests >= MIN_REQUESTS and bad > (1.0 - objective) * requests
        failing = requests >= MIN_REQUESTS and failed >= MIN_FAILED_REQUESTS and failed > MAX_FAILED_RATIO * requests
        streak = streak + 1 if slow or failing else 0
        if streak == BREACH_STEPS:
            starts.append((scrape - BREACH_STEPS + 1) * STEP_SECONDS)
    return starts


def onset(spec: ScenarioSpec) -> float | None:
    """Seconds from the start to the first fault; None without faults."""
    return min((fault.at for fault in spec.faults), default=None)


def evaluate(
    spec: ScenarioSpec, seed: int, start: float, end: float, steps_by_service: Mapping[str, Sequence[StepCounts]]
) -> Truth:
    """The truth of a run between `start` and `end` (Unix seconds).

    The first breach of a service is the first at or after the onset or, without one, the first before it.
    """
    onset_seconds = onset(spec)
    names: dict[str, ServiceName] = {service.name.name: service.name for service in spec.platform.services}
    first: dict[str, float] = {}
    after: dict[str, float] = {}
    for service in spec.platform.services:
        if service.slo is None:
            continue
        times = breaches(steps_by_service.get(service.name.name, ()), service.slo.objective)
        times_after_onset = [time for time in times if onset_seconds is None or time >= onset_seconds]
        if times:
            first[service.name.name] = (times_after_onset or times)[0]
        if times_after_onset:
            after[service.name.name] = times_after_onset[0]
    origin = spec.expects.origin or min(after, key=lambda name: (after[name], name), default="")
    victims = sorted((name for name in after if name != origin), key=lambda name: (after[name], name))
    pool = next((item.pool for item in spec.platform.services if item.name.name == spec.expects.origin), "")
    return Truth(
        scenario=spec.name,
        seed=seed,
        start=start,
        end=end,
        onset=None if onset_seconds is None else start + onset_seconds,
        cause=spec.expects.cause,
        origin=names.get(spec.expects.origin),
        root_cause=spec.expects.root_cause,
        victims=tuple(names[name] for name in victims),
        pool=pool,
        breached={name: start + time for name, time in sorted(first.items(), key=lambda pair: (pair[1], pair[0]))},
        cascaded=bool(victims),
    )
