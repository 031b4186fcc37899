"""The truth of a run: who missed an objective, when first, and whether others followed.

A service breaches at a scrape where, over the last minute, fewer of its requests than its objective says were answered
well and in time, or more than 1 % failed, and that for three scrapes in a row; it breached when the first of them was.
A cascade is a breach of a service that is not the one where it begins, at or after the onset. Where it begins is what
the scenario expects; where that names nobody, the service that breached first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from foreshock_simulator.core.names import ServiceName
from foreshock_simulator.spec.scenario import ScenarioSpec, Truth
from foreshock_simulator.spec.services import Slo

STEP = 10.0
"""Seconds between two scrapes."""
WINDOW = 6
"""Scrapes in the minute that is judged."""
IN_A_ROW = 3
MOST_FAILED = 0.01
"""Share of failed requests above which a service breaches, whatever its objective."""
LEAST_REQUESTS = 30
LEAST_FAILED = 5
"""Within a minute; with fewer nothing is said."""


class Answered(NamedTuple):
    """A service's requests that ended within one STEP: all, those failed or slower than the objective, those failed."""

    requests: int = 0
    bad: int = 0
    failed: int = 0


class SloWatch:
    """Counts a service's answers as they come, by step."""

    __slots__ = ("_counts", "_latency")

    def __init__(self, slo: Slo) -> None:
        self._latency = slo.latency
        self._counts: list[list[int]] = []

    def observe(self, now: float, seconds: float, ok: bool) -> None:
        """A request ended at `now` (seconds since the start) after `seconds`."""
        counts, step = self._counts, int(now / STEP)
        while len(counts) <= step:
            counts.append([0, 0, 0])
        slot = counts[step]
        slot[0] += 1
        if not ok:
            slot[1] += 1
            slot[2] += 1
        elif seconds > self._latency:
            slot[1] += 1

    def answered(self) -> tuple[Answered, ...]:
        """What was counted of each step from the start on."""
        return tuple(Answered(*slot) for slot in self._counts)


def breaches(answered: Sequence[Answered], objective: float) -> list[float]:
    """When breaches of one service began: seconds from the start to the first scrape of each run of misses."""
    begun = []
    streak = 0
    for scrape in range(WINDOW, len(answered) + 1):
        window = answered[scrape - WINDOW : scrape]
        requests = sum(step.requests for step in window)
        bad = sum(step.bad for step in window)
        failed = sum(step.failed for step in window)
        slow = requests >= LEAST_REQUESTS and bad > (1.0 - objective) * requests
        failing = requests >= LEAST_REQUESTS and failed >= LEAST_FAILED and failed > MOST_FAILED * requests
        streak = streak + 1 if slow or failing else 0
        if streak == IN_A_ROW:
            begun.append((scrape - IN_A_ROW + 1) * STEP)
    return begun


def onset(spec: ScenarioSpec) -> float | None:
    """Seconds from the start to the first fault; None without any."""
    return min((fault.at for fault in spec.faults), default=None)


def judge(spec: ScenarioSpec, seed: int, start: float, end: float, answered: Mapping[str, Sequence[Answered]]) -> Truth:
    """What happened between `start` and `end` (Unix seconds).

    A service's first breach is that at or after the onset; where there is none, that before it.
    """
    began = onset(spec)
    names: dict[str, ServiceName] = {service.name.name: service.name for service in spec.platform.services}
    first: dict[str, float] = {}
    after: dict[str, float] = {}
    for service in spec.platform.services:
        if service.slo is None:
            continue
        found = breaches(answered.get(service.name.name, ()), service.slo.objective)
        later = [time for time in found if began is None or time >= began]
        if found:
            first[service.name.name] = (later or found)[0]
        if later:
            after[service.name.name] = later[0]
    origin = spec.expects.origin or min(after, key=lambda name: (after[name], name), default="")
    victims = sorted((name for name in after if name != origin), key=lambda name: (after[name], name))
    pool = next((item.pool for item in spec.platform.services if item.name.name == spec.expects.origin), "")
    return Truth(
        scenario=spec.name,
        seed=seed,
        start=start,
        end=end,
        onset=None if began is None else start + began,
        cause=spec.expects.cause,
        origin=names.get(spec.expects.origin),
        culprit=spec.expects.culprit,
        victims=tuple(names[name] for name in victims),
        pool=pool,
        breached={name: start + time for name, time in sorted(first.items(), key=lambda pair: (pair[1], pair[0]))},
        cascaded=bool(victims),
    )
