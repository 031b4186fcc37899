"""GPM metrics of a scripted GPU (nvmlGpmMetricId_t of nvml.h) in NVML's units, as integrals over time. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from tests.nvml import layout
from tests.nvml.dialect import Dialect
from tests.nvml.scripted import ScriptedGpu

from foreshock_exporter.model.device import Activity, Engine, Pipe

WHOLE_GPU = 0xFFFFFFFF
PIPES: Mapping[int, Pipe] = {
    4: "integer",
    6: "tensor_dfma",
    7: "tensor_hmma",
    8: "tensor_dmma",
    9: "tensor_imma",
    11: "fp64",
    12: "fp32",
    13: "fp16",
}
ENGINES: Mapping[Engine, tuple[int, ...]] = {
    "graphics": (1,),
    "nvdec": (30, 31),
    "nvenc": (166,),
    "nvjpg": (40, 41),
    "nvofa": (50,),
}
"""The first unit of a kind does all its work."""
MIB = 2.0**20


class Metric(NamedTuple):
    """GPM metric and its integral."""

    id: int
    total: float


def pack_activity(to: layout.Gpu, gpu: ScriptedGpu, dialect: Dialect, time: float) -> None:
    """Write the metrics of the GPU and of its GPU instances. Raises ValueError where there are too many."""
    parts = {WHOLE_GPU: gpu.activity, **gpu.activity.instances}
    known = [(part, *metric) for part, activity in parts.items() for metric in _metrics(activity)]
    if len(known) > layout.MAX_GPM:
        raise ValueError(f"{len(known)} GPM metrics; the library has room for {layout.MAX_GPM}")
    to.gpm.time, to.gpm.count = time, len(known)
    for packed, (part, id_, total) in zip(to.gpm.at, known, strict=False):
        packed.instance, packed.id, packed.code = part, id_, dialect.gpm_codes.get(id_, 0)
        packed.total = total


def _metrics(activity: Activity) -> Iterator[Metric]:
    seconds = {
        2: activity.sm_seconds,
        3: activity.occupancy_seconds,
        5: activity.tensor_seconds,
        10: activity.dram_seconds,
        174: activity.context_switch_seconds,
        **{metric: activity.pipe_seconds.get(pipe) for metric, pipe in PIPES.items()},
    }
    yield from (Metric(metric, 100.0 * active) for metric, active in seconds.items() if active is not None)
    for engine, (first, *others) in ENGINES.items():
        if (active := activity.engine_seconds.get(engine)) is not None:
            yield Metric(first, 100.0 * active * (1 + len(others)))
            yield from (Metric(unit, 0.0) for unit in others)
    carried = {
        20: activity.pcie_transmit_bytes,
        21: activity.pcie_receive_bytes,
        102: activity.c2c_transmit_bytes,
        103: activity.c2c_receive_bytes,
    }
    yield from (Metric(metric, total / MIB) for metric, total in carried.items() if total is not None)
