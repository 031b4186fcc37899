"""Kinds of GPU: data sheet values, and measured values of power and efficiency."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import NamedTuple

from foreshock_simulator.hardware.sharing import ChannelCapacity

GIB = float(1024**3)
COMPUTE_SLICES = 7
MEMORY_SLICES = 8
_MEMORY_SLICES_OF = {1: 1, 2: 2, 3: 4, 4: 4, 7: 8}
"""Memory slices by compute slices of a MIG instance (NVIDIA's MIG user guide: 1g.10gb, 2g.20gb, 3g.40gb …)."""


@dataclass(frozen=True, slots=True)
class GpuModel:
    """A kind of GPU. Bandwidths in bytes per second in one direction, power in watts, clocks in hertz.

    Args:
        name: as in NVML.
        memory_bytes: of the device; the driver takes `reserved_bytes` of it.
        flops: dense 16-bit operations per second of the tensor cores.
        idle_watts: without resident kernels. At full clock, fully held SMs add `sm_watts`, tensor cores at their peak
            `tensor_watts`, and memory at its peak bandwidth `dram_watts`. The sum exceeds `limit_watts` on purpose:
            matrix work on a real GPU runs into its limit.
        celsius_per_watt: rise of the die above the inlet per watt; `thermal_seconds` is the time constant.
        max_celsius: temperature at which the driver starts to throttle.
        flops_efficiency: share of `flops` that large matrix products reach; `bandwidth_efficiency` likewise.
        layer_seconds: time of a transformer layer besides weights and products (launches, small kernels).
    """

    name: str
    memory_bytes: float
    flops: float
    dram_bandwidth: float
    nvlink_bandwidth: float
    pcie_bandwidth: float
    clock_max_hertz: float
    memory_clock_hertz: float
    limit_watts: float
    idle_watts: float
    sm_watts: float
    tensor_watts: float
    dram_watts: float
    celsius_per_watt: float
    max_celsius: float
    flops_efficiency: float
    bandwidth_efficiency: float
    layer_seconds: float
    reserved_bytes: float = 0.5 * GIB
    thermal_seconds: float = 25.0
    clock_min_ratio: float = 0.15
    mig: bool = True


def _models() -> Iterator[tuple[str, GpuModel]]:
    with files("foreshock_simulator").joinpath("hardware", "models.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            key, name, mig = row.pop("key"), row.pop("name"), row.pop("mig")
            yield key, GpuModel(name=name, mig=mig == "yes", **{field: float(text) for field, text in row.items()})


MODELS = dict(_models())
"""Kinds of GPU by their name in scenarios.

Memory, bandwidths, FLOP/s and power limits: NVIDIA's data sheets of H100 (SXM5), H200, A100 80GB (SXM4), L40S, L4 and
V100 (SXM2). Maximum clocks: output of nvidia-smi -q -d CLOCK. The last three efficiencies of H100 and A100 are fitted
to Vidur's kernel times (docs/internals/realism.md); the others take the A100's. V100's power: iGniter's measurements.
The division of power among SMs, tensor cores and memory is set so that the prompt phase of a language model nears the
limit while the token phase stays well below it, as Splitwise (Patel et al., ISCA 2024) reports. Thermal figures are
assumptions for air-cooled servers.
"""


class MigInstance(NamedTuple):
    """A MIG instance: compute slices, its share of the GPU's SMs and bandwidth, and its memory in bytes."""

    slices: int
    capacity: ChannelCapacity
    memory_bytes: float


def mig_instances(model: GpuModel, slices: tuple[int, ...]) -> tuple[MigInstance, ...]:
    """Partition a GPU into instances with these numbers of compute slices.

    Raises:
        ValueError: the GPU has no MIG, an instance of that size does not exist, or the instances do not fit.
    """
    if not model.mig:
        raise ValueError(f"{model.name} has no MIG; share it by time-slicing or mps")
    if not slices or any(size not in _MEMORY_SLICES_OF for size in slices):
        raise ValueError(f"MIG instances have 1, 2, 3, 4 or 7 sevenths of a GPU, not {list(slices)}")
    if sum(slices) > COMPUTE_SLICES or sum(_MEMORY_SLICES_OF[size] for size in slices) > MEMORY_SLICES:
        raise ValueError(f"MIG instances {list(slices)} do not fit on one GPU: 7 sevenths of SMs, 8 eighths of memory")
    available_bytes = model.memory_bytes - model.reserved_bytes
    instances = []
    for size in slices:
        memory_slices = _MEMORY_SLICES_OF[size]
        capacity = ChannelCapacity(size / COMPUTE_SLICES, memory_slices / MEMORY_SLICES)
        instances.append(MigInstance(size, capacity, available_bytes * memory_slices / MEMORY_SLICES))
    return tuple(instances)


def least_used_instance(processes: Sequence[int], fits: Sequence[bool]) -> int:
    """Index of the instance for a new process: among those with room, the first with the fewest processes.

    0 when no instance has room; starting the process there then fails with the reason.
    """
    return min((index for index, fit in enumerate(fits) if fit), key=lambda index: processes[index], default=0)
