"""Holders and use of GPUs, for the accounts of cost: queries, and rows from a World of the same readings."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from foreshock_dashboard.model.cost.usage import GpuUsage, Holder
from foreshock_dashboard.model.query import Matrix
from foreshock_dashboard.model.service import CLUSTER_LABEL, Service, qualified, split_cluster
from foreshock_dashboard.model.types import Bools, Floats
from foreshock_dashboard.model.world import Gpu, World
from foreshock_dashboard.world.cluster import NAMESPACE_LABELS, POD_OF_DEPLOYMENT, namespace_of
from foreshock_dashboard.world.gpus import ALLOCATION_LABELS, DCGM_LABELS, DCGM_RENAMES
from foreshock_dashboard.world.row import (
    GPU_LABELS,
    TARGET_LABELS,
    Catalog,
    LabelMap,
    Producer,
    RateWindows,
    Readings,
    row,
)
from foreshock_dashboard.world.row_math import clipped_share
from foreshock_dashboard.world.targets import target_of

JOINED = (
    *("up", "mock", "host", "places", "gpu", "pool", "specified", "ready", "scaler_target"),
    *("memory_total", "power", "busy", "gpu_wait", "memory", "finished"),
)
"""Keys of the catalog of the World that its GPUs and their holders need, besides `utilization` and `allocated`."""
REQUESTS: Mapping[str, tuple[str, str]] = {
    "served": ("service_name", "service_namespace"),
    "calls": ("server", "server_service_namespace"),
}
"""Keys of requests, with the labels of the server. The World of the accounts has them not: holders would have other
names."""
COMPUTE_SLICES = 7
"""Compute slices of a GPU with MIG (NVIDIA MIG User Guide); 4 of an A30, whose memory share is the larger one."""
MEMORY_SLICES = 8
"""Its memory slices (same source). Names of profiles round their size."""
_PROFILE = re.compile(r"(?:(\d+)c\.)?(\d+)g\.(\d+)gb")

GpuKey = tuple[str, str]
"""(cluster, uuid)."""
_Key = TypeVar("_Key", bound=Hashable)
ContainerKey = tuple[GpuKey, str, str, str]
"""GPU, namespace, pod, and container."""


def cost_catalog(whole: Catalog, windows: RateWindows) -> Catalog:
    """The readings. whole: the catalog of the World, for the same windows."""
    last, rate = windows.last, windows.rate
    busy = whole["utilization"]
    dcgm = Producer(rate("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", DCGM_LABELS), DCGM_RENAMES, scale=1e-3)  # mJ
    return {
        **{key: whole[key] for key in (*JOINED, *REQUESTS)},
        "utilization": replace(busy, ways=busy.ways[:1]),
        "energy": row("energy", rate("gpu_energy_joules_total", GPU_LABELS)),
        "dcgm_energy": row("energy", dcgm),
        "sm_active": row("SM activity", rate("gpu_sm_active_seconds_total", GPU_LABELS)),
        "parts": row("GPUs and MIG instances of pods", last("gpu_allocation_info", (*ALLOCATION_LABELS, "mig_uuid"))),
        "mig": row("MIG profiles", last("gpu_mig_info", (*GPU_LABELS, "mig_uuid", "profile"))),
        "kubelet": row("GPUs that kubelets may allocate", last("gpu_allocatable_devices", TARGET_LABELS)),
        "exporter": row("GPUs whose processes are known", last("gpu_info", GPU_LABELS)),
        "deployments": row("replicas", last("kube_deployment_spec_replicas", (*NAMESPACE_LABELS, "deployment"))),
    }


def gauge_catalog(whole: Catalog) -> Catalog:
    """Utilization as a gauge, of GPUs without a counter. whole: the catalog of the World."""
    busy = whole["utilization"]
    return {"gauge": replace(busy, ways=busy.ways[1:])}


def needs_gauges(found: Readings) -> bool:
    """Whether the utilization of some GPU is not counted."""
    gpus, counted = ({key for key, _ in _by_gpu(found[reading].labels)} for reading in ("gpu", "utilization"))
    return not gpus <= counted


def with_allocations(found: Readings) -> Readings:
    """With the reading `allocated` of the World: all containers of these steps, as if each held its GPU to the end."""
    parts = found["parts"]
    labels = dict.fromkeys(tuple(pair for pair in labels if pair[0] != "mig_uuid") for labels in parts.labels)
    ones: Floats = np.ones((len(labels), len(parts.times)))
    return {**found, "allocated": Matrix(parts.times, tuple(labels), ones)}


def gpu_usage(world: World, found: Readings) -> GpuUsage:
    """The use of all GPUs at the World's times, each of which ends a step.

    A container holds its GPU in the steps in which it is seen. A service without one holds the GPUs on which its
    processes are seen, while they are. A GPU that two targets report is one, the first of them: its exporter has
    another address since a restart.

    found: the readings of `cost_catalog`, of which the World is, too.
    """
    steps = len(world.times)
    keys = list(map(_key, world.gpus))
    number = _first(keys)
    target = {key: target_of(labels) for key, labels in _by_gpu(found["gpu"].labels)}
    kubelets = {target_of(dict(labels)) for labels in (*found["kubelet"].labels, *found["parts"].labels)}
    exporters = {key for key, _ in _by_gpu(found["exporter"].labels)}
    shows_processes = np.array([key in exporters for key in keys], bool)
    present = np.zeros((len(keys), steps), bool)
    for labels, values in zip(found["gpu"].labels, found["gpu"].values, strict=True):
        i = number.get(_key_of(dict(labels)))
        if i is not None:
            present[i] |= np.isfinite(values)
    shape = len(keys), steps
    energy, dcgm_energy = (_rows(number, _of_whole_gpus(found[key]), shape) for key in ("energy", "dcgm_energy"))
    energy = np.where(np.isnan(energy), dcgm_energy, energy)  # an exporter may have both
    counted = _merged(world.utilization, keys)
    is_counted: Bools = np.any(np.isfinite(counted), axis=1)
    gauge = clipped_share(_rows(number, _of_whole_gpus(found["gauge"]), shape))
    utilization = np.where(is_counted[:, None], counted, gauge)
    held = _Held(world, found, number)
    gpu = np.array([holder.gpu for holder in held.holders], np.intp)
    count = held.count.astype(bool)
    holders_of = np.zeros(shape)
    np.add.at(holders_of, gpu, count)
    by_gauge = utilization[gpu] / np.maximum(holders_of, 1.0)[gpu]
    is_named = shows_processes[gpu][:, None]
    return GpuUsage(
        step=world.step,
        gpus=world.gpus,
        pool=tuple(
            pool or qualified(split_cluster(gpu.host)[0], "")
            for gpu, pool in zip(world.gpus, world.pool or ("",) * len(world.gpus), strict=True)
        ),
        present=present,
        utilization=utilization,
        watts=np.where(np.isnan(energy), _merged(world.power, keys), energy),
        sm_active=_rows(number, found["sm_active"], shape),
        shows_allocations=np.array([target.get(key) in kubelets for key in keys], bool),
        shows_processes=shows_processes,
        is_counted=is_counted,
        holders=tuple(held.holders),
        held=held.count,
        fraction=held.fraction,
        given=held.given | (count & ~is_named),  # dcgm-exporter names the pods that the kubelet gave the GPU
        busy=np.where(is_named, held.rows(world.busy), np.where(count, by_gauge, np.nan)),
        waiting=held.rows(world.gpu_wait),
        pausable=_pausable(found),
        requested=_requested(world, found, [holder.service for holder in held.holders]),
    )


class _Held:
    """Holders, and by step the containers with which each holds its GPU, its MIG fraction, and whether it was given."""

    def __init__(self, world: World, found: Readings, number: Mapping[GpuKey, int]) -> None:
        steps = len(world.times)
        self._keys = [(_key(tenant.gpu), tenant.service) for tenant in world.tenants]
        seen = np.isfinite(_merged(np.fmax(np.fmax(world.busy, world.gpu_wait), world.memory), self._keys))
        tenants = _first(self._keys)
        parts = found["parts"]
        containers = _containers(world, found)
        services = {key: i for i, key in enumerate(dict.fromkeys((*(key for key, _ in containers.values()), *tenants)))}
        self.count: Floats = np.zeros((len(services), steps))
        self.fraction: Floats = np.full(self.count.shape, np.nan)
        shown = np.isfinite(parts.values)
        for series, (key, fraction) in containers.items():
            i = services[key]
            self.count[i] += shown[series]
            if np.isfinite(fraction):
                self.fraction[i] = np.where(shown[series], np.nan_to_num(self.fraction[i]) + fraction, self.fraction[i])
        self.given = self.count > 0
        self._tenants = [tenants.get(key) for key in services]
        self.holders = []
        for i, (key, tenant) in enumerate(zip(services, self._tenants, strict=True)):
            if tenant is not None:
                self.count[i] = np.where(self.given[i], self.count[i], seen[tenant])
            is_process_seen = tenant is not None and bool(seen[tenant].any())
            self.holders.append(Holder(number[key[0]], key[1], is_process_seen))

    def rows(self, of_tenants: Floats) -> Floats:
        """Values of tenants by holder; NaN without a process."""
        rows: Floats = np.full(self.count.shape, np.nan)
        merged = _merged(of_tenants, self._keys)
        for i, tenant in enumerate(self._tenants):
            if tenant is not None:
                rows[i] = merged[tenant]
        return rows


def _containers(world: World, found: Readings) -> dict[int, tuple[tuple[GpuKey, Service], float]]:
    """GPU, service, and MIG fraction (NaN without one) of each series of `parts` whose service is known."""
    services: dict[ContainerKey, Service] = {
        (_key(gpu), namespace, pod, container): service
        for gpu, namespace, pod, container, service in world.allocated
        if service is not None
    }
    keys = list(map(_key, world.gpus))
    memory = np.fmax.reduce(_merged(world.memory_total, keys), axis=1)
    total = {key: float(memory[i]) for key, i in _first(keys).items()}
    profiles = {
        (_key_of(labels), labels.get("mig_uuid", "")): labels.get("profile", "")
        for labels in map(dict, found["mig"].labels)
    }
    containers = {}
    for series, labels in enumerate(map(dict, found["parts"].labels)):
        gpu = _key_of(labels)
        namespace, pod, container = (labels.get(name, "") for name in ALLOCATION_LABELS[len(GPU_LABELS) :])
        service = services.get((gpu, namespace, pod, container))
        if service is not None:
            profile = profiles.get((gpu, labels.get("mig_uuid", "")), "")
            containers[series] = (gpu, service), mig_fraction(profile, total.get(gpu, np.nan))
    return containers


def mig_fraction(profile: str, memory_bytes: float) -> float:
    """The larger of the compute and memory shares of a MIG profile; NaN if it has another form.

    The rest of neither can be used: two of `3g.40gb` take a whole GPU. `1c.3g.40gb` is a third of the latter.
    """
    match = _PROFILE.match(profile)
    if not match:
        return math.nan
    part, slices, gib = (int(group) if group else 0 for group in match.groups())
    memory = round(MEMORY_SLICES * gib * 2.0**30 / memory_bytes) / MEMORY_SLICES if memory_bytes > 0 else 0.0
    whole = min(1.0, max(slices / COMPUTE_SLICES, memory))
    return whole * part / slices if part else whole


def _pausable(found: Readings) -> frozenset[Service]:
    """Deployments without an autoscaler of which as many pods hold GPUs at the last step as they have replicas.

    None of a cluster that reports no autoscaler at all: they may not be collected.
    """
    scaled = {
        Service(namespace_of(labels), labels.get("scaletargetref_name", ""))
        for labels in map(dict, found["scaler_target"].labels)
    }
    clusters = {service.cluster for service in scaled}
    parts, replicas = found["parts"], found["deployments"]
    pods = {
        (labels.get("k8s_namespace_name", ""), labels.get("k8s_pod_name", ""))
        for labels, values in zip(map(dict, parts.labels), parts.values, strict=True)
        if np.isfinite(values[-1])
    }
    counts = Counter(
        Service(namespace, match[1]) for namespace, pod in pods if (match := POD_OF_DEPLOYMENT.fullmatch(pod))
    )
    return frozenset(
        service
        for labels, values in zip(map(dict, replicas.labels), replicas.values, strict=True)
        if (service := Service(namespace_of(labels), labels.get("deployment", ""))) not in scaled
        and service.cluster in clusters
        and counts.get(service) == values[-1]
    )


def _requested(world: World, found: Readings, holders: Iterable[Service]) -> frozenset[Service]:
    """Holders that may have had requests at some step: they, their callers, or their model servers count some.

    So have services of that name in other namespaces: `service.namespace` is often not the one of Kubernetes. And all
    of a cluster that counts no requests at all.
    """
    rates = [
        (Service(dict(labels).get(namespace, ""), dict(labels).get(name, "")), rate)
        for reading, (name, namespace) in REQUESTS.items()
        for labels, rate in zip(found[reading].labels, found[reading].values, strict=True)
    ]
    if world.model_servers:
        rates += zip(world.model_servers.services, world.model_servers.finished, strict=True)
    clusters = {service.cluster for service, rate in rates if np.any(np.isfinite(rate))}
    names = {(service.cluster, service.name) for service, rate in rates if np.any(rate > 0)}
    return frozenset(
        holder for holder in holders if holder.cluster not in clusters or (holder.cluster, holder.name) in names
    )


def _of_whole_gpus(matrix: Matrix) -> Matrix:
    """Without series of MIG instances of dcgm-exporter: each is of a part of the GPU."""
    rows = [i for i, labels in enumerate(matrix.labels) if not dict(labels).get("GPU_I_ID")]
    return Matrix(matrix.times, tuple(matrix.labels[i] for i in rows), matrix.values[rows])


def _first(keys: Sequence[_Key]) -> dict[_Key, int]:
    """The first position of each key."""
    found: dict[_Key, int] = {}
    for i, key in enumerate(keys):
        found.setdefault(key, i)
    return found


def _merged(values: Floats, keys: Sequence[Hashable]) -> Floats:
    """Values with the rows of equal keys as one, the first of them; the others are NaN."""
    rows: Floats = np.full(values.shape, np.nan)
    first = _first(keys)
    np.fmax.at(rows, np.array([first[key] for key in keys], np.intp), values)
    return rows


def _rows(number: Mapping[GpuKey, int], matrix: Matrix, shape: tuple[int, int]) -> Floats:
    rows: Floats = np.full(shape, np.nan)
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
