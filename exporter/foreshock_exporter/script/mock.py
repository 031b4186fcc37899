"""Driver, resolver, and host collectors that play a device script."""

from __future__ import annotations

import sys
import threading
import time
import uuid
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import NamedTuple

from foreshock_exporter.host import metrics
from foreshock_exporter.model import device
from foreshock_exporter.model.family import Families
from foreshock_exporter.model.service import AttributedService, Resolver
from foreshock_exporter.script import driver_view
from foreshock_exporter.script.files import STDIN, LiveScript, load_script
from foreshock_exporter.script.gpu import PlayedGpu, SampleWindow, sample_windows
from foreshock_exporter.script.lines import ScriptError
from foreshock_exporter.script.playback import Playback, PlayedHost
from foreshock_exporter.script.wave import Wave

POLL_SECONDS = 0.05
"""Interval between checks of a hung call, and for new XIDs."""
PACKET_BYTES = 1400.0
HEADER_TIMEOUT_SECONDS = 1.0
"""Longest wait for the first line on standard input, which names the host."""

Now = Callable[[], float]


class ScriptDriver:
    """`Driver` of a device script. A call to a hung GPU blocks until the script clears the fault, or `close`.

    `now` returns Unix seconds. `per_link`: whether counters include each NVLink.
    """

    def __init__(
        self, playback: Playback, now: Now, *, per_link: bool = False, on_close: Callable[[], None] | None = None
    ) -> None:
        self._playback = playback
        self._now = now
        self._per_link = per_link
        self._on_close = on_close
        self._closed = threading.Event()
        self._reported = 0

    def count(self) -> int:
        """Number of described GPUs, without late ones at the end."""
        gpus = self._state()[0].gpus
        return max((gpu.index + 1 for gpu in gpus if gpu.fault != "late"), default=0)

    def identity(self, gpu: int) -> device.Identity:
        return driver_view.identity(self._responsive_gpu(gpu)[0])

    def utilization(self, gpu: int, since_us: int) -> Sequence[device.UtilizationSample]:
        state, windows = self._windows(gpu, since_us, "utilization")
        return driver_view.samples(state, windows, self._playback.start_us)

    def process_utilization(self, gpu: int, since_us: int) -> Sequence[device.ProcessUtilization]:
        """Mean share of each process that ran since `since_us`, with the end of the last period."""
        _, windows = self._windows(gpu, since_us, "process_utilization")
        totals: dict[int, float] = {}
        for window in windows:
            for pid, share in window.process_shares().items():
                totals[pid] = totals.get(pid, 0.0) + share
        end_us = self._playback.start_us + (windows[-1].end_us if windows else 0)
        return [device.ProcessUtilization(pid, end_us, total / len(windows)) for pid, total in totals.items()]

    def read(self, gpu: int) -> device.Reading:
        return driver_view.reading(*self._responsive_gpu(gpu, "read"))

    def counters(self, gpu: int, only: Collection[str] = ()) -> device.Counters:  # noqa: ARG002 - all cost the same
        result = driver_view.counters(*self._responsive_gpu(gpu, "counters"))
        return result if self._per_link else replace(result, nvlink_links={})

    def activity(self, gpu: int, instances: Collection[int]) -> device.Activity:  # noqa: ARG002 - the script has them
        return driver_view.activity(*self._responsive_gpu(gpu, "activity"))

    def health(self, gpu: int) -> device.Health:
        return driver_view.health(*self._responsive_gpu(gpu, "health"))

    def processes(self, gpu: int) -> device.Processes:
        state, _ = self._responsive_gpu(gpu, "processes")
        return device.Processes(
            tuple(device.GpuProcess(pid, process.memory_bytes, process.mps) for pid, process in state.processes.items())
        )

    def xids(self, timeout: float) -> Sequence[device.Xid]:
        """XIDs since the last call, without those of GPUs that refuse them."""
        deadline = time.monotonic() + timeout
        while True:
            state, _ = self._state()
            if state.gpus and all("xids" in gpu.device.refuses for gpu in state.gpus):
                raise device.DeviceError("not_supported", "the device script says that its GPUs report no XIDs")
            xids = self._new_xids(state)
            remaining = deadline - time.monotonic()
            if xids or remaining <= 0.0 or self._closed.wait(min(remaining, POLL_SECONDS)):
                return xids

    def service(self, pid: int) -> AttributedService | None:
        """Service of a process on any GPU; None without one. A `Resolver`."""
        for gpu in self._state()[0].gpus:
            if pid in gpu.processes and gpu.processes[pid].service[1]:
                return AttributedService(*gpu.processes[pid].service, "simulated")
        return None

    def close(self) -> None:
        """Unblock hung calls."""
        self._closed.set()
        if self._on_close is not None:
            self._on_close()

    def _state(self) -> tuple[PlayedHost, int]:
        return self._playback.state_at(self._now())

    def _responsive_gpu(self, gpu: int, method: str = "") -> tuple[PlayedGpu, int]:
        """GPU and time in µs from the start, once the GPU responds."""
        while True:
            state, us = self._state()
            if not 0 <= gpu < len(state.gpus):
                raise device.DeviceError("not_found", f"the device script has no GPU {gpu}")
            gpu_state = state.gpus[gpu]
            if gpu_state.fault == "lost":
                raise device.DeviceError("lost", f"the device script says that GPU {gpu} fell off the bus")
            if gpu_state.fault == "late":
                raise device.DeviceError("not_found", f"the device script says that GPU {gpu} has not come yet")
            if gpu_state.fault != "hang":
                break
            if self._closed.wait(POLL_SECONDS):
                raise device.DeviceError("driver", f"the call to GPU {gpu} hung until the driver was closed")
        if method in driver_view.refused(gpu_state.device):
            raise device.DeviceError(
                "not_supported", f"the device script says that GPU {gpu} does not support {method}"
            )
        return gpu_state, us

    def _windows(self, gpu: int, since_us: int, method: str) -> tuple[PlayedGpu, tuple[SampleWindow, ...]]:
        state, us = self._responsive_gpu(gpu, method)
        return state, sample_windows(state, us, max(-1, since_us - self._playback.start_us))

    def _new_xids(self, state: PlayedHost) -> list[device.Xid]:
        new = state.xids[max(0, self._reported - state.xids_before) :]
        self._reported = max(self._reported, state.xids_before + len(state.xids))
        return [
            device.Xid(state.gpus[xid.gpu].uuid, xid.xid)
            for xid in new
            if "xids" not in state.gpus[xid.gpu].device.refuses
        ]


