"""The exporter of one host: collects synchronously or in threads, and renders the latest values for a scrape."""

from __future__ import annotations

import platform
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from foreshock_exporter.common.log import ProblemLog, log
from foreshock_exporter.common.version import version
from foreshock_exporter.exposition.families import snapshot_families
from foreshock_exporter.exposition.text_format import render
from foreshock_exporter.gpu.collector import GpuCollector, GpuOptions
from foreshock_exporter.gpu.sampler import Sampler
from foreshock_exporter.gpu.scheduler import Scheduler
from foreshock_exporter.gpu.snapshot import CollectorRun, Snapshot
from foreshock_exporter.gpu.watchdog import CallKey, WatchedDriver
from foreshock_exporter.model.device import DeviceError, Driver
from foreshock_exporter.model.family import Families
from foreshock_exporter.model.service import Resolver
from foreshock_exporter.model.xid import KernelMessage

Now = Callable[[], float]
Collector = Callable[[], Families]
"""Reads one part of the host. Raises OSError or ValueError with a message for the log."""

STALE_AFTER_SECONDS = 10.0
"""Age at which a value that was not updated is no longer exposed; at least three periods."""
HUNG_AFTER_SECONDS = 3.0
"""Duration after which a driver call in flight is logged as hung."""
HOST_INTERVAL_SECONDS = 1.0
"""Interval between runs of the host collectors, reads of the kernel log, and counts of the GPUs."""
XID_WAIT_SECONDS = 0.2
"""Timeout of one wait for XID errors; `close` takes up to this long."""
XID_RETRY_SECONDS = 5.0
"""Delay before a driver without XID reports is tried again."""


COLLECTORS = frozenset(("gpu", "network", "infiniband", "netstat", "pressure", "service_cpu", "pod_resources", "dcgm"))
"""Collectors that a scrape may select. XID errors, the kernel log, and health belong to `gpu`."""


