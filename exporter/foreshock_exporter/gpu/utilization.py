"""The fast samples of one GPU: what the driver sampled since the last pass, divided among the services on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from foreshock_exporter.common.log import ProblemLog
from foreshock_exporter.gpu.contention import FastSample, Totals, accumulate, register, remove_services
from foreshock_exporter.gpu.driver_samples import (
    BusyHistogram,
    Cursor,
    Interval,
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
"""Seconds. A longer gap between two readings (a suspended host, a hung call) is not integrated."""
MAX_PROCESS_WAIT_SECONDS = 1.25
"""Seconds that a busy GPU's processes are waited for: the driver may sample them more slowly than the device."""
MAX_SAMPLE_WAIT_SECONDS = 2.5
"""Seconds without a sample after which a GPU that says it is busy is taken to keep none."""
RETRY_SAMPLES_SECONDS = 60.0
"""Seconds after which the samples of a GPU that kept none are asked for again."""
MAX_SILENT_SECONDS = 60.0
"""Busy seconds without a word of processes after which the mark is dropped from which they were asked for."""
BUSY_RATIO_BOUNDS = metrics.GPU_BUSY_RATIO.bounds

_DEVICE_TIME = (metrics.GPU_BUSY.name, metrics.GPU_BUSY_RATIO.name, metrics.UNATTRIBUTED.name)
_WAITING = (metrics.CONTENDED.name, metrics.STALLED.name, metrics.STALLED_BY.name)
SERVICE_TIME_METRICS = (metrics.SERVICE_BUSY.name, *_WAITING)
"""The metrics that need the time of processes."""

OnSample = Callable[[FastSample], None]
"""Told of each step that was counted."""


@dataclass(slots=True)
class Accumulated:
    """What has been counted of a GPU, for as long as the exporter runs."""

    mark: Cursor = field(default_factory=Cursor)
    """Of the device's samples: what its driver has kept while it did not answer is counted when it does again."""
    processes_us: int = 0
    """Of the processes' samples; 0 before the first."""
    totals: Totals = field(default_factory=Totals)
    bursts: BusyHistogram = field(default_factory=lambda: BusyHistogram((0,) * (len(BUSY_RATIO_BOUNDS) + 1)))
    dropped: dict[str, int] = field(default_factory=lambda: {"gap": 0, "implausible": 0})