class OpenScript(NamedTuple):
    """Playing script in place of a real host. `driver.close` ends it."""

    driver: ScriptDriver
    resolver: Resolver
    host_id: str
    host_name: str


def open_script(name: str, now: Now, *, per_link: bool = False, descriptor: int | None = None) -> OpenScript:
    """Start a device script now.

    `name` is a built-in script, a file, or "-" for live lines on standard input or `descriptor`.

    Raises:
        ScriptError: the file is unreadable or a line is wrong; the message has the remedy.
    """
    if name == STDIN:
        live = LiveScript(_standard_input() if descriptor is None else descriptor, now)
        live.wait(HEADER_TIMEOUT_SECONDS)
        playback, on_close = live.playback, live.close
    else:
        playback, on_close = Playback(load_script(name), now()), None
    driver = ScriptDriver(playback, now, per_link=per_link, on_close=on_close)
    header = playback.header
    host_id = header.host_id or uuid.uuid5(uuid.NAMESPACE_DNS, header.host).hex
    return OpenScript(driver, driver.service, host_id, header.host)


def _standard_input() -> int:
    if sys.stdin is None:  # closed from the start: its number may be that of another file by now
        raise ScriptError("standard input is closed, so that no device script can come from it; give a file instead")
    return sys.stdin.fileno()


def mock_network(now: Now) -> Callable[[], Families]:
    """Network collector with one busy 25 Gbit/s interface since now. `now` returns Unix seconds."""
    began = now()
    rates = {"receive": Wave(0.9e9, 0.3e9, 120.0), "transmit": Wave(0.6e9, 0.2e9, 120.0)}

    def collect() -> Families:
        values = dict.fromkeys(metrics.NETWORK_COUNTERS, 0.0) | {"up": 1.0, "speed_bytes": 25e9 / 8}
        for way, rate in rates.items():
            carried = rate.integral(0.0, max(0.0, now() - began))
            values |= {f"{way}_bytes": carried // 1, f"{way}_packets": carried // PACKET_BYTES}
        return metrics.families(metrics.NETWORK, [(("eth0",), values)])

    return collect


def mock_pressure(now: Now) -> Callable[[], Families]:
    """Pressure collector with some waiting for CPU since now. `now` returns Unix seconds."""
    began = now()
    shares = {"cpu some": 0.03, "io some": 0.002, "io full": 0.001, "memory some": 0.0005, "memory full": 0.0002}

    def collect() -> Families:
        seconds = max(0.0, now() - began)
        return metrics.families(metrics.PRESSURE, [((), {field: seconds * share for field, share in shares.items()})])

    return collect
