"""What a GPU has used since its start, and its state at one moment."""

from __future__ import annotations

from typing import NamedTuple

from foreshock_simulator.hardware.power import IDLE, Reason, Use


class GpuState(NamedTuple):
    """A GPU at one moment. Integrals are since its start: seconds, joules, bytes in one direction."""

    busy_seconds: float
    tensor_seconds: float
    dram_seconds: float
    energy_joules: float
    nvlink_bytes: float
    pcie_bytes: float
    throttled_seconds: dict[Reason, float]
    power_watts: float
    power_limit_watts: float
    clock_hertz: float
    celsius: float
    memory_used_bytes: float


class Meter:
    """Sums up over time what is constant between two changes: seconds at a channel's full use, joules."""

    __slots__ = ("busy", "dram", "joules", "nvlink", "pcie", "tensor", "throttled")

    def __init__(self) -> None:
        self.busy = self.tensor = self.dram = self.nvlink = self.pcie = self.joules = 0.0
        self.throttled: dict[Reason, float] = {"power": 0.0, "thermal": 0.0}

    def add(self, seconds: float, use: Use, watts: float, reason: Reason | None) -> None:
        """So long it was used like this, drew so much, and had its clock held down for a reason."""
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
