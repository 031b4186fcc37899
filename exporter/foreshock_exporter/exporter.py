"""One host's exporter: samples at a given time or in threads, and renders the last snapshot for a scrape."""

from __future__ import annotations

import platform
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from importlib import metadata
from typing import Any, TypeVar

from foreshock_exporter.device import Driver
from foreshock_exporter.emit import emit
from foreshock_exporter.log import Notices, log
from foreshock_exporter.sampler import Sampler
from foreshock_exporter.service import Resolver
from foreshock_exporter.snapshot import CollectorRun, GpuSnapshot, NetworkReader, PressureReader, Snapshot
from foreshock_exporter.text import render

_Read = TypeVar("_Read")
Now = Callable[[], float]
Wait = Callable[[float], bool]
"""Waits so many seconds; true ends the loop."""

STALE_AFTER = 30.0
"""Seconds on the wall, or three periods, after which a reading not renewed is no longer shown (a hung call)."""


class Exporter:
    """Reads one host and keeps the last complete snapshot. `render` touches neither driver nor host.

    Safe to render from any thread. Sampling is for one caller at a time: either call `sample`, or `start` the threads.

    Args:
        driver: the GPUs.
        resolver: finds the service of a process.
        host_id: as `host.id` of the spans of this host.
        host_name: as people call it.
        now: Unix seconds, of a clock that does not jump; may be a virtual one.
        mock: whether the readings are simulated.
        network: reads the interfaces; None leaves `node_network_*` out.
        pressure: reads the pressure totals; None leaves `node_pressure_*` out.
        timer: a steady clock in seconds on the wall, for durations and staleness.
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
        network: NetworkReader | None = None,
        pressure: PressureReader | None = None,
        timer: Now = time.perf_counter,
    ) -> None:
        self._driver = driver
        self._notices = Notices()
        self._sampler = Sampler(driver, resolver, self._notices)
        self._network = network
        self._pressure = pressure
        self._now = now
        self._timer = timer
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._renewed: dict[str, float] = {}
        self._stale_after = STALE_AFTER
        self._snapshot = Snapshot(host_id, host_name, version(), platform.python_version(), mock)
        self._rendered: tuple[Snapshot, bytes] | None = None

    def sample(self, time: float | None = None) -> None:
        """Read everything once, at `time` on the clock `now` (by default, now). Failures are told, not raised."""
        at = self._now() if time is None else time
        self._sample_gpus(at)
        self._sample_host(at)

    def snapshot(self) -> Snapshot:
        """What is known now. While threads run, a part that was not renewed for `STALE_AFTER` is left out."""
        with self._lock:
            snapshot, stale = self._snapshot, self._stale()
        return _without(snapshot, stale) if stale else snapshot

    def render(self) -> bytes:
        """The last snapshot in the Prometheus text format."""
        snapshot = self.snapshot()
        rendered = self._rendered
        if rendered is None or rendered[0] is not snapshot:
            self._rendered = rendered = (snapshot, render(emit(snapshot)))
        return rendered[1]

    def ready(self) -> bool:
        """Whether a scrape would tell of the GPUs: they have been sampled, and not too long ago."""
        with self._lock:
            return "gpu" in self._renewed and "gpu" not in self._stale()

    def start(self, period: float = 1.0, wait: Wait | None = None) -> None:
        """Sample every `period` seconds in two threads, so that a driver call that hangs does not stop the host's part.

        Args:
            period: seconds on the clock `now`.
            wait: how to wait; by default on the wall, until `close`.
        """
        if self._threads:
            raise RuntimeError("this exporter has been started")
        self._stale_after = max(STALE_AFTER, 3.0 * period)
        pause = wait or self._stop.wait
        for part in (self._sample_gpus, self._sample_host):
            thread = threading.Thread(target=self._loop, args=(part, period, pause), daemon=True, name=part.__name__)
            self._threads.append(thread)
            thread.start()

    def close(self, timeout: float = 0.5) -> None:
        """Stop the threads and let go of the driver.

        A thread in a hung driver call is left behind after `timeout` seconds, and the driver with it.
        """
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout)
        if not any(thread.is_alive() for thread in self._threads):
            self._driver.close()

    def _loop(self, part: Callable[[float], None], period: float, wait: Wait) -> None:
        while not self._stop.is_set():
            try:
                part(self._now())
            except Exception:  # noqa: BLE001 - outermost loop: whatever one pass meets, the next one goes on
                log.exception("a pass failed; the next is in %g s", period)
            if wait(period):
                return

    def _sample_gpus(self, at: float) -> None:
        began = self._timer()
        gpus = self._sampler.sample(at)
        took = self._timer() - began
        self._publish(CollectorRun("gpu", not gpus.failed, took, at), gpus=gpus)

    def _sample_host(self, at: float) -> None:
        if self._network is not None:
            interfaces, run = self._read("network", self._network, at)
            self._publish(run, network=interfaces or ())
        if self._pressure is not None:
            pressure, run = self._read("pressure", self._pressure, at)
            self._publish(run, pressure=pressure)

    def _read(self, collector: str, reader: Callable[[], _Read], at: float) -> tuple[_Read | None, CollectorRun]:
        """What the reader gives, or None where it fails, and how it went."""
        began = self._timer()
        try:
            found = reader()
        except (OSError, ValueError) as error:
            self._notices.problem(f"collector {collector}", str(error))
            return None, CollectorRun(collector, False, self._timer() - began, at)
        self._notices.fine(f"collector {collector}")
        return found, CollectorRun(collector, True, self._timer() - began, at)

    def _publish(self, run: CollectorRun, **parts: Any) -> None:  # noqa: ANN401 - fields of Snapshot
        """Replace part of the snapshot, with the run that read it."""
        renewed = self._timer()
        with self._lock:
            others = tuple(other for other in self._snapshot.runs if other.collector != run.collector)
            self._snapshot = replace(self._snapshot, runs=(*others, run), **parts)
            self._renewed[run.collector] = renewed

    def _stale(self) -> frozenset[str]:
        """Collectors whose thread has not come round for too long."""
        if not self._threads:
            return frozenset()
        oldest = self._timer() - self._stale_after
        return frozenset(name for name, at in self._renewed.items() if at < oldest)


def _without(snapshot: Snapshot, stale: frozenset[str]) -> Snapshot:
    """The snapshot without the parts that these collectors should have renewed."""
    return replace(
        snapshot,
        gpus=_unanswered(snapshot.gpus) if "gpu" in stale and snapshot.gpus else snapshot.gpus,
        network=() if "network" in stale else snapshot.network,
        pressure=None if "pressure" in stale else snapshot.pressure,
        runs=tuple(replace(run, success=run.success and run.collector not in stale) for run in snapshot.runs),
    )


def _unanswered(gpus: GpuSnapshot) -> GpuSnapshot:
    return replace(gpus, gpus=(), lost=dict.fromkeys(gpus.lost, True))


def version() -> str:
    """The installed version, or "unknown" when run from a tree that is not installed."""
    try:
        return metadata.version("foreshock")
    except metadata.PackageNotFoundError:
        return "unknown"
