"""The hosts of the simulated platform: GPUs, pids, and the bytes that cross their network interface."""

from __future__ import annotations

import hashlib

from foreshock_simulator.engine import Engine
from foreshock_simulator.gpu import Gpu, Worker
from foreshock_simulator.names import ServiceName

FIRST_PID = 2400
PACKET_BYTES = 1500
GPUS_PER_HOST = 8


class Machine:
    """One host with its GPUs. The counters hold bytes sent to and received from other hosts."""

    __slots__ = ("_next_pid", "gpus", "host_id", "name", "received_bytes", "sent_bytes", "services")

    def __init__(self, engine: Engine, name: str) -> None:
        self.name = name
        self.host_id = hashlib.sha256(name.encode()).hexdigest()[:32]
        self.gpus = tuple(Gpu(engine, name, index) for index in range(GPUS_PER_HOST))
        self.services: dict[int, ServiceName] = {}
        self.sent_bytes = self.received_bytes = 0
        self._next_pid = FIRST_PID

    def start(self, service: ServiceName) -> int:
        """Give a new process of the service its pid."""
        pid = self._next_pid
        self._next_pid += 7
        self.services[pid] = service
        return pid

    def start_worker(
        self, service: ServiceName, gpu: int, memory_bytes: float, memory_intensity: float, batch_cost: float
    ) -> Worker:
        """Start a process on one of the GPUs.

        Raises:
            ValueError: the GPU's memory does not hold it.
        """
        device = self.gpus[gpu]
        device.reserve(memory_bytes)
        return Worker(device, self.start(service), service, memory_bytes, memory_intensity, batch_cost)


def transfer(source: Machine, target: Machine, size: int) -> None:
    """Count bytes that go from one host to another; within a host they do not touch the interface."""
    if source is not target:
        source.sent_bytes += size
        target.received_bytes += size
