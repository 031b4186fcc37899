"""Holders and use of GPUs, for the accounts of cost: queries, and rows from a World of the same readings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from foreshock_dashboard.model.cost.usage import GpuUsage, Holder
from foreshock_dashboard.model.query import Matrix
from foreshock_dashboard.model.service import CLUSTER_LABEL, Service, qualified, split_cluster
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import Gpu, World
from foreshock_dashboard.world.gpus import ALLOCATION_LABELS
from foreshock_dashboard.world.row import GPU_LABELS, TARGET_LABELS, Catalog, LabelMap, RateWindows, Readings, row
from foreshock_dashboard.world.targets import target_of

JOINED = (
    *("up", "mock", "host", "places", "gpu", "allocated", "pool", "specified", "ready", "scaler_target"),
    *("utilization", "memory_used", "memory_total", "memory_free", "power", "busy", "gpu_wait", "memory"),
)
"""Keys of the catalog of the World that its GPUs and their holders need."""
SLICES = 7
"""Compute slices of a GPU with MIG: 7 of all models but the A30, which has 4 (NVIDIA MIG User Guide)."""

GpuKey = tuple[str, str]
"""(cluster, uuid)."""


def readings(windows: RateWindows) -> Catalog:
    """Readings besides those of the World."""
    last, rate = windows.last, windows.rate
    return {
        "energy": row("energy", rate("gpu_energy_joules_total", GPU_LABELS)),
        "sm_active": row("SM activity", rate("gpu_sm_active_seconds_total", GPU_LABELS)),
        "parts": row("MIG instances of pods", last("gpu_allocation_info", (*ALLOCATION_LABELS, "mig_uuid"))),
        "mig": row("MIG profiles", last("gpu_mig_info", (*GPU_LABELS, "mig_uuid", "profile"))),
        "kubelet": row("GPUs that kubelets may allocate", last("gpu_allocatable_devices", TARGET_LABELS)),
        "exporter": row("GPUs whose processes are known", last("gpu_info", GPU_LABELS)),
    }


def gpu_usage(world: World, found: Readings) -> GpuUsage:
    """The use of all GPUs at the World's times, each of which ends a step. found: the readings, and those of the World.

    A container holds its GPU for all steps; it is seen at the last one. A service without one holds the GPUs on which
    its processes are seen, while they are.
    """
    steps = len(world.times)
    number = {_key(gpu): i for i, gpu in enumerate(world.gpus)}
    target = {key: target_of(labels) for key, labels in _by_gpu(found["gpu"].labels)}
    kubelets = {target_of(dict(labels)) for labels in (*found["kubelet"].labels, *found["parts"].labels)}
    exporters = {key for key, _ in _by_gpu(found["exporter"].labels)}
    present = np.zeros((len(number), steps), bool)
    for labels, values in zip(found["gpu"].labels, found["gpu"].values, strict=True):
        i = number.get(_key_of(dict(labels)))
        if i is not None:
            present[i] |= np.isfinite(values)
    energy = _rows(number, found["energy"], steps)
    holders, held, tenant = _holders(world, _fractions(found), number)
    shape = (len(holders), steps)
    own = [np.full(shape, np.nan) for _ in range(3)]
    for i, j in enumerate(tenant):
        if j is not None:
            for values, of in zip(own, (world.busy, world.gpu_wait, world.memory), strict=True):
                values[i] = of[j]
    gpu = np.array([holder.gpu for holder in holders], np.intp)
    with np.errstate(invalid="ignore", divide="ignore"):
        memory = own[2] / world.memory_total[gpu]
    return GpuUsage(
        step=world.step,
        gpus=world.gpus,
        pool=tuple(
            pool or qualified(split_cluster(gpu.host)[0], "")
            for gpu, pool in zip(world.gpus, world.pool or ("",) * len(world.gpus), strict=True)
        ),
        present=present,
        utilization=world.utilization.astype(np.float64),
        watts=np.where(np.isnan(energy), world.power, energy),
        sm_active=_rows(number, found["sm_active"], steps),
        shows_allocations=np.array([target.get(key) in kubelets for key in number], bool),
        shows_processes=np.array([key in exporters for key in number], bool),
        holders=tuple(holders),
        held=np.array(held).reshape(shape).astype(bool),
        busy=own[0],
        waiting=own[1],
        memory=memory,
    )


def _holders(
    world: World, fractions: Mapping[tuple[GpuKey, str, str, str], float], number: Mapping[GpuKey, int]
) -> tuple[list[Holder], list[Floats], list[int | None]]:
    """Holders, whether they hold at each step, and their rows among the World's tenants."""
    seen = np.isfinite(world.busy) | np.isfinite(world.gpu_wait) | np.isfinite(world.memory)
    tenants = {(_key(tenant.gpu), tenant.service): i for i, tenant in enumerate(world.tenants)}
    containers: dict[tuple[GpuKey, Service], list[float]] = {}
    for gpu, namespace, pod, container, service in world.allocated:
        if service is not None:
            part = fractions.get((_key(gpu), namespace, pod, container), np.nan)
            containers.setdefault((_key(gpu), service), []).append(part)
    holders, held, of = [], [], []
    for key, service in dict.fromkeys((*containers, *tenants)):
        given, tenant = containers.get((key, service), []), tenants.get((key, service))
        process = tenant is not None and bool(seen[tenant].any())
        parts = [part for part in given if np.isfinite(part)]
        fraction = float(sum(parts)) if parts else np.nan
        if given or process:
            holders.append(Holder(number[key], service, float(max(1, len(given))), fraction, process))
            held.append(np.ones(len(world.times)) if given or tenant is None else seen[tenant])
            of.append(tenant)
    return holders, held, of


