"""Utilization of one GPU: driver samples since the last pass, attributed to services."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from foreshock_exporter.common.log import ProblemLog
from foreshock_exporter.gpu.contention import FastSample, Totals, accumulate, register, remove_services
from foreshock_exporter.gpu.driver_samples import (
    BusyHistogram,
    Cursor,
    Interval,
    Intervals,
    merged,
    new_intervals,
    observed,
    recent,
    rescaled,
)
from foreshock_exporter.gpu.tenants import Tenants
from foreshock_exporter.model import metrics
from foreshock_exporter.model.device import DeviceError, Driver, ProcessUtilization, Sharing

MAX_GAP_SECONDS = 60.0
"""Longest gap between two readings that is integrated; a longer one is a suspended host or a hung call."""
RECENT_PERIODS = 8
"""Sample periods of which the shortest is expected next: a single short or long one must not last."""
PERIOD_SLACK = 0.01
"""Part of the sample period by which the next sample may come early. It ends a wait that began too late."""
MAX_PROCESS_WAIT_SECONDS = 1.25
"""Longest wait for process samples of a busy GPU; they may be slower than device samples."""
MAX_SAMPLE_WAIT_SECONDS = 2.5
"""Time without a sample after which a busy GPU is assumed to keep none."""
RETRY_SAMPLES_SECONDS = 60.0
"""Delay before samples of such a GPU are requested again."""
MAX_UNSAMPLED_SECONDS = 60.0
"""Busy seconds without process samples after which the process cursor is reset."""
MAX_UNDIVIDED_SECONDS = 5.0
"""Busy seconds in a row of which, under MPS, processes account for less than half, until their time is unknown."""
BUSY_RATIO_BOUNDS = metrics.GPU_UTILIZATION_SAMPLES.bounds

_DEVICE_TIME = (metrics.GPU_BUSY.name, metrics.GPU_UTILIZATION_SAMPLES.name, metrics.UNATTRIBUTED.name)
_WAITING = (metrics.CONTENDED.name, metrics.SERVICE_WAIT.name, metrics.SERVICE_WAIT_BY_AGGRESSOR.name)
SERVICE_TIME_METRICS = (metrics.SERVICE_BUSY.name, *_WAITING)
"""Metrics that need the time of processes."""


@dataclass(slots=True)
class Accumulated:
    """Cumulative values of a GPU, kept for the lifetime of the exporter."""

    cursor: Cursor = field(default_factory=Cursor)
    """Cursor of device samples; samples kept by the driver during an outage are counted afterward."""
    process_cursor_us: int = 0
    """Cursor of process samples; 0 before the first."""
    totals: Totals = field(default_factory=Totals)
    busy_histogram: BusyHistogram = field(default_factory=lambda: BusyHistogram((0,) * (len(BUSY_RATIO_BOUNDS) + 1)))
    dropped: dict[str, int] = field(default_factory=lambda: {"gap": 0, "implausible": 0})


class UtilizationSampler:
    """Samples one GPU at the times passed to `sample`; a new one is created when a lost GPU returns.

    `failed` says whether the last pass had an error other than a lack of permission, which lasts. Times are in seconds
    of one monotonic clock.
    """

    def __init__(
        self, index: int, driver: Driver, accumulated: Accumulated, tenants: Tenants, problems: ProblemLog
    ) -> None:
        self._index = index
        self._driver = driver
        self._accumulated = accumulated
        self._tenants = tenants
        self._problems = problems
        self._fell_back_at: float | None = None
        self._sharing: Sharing = "time-slicing"
        self._undivided_seconds = 0.0
        self._last_sample_at: float | None = None
        self._last_read_at = self._next_sample_at = float("-inf")
        self._periods: deque[float] = deque(maxlen=RECENT_PERIODS)
        self._gap_seconds = 0.0
        self._pending: list[Interval] = []
        self._absent_by_source: dict[str, Mapping[str, str]] = {}
        self._counted: FastSample | None = None
        self.failed = False

    @property
    def absent(self) -> dict[str, str]:
        """Missing metrics with the reason. The sharing mode overrides "not_supported"."""
        absent: dict[str, str] = {}
        for part in ("device", "processes", "sharing", "clients"):
            absent |= self._absent_by_source.get(part, {})
        return absent

    def set_sharing(self, sharing: Sharing, time: float) -> None:
        """Set the sharing mode, and retry device samples after `RETRY_SAMPLES_SECONDS`."""
        if self._fell_back_at is not None and not 0.0 <= time - self._fell_back_at < RETRY_SAMPLES_SECONDS:
            self._fell_back_at = None
        self._sharing = sharing
        self._absent_by_source["sharing"] = {} if self._shares_imply_waits else dict.fromkeys(_WAITING, sharing)

    @property
    def _shares_imply_waits(self) -> bool:
        """Whether processes wait for each other. Unknown counts as not: a false wait would stay in the counters."""
        return self._sharing in ("time-slicing", "concurrent")

    def sample(self, time: float, reading: float | None, reading_is_new: bool) -> FastSample | None:
        """Count the driver's samples, or `reading` (busy share) if it is new and there are no samples.

        Returns:
            What was counted; None for nothing.

        Raises:
            DeviceError: the GPU does not respond.
        """
        self._counted = None
        reads_samples = self._fell_back_at is None and self._read_samples(time, reading)
        if not reads_samples and (reading_is_new or self._last_sample_at is None):
            self._use_reading(time, reading)
        return self._counted

    @property
    def _min_period(self) -> float:
        """Shortest recent sample period in seconds; 0 if unknown."""
        return (1.0 - PERIOD_SLACK) * min(self._periods, default=0.0)

    def _read_samples(self, time: float, reading: float | None) -> bool:
        """Count new device samples. False if the driver keeps none."""
        if not self._pending and 0.0 < self._next_sample_at - time <= self._min_period:
            return True
        try:
            cursor = self._accumulated.cursor
            new = new_intervals(cursor, self._driver.utilization(self._index, cursor.newest_us or 0))
        except DeviceError as error:
            if error.reason in ("lost", "timeout"):
                raise
            self._fell_back_at = time
            return False
        self._accumulated.dropped["implausible"] += new.dropped
        if self._last_sample_at is None or new.cursor != cursor:
            self._last_sample_at = time
            self._expect_next(time, new)
        self._last_read_at = time
        self._accumulated.cursor = new.cursor
        if new.intervals:
            self._observe(new.intervals)
            self._pending.extend(new.intervals)
        if self._pending:
            self._attribute(time)
        elif time - self._last_sample_at > MAX_SAMPLE_WAIT_SECONDS:
            return not self._keeps_no_samples(time, reading)
        return True

    def _expect_next(self, time: float, new: Intervals) -> None:
        """Set when the driver has the next sample at the earliest; a request before costs a millisecond for nothing.

        The newest one appeared after the read before, and not before it was expected.
        """
        if new.intervals:
            self._periods.append(new.cursor.period)
        self._next_sample_at = min(time, max(self._last_read_at, self._next_sample_at)) + self._min_period

    def _observe(self, intervals: Sequence[Interval]) -> None:
        histogram = self._accumulated.busy_histogram
        self._accumulated.busy_histogram = observed(histogram, intervals, BUSY_RATIO_BOUNDS)

    def _keeps_no_samples(self, time: float, reading: float | None) -> bool:
        """Whether a busy GPU has no samples: none are kept, or its clock went backward."""
        if not reading:
            self._last_sample_at = time
            return False
        self._fell_back_at, self._accumulated.cursor, self._accumulated.process_cursor_us = time, Cursor(), 0
        return True

    def _attribute(self, time: float) -> None:
        """Attribute pending intervals to processes once their samples are available."""
        interval = merged(self._pending)
        process_samples: Sequence[ProcessUtilization] | None = ()
        if interval.ratio > 0.0:
            process_samples = self._process_samples(time, interval)
            if process_samples is not None and not process_samples:
                if interval.seconds < MAX_PROCESS_WAIT_SECONDS:
                    return
                self._gap_seconds += interval.seconds
        self._pending.clear()
        self._absent_by_source.pop("device", None)
        self._accumulate(interval.seconds, interval.ratio, process_samples)

    def _use_reading(self, time: float, ratio: float | None) -> None:
        """Count the latest reading for the time since the previous one."""
        before, self._last_sample_at = self._last_sample_at, time
        seconds = 0.0 if before is None else time - before
        if not 0.0 <= seconds <= MAX_GAP_SECONDS:
            self._accumulated.dropped["gap"] += 1
            seconds = 0.0
        process_samples = self._process_samples(time, None)
        if ratio is not None and seconds > 0.0:
            self._observe((Interval(seconds, ratio),))
        reason = self._absent_by_source.get("processes", {}).get(metrics.SERVICE_BUSY.name)
        no_data = ratio is None and reason is not None  # neither the time of the GPU nor of processes
        self._absent_by_source["device"] = dict.fromkeys(_DEVICE_TIME, reason or "") if no_data else {}
        self._accumulate(seconds, ratio, process_samples)

    def _process_samples(self, time: float, interval: Interval | None) -> Sequence[ProcessUtilization] | None:
        """Process samples of the interval, or since the last call. None if the driver reports none."""
        if self._gap_seconds >= MAX_UNSAMPLED_SECONDS:  # the driver's clock may have gone back
            self._gap_seconds, self._accumulated.process_cursor_us = 0.0, 0
        since = self._accumulated.process_cursor_us
        subject = f"process utilization of GPU {self._index}"
        try:
            process_samples = self._driver.process_utilization(self._index, since)
        except DeviceError as error:
            self._absent_by_source["processes"] = dict.fromkeys(SERVICE_TIME_METRICS, error.reason)
            self.failed = error.reason not in ("not_supported", "no_permission")
            if error.reason != "not_supported":
                self._problems.report(subject, str(error))
            return None
        self._absent_by_source.pop("processes", None)
        self.failed = False
        self._problems.resolve(subject)
        process_samples = self._without_implausible(process_samples)
        if not process_samples:
            return ()
        self._gap_seconds = 0.0
        self._accumulated.process_cursor_us = max(since, *(entry.timestamp_us for entry in process_samples))
        if since == 0:
            process_samples = recent(process_samples, self._accumulated.cursor.newest_us, interval)
        if interval:
            process_samples = rescaled(process_samples, since, interval)
        if self._tenants.add_new((entry.pid for entry in process_samples), time):
            self.match_tenants(time)
        return process_samples

    def match_tenants(self, time: float) -> None:
        """Add counters of new services, and remove those of services that left long ago."""
        totals = register(self._accumulated.totals, self._tenants.present())
        self._accumulated.totals = remove_services(totals, self._tenants.expire(time))

    def _without_implausible(self, process_samples: Sequence[ProcessUtilization]) -> Sequence[ProcessUtilization]:
        """Samples with ratios of 0 to 1; others are counted as dropped."""
        plausible = [entry for entry in process_samples if 0.0 <= entry.sm_ratio <= 1.0]
        self._accumulated.dropped["implausible"] += len(process_samples) - len(plausible)
        return plausible

    def _accumulate(
        self, seconds: float, ratio: float | None, process_samples: Sequence[ProcessUtilization] | None
    ) -> None:
        shares = self._tenants.shares(process_samples or ())
        step = FastSample(seconds, ratio, None if process_samples is None else shares.services, shares.unknown)
        self._check_divided(step, sum(shares.services.values()) + shares.unknown - shares.undivided)
        self._accumulated.totals = accumulate(
            self._accumulated.totals, step, shares_imply_waits=self._shares_imply_waits
        )
        if seconds > 0.0:
            self._counted = step

    def _check_divided(self, step: FastSample, divided: float) -> None:
        """Whether the driver divides the GPU's time among MPS clients, which NVML does not document.

        `divided` is the share that it reports for processes, whether or not their service is known. If it does not
        divide the time, that of services is unknown instead of 0, and all of it is unattributed.
        """
        busy = step.utilization or 0.0
        if self._sharing not in ("mps", "unknown") or 2.0 * divided >= busy > 0.0:
            self._undivided_seconds = 0.0
        else:
            self._undivided_seconds += step.seconds * busy
        is_unknown = self._undivided_seconds >= MAX_UNDIVIDED_SECONDS
        self._absent_by_source["clients"] = {metrics.SERVICE_BUSY.name: "mps"} if is_unknown else {}
