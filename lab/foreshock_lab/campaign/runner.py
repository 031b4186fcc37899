"""Injects planned faults into a running system one after another, and records each."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from foreshock_lab.campaign.breach import (
    STEP_SECONDS,
    STEPS,
    WINDOW_SECONDS,
    UserRequest,
    first_breach,
    latency_targets,
)
from foreshock_lab.campaign.plan import PlannedFault
from foreshock_lab.campaign.truth import Times, truth_of
from foreshock_lab.faults import target
from foreshock_lab.faults.injection import Injection
from foreshock_lab.record.record import Range, kept_ranges
from foreshock_lab.topology.model import Json

HISTORY_SECONDS = 180.0
"""Healthy time right before each fault: a minute in which rates fill up after the time that is left out, and two in
which incidents could open. The analysis has its baseline from earlier times."""
TARGET_SECONDS = 1800.0
"""Time whose healthy requests set the latency targets of users."""
LOOKBACK_SECONDS, LEARNED_SECONDS = 3600.0, 1900.0
"""A recording begins so long before its fault, and has healthy data of so much of it: the analysis needs half an hour
of the last hour before it opens incidents."""
TAIL_SECONDS = 15.0
"""Time after a fault that its recording has, so that the last scrapes count."""
MAX_RECOVERY_SECONDS = 240.0
AFTERMATH_SECONDS = 60.0
"""Time after a fault in which queues and caches drain although users see nothing; at least that is left out."""
UNNOTICED_RATIO = 0.15
"""Part of the time in which a fault develops: it has 2% of its amount then, so an earlier breach is another one."""
ATTEMPTS = 2
"""Attempts at a fault that cannot be injected or recorded."""

log = logging.getLogger(__name__)


class RecordableSystem(target.System, Protocol):
    """A system that can be recorded."""

    def user_requests(self, start: float, end: float) -> Sequence[UserRequest]:
        """Requests of users sent in [start, end), Unix seconds."""

    def record(self, out: Path, start: float, end: float, truth: Json, left_out: Sequence[Range] = ()) -> None:
        """Write a recording of a range (Unix seconds) without some ranges in it, with its truth."""


class NotHealthyError(Exception):
    """Users have a breach although there is no fault."""


class WallTime:
    """The time by which faults happen."""

    def now(self) -> float:
        """Unix seconds."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        time.sleep(seconds)


class Campaign:
    """The faults of one system.

    Args:
        out: folder of the recordings; what it has already is skipped.
        history: seconds of healthy time before each fault.
    """

    def __init__(
        self, system: RecordableSystem, out: Path, history: float = HISTORY_SECONDS, clock: WallTime | None = None
    ) -> None:
        self._system, self._out, self._history, self._clock = system, out, history, clock or WallTime()
        self._targets: Mapping[str, float] = {}
        self._began = self._clock.now()
        self._faulty: list[Range] = []
        """Times of faults until the system had recovered; recordings of later faults leave them out."""

    def run(self, faults: Sequence[PlannedFault], deadline: float) -> int:
        """Record faults until the deadline (Unix seconds); returns the number of recordings.

        Raises:
            NotHealthyError: the system did not recover.
        """
        healthy_since, count = self._clock.now(), 0
        pending = [fault for fault in faults if not (self._out / fault.name).exists()]
        for fault in pending * ATTEMPTS:
            if (self._out / fault.name).exists():
                continue
            onset = self._wait_healthy(healthy_since, deadline - fault.kind.duration - TAIL_SECONDS)
            if onset is None:
                break
            try:
                self._record(fault, onset)
                count += 1
            except Exception:  # outermost loop: other faults can be recorded after any failure of one
                log.exception("%s: not recorded", fault.name)
            ended = self._clock.now()
            healthy_since = max(ended + AFTERMATH_SECONDS, self._recovered())
            self._faulty.append((onset, healthy_since))
        return count

    def _wait_healthy(self, since: float, latest: float) -> float | None:
        """Wait for the healthy time before a fault, and return its end; None if that is later than `latest`."""
        while (end := max(self._clock.now(), since + self._history)) <= latest:
            self._sleep_until(end)
            self._targets = latency_targets(self._healthy_requests(end - TARGET_SECONDS, end))
            requests = self._system.user_requests(end - self._history, end)
            if (breach := first_breach(requests, self._targets, end - self._history, end)) is not None:
                since = breach + WINDOW_SECONDS
            elif self._learned(end) >= LEARNED_SECONDS:
                return end
            else:
                self._clock.sleep(STEP_SECONDS)
        return None

    def _healthy_requests(self, start: float, end: float) -> list[UserRequest]:
        """Requests of users outside the times of faults."""
        return [item for kept in kept_ranges(start, end, self._faulty) for item in self._system.user_requests(*kept)]

    def _learned(self, now: float) -> float:
        """Seconds of healthy data in the last `LOOKBACK_SECONDS`."""
        first = max(self._began, now - LOOKBACK_SECONDS)
        return now - first - sum(max(0.0, end - max(first, start)) for start, end in self._faulty)

    def _record(self, fault: PlannedFault, onset: float) -> None:
        """Inject a fault and record it."""
        log.info("%s: begins at %s", fault.name, fault.service)
        injection = fault.kind.inject(self._system, fault.service)
        try:
            onset = max(onset, self._clock.now())
            self._grow(fault, injection, onset)
            self._sleep_until(onset + fault.kind.duration)
        finally:
            injection.clear()
        fault_end = self._clock.now()
        self._sleep_until(fault_end + TAIL_SECONDS)
        start, end = max(self._began, onset - LOOKBACK_SECONDS), self._clock.now()
        requests = self._system.user_requests(onset - WINDOW_SECONDS, end)
        breach = first_breach(requests, self._targets, onset, end)
        if breach is not None and breach < onset + UNNOTICED_RATIO * fault.kind.develops_seconds:
            raise NotHealthyError(f"users had a breach {breach - onset:.0f} s after the onset, too early for the fault")
        truth = truth_of(fault, self._system.topology, Times(start, onset, fault_end, end, breach))
        truth["faults"] = [{"start": begin, "end": over} for begin, over in self._faulty if over > start]
        self._system.record(self._out / fault.name, start, end, truth, self._faulty)
        log.info("%s: %s", fault.name, "no breach" if breach is None else f"breach after {breach - onset:.0f} s")

    def _recovered(self) -> float:
        """Wait until users have no breach, and return since when they have none (Unix seconds).

        Raises:
            NotHealthyError: they still have one after `MAX_RECOVERY_SECONDS`.
        """
        ended = self._clock.now()
        while (now := self._clock.now()) < ended + MAX_RECOVERY_SECONDS:
            recent = self._system.user_requests(now - 3 * WINDOW_SECONDS, now)
            if first_breach(recent, self._targets, now - STEPS * STEP_SECONDS, now) is None:
                return now - WINDOW_SECONDS
            self._clock.sleep(STEP_SECONDS)
        raise NotHealthyError(f"users still have a breach {MAX_RECOVERY_SECONDS:.0f} s after the fault")

    def _grow(self, fault: PlannedFault, injection: Injection, onset: float) -> None:
        """Set the amount until it is full."""
        while True:
            elapsed = self._clock.now() - onset
            injection.set(fault.kind.amount_at(fault.strength, elapsed))
            if elapsed >= fault.kind.develops_seconds:
                return
            self._clock.sleep(STEP_SECONDS)

    def _sleep_until(self, moment: float) -> None:
        self._clock.sleep(max(0.0, moment - self._clock.now()))
