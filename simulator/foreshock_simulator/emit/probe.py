"""Readings of one GPU as its driver reports them: exact means, counters, and process utilization."""

from __future__ import annotations

import hashlib
from collections import deque
from typing import NamedTuple

from foreshock_exporter.model.device import Clock, Counters, Health, Instance, ProcessUtilization, Reading
from foreshock_simulator.emit.timeline import Timeline
from foreshock_simulator.hardware.gpu import Gpu, GpuState

MAX_MARKS = 16
"""Past samples of `shares` that a caller can refer to."""
NVLINKS = 18
PCIE_GENERATION = 5
PCIE_LANES = 16


class _Mark(NamedTuple):
    """Busy seconds of a GPU and of its processes by pid, at a time."""

    time: float
    timestamp_us: int
    busy: float
    processes: dict[int, float]


class Probe:
    """Reads a simulated GPU without changing it."""

    def __init__(self, gpu: Gpu, timeline: Timeline) -> None:
        self._gpu, self._timeline = gpu, timeline
        self._last, self._time = self._state()
        self._busy = self._dram = 0.0
        self._marks: deque[_Mark] = deque([self._mark()], maxlen=MAX_MARKS)
        self._reported_xids = 0

    @property
    def uuid(self) -> str:
        """UUID derived from host and index."""
        return _uuid("GPU", f"{self._gpu.host}/{self._gpu.index}")

    def read(self) -> Reading:
        """State of the GPU. Ratios are means since the last reading, or its means when no time has passed."""
        state, now = self._state()
        if (seconds := now - self._time) > 0.0:
            last = self._last
            self._busy = _ratio(state.busy_seconds - last.busy_seconds, seconds)
            self._dram = _ratio(state.dram_seconds - last.dram_seconds, seconds)
            self._last, self._time = state, now
        return self._reading(state)

    def counters(self) -> Counters:
        """Counters at present. Both directions of a link carry the same traffic."""
        elapsed = self._timeline.elapsed
        state = self._last if elapsed == self._time else self._gpu.state_at(elapsed)
        has_nvlink = self._gpu.model.nvlink_bandwidth > 0.0
        nvlink = state.nvlink_bytes if has_nvlink else None
        throttled = state.throttled_seconds
        return Counters(
            energy_joules=state.energy_joules,
            throttled_seconds={"power": throttled["power"], "thermal": throttled["thermal"]},
            pcie_transmit_bytes=state.pcie_bytes,
            pcie_receive_bytes=state.pcie_bytes,
            nvlink_transmit_bytes=nvlink,
            nvlink_receive_bytes=nvlink,
        )

    def health(self) -> Health:
        """Health of the GPU. An uncorrectable ECC error remaps rows; everything else is healthy."""
        model = self._gpu.model
        uncorrected = float(sum(1 for _, xid in self._gpu.xids if xid in (48, 63, 64, 94, 95)))
        links = NVLINKS if model.nvlink_bandwidth > 0.0 else None
        clocks: dict[Clock, float] = {"sm": model.clock_max_hertz, "memory": model.memory_clock_hertz}
        return Health(
            clock_max_hertz=clocks,
            ecc_errors={"corrected": 0.0, "uncorrected": uncorrected},
            remapped_rows={"corrected": 0.0, "uncorrected": uncorrected},
            row_remap_pending=uncorrected > 0.0,
            row_remap_failed=False,
            nvlink_links=links,
            nvlink_links_up=links,
            pcie_replays=0.0,
            pcie_link_width=PCIE_LANES,
            pcie_link_width_max=PCIE_LANES,
            pcie_link_generation=PCIE_GENERATION,
            pcie_link_generation_max=PCIE_GENERATION,
        )

    def process_utilization(self, since_us: int) -> list[ProcessUtilization]:
        """Exact mean utilization of each process since the sample at `since_us`, or since the oldest remembered one."""
        now = self._mark()
        before = next((mark for mark in reversed(self._marks) if mark.timestamp_us <= since_us), self._marks[0])
        if since_us <= 0:
            before = self._marks[-1]
        # A call while all processes were idle returned no sample, so the caller does not know its timestamp.
        before = next(mark for mark in reversed(self._marks) if mark.busy == before.busy)
        seconds = now.time - before.time
        if now.timestamp_us <= since_us or seconds <= 0.0:
            return []
        self._marks.append(now)
        return [
            ProcessUtilization(pid, now.timestamp_us, min(1.0, used / seconds))
            for pid, busy in now.processes.items()
            if (used := busy - before.processes.get(pid, 0.0)) > 0.0
        ]

    def xids(self) -> list[int]:
        """Xid errors since the last call."""
        new = self._gpu.xids[self._reported_xids :]
        self._reported_xids = len(self._gpu.xids)
        return [xid for _, xid in new]

    def _mark(self) -> _Mark:
        elapsed = self._timeline.elapsed
        processes = {
            worker.pid: context.busy_seconds + context.sm_share * (elapsed - self._gpu.advanced_to)
            for worker in self._gpu.workers
            for context in worker.contexts
            if context.gpu is self._gpu
        }
        timestamp_us = int((self._timeline.start + elapsed) * 1e6)
        return _Mark(elapsed, timestamp_us, self._gpu.busy_seconds_at(elapsed), processes)

    def _state(self) -> tuple[GpuState, float]:
        elapsed = self._timeline.elapsed
        return self._gpu.state_at(elapsed), elapsed

    def _reading(self, state: GpuState) -> Reading:
        model = self._gpu.model
        return Reading(
            utilization_ratio=self._busy,
            memory_busy_ratio=self._dram,
            memory_used_bytes=state.memory_used_bytes,
            memory_free_bytes=model.memory_bytes - model.reserved_bytes - state.memory_used_bytes,
            memory_reserved_bytes=model.reserved_bytes,
            memory_total_bytes=model.memory_bytes,
            power_watts=state.power_watts,
            power_limit_watts=state.power_limit_watts,
            temperature_celsius={"gpu": state.celsius},
            clock_hertz={"sm": state.clock_hertz, "memory": model.memory_clock_hertz},
            instances=self._instances(),
        )

    def _instances(self) -> tuple[Instance, ...]:
        used_bytes = [0.0] * len(self._gpu.instances)
        for worker in self._gpu.workers if used_bytes else ():
            for context in worker.contexts:
                if context.gpu is self._gpu:
                    used_bytes[context.instance] += worker.memory_bytes
        return tuple(
            Instance(
                _uuid("MIG", f"{self._gpu.host}/{self._gpu.index}/{index}"),
                gpu_instance=index + 1,
                compute_instance=0,
                profile=f"{instance.slices}g.{round(instance.memory_bytes / 1024**3)}gb",
                memory_used_bytes=used_bytes[index],
                memory_total_bytes=instance.memory_bytes,
            )
            for index, instance in enumerate(self._gpu.instances)
        )


def _ratio(numerator: float, denominator: float) -> float:
    return min(1.0, max(0.0, numerator / denominator))


def _uuid(kind: str, name: str) -> str:
    digest = hashlib.sha256(name.encode()).hexdigest()
    return f"{kind}-{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:32]}"
