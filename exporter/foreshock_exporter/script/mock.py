"""The exporter without a GPU: a driver, a resolver and a host that a device script plays. Nothing downstream knows."""

from __future__ import annotations

import sys
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from foreshock_exporter.host import network, pressure
from foreshock_exporter.host.network import InterfaceCounters
from foreshock_exporter.host.pressure import Pressure
from foreshock_exporter.model.device import (
    Counters,
    DeviceError,
    GpuProcess,
    Health,
    Identity,
    ProcessUtilization,
    Reading,
    UtilizationSample,
    Xid,
)
from foreshock_exporter.model.family import Families
from foreshock_exporter.model.service import AttributedService, Resolver
from foreshock_exporter.script.driver_view import (
    counters,
    health,
    identity,
    process_samples,
    processes,
    reading,
    refused,
    samples,
)
from foreshock_exporter.script.files import STDIN, LiveScript, load_script
from foreshock_exporter.script.gpu import PlayedGpu, SampleWindow, sample_windows
from foreshock_exporter.script.lines import ScriptError
from foreshock_exporter.script.playback import Playback, PlayedHost
from foreshock_exporter.script.state import process_means
from foreshock_exporter.script.wave import Wave

POLL_SECONDS = 0.05
"""Seconds between two looks whether a hung call may go on, or an XID has come."""
HEADER_TIMEOUT_SECONDS = 1.0
"""Seconds that the first line on standard input is waited for, to learn the host's name."""

Now = Callable[[], float]


class ScriptDriver:
    """`Driver` of a device script. A call to a GPU that hangs blocks until the script clears it, or `close`.

    Args:
        playback: the script.
        now: Unix seconds.
        per_link: whether to give the bytes of each NVLink apart.
        closed: what else is to happen at `close`.
    """

    def __init__(
        self, playback: Playback, now: Now, *, per_link: bool = False, closed: Callable[[], None] | None = None
    ) -> None:
        self._playback = playback
        self._now = now
        self._per_link = per_link
        self._after_close = closed
        self._closed = threading.Event()
        self._reported = 0

    def count(self) -> int:
        """All that are described, without those at the end that are late."""
        gpus = self._moment()[0].gpus
        return max((gpu.index + 1 for gpu in gpus if gpu.fault != "late"), default=0)

    def identity(self, gpu: int) -> Identity:
        """What the GPU is."""
        return identity(self._answering(gpu)[0])

    def utilization(self, gpu: int, since_us: int) -> Sequence[UtilizationSample]:
        """The samples of about ten seconds that are newer than this."""
        state, windows = self._windows(gpu, since_us, "utilization")
        return samples(state, windows, self._playback.start_us)

    def process_utilization(self, gpu: int, since_us: int) -> Sequence[ProcessUtilization]:
        """The mean since then of each process that ran; the time is the end of the last sampling period."""
        start_us = self._playback.start_us
        _, windows = self._windows(gpu, since_us, "process_utilization")
        return process_means([start_us + window.end_us for window in windows], process_samples(windows, start_us))

    def read(self, gpu: int) -> Reading:
        """Its state now."""
        return reading(*self._answering(gpu, "read"))

    def counters(self, gpu: int) -> Counters:
        """Its counters now."""
        found = counters(*self._answering(gpu, "counters"))
        return found if self._per_link else replace(found, nvlink_links={})

    def health(self, gpu: int) -> Health:
        """Its health now."""
        return health(*self._answering(gpu, "health"))

    def processes(self, gpu: int) -> Sequence[GpuProcess]:
        """The processes that hold it."""
        state, _ = self._answering(gpu, "processes")
        return [GpuProcess(process.pid, process.memory_bytes) for process in processes(state)]

    def xids(self, timeout: float) -> Sequence[Xid]:
        """The errors since the last call; GPUs that refuse them report none."""
        until = time.monotonic() + timeout
        while True:
            state, _ = self._moment()
            if state.gpus and all("xids" in gpu.device.refuses for gpu in state.gpus):
                raise DeviceError("not_supported", "the device script says that its GPUs report no XIDs")
            found = self._fresh(state)
            left = until - time.monotonic()
            if found or left <= 0.0 or self._closed.wait(min(left, POLL_SECONDS)):
                return found

    def close(self) -> None:
        """Let calls that hang come back."""
        self._closed.set()
        if self._after_close is not None:
            self._after_close()

    def _moment(self) -> tuple[PlayedHost, int]:
        return self._playback.moment(self._now())

    def _answering(self, gpu: int, method: str = "") -> tuple[PlayedGpu, int]:
        """The GPU and the time in µs from the start, once it answers."""
        while True:
            state, us = self._moment()
            if not 0 <= gpu < len(state.gpus):
                raise DeviceError("not_found", f"the device script has no GPU {gpu}")
            found = state.gpus[gpu]
            if found.fault == "lost":
                raise DeviceError("lost", f"the device script says that GPU {gpu} fell off the bus")
            if found.fault == "late":
                raise DeviceError("not_found", f"the device script says that GPU {gpu} has not come yet")
            if found.fault != "hang":
                break
            if self._closed.wait(POLL_SECONDS):
                raise DeviceError("driver", f"the call to GPU {gpu} hung until the driver was closed")
        if method in refused(found.device):
            raise DeviceError("not_supported", f"the device script says that GPU {gpu} does not support {method}")
        return found, us

    def _windows(self, gpu: int, since_us: int, method: str) -> tuple[PlayedGpu, tuple[SampleWindow, ...]]:
        state, us = self._answering(gpu, method)
        return state, sample_windows(state, us, max(-1, since_us - self._playback.start_us))

    def _fresh(self, state: PlayedHost) -> list[Xid]:
        new = state.xids[max(0, self._reported - state.xids_before) :]
        self._reported = max(self._reported, state.xids_before + len(state.xids))
        return [
            Xid(state.gpus[xid.gpu].uuid, xid.xid) for xid in new if "xids" not in state.gpus[xid.gpu].device.refuses
        ]


