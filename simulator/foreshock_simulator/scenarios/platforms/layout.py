"""Hosts, and which of their GPUs belong to which pool."""

from __future__ import annotations

from foreshock_simulator.spec.hosts import HostSpec, Place

GPU_NIC = 25e9
CPU_NIC = 3.125e9
"""Bytes a second: 200 Gbit/s for hosts with GPUs, 25 Gbit/s for those without."""
HOSTS_PER_RACK = 4


def hosts_of(with_gpus: int, gpus: int, without: int, older: int = 0) -> tuple[HostSpec, ...]:
    """`host-1` and on: those with GPUs first, the last `older` of them with A100s, then those without."""
    made = []
    for number in range(with_gpus + without):
        has = number < with_gpus
        made.append(
            HostSpec(
                f"host-{number + 1}",
                gpus if has else 0,
                "A100" if with_gpus - older <= number < with_gpus else "H100",
                GPU_NIC if has else CPU_NIC,
                f"rack-{number // HOSTS_PER_RACK + 1}",
            )
        )
    return tuple(made)


class Shelf:
    """GPUs not yet given away."""

    def __init__(self, hosts: tuple[HostSpec, ...]) -> None:
        self._free = {host.name: [Place(host.name, gpu) for gpu in range(host.gpus)] for host in hosts}
        self._model = {host.name: host.gpu_model for host in hosts}

    def take(self, count: int, together: int = 1, model: str = "H100") -> tuple[Place, ...]:
        """So many GPUs of a kind, `together` on a host each time, the one with the most left; fewer if there are."""
        taken: list[Place] = []
        while len(taken) < count:
            hosts = [name for name, free in self._free.items() if len(free) >= together and self._model[name] == model]
            if not hosts:
                break
            free = self._free[max(hosts, key=lambda name: len(self._free[name]))]
            taken += free[:together]
            del free[:together]
        return tuple(taken)
