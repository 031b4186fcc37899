"""Hosts of generated platforms, the allocation of their GPUs to pools, and pools with MIG instances."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from foreshock_simulator.scenarios.platforms.catalogue import catalogue
from foreshock_simulator.spec.platform import HostSpec, Place, PoolSpec
from foreshock_simulator.spec.services import TenantSpec

GPU_HOST_NIC_BYTES_PER_SECOND = 25e9
CPU_HOST_NIC_BYTES_PER_SECOND = 3.125e9
"""Bytes per second: 200 Gbit/s for hosts with GPUs, 25 Gbit/s for hosts without."""
HOSTS_PER_RACK = 4


def hosts_of(with_gpus: int, gpus: int, without: int, older: int = 0) -> tuple[HostSpec, ...]:
    """Hosts `host-1` and on: first those with GPUs, the last `older` of them with A100s, then those without GPUs."""
    return tuple(
        HostSpec(
            f"host-{number + 1}",
            gpus if number < with_gpus else 0,
            "A100" if with_gpus - older <= number < with_gpus else "H100",
            GPU_HOST_NIC_BYTES_PER_SECOND if number < with_gpus else CPU_HOST_NIC_BYTES_PER_SECOND,
            f"rack-{number // HOSTS_PER_RACK + 1}",
        )
        for number in range(with_gpus + without)
    )


class FreeGpus:
    """GPUs that are not yet allocated."""

    def __init__(self, hosts: tuple[HostSpec, ...]) -> None:
        self._free = {host.name: [Place(host.name, gpu) for gpu in range(host.gpus)] for host in hosts}
        self._model = {host.name: host.gpu_model for host in hosts}

    def take(self, count: int, together: int = 1, model: str = "H100") -> tuple[Place, ...]:
        """Take `count` GPUs of a kind, `together` at a time from the host with the most left.

        Fewer when they run out.
        """
        taken: list[Place] = []
        while len(taken) < count:
            hosts = [name for name, free in self._free.items() if len(free) >= together and self._model[name] == model]
            if not hosts:
                break
            free = self._free[max(hosts, key=lambda name: len(self._free[name]))]
            taken += free[:together]
            del free[:together]
        return tuple(taken)


def with_mig(pool: PoolSpec) -> PoolSpec:
    """The pool with a MIG instance for each replica that a GPU takes, and the last one for a tenant."""
    return replace(pool, sharing="mig", mig_slices=(4, 3) if pool.slots == 1 else (3, 2, 2))


def mig_tenants(pools: Iterable[PoolSpec]) -> tuple[TenantSpec, ...]:
    """Batch tenants in the last MIG instance of each GPU with MIG."""
    return tuple(
        replace(catalogue().tenant("sliced-batch"), places=pool.places, slice=len(pool.mig_slices) - 1)
        for pool in pools
        if pool.mig_slices
    )
