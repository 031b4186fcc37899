"""Cumulative use of a GPU, and a snapshot of its state."""

from __future__ import annotations

from typing import NamedTuple

from foreshock_simulator.hardware.power import IDLE, ChannelUse, ThrottleReason


class GpuState(NamedTuple):
    """Snapshot of a GPU. Integrals are since its start: seconds, joules, bytes in one direction."""

    busy_seconds: float
    tensor_seconds: float
    dram_seconds: float
    energy_joules: float
    nvlink_bytes: float
    pcie_bytes: float
    throttled_seconds: dict[ThrottleReason, float]
    power_watts: float
    power_limit_watts: float
    clock_hertz: float
    celsius: float
    memory_used_bytes: float


class Meter:
    """Integrals over time: seconds at full use of each channel, joules, and throttled seconds."""

    __slots__ = ("busy", "dram", "joules", "nvlink", "pcie", "tensor", "throttled")

    def __init__(self) -> None:
        self.busy = self.tensor = self.dram = self.nvlink = self.pcie = self.joules = 0.0
        self.throttled: dict[ThrottleReason, float] = {"power": 0.0, "thermal": 0.0}

    def add(self, seconds: float, use: ChannelUse, watts: float, reason: ThrottleReason | None) -> None:
        """Add an interval of constant use, power and throttling."""
        if use is not IDLE:
            busy, tensor, dram, nvlink, pcie = use
            self.busy += busy * seconds
            self.tensor += tensor * seconds
            self.dram += dram * seconds
            if nvlink or pcie:
                self.nvlink += nvlink * seconds
                self.pcie += pcie * seconds
        self.joules += watts * seconds
        if reason is not None:
            self.throttled[reason] += seconds