class Exporter:
    """Collects one host and keeps the latest values. `render` calls neither driver nor host.

    `render` is thread-safe. Collection is not: either call `sample` or `start` the threads.

    Args:
        host_id: `host.id` in the spans of this host.
        now: Unix seconds of a clock that never jumps; may be virtual.
        mock: whether the readings are simulated.
        host: host collectors by name; each fails alone.
        kernel_log: messages of the kernel since its last call. Raises OSError with a message for the log.
        extra: additional families, for example those of the OTLP pusher.
        timer: monotonic clock in seconds, for durations and staleness.
        wall: Unix seconds for timestamps; `now` by default.
    """

    def __init__(
        self,
        driver: Driver,
        resolver: Resolver,
        gpus: GpuOptions | None = None,
        *,
        host_id: str,
        host_name: str,
        now: Now = time.time,
        mock: bool = False,
        host: Mapping[str, Collector] | None = None,
        xid: bool = True,
        kernel_log: Callable[[], Sequence[KernelMessage]] | None = None,
        extra: Collector | None = None,
        timer: Now = time.perf_counter,
        wall: Now | None = None,
    ) -> None:
        self._driver = WatchedDriver(driver, timer)
        self._problems = ProblemLog()
        self._sampler = Sampler(self._driver, resolver, self._problems, gpus)
        self._host = dict(host or {})
        self._collects_xids = xid
        self._kernel_log = kernel_log
        self._extra = extra
        self._now = now
        self._timer = timer
        self._wall = wall or now
        self._identity = Snapshot(host_id, host_name, version(), platform.python_version(), mock)
        self._lock = threading.Lock()
        self._runs: dict[str | GpuCollector, tuple[CollectorRun, float]] = {}  # with the time of the timer
        self._host_families: dict[str, Families] = {}
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._started = False
        self._stale_after = STALE_AFTER_SECONDS
        self._hung: set[str] = set()

    def sample(self, time: float | None = None) -> None:
        """Collect everything once, at `time` of the clock `now` (default: current). Failures are logged."""
        self.sample_gpus(time)
        for name in self._host:
            self._collect_host(name)

    def sample_gpus(self, time: float | None = None) -> None:
        """Collect the GPUs once; see `sample`."""
        at = self._now() if time is None else time
        self._count_gpus()
        for collector in self._sampler.collectors:
            self._collect_gpu(collector, at)
        if self._collects_xids:
            self._collect_xids()
        if self._kernel_log is not None:
            self._collect_kernel_log()

    def snapshot(self) -> Snapshot:
        """Latest values. While threads run, values older than `STALE_AFTER_SECONDS` are left out."""
        calls = self._driver.call_ages()
        self._log_hung_calls(calls)
        stale_before = self._timer() - self._stale_after if self._started else float("-inf")
        collectors = self._sampler.collectors
        with self._lock:
            runs, host_families = self._runs.copy(), self._host_families.copy()
        fresh = {part for part, (_, updated_at) in runs.items() if updated_at >= stale_before}
        by_name: dict[str, list[CollectorRun]] = {}
        for part, (run, _) in runs.items():
            if isinstance(part, str) or part in collectors:
                run = run if part in fresh else run._replace(success=False)
                by_name.setdefault(run.collector, []).append(run)
        counted = "gpu" in runs
        return replace(
            self._identity,
            gpus=self._sampler.snapshot(lambda collector: collector in fresh, calls) if counted else None,
            first_calls={} if counted else calls,
            host={name: families for name, families in host_families.items() if name in fresh},
            runs=tuple(_merged(name, parts) for name, parts in by_name.items()),
        )

    def render(self, openmetrics: bool = False, collectors: frozenset[str] | None = None) -> bytes:
        """Latest values in the Prometheus text format or OpenMetrics, optionally of some collectors only.

        Raises:
            ValueError: a collector is unknown.
        """
        snapshot = self.snapshot()
        if collectors is not None:
            if unknown := collectors - COLLECTORS:
                raise ValueError(
                    f"Unknown collector {', '.join(sorted(unknown))} (known: {', '.join(sorted(COLLECTORS))})"
                )
            snapshot = replace(
                snapshot,
                gpus=snapshot.gpus if "gpu" in collectors else None,
                host={name: families for name, families in snapshot.host.items() if name in collectors},
            )
        return render([*snapshot_families(snapshot), *(self._extra() if self._extra else ())], openmetrics=openmetrics)

    def ready(self) -> bool:
        """Whether a scrape has GPU values: a GPU was collected recently, or the host has none."""
        gpus = self.snapshot().gpus
        return gpus is not None and (bool(gpus.gpus) or not (gpus.call_ages or gpus.expected))

    def start(self, period: float = 0.1) -> None:
        """Collect each GPU every `period` seconds, in threads. A hung call stops only the collection that made it."""
        if self._started:
            raise RuntimeError("this exporter has been started")
        self._started = True
        self._stale_after = max(STALE_AFTER_SECONDS, 3.0 * period)
        slow_period = max(HOST_INTERVAL_SECONDS, period)
        scheduler = Scheduler(self._collect_gpu, self._start_thread, period, time.monotonic)
        self._start_thread("gpu", lambda _: self._supervise(scheduler), slow_period)
        for name in self._host:
            self._start_thread(name, partial(self._collect_host, name), slow_period)
        if self._collects_xids:
            self._start_thread("xid", lambda _: self._wait_for_xids(), 0.0)
        if self._kernel_log is not None:
            self._start_thread("kernel_log", lambda _: self._collect_kernel_log(), HOST_INTERVAL_SECONDS)

    def close(self, timeout: float = 0.5) -> None:
        """Stop the threads and close the driver. A thread in a hung call is abandoned after `timeout` seconds."""
        self._stop.set()
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        closer = threading.Thread(target=self._driver.close, daemon=True, name="close")
        closer.start()
        closer.join(max(0.1, deadline - time.monotonic()))

    def _start_thread(self, name: str, step: Callable[[float], object], period: float) -> None:
        thread = threading.Thread(target=self._loop, args=(step, period), daemon=True, name=name)
        with self._lock:
            self._threads = [*(running for running in self._threads if running.is_alive()), thread]
            thread.start()

    def _loop(self, step: Callable[[float], object], period: float) -> None:
        """Repeat `step` until `close`, or until it returns True."""
        subject = f"thread {threading.current_thread().name}"
        while not self._stop.is_set():
            try:
                if step(self._now()):
                    return
            except Exception as error:  # noqa: BLE001 - outermost loop: a failed pass must not end the thread
                self._problems.report(subject, f"a pass failed: {error!r}; the next is in {period:g} s", exc_info=True)
            else:
                self._problems.resolve(subject)
            self._stop.wait(period)

    def _supervise(self, scheduler: Scheduler[GpuCollector]) -> None:
        """Log hung calls, count the GPUs, and schedule their collection."""
        self._log_hung_calls(self._driver.call_ages())
        self._count_gpus()
        scheduler.schedule(self._sampler.collectors)

    def _wait_for_xids(self) -> None:
        if not self._collect_xids(XID_WAIT_SECONDS):
            self._stop.wait(XID_RETRY_SECONDS)

    def _count_gpus(self) -> None:
        began = self._timer()
        self._record_run("gpu", "gpu", self._sampler.count_gpus(), began)

    def _collect_gpu(self, collector: GpuCollector, at: float) -> None:
        began = self._timer()
        try:
            collector.collect(at)
        except Exception as error:  # noqa: BLE001 - an error in one GPU must not stop the others
            collector.fail(f"a pass failed: {error!r}")
            log.debug("a pass failed", exc_info=True)
        self._record_run(collector, "gpu", not collector.failed, began)

    def _collect_xids(self, timeout: float = 0.0) -> bool:
        """Collect XID errors. False if the driver does not report them or has no GPU."""
        began = self._timer()
        try:
            if self._sampler.collectors:
                self._sampler.collect_xids(self._wall, timeout)
        except DeviceError as error:
            if error.reason != "not_supported":
                self._problems.report("XID errors", str(error))
            self._record_run("xid", "xid", False, began)
            return False
        self._problems.resolve("XID errors")
        self._record_run("xid", "xid", True, began)
        return bool(self._sampler.collectors)

    def _collect_kernel_log(self) -> None:
        """Count the errors that the kernel logged; on failure, none."""
        began = self._timer()
        try:
            messages = self._kernel_log() if self._kernel_log else ()
        except OSError as error:
            self._problems.report("kernel log", str(error))
            self._record_run("kernel_log", "kernel_log", False, began)
            return
        self._sampler.add_kernel_messages(messages, self._wall())
        self._problems.resolve("kernel log")
        self._record_run("kernel_log", "kernel_log", True, began)

    def _collect_host(self, name: str, _: float = 0.0) -> None:
        """Run a host collector; its families are empty if it fails."""
        began = self._timer()
        try:
            families = self._host[name]()
        except Exception as error:  # noqa: BLE001 - an error in one collector must not stop the others
            log.debug("collector %s failed", name, exc_info=True)
            self._problems.report(f"collector {name}", str(error))
            families, success = (), False
        else:
            self._problems.resolve(f"collector {name}")
            success = True
        with self._lock:
            self._host_families[name] = families
        self._record_run(name, name, success, began)

    def _record_run(self, part: str | GpuCollector, collector: str, success: bool, began: float) -> None:
        ended = self._timer()
        run = CollectorRun(collector, success, ended - began, self._wall())
        with self._lock:
            self._runs[part] = run, ended

    def _log_hung_calls(self, calls: Mapping[CallKey, float]) -> None:
        """Log each hung call once, and once more when it returns."""
        hung = {_call_name(key) for key, age in calls.items() if age > HUNG_AFTER_SECONDS}
        for subject in hung:
            self._problems.report(subject, "has not returned; its metrics are unavailable until it does")
        for subject in self._hung - hung:
            self._problems.resolve(subject)
        self._hung = hung


def _call_name(key: CallKey) -> str:
    index, call = key
    return f"call {call} of {'the GPU driver' if index is None else f'GPU {index}'}"


def _merged(name: str, runs: Sequence[CollectorRun]) -> CollectorRun:
    """Last runs of the parts of a collector as one."""
    return CollectorRun(
        name, all(run.success for run in runs), sum(run.duration for run in runs), max(run.finished for run in runs)
    )
