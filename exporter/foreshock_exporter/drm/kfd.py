"""Processes with compute queues on AMD GPUs, as amdkfd reports them (Linux, drivers/gpu/drm/amd/amdkfd/kfd_process.c).

ROCm submits kernels by queues in user space, which no counter of time covers. amdkfd has by process and GPU: bytes of
device memory (`vram_ID`), queues, and how many compute units the process's waves would fill at this moment
(`stats_ID/cu_occupancy`, on GPUs of GFX9: Vega and Instinct).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from foreshock_exporter.drm.attributes import exists, number, read_text
from foreshock_exporter.model.device import DeviceError


class Node(NamedTuple):
    """Compute device of amdkfd: its ID there, and its name, such as aqua_vanjaram. A partitioned GPU has several."""

    gpu_id: str
    name: str


class Kfd:
    """Reads /sys/class/kfd/kfd. A process that ends while it is read is left out."""

    def __init__(self, sysfs: Path) -> None:
        self._folder = f"{sysfs}/class/kfd/kfd"

    def nodes(self, address: str) -> tuple[Node, ...]:
        """Nodes of the GPU at a PCI address; empty without amdkfd.

        Raises:
            DeviceError: "no_permission" if the exporter's control group may not use the GPU's device file, which amdkfd
            answers with EPERM.
        """
        folder = f"{self._folder}/topology/nodes"
        nodes, refused = [], None
        for name in sorted(_names(folder)):
            try:
                gpu_id = read_text(f"{folder}/{name}/gpu_id")
                facts = dict(
                    line.split(maxsplit=1)
                    for line in read_text(f"{folder}/{name}/properties").splitlines()
                    if len(line.split(maxsplit=1)) == 2
                )
                title = read_text(f"{folder}/{name}/name")
            except DeviceError as error:
                refused = error if error.reason == "driver" else refused
                continue
            if gpu_id.isascii() and gpu_id.isdigit() and int(gpu_id) and _is_at(facts, address):
                nodes.append(Node(gpu_id, title))
        if not nodes and refused is not None:
            raise DeviceError(
                "no_permission", f"{refused}; allow the device files /dev/dri/* to the exporter"
            ) from None
        return tuple(nodes)

    def memory(self, nodes: Sequence[Node]) -> dict[int, float]:
        """Device memory in bytes by PID, of processes with some or with a queue. A process has files for every GPU."""
        result = {}
        for pid in self._pids():
            values = self._sum(pid, (f"vram_{node.gpu_id}" for node in nodes))
            if values is not None and (values > 0.0 or self.queues(pid, nodes)):
                result[pid] = values
        return result

    def queues(self, pid: int, nodes: Sequence[Node]) -> int:
        """Number of a process's queues on the nodes."""
        folder, ids = f"{self._folder}/proc/{pid}/queues", {node.gpu_id for node in nodes}
        found = 0
        for name in _names(folder):
            try:
                found += read_text(f"{folder}/{name}/gpuid") in ids
            except DeviceError:
                continue
        return found

    def occupancy(self, pids: Iterable[int], nodes: Sequence[Node]) -> Mapping[int, float]:
        """Compute units that the waves of each process fill now.

        Raises:
            DeviceError: "not_supported" if the GPU does not report them.
        """
        files = [f"stats_{node.gpu_id}/cu_occupancy" for node in nodes]
        result = {}
        for pid in pids:
            units = self._sum(pid, files)
            if units is not None:
                result[pid] = units
            elif any(exists(f"{self._folder}/proc/{pid}/stats_{node.gpu_id}") for node in nodes):
                raise DeviceError("not_supported", "the GPU does not report the compute units that processes occupy")
        return result

    def _pids(self) -> list[int]:
        return sorted(int(name) for name in _names(f"{self._folder}/proc") if name.isascii() and name.isdigit())

    def _sum(self, pid: int, files: Iterable[str]) -> float | None:
        """Sum of the files of a process; None without any."""
        values = []
        for file in files:
            try:
                values.append(number(read_text(f"{self._folder}/proc/{pid}/{file}")))
            except DeviceError:
                continue
        known = [value for value in values if value is not None]
        return sum(known) if known else None


def _is_at(facts: Mapping[str, str], address: str) -> bool:
    """Whether a node is part of the GPU at a PCI address.

    `location_id` has bus, device, and function in its lower 16 bits (pci_dev_id). Partitions differ in other bits, or
    in the function.
    """
    location, domain = (number(facts.get(key, "")) for key in ("location_id", "domain"))
    if location is None:
        return False
    bus, device = int(location) >> 8 & 0xFF, int(location) >> 3 & 0x1F
    return address.rpartition(".")[0] == f"{int(domain or 0.0):04x}:{bus:02x}:{device:02x}"


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - names only
    except OSError:
        return []
