"""Kinds of GPU: data sheet values, and measured values of power and efficiency."""

from __future__ import annotations

from dataclasses import dataclass

GIB = float(1024**3)


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


# Memory, bandwidths, FLOP/s and power limits: NVIDIA's data sheets of H100 (SXM5), H200, A100 80GB (SXM4), L40S, L4 and
# V100 (SXM2). Maximum clocks: output of nvidia-smi -q -d CLOCK. The last three efficiencies of H100 and A100 are
# fitted to Vidur's kernel times (docs/realism.md); the others take the A100's. V100's power: iGniter's measurements.
# The division of power among SMs, tensor cores and memory is set so that the prompt phase of a language model nears the
# limit while the token phase stays well below it, as Splitwise (Patel et al., ISCA 2024) reports. Thermal figures are
# assumptions for air-cooled servers.
MODELS = {
    "H100": GpuModel(
        name="NVIDIA H100 80GB HBM3",
        memory_bytes=80 * GIB,
        flops=989e12,
        dram_bandwidth=3.35e12,
        nvlink_bandwidth=450e9,
        pcie_bandwidth=64e9,
        clock_max_hertz=1980e6,
        memory_clock_hertz=2619e6,
        limit_watts=700.0,
        idle_watts=72.0,
        sm_watts=190.0,
        tensor_watts=470.0,
        dram_watts=190.0,
        celsius_per_watt=0.062,
        max_celsius=87.0,
        flops_efficiency=0.68,
        bandwidth_efficiency=0.88,
        layer_seconds=34e-6,
    ),
    "H200": GpuModel(
        name="NVIDIA H200",
        memory_bytes=141e9,
        flops=989e12,
        dram_bandwidth=4.8e12,
        nvlink_bandwidth=450e9,
        pcie_bandwidth=64e9,
        clock_max_hertz=1980e6,
        memory_clock_hertz=3201e6,
        limit_watts=700.0,
        idle_watts=78.0,
        sm_watts=190.0,
        tensor_watts=470.0,
        dram_watts=210.0,
        celsius_per_watt=0.062,
        max_celsius=87.0,
        flops_efficiency=0.68,
        bandwidth_efficiency=0.88,
        layer_seconds=34e-6,
    ),
    "A100": GpuModel(
        name="NVIDIA A100-SXM4-80GB",
        memory_bytes=80 * GIB,
        flops=312e12,
        dram_bandwidth=2.039e12,
        nvlink_bandwidth=300e9,
        pcie_bandwidth=32e9,
        clock_max_hertz=1410e6,
        memory_clock_hertz=1593e6,
        limit_watts=400.0,
        idle_watts=55.0,
        sm_watts=110.0,
        tensor_watts=240.0,
        dram_watts=110.0,
        celsius_per_watt=0.1,
        max_celsius=85.0,
        flops_efficiency=0.69,
        bandwidth_efficiency=0.85,
        layer_seconds=39e-6,
    ),
    "L40S": GpuModel(
        name="NVIDIA L40S",
        memory_bytes=48e9,
        flops=362e12,
        dram_bandwidth=864e9,
        nvlink_bandwidth=0.0,
        pcie_bandwidth=32e9,
        clock_max_hertz=2520e6,
        memory_clock_hertz=9001e6,
        limit_watts=350.0,
        idle_watts=35.0,
        sm_watts=110.0,
        tensor_watts=220.0,
        dram_watts=70.0,
        celsius_per_watt=0.125,
        max_celsius=88.0,
        flops_efficiency=0.69,
        bandwidth_efficiency=0.85,
        layer_seconds=39e-6,
        mig=False,
    ),
    "L4": GpuModel(
        name="NVIDIA L4",
        memory_bytes=24e9,
        flops=121e12,
        dram_bandwidth=300e9,
        nvlink_bandwidth=0.0,
        pcie_bandwidth=16e9,
        clock_max_hertz=2040e6,
        memory_clock_hertz=6251e6,
        limit_watts=72.0,
        idle_watts=16.0,
        sm_watts=22.0,
        tensor_watts=45.0,
        dram_watts=15.0,
        celsius_per_watt=0.6,
        max_celsius=85.0,
        flops_efficiency=0.69,
        bandwidth_efficiency=0.85,
        layer_seconds=39e-6,
        mig=False,
    ),
    "V100": GpuModel(
        name="Tesla V100-SXM2-16GB",
        memory_bytes=16 * GIB,
        flops=125e12,
        dram_bandwidth=900e9,
        nvlink_bandwidth=150e9,
        pcie_bandwidth=16e9,
        clock_max_hertz=1530e6,
        memory_clock_hertz=877e6,
        limit_watts=300.0,
        idle_watts=50.0,
        sm_watts=160.0,
        tensor_watts=150.0,
        dram_watts=70.0,
        celsius_per_watt=0.12,
        max_celsius=83.0,
        flops_efficiency=0.69,
        bandwidth_efficiency=0.85,
        layer_seconds=39e-6,
        mig=False,
    ),
}  # fmt: skip
"""Kinds of GPU by their name in scenarios."""


def gpu_model(name: str) -> GpuModel:
    """The kind of GPU with this name.

    Raises:
        ValueError: unknown name; the message lists the known ones.
    """
    try:
        return MODELS[name]
    except KeyError:
        raise ValueError(f"no GPU model {name!r}; there are {', '.join(MODELS)}") from None
