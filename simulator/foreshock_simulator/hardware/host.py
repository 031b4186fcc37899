"""The hosts of the simulated platform: their GPUs, their processes, and the interface to the network."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Generic, TypeVar

from foreshock_simulator.core.engine import Engine
from foreshock_simulator.hardware.gpu import Gpu
from foreshock_simulator.hardware.models import model_named
from foreshock_simulator.core.names import ServiceName
from foreshock_simulator.spec.hosts import HostSpec, PoolSpec

FIRST_PID = 2400
_PID_STEP = 7

NicT = TypeVar("NicT")


class Host(Generic[NicT]):
    """One host. What its interface is, the network says.

    Args:
        engine: whose time it lives in.
        spec: of the host.
        nic: its network interface.
        pools: by GPU index, the pool that says how the GPU is shared; time-slicing where there is none.

    Raises:
        ValueError: an unknown GPU model; MIG instances that there cannot be.
    """

    __slots__ = ("_next_pid", "gpus", "host_id", "name", "nic", "services", "spec")

    def __init__(self, engine: Engine, spec: HostSpec, nic: NicT, pools: Mapping[int, PoolSpec] | None = None) -> None:
        self.spec, self.name, self.nic = spec, spec.name, nic
        self.host_id = hashlib.sha256(spec.name.encode()).hexdigest()[:32]
        model, pools = model_named(spec.gpu_model), pools or {}
        self.gpus = tuple(
            Gpu(engine, model, spec.name, index, pools[index].sharing, pools[index].mig_slices)
            if index in pools
            else Gpu(engine, model, spec.name, index)
            for index in range(spec.gpus)
        )
        self.services: dict[int, ServiceName] = {}
        self._next_pid = FIRST_PID

    def start(self, service: ServiceName) -> int:
        """Give a new process of the service its pid."""
        pid = self._next_pid
        self._next_pid += _PID_STEP
        self.services[pid] = service
        return pid

    def stop(self, pid: int) -> None:
        """Forget a process. Its workers are stopped by whoever holds them."""
        self.services.pop(pid, None)
