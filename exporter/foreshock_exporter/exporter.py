"""One host's exporter: samples at a given time or in threads, and renders what is known for a scrape."""

from __future__ import annotations

import platform
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial

from foreshock_exporter.common.log import ProblemLog, log
from foreshock_exporter.common.version import version
from foreshock_exporter.exposition.families import snapshot_families
from foreshock_exporter.exposition.text_format import render
from foreshock_exporter.gpu.collector import GpuCollector, Observe
from foreshock_exporter.gpu.pools import Pools
from foreshock_exporter.gpu.sampler import Sampler
from foreshock_exporter.gpu.scheduler import Scheduler
from foreshock_exporter.gpu.snapshot import CollectorRun, Snapshot
from foreshock_exporter.gpu.watchdog import CallKey, WatchedDriver
from foreshock_exporter.model.device import DeviceError, Driver
from foreshock_exporter.model.family import Families
from foreshock_exporter.model.service import Resolver

Now = Callable[[], float]
Collector = Callable[[], Families]
"""Reads a part of the host now. Raises OSError or ValueError with a message for people."""

STALE_AFTER_SECONDS = 10.0
"""Seconds on the wall, or three periods, after which a part not renewed is no longer shown (a hung call)."""
HUNG_AFTER_SECONDS = 3.0
"""Seconds after which a driver call that has not returned is told in the log."""
HOST_INTERVAL_SECONDS = 1.0
"""Seconds between two looks at the host, and at how many GPUs there are."""
XID_WAIT_SECONDS = 0.2
"""Seconds for which errors of the GPUs are waited for at a time; stopping takes as long."""
XID_RETRY_SECONDS = 5.0
"""Seconds after which a driver that reports no errors is asked again: it may have come meanwhile."""


COLLECTORS = frozenset(("gpu", "network", "infiniband", "netstat", "pressure"))
"""What a scrape may be limited to; one that is switched off gives nothing. XID errors and health are of `gpu`."""


