"""Hosts: their GPUs and their processes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from foreshock_simulator.core.engine import Engine
from foreshock_simulator.core.names import ServiceName
from foreshock_simulator.hardware.gpu import Gpu
from foreshock_simulator.hardware.models import MODELS
from foreshock_simulator.spec.platform import HostSpec, PoolSpec

FIRST_PID = 2400
_PID_STEP = 7


class Host:
    """One host. `pools` by GPU index set the sharing mode; it is time-slicing for GPUs without a pool.

    Raises:
        ValueError: impossible MIG instances.
    """

    def __init__(self, engine: Engine, spec: HostSpec, pools: Mapping[int, PoolSpec] | None = None) -> None:
        self.spec, self.name = spec, spec.name
        self.host_id = hashlib.sha256(spec.name.encode()).hexdigest()[:32]
        model, pools = MODELS[spec.gpu_model], pools or {}
        self.gpus = tuple(
            Gpu(engine, model, spec.name, index, pools[index].sharing, pools[index].mig_slices)
            if index in pools
            else Gpu(engine, model, spec.name, index)
            for index in range(spec.gpus)
        )
        self.services: dict[int, ServiceName] = {}
        self._next_pid = FIRST_PID

    def start(self, service: ServiceName) -> int:
        """Start a process of the service; returns its pid."""
        pid = self._next_pid
        self._next_pid += _PID_STEP
        self.services[pid] = service
        return pid

    def stop(self, pid: int) -> None:
        """End a process. Its GPU workers are stopped by their owner."""
        self.services.pop(pid, None)