class ScriptResolver:
    """`Resolver` of a device script: the service that it gives a process; None for a process without one, or gone."""

    def __init__(self, playback: Playback, now: Now) -> None:
        self._playback = playback
        self._now = now

    def __call__(self, pid: int) -> AttributedService | None:
        """Look the process up on all GPUs."""
        for gpu in self._playback.moment(self._now())[0].gpus:
            if pid in gpu.processes and gpu.processes[pid].service[1]:
                return AttributedService(*gpu.processes[pid].service, "simulated")
        return None


class OpenScript(NamedTuple):
    """A script that plays: what stands for the real host. `close` of the driver ends it."""

    driver: ScriptDriver
    resolver: Resolver
    host_id: str
    host_name: str


def open_script(name: str, now: Now, *, per_link: bool = False, descriptor: int | None = None) -> OpenScript:
    """Start a device script now.

    Args:
        name: a built-in script, a file, or "-" for lines that come live on standard input.
        now: Unix seconds.
        per_link: whether to give the bytes of each NVLink apart.
        descriptor: where live lines come from instead of standard input.

    Raises:
        ScriptError: the file cannot be read or a line of it is wrong; the message says which and what to do.
    """
    if name == STDIN:
        live = LiveScript(_standard_input() if descriptor is None else descriptor, now)
        live.wait(HEADER_TIMEOUT_SECONDS)
        playback, closed = live.playback, live.close
    else:
        playback, closed = Playback(load_script(name), now()), None
    driver = ScriptDriver(playback, now, per_link=per_link, closed=closed)
    header = playback.header
    host_id = header.host_id or uuid.uuid5(uuid.NAMESPACE_DNS, header.host).hex
    return OpenScript(driver, ScriptResolver(playback, now), host_id, header.host)


def _standard_input() -> int:
    if sys.stdin is None:  # closed from the start: its number may be that of another file by now
        raise ScriptError("standard input is closed, so that no device script can come from it; give a file instead")
    return sys.stdin.fileno()


class MockNetwork:
    """Collector of a host's network: one 25 Gbit/s interface that is well used. `now` gives Unix seconds."""

    _RECEIVE = Wave(0.9e9, 0.3e9, 120.0)
    _TRANSMIT = Wave(0.6e9, 0.2e9, 120.0)
    _PACKET = 1400.0

    def __init__(self, now: Now) -> None:
        self._now = now
        self._began = now()

    def __call__(self) -> Families:
        """The counters now."""
        return network.families((self.read(),))

    def read(self) -> InterfaceCounters:
        """The same before it is emitted."""
        seconds = max(0.0, self._now() - self._began)
        received, sent = self._RECEIVE.between(0.0, seconds), self._TRANSMIT.between(0.0, seconds)
        return InterfaceCounters(
            "eth0",
            receive_bytes=received // 1,
            receive_packets=received // self._PACKET,
            receive_errors=0.0,
            receive_drops=0.0,
            transmit_bytes=sent // 1,
            transmit_packets=sent // self._PACKET,
            transmit_errors=0.0,
            transmit_drops=0.0,
            up=True,
            speed_bytes=25e9 / 8,
        )


class MockPressure:
    """Collector of a host's pressure: some waiting for CPU, next to none for the rest. `now` gives Unix seconds."""

    _SHARES = (0.03, 0.002, 0.001, 0.0005, 0.0002)

    def __init__(self, now: Now) -> None:
        self._now = now
        self._began = now()

    def __call__(self) -> Families:
        """The totals now."""
        seconds = max(0.0, self._now() - self._began)
        return pressure.families(Pressure(*(seconds * share for share in self._SHARES)))