class UtilizationSampler:
    """Takes the samples of a GPU at the times it is given; made anew when the GPU comes back.

    `absent` maps the names of metrics that cannot be told to the reason; `failed` says whether the last pass met an
    error. Times are seconds of one steady clock.
    """

    def __init__(self, index: int, driver: Driver, counted: Accumulated, tenants: Tenants, notices: ProblemLog) -> None:
        self._index = index
        self._driver = driver
        self._counted = counted
        self._tenants = tenants
        self._notices = notices
        self._polled: float | None = None
        self._comparable = True
        self._sampled: float | None = None
        self._silent = 0.0
        self._pending: list[Interval] = []
        self._absences: dict[str, Mapping[str, str]] = {}
        self.failed = False

    @property
    def absent(self) -> dict[str, str]:
        """Why metrics are absent; how the GPU is shared says more than that a call is not supported."""
        absences = (self._absences.get(part, {}) for part in ("device", "processes", "sharing"))
        return {metric: reason for each in absences for metric, reason in each.items()}

    def identified(self, sharing: Sharing, time: float) -> None:
        """The GPU has been looked at anew: note how it is shared, and now and then try its own samples again."""
        if self._polled is not None and not 0.0 <= time - self._polled < RETRY_SAMPLES_SECONDS:
            self._polled = None
        self._comparable = sharing not in ("mps", "mig")
        self._absences["sharing"] = {} if self._comparable else dict.fromkeys(_WAITING, sharing)

    def take(self, time: float, reading: float | None, renewed: bool, settled: OnSample) -> None:
        """Take what the driver has sampled; where it samples nothing, its reading (busy share), if that is `renewed`.

        Raises:
            DeviceError: the GPU does not answer.
        """
        if self._polled is None and self._drain(time, reading, settled):
            return
        if renewed or self._sampled is None:
            self._poll(time, reading, settled)

    def _drain(self, time: float, reading: float | None, settled: OnSample) -> bool:
        """Whether the driver keeps samples."""
        try:
            mark = self._counted.mark
            drained = new_intervals(mark, self._driver.utilization(self._index, mark.newest_us or 0))
        except DeviceError as error:
            if error.reason in ("lost", "timeout"):
                raise
            self._polled = time
            return False
        self._counted.dropped["implausible"] += drained.dropped
        if self._sampled is None or drained.mark != mark:
            self._sampled = time
        self._counted.mark = drained.mark
        if drained.pieces:
            self._counted.bursts = observed(self._counted.bursts, drained.pieces, BUSY_RATIO_BOUNDS)
            self._pending.extend(drained.pieces)
        if self._pending:
            self._settle(time, settled)
        elif time - self._sampled > MAX_SAMPLE_WAIT_SECONDS:
            return not self._unsampled(time, reading)
        return True

    def _unsampled(self, time: float, reading: float | None) -> bool:
        """Idle GPUs have no samples. A busy one without any keeps none, or its clock has gone back: true."""
        if not reading:
            self._sampled = time
            return False
        self._polled, self._counted.mark, self._counted.processes_us = time, Cursor(), 0
        return True

    def _settle(self, time: float, settled: OnSample) -> None:
        """Divide the pending stretches among the processes, once the driver has said what these did."""
        piece = merged(self._pending)
        used: Sequence[ProcessUtilization] | None = ()
        if piece.ratio > 0.0:
            used = self._used(time, piece)
            if used is not None and not used:
                if piece.seconds < MAX_PROCESS_WAIT_SECONDS:
                    return
                self._silent += piece.seconds
        self._pending.clear()
        self._absences.pop("device", None)
        self._advance(piece.seconds, piece.ratio, used, settled)

    def _poll(self, time: float, ratio: float | None, settled: OnSample) -> None:
        """Take the latest reading for the time since the one before."""
        before, self._sampled = self._sampled, time
        seconds = 0.0 if before is None else time - before
        if not 0.0 <= seconds <= MAX_GAP_SECONDS:
            self._counted.dropped["gap"] += 1
            seconds = 0.0
        used = self._used(time, None)
        if ratio is not None and seconds > 0.0:
            self._counted.bursts = observed(self._counted.bursts, (Interval(seconds, ratio),), BUSY_RATIO_BOUNDS)
        says_nothing = ratio is None and used is None
        self._absences["device"] = dict.fromkeys(_DEVICE_TIME, "not_supported") if says_nothing else {}
        self._advance(seconds, ratio, used, settled)

    def _used(self, time: float, piece: Interval | None) -> Sequence[ProcessUtilization] | None:
        """What the processes did in a stretch, or since the last answer; None where the driver does not say."""
        if (
            self._silent >= MAX_SILENT_SECONDS
        ):  # nothing may be newer than the mark, if the driver's clock has gone back
            self._silent, self._counted.processes_us = 0.0, 0
        since = self._counted.processes_us
        subject = f"process utilisation of GPU {self._index}"
        try:
            used = self._driver.process_utilization(self._index, since)
        except DeviceError as error:
            self._absences["processes"] = dict.fromkeys(SERVICE_TIME_METRICS, error.reason)
            self.failed = error.reason != "not_supported"
            if self.failed:
                self._notices.problem(subject, str(error))
            return None
        self._absences.pop("processes", None)
        self.failed = False
        self._notices.fine(subject)
        used = self._plausible(used)
        if not used:
            return ()
        self._silent = 0.0
        self._counted.processes_us = max(since, *(entry.timestamp_us for entry in used))
        if since == 0:
            used = recent(used, self._counted.mark.newest_us if piece else None, piece)
        if piece:
            used = rescaled(used, since, piece)
        if self._tenants.meet((entry.pid for entry in used), time):
            gone = self._tenants.forget(time)
            self._counted.totals = remove_services(register(self._counted.totals, self._tenants.here()), gone)
        return used

    def _plausible(self, used: Sequence[ProcessUtilization]) -> Sequence[ProcessUtilization]:
        """Without the garbage that drivers have been seen to give, which is counted."""
        plausible = [entry for entry in used if 0.0 <= entry.sm_ratio <= 1.0]
        self._counted.dropped["implausible"] += len(used) - len(plausible)
        return plausible

    def _advance(
        self, seconds: float, ratio: float | None, used: Sequence[ProcessUtilization] | None, settled: OnSample
    ) -> None:
        shares, unknown = (None, 0.0) if used is None else self._tenants.shares(used)
        step = FastSample(seconds, ratio, shares, unknown)
        self._counted.totals = accumulate(self._counted.totals, step, comparable=self._comparable)
        if seconds > 0.0:
            settled(step)