class Exporter:
    """Reads one host and keeps what it last found. `render` touches neither driver nor host.

    Safe to render from any thread. Sampling is for one caller at a time: either call `sample`, or `start` the threads.

    Args:
        driver: the GPUs.
        resolver: finds the service of a process.
        host_id: as `host.id` of the spans of this host.
        host_name: as people call it.
        now: Unix seconds, of a clock that does not jump; may be a virtual one.
        mock: whether the readings are simulated.
        host: the collectors of the host by name; each is read by itself.
        expected: GPUs that the host has at least, whether or not the driver names them.
        health: whether to ask for the GPUs' health.
        xid: whether to listen for the GPUs' errors.
        unattributed: why no process can be told whose it is, in a word fit for a label, if so.
        observe: told of each settled sample of a GPU with services on it, from whichever thread passed over it.
        pools: which pools GPUs are in.
        extra: families that something else keeps about its part of the exporter.
        timer: a steady clock in seconds on the wall, for durations and staleness.
        wall: Unix seconds as people read them, for when things happened; `now` where that is such a clock.
    """

    def __init__(
        self,
        driver: Driver,
        resolver: Resolver,
        *,
        host_id: str,
        host_name: str,
        now: Now = time.time,
        mock: bool = False,
        host: Mapping[str, Collector] | None = None,
        expected: int = 0,
        health: bool = True,
        xid: bool = True,
        unattributed: str = "",
        observe: Observe | None = None,
        pools: Pools | None = None,
        extra: Collector | None = None,
        timer: Now = time.perf_counter,
        wall: Now | None = None,
    ) -> None:
        self._driver = WatchedDriver(driver, timer)
        self._notices = ProblemLog()
        self._sampler = Sampler(
            self._driver,
            resolver,
            self._notices,
            expected=expected,
            health=health,
            unattributed=unattributed,
            observe=observe,
            pools=pools,
        )
        self._host = dict(host or {})
        self._listens = xid
        self._extra = extra
        self._now = now
        self._timer = timer
        self._wall = wall or now
        self._identity = Snapshot(host_id, host_name, version(), platform.python_version(), mock)
        self._lock = threading.Lock()
        self._runs: dict[str | GpuCollector, CollectorRun] = {}
        self._renewed: dict[str | GpuCollector, float] = {}
        self._found: dict[str, Families] = {}
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._started = False
        self._stale_after = STALE_AFTER_SECONDS
        self._hung: set[str] = set()

    def sample(self, time: float | None = None) -> None:
        """Read everything once, at `time` on the clock `now` (by default, now). Failures are told, not raised."""
        self.sample_gpus(time)
        for name in self._host:
            self._collect(name)

    def sample_gpus(self, time: float | None = None) -> None:
        """The same of the GPUs alone."""
        at = self._now() if time is None else time
        self._count()
        for lane in self._sampler.lanes:
            self._look(lane, at)
        if self._listens:
            self._listen()

    def snapshot(self) -> Snapshot:
        """What is known now. While threads run, a part that was not renewed for `STALE_AFTER` is left out."""
        calls = self._driver.ages()
        self._tell(calls)
        oldest = self._timer() - self._stale_after if self._started else float("-inf")
        with self._lock:
            runs, found = self._runs.copy(), self._found.copy()
            fresh = {part for part, renewed in self._renewed.items() if renewed >= oldest}
        return replace(
            self._identity,
            gpus=self._sampler.snapshot(lambda lane: lane in fresh, calls) if "gpu" in runs else None,
            host={name: families for name, families in found.items() if name in fresh},
            runs=(_gpu_run(runs, fresh, self._sampler.lanes), *_host_runs(runs, fresh)) if runs else (),
        )

    def render(self, openmetrics: bool = False, collectors: frozenset[str] | None = None) -> bytes:
        """What is known now in the Prometheus text format, or OpenMetrics; of these collectors alone, where named.

        Raises:
            ValueError: there is no such collector.
        """
        snapshot = self.snapshot()
        if collectors is not None:
            if unknown := collectors - COLLECTORS:
                raise ValueError(
                    f"No collector {', '.join(sorted(unknown))}; there are {', '.join(sorted(COLLECTORS))}"
                )
            snapshot = replace(
                snapshot,
                gpus=snapshot.gpus if "gpu" in collectors else None,
                host={name: families for name, families in snapshot.host.items() if name in collectors},
            )
        return render([*snapshot_families(snapshot), *(self._extra() if self._extra else ())], openmetrics=openmetrics)

    def ready(self) -> bool:
        """Whether a scrape would tell of the GPUs: one has been sampled lately, or the host has none."""
        gpus = self.snapshot().gpus
        return gpus is not None and (bool(gpus.gpus) or not (gpus.calls or gpus.expected))

    def start(self, period: float = 0.1) -> None:
        """Sample in threads, the GPUs as `Turns` has it and each collector by itself; a hung call stops nothing else.

        Args:
            period: seconds between two looks at a GPU.
        """
        if self._started:
            raise RuntimeError("this exporter has been started")
        self._started = True
        self._stale_after = max(STALE_AFTER_SECONDS, 3.0 * period)
        seldom = max(HOST_INTERVAL_SECONDS, period)
        turns = Scheduler(self._look, self._run, period, time.monotonic)
        self._run("gpu", lambda _: self._attend(turns), seldom)
        for name in self._host:
            self._run(name, partial(self._collect, name), seldom)
        if self._listens:
            self._run("xid", lambda _: self._listen_on(), 0.0)

    def close(self, timeout: float = 0.5) -> None:
        """Stop the threads and let go of the driver.

        A thread in a hung driver call is left behind after `timeout` seconds.
        """
        self._stop.set()
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        letting_go = threading.Thread(target=self._driver.close, daemon=True, name="close")
        letting_go.start()
        letting_go.join(max(0.1, deadline - time.monotonic()))

    def _run(self, name: str, step: Callable[[float], object], period: float) -> None:
        thread = threading.Thread(target=self._loop, args=(step, period), daemon=True, name=name)
        with self._lock:
            self._threads = [*(running for running in self._threads if running.is_alive()), thread]
            thread.start()

    def _loop(self, step: Callable[[float], object], period: float) -> None:
        """Until `close`, or until a step says with True that there is no more to do."""
        said = ""
        while not self._stop.is_set():
            try:
                if step(self._now()):
                    return
                said = ""
            except Exception as error:  # noqa: BLE001 - outermost loop: whatever one pass meets, the next one goes on
                if said != repr(error):
                    said = repr(error)
                    log.exception("a pass failed; the next is in %g s", period)
            self._stop.wait(period)

    def _attend(self, turns: Scheduler[GpuCollector]) -> None:
        """See to it that every GPU is passed over, and that calls which do not return are told."""
        self._tell(self._driver.ages())
        self._count()
        turns.attend(self._sampler.lanes)

    def _listen_on(self) -> None:
        if not self._listen(XID_WAIT_SECONDS):
            self._stop.wait(XID_RETRY_SECONDS)

    def _count(self) -> None:
        began = self._timer()
        self._note("gpu", "gpu", self._sampler.recount(), began)

    def _look(self, lane: GpuCollector, at: float) -> None:
        began = self._timer()
        try:
            lane.look(at)
        except Exception as error:  # noqa: BLE001 - outermost: what the pass over one GPU meets, costs that GPU alone
            lane.fail(f"a pass failed: {error!r}")
            log.debug("a pass failed", exc_info=True)
        self._note(lane, "gpu", not lane.failed, began)

    def _listen(self, timeout: float = 0.0) -> bool:
        """Whether the driver reports errors of GPUs; without any there is nothing to report."""
        began = self._timer()
        try:
            if self._sampler.lanes:
                self._sampler.listen(self._wall, timeout)
        except DeviceError as error:
            if error.reason != "not_supported":
                self._notices.problem("XID errors", str(error))
            self._note("xid", "xid", False, began)
            return False
        self._notices.fine("XID errors")
        self._note("xid", "xid", True, began)
        return bool(self._sampler.lanes)

    def _collect(self, name: str, _: float = 0.0) -> None:
        """Read a part of the host; where that fails, nothing is shown of it."""
        began = self._timer()
        try:
            families = self._host[name]()
        except Exception as error:  # noqa: BLE001 - outermost: what one collector meets, costs it alone
            log.debug("collector %s failed", name, exc_info=True)
            self._notices.problem(f"collector {name}", str(error))
            families, fine = (), False
        else:
            self._notices.fine(f"collector {name}")
            fine = True
        with self._lock:
            self._found[name] = families
        self._note(name, name, fine, began)

    def _note(self, part: str | GpuCollector, collector: str, fine: bool, began: float) -> None:
        """A part of a collector has just been read."""
        ended = self._timer()
        run = CollectorRun(collector, fine, ended - began, self._wall())
        with self._lock:
            self._runs[part] = run
            self._renewed[part] = ended

    def _tell(self, calls: Mapping[CallKey, float]) -> None:
        """Say once of each call that does not return that it does not, and once that it did."""
        hung = {_words(key) for key, age in calls.items() if age > HUNG_AFTER_SECONDS}
        for subject in hung:
            self._notices.problem(subject, "has not returned; what it should tell is left out until it does")
        for subject in self._hung - hung:
            self._notices.fine(subject)
        self._hung = hung


def _words(key: CallKey) -> str:
    index, call = key
    return f"call {call} of {'the GPU driver' if index is None else f'GPU {index}'}"


def _gpu_run(
    runs: Mapping[str | GpuCollector, CollectorRun], fresh: set[str | GpuCollector], lanes: tuple[GpuCollector, ...]
) -> CollectorRun:
    """How the last passes over all GPUs went, as one."""
    parts: list[str | GpuCollector] = ["gpu", *lanes]
    done = [run for part in parts if (run := runs.get(part)) is not None]
    return CollectorRun(
        "gpu",
        all(run.success for run in done) and all(part in fresh for part in parts if part in runs),
        sum(run.duration for run in done),
        max((run.finished for run in done), default=0.0),
    )


def _host_runs(
    runs: Mapping[str | GpuCollector, CollectorRun], fresh: set[str | GpuCollector]
) -> Iterator[CollectorRun]:
    for part, run in runs.items():
        if isinstance(part, str) and part != "gpu":
            yield replace(run, success=run.success and part in fresh)
