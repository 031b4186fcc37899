"""A built-in host to look at without a GPU: four GPUs, two tenants, one GPU contended. A function of time alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from foreshock_exporter.device import DeviceError, GpuProcess, Identity, ProcessUtilization, Reading
from foreshock_exporter.service import ServiceOf
from foreshock_exporter.snapshot import InterfaceCounters, Pressure

_GIB = float(1 << 30)
_TOTAL = 80 * _GIB
_RESERVED = 0.6 * _GIB
_IDLE_WATTS = 70.0
_FULL_WATTS = 680.0
_LIMIT_WATTS = 700.0

HOST_ID = "00000000000000000000000000000001"
HOST_NAME = "mock-gpu-host"


@dataclass(frozen=True, slots=True)
class Wave:
    """A share that swings by `swing` around `mean` once in `period` seconds."""

    mean: float
    swing: float = 0.0
    period: float = 60.0

    def at(self, time: float) -> float:
        """The value at a time."""
        return self.mean + self.swing * math.sin(math.tau * time / self.period)

    def until(self, time: float) -> float:
        """The integral from 0 to a time; it grows as long as mean ≥ swing."""
        turn = math.tau / self.period
        return self.mean * time + self.swing * (1.0 - math.cos(turn * time)) / turn


@dataclass(frozen=True, slots=True)
class Tenant:
    """A process on a mock GPU and its share of SM time."""

    pid: int
    memory_bytes: float
    share: Wave


_CHAT = ServiceOf("assistant", "chat-model", "simulated")
_BATCH = ServiceOf("platform", "batch-embeddings", "simulated")
_SERVICES = {4101: _CHAT, 4102: _CHAT, 4201: _BATCH, 4202: _BATCH}

_GPUS: tuple[tuple[Tenant, ...], ...] = (
    (Tenant(4101, 34 * _GIB, Wave(0.30, 0.06)), Tenant(4201, 27 * _GIB, Wave(0.64, -0.04))),
    (Tenant(4102, 52 * _GIB, Wave(0.45, 0.20)),),
    (Tenant(4202, 27 * _GIB, Wave(0.55, 0.10, 90.0)),),
    (),
)


class MockDriver:
    """`Driver` of the mock host. Equal times give equal readings; `now` gives Unix seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._began = now()

    def count(self) -> int:
        """Four."""
        return len(_GPUS)

    def identity(self, gpu: int) -> Identity:
        """An H100 that says it is none."""
        self._tenants(gpu)
        return Identity(
            gpu=str(gpu),
            uuid=f"GPU-00000000-0000-0000-0000-{gpu:012x}",
            model="Mock H100 80GB",
            pci_bus_id=f"00000000:{0x10 + gpu:02X}:00.0",
            driver_version="0.0",
            cuda_version="0.0",
            sharing="time-slicing",
        )

    def read(self, gpu: int) -> Reading:
        """Its state now; busy a little longer than its processes account for, as real ones are."""
        tenants, now = self._tenants(gpu), self._now()
        busy = min(1.0, sum(tenant.share.at(now) for tenant in tenants) + (0.02 if tenants else 0.0))
        used = sum(tenant.memory_bytes for tenant in tenants)
        return Reading(
            utilization_ratio=busy,
            memory_busy_ratio=0.6 * busy,
            memory_used_bytes=used,
            memory_free_bytes=_TOTAL - _RESERVED - used,
            memory_reserved_bytes=_RESERVED,
            memory_total_bytes=_TOTAL,
            power_watts=_watts(busy),
            power_limit_watts=_LIMIT_WATTS,
            energy_joules=self._energy(tenants, now) - self._energy(tenants, self._began),
            temperature_celsius=34.0 + 42.0 * busy,
        )

    def processes(self, gpu: int) -> Sequence[GpuProcess]:
        """The tenants."""
        return [GpuProcess(tenant.pid, tenant.memory_bytes) for tenant in self._tenants(gpu)]

    def process_utilization(self, gpu: int, since_us: int) -> Sequence[ProcessUtilization]:
        """The mean share of each tenant since then, or its share now at first."""
        now_us = round(self._now() * 1e6)
        if now_us <= since_us:
            return ()
        now, since = now_us / 1e6, since_us / 1e6
        return [
            ProcessUtilization(
                tenant.pid,
                now_us,
                (tenant.share.until(now) - tenant.share.until(since)) / (now - since)
                if since
                else tenant.share.at(now),
            )
            for tenant in self._tenants(gpu)
        ]

    def close(self) -> None:
        """Nothing to let go of."""

    @staticmethod
    def _tenants(gpu: int) -> tuple[Tenant, ...]:
        if not 0 <= gpu < len(_GPUS):
            raise DeviceError("not_found", f"the mock host has no GPU {gpu}")
        return _GPUS[gpu]

    @staticmethod
    def _energy(tenants: Sequence[Tenant], time: float) -> float:
        busy = sum(tenant.share.until(time) for tenant in tenants)
        return _IDLE_WATTS * time + (_FULL_WATTS - _IDLE_WATTS) * busy


def _watts(busy: float) -> float:
    return _IDLE_WATTS + (_FULL_WATTS - _IDLE_WATTS) * busy


def mock_service(pid: int) -> ServiceOf | None:
    """`Resolver` of the mock host."""
    return _SERVICES.get(pid)


class MockNetwork:
    """`NetworkReader` of the mock host: one 25 Gbit/s interface that carries what the tenants exchange."""

    _RECEIVE = Wave(0.9e9, 0.3e9, 120.0)
    _TRANSMIT = Wave(0.6e9, 0.2e9, 120.0)
    _PACKET = 1400.0

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._began = now()

    def __call__(self) -> tuple[InterfaceCounters, ...]:
        """The counters now."""
        received = self._RECEIVE.until(self._now()) - self._RECEIVE.until(self._began)
        sent = self._TRANSMIT.until(self._now()) - self._TRANSMIT.until(self._began)
        return (
            InterfaceCounters(
                "eth0",
                receive_bytes=float(int(received)),
                receive_packets=float(int(received / self._PACKET)),
                receive_errors=0.0,
                receive_drops=0.0,
                transmit_bytes=float(int(sent)),
                transmit_packets=float(int(sent / self._PACKET)),
                transmit_errors=0.0,
                transmit_drops=0.0,
                up=True,
                speed_bytes=25e9 / 8,
            ),
        )


class MockPressure:
    """`PressureReader` of the mock host: some waiting for CPU, next to none for the rest."""

    _SHARES = (0.03, 0.002, 0.001, 0.0005, 0.0002)

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._began = now()

    def __call__(self) -> Pressure:
        """The totals now."""
        return Pressure(*((self._now() - self._began) * share for share in self._SHARES))