def _fractions(found: Readings) -> Mapping[tuple[GpuKey, str, str, str], float]:
    """Fraction of a GPU that a container has by its MIG instances, by GPU, namespace, pod, and container."""
    slices = {
        (_key_of(labels), labels.get("mig_uuid", "")): _slices(labels.get("profile", ""))
        for labels in map(dict, found["mig"].labels)
    }
    fractions: dict[tuple[GpuKey, str, str, str], float] = {}
    for labels in map(dict, found["parts"].labels):
        gpu, instance = _key_of(labels), labels.get("mig_uuid", "")
        if slices.get((gpu, instance)):
            namespace, pod, container = (labels.get(name, "") for name in ALLOCATION_LABELS[len(GPU_LABELS) :])
            key = (gpu, namespace, pod, container)
            fractions[key] = fractions.get(key, 0.0) + slices[gpu, instance] / SLICES
    return fractions


def _slices(profile: str) -> int:
    """Compute slices of a MIG profile: 2 of `2g.20gb`, and of `1c.2g.20gb`; 0 if it has another form."""
    part = next((part for part in profile.split(".") if part.endswith("g")), "")
    return int(part[:-1]) if part[:-1].isdecimal() else 0


def _rows(number: Mapping[GpuKey, int], matrix: Matrix, steps: int) -> Floats:
    rows: Floats = np.full((len(number), steps), np.nan)
    for labels, values in zip(matrix.labels, matrix.values, strict=True):
        i = number.get(_key_of(dict(labels)))
        if i is not None:
            rows[i] = np.where(np.isnan(values), rows[i], values)
    return rows


def _by_gpu(labels: Sequence[Iterable[tuple[str, str]]]) -> Iterable[tuple[GpuKey, LabelMap]]:
    return ((_key_of(found), found) for found in map(dict, labels))


def _key(gpu: Gpu) -> GpuKey:
    return split_cluster(gpu.host)[0], gpu.uuid


def _key_of(labels: LabelMap) -> GpuKey:
    return labels.get(CLUSTER_LABEL, ""), labels.get("uuid", "")
