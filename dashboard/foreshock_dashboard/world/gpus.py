"""GPUs, the services on them, GPU waits, and GPU health: queries and rows of the World.

The metrics are those of foreshock-exporter, otherwise of dcgm-exporter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.model.query import Matcher
from foreshock_dashboard.model.service import CLUSTER_LABEL, Service, split_cluster
from foreshock_dashboard.model.world import Gpu, GpuAllocation, GpuWaitPair, Tenant, gpu_order
from foreshock_dashboard.model.world_sections import Hardware, XidCounter
from foreshock_dashboard.world.row import (
    GPU_LABELS,
    SERVICE_LABELS,
    TARGET_LABELS,
    Catalog,
    LabelMap,
    Producer,
    RateWindows,
    Readings,
    row,
)
from foreshock_dashboard.world.row_math import (
    LabelFacts,
    clipped_share,
    last_sample_time,
    safe_ratio,
    service_at,
    service_of,
)
from foreshock_dashboard.world.section import Growth, Section, Sections
from foreshock_dashboard.world.targets import Address, target_of
from foreshock_exporter.model.xid_catalog import xids_of

TENANT_LABELS = (*GPU_LABELS, *SERVICE_LABELS)
NEIGHBOR_LABELS = ("aggressor_name", "aggressor_namespace")
ALLOCATION_LABELS = (*GPU_LABELS, "k8s_namespace_name", "k8s_pod_name", "k8s_container_name")
WORKLOAD_LABELS = ("namespace", "pod", "exported_namespace", "exported_pod")
"""Labels of the pod on a GPU; `exported_` if the labels of the scrape target have the same names."""

DCGM_LABELS = (*TARGET_LABELS, "UUID", "GPU_I_ID", *WORKLOAD_LABELS)
_DCGM_GPU_LABELS = (*TARGET_LABELS, "UUID", "gpu", "modelName", "Hostname")
DCGM_RENAMES = {"UUID": "uuid", "modelName": "model", "Hostname": "host_name"}
_SM_CLOCK = Matcher("clock", "=", "sm")
_UNCORRECTED = Matcher("error_type", "=", "uncorrected")
_ABNORMAL_THROTTLING = Matcher("reason", "=~", "thermal|hw_thermal|power_brake|reliability|board_limit")
"""Throttle reasons of insufficient cooling or power. The power limit and idling are normal."""
HARDWARE_XIDS = Matcher("xid", "!~", "|".join(map(str, sorted(xids_of("application")))))
"""XID errors except those caused by applications or limited to one."""
BYTES_PER_MIB = 2.0**20

GPU_GAUGES = ("utilization", "contended", "memory_used", "memory_total", "power", "temperature")
HEALTH_READINGS = ("clock", "clock_max", "throttled", "gpu_errors", "gpu_lost")
TENANT_READINGS = ("busy", "gpu_wait", "memory")
XID_READINGS = ("xid", "service_xid")

GpuId = tuple[str, str, str]
"""(job, instance, uuid)."""


def readings(windows: RateWindows) -> Catalog:
    """Readings of identity, load, sharing, and health.

    dcgm-exporter's names, labels and units (MiB, MHz, percent) are those of its default counters
    (dcgm-exporter/etc/default-counters.csv). Its XID gauge is not read, because a gauge has no rate.
    """
    last, rate, quick_rate = windows.last, windows.rate, windows.quick_rate

    def dcgm(field: str, scale: float = 1.0, by: tuple[str, ...] = DCGM_LABELS) -> Producer:
        return Producer(last(f"DCGM_FI_{field}", by), DCGM_RENAMES, scale=scale)

    busy = dcgm("PROF_GR_ENGINE_ACTIVE"), dcgm("DEV_GPU_UTIL", 0.01)
    used, total, free = (dcgm(f"DEV_FB_{kind}", BYTES_PER_MIB) for kind in ("USED", "TOTAL", "FREE"))
    host_name = Producer(last("node_uname_info", (*TARGET_LABELS, "nodename")), {"nodename": "host_name"})
    ecc = rate("gpu_ecc_errors_total", GPU_LABELS, _UNCORRECTED)
    dcgm_ecc = Producer(rate("DCGM_FI_DEV_ECC_DBE_VOL_TOTAL", (*TARGET_LABELS, "UUID")), DCGM_RENAMES)
    gpu_info = last("gpu_info", (*GPU_LABELS, "gpu", "model", "vendor"))
    dcgm_info = [dcgm(f, by=_DCGM_GPU_LABELS) for f in ("DEV_GPU_UTIL", "PROF_GR_ENGINE_ACTIVE")]
    gpu_wait_by = quick_rate("gpu_service_wait_by_aggressor_seconds_total", (*TENANT_LABELS, *NEIGHBOR_LABELS))
    return {
        "up": row("targets that are down", last("up", TARGET_LABELS)),
        "host": row(
            "host names; addresses are shown instead",
            last("target_info", (*TARGET_LABELS, "host_name")),
            also=(host_name,),
        ),
        "gpu": row("GPUs", gpu_info, *dcgm_info, shown=True),
        "allocated": row("GPUs allocated to pods", last("gpu_allocation_info", ALLOCATION_LABELS)),
        "pool": row("GPU pools", last("gpu_pool_info", ("uuid", "pool"))),
        "mock": row("badge for simulated data", last("foreshock_exporter_mock", TARGET_LABELS)),
        "utilization": row("GPUs", rate("gpu_busy_seconds_total", GPU_LABELS), *busy, shown=True),
        "contended": row("contention", quick_rate("gpu_contended_seconds_total", GPU_LABELS), shown=True),
        "memory_used": row("GPUs", last("gpu_memory_used_bytes", GPU_LABELS), used, shown=True),
        "memory_total": row("GPUs", last("gpu_memory_total_bytes", GPU_LABELS), total, shown=True),
        "memory_free": row("GPU memory, without a total", last("gpu_memory_free_bytes", GPU_LABELS), free),
        "power": row("power", last("gpu_power_watts", GPU_LABELS), dcgm("DEV_POWER_USAGE")),
        "temperature": row(
            "temperature",
            last("gpu_temperature_celsius", GPU_LABELS, Matcher("sensor", "=", "gpu")),
            dcgm("DEV_GPU_TEMP"),
        ),
        "clock": row("reduced clocks", last("gpu_clock_hertz", GPU_LABELS, _SM_CLOCK), dcgm("DEV_SM_CLOCK", 1e6)),
        "clock_max": row(
            "reduced clocks", last("gpu_clock_max_hertz", GPU_LABELS, _SM_CLOCK), dcgm("DEV_MAX_SM_CLOCK", 1e6)
        ),
        "throttled": row(
            "thermal and power throttling",
            rate("gpu_throttled_seconds_total", GPU_LABELS, _ABNORMAL_THROTTLING),
        ),
        "gpu_errors": row("GPU errors", rate("gpu_xid_errors_total", GPU_LABELS, HARDWARE_XIDS), also=(ecc, dcgm_ecc)),
        "gpu_lost": row("lost GPUs", last("gpu_lost", GPU_LABELS)),
        "xid": row("XID errors of incidents", last("gpu_xid_errors_total", (*GPU_LABELS, "xid"))),
        "service_xid": row("XID errors of incidents", last("gpu_service_xid_errors_total", (*TENANT_LABELS, "xid"))),
        "busy": row("services on GPUs", quick_rate("gpu_service_busy_seconds_total", TENANT_LABELS), *busy, shown=True),
        "gpu_wait": row("contention", quick_rate("gpu_service_wait_seconds_total", TENANT_LABELS), shown=True),
        "gpu_wait_by": row("noisy neighbors", gpu_wait_by, shown=True),
        "memory": row("services on GPUs", last("gpu_service_memory_used_bytes", TENANT_LABELS), used, shown=True),
    }


class Allocations(NamedTuple):
    """See `World`."""

    idle: tuple[GpuAllocation, ...]
    every: tuple[GpuAllocation, ...]


class GpuRows:
    """Rows of GPUs, tenants, and GPU-wait pairs. `workload` maps the labels of a pod to its workload."""

    def __init__(
        self, sections: Sections, hosts: LabelFacts[Address, str], workload: Callable[[LabelMap], str]
    ) -> None:
        self.gpus = Section(sections, gpu_order, self._gpu, copies=True, while_up=True)
        self.tenants = Section(sections, _gpu_first, self._tenant, copies=True, while_up=True)
        self.gpu_wait_pairs = Section(sections, _gpu_first, self._gpu_wait_pair, copies=True, while_up=True)
        self.xids = Section(sections, _xid_order, self._xid, copies=True, while_up=True)
        self._hosts = hosts
        self._workload = workload
        self._identities: LabelFacts[GpuId, tuple[str, str, str, str, str]] = LabelFacts(_identity)
        self._pools: LabelFacts[tuple[str, str], str] = LabelFacts(_pool)
        self._allocated: list[LabelMap] = []
        self._healthy = -np.inf  # Unix seconds of the last health sample

    def update(self, readings: Readings, since: float, renamed: bool) -> None:
        """Register the entities of new readings; `renamed`: names of hosts or workloads changed."""
        if self._identities.update(readings["gpu"]) or renamed:
            for section in (self.gpus, self.tenants, self.gpu_wait_pairs, self.xids):
                section.forget()
        self._pools.update(readings["pool"])
        allocated = readings["allocated"]
        given = np.flatnonzero(~np.isnan(allocated.values[:, -1])).tolist()
        self._allocated = [dict(allocated.labels[number]) for number in given]
        self.gpus.register(readings, ["gpu"], since)
        self.tenants.register(readings, TENANT_READINGS, since)
        self.gpu_wait_pairs.register(readings, ["gpu_wait_by"], since)
        self.xids.register(readings, XID_READINGS, since)
        self._healthy = max(self._healthy, *(last_sample_time(readings[key]) for key in HEALTH_READINGS))

    def columns(self, readings: Readings) -> Growth:
        """New columns of every figure."""
        figures = {key: self.gpus.rows(key, readings[key]) for key in (*GPU_GAUGES, *HEALTH_READINGS, "memory_free")}
        total, free = figures["memory_total"], figures.pop("memory_free")
        figures["memory_total"] = np.where(np.isnan(total), figures["memory_used"] + free, total)
        figures["clock"] = safe_ratio(figures["clock"], figures.pop("clock_max"))
        tenants = {key: self.tenants.rows(key, readings[key]) for key in TENANT_READINGS}
        waits = {"gpu_wait_by": self.gpu_wait_pairs.rows("gpu_wait_by", readings["gpu_wait_by"])}
        for rows in (figures, tenants, waits):
            shares = rows.keys() & {"utilization", "contended", "throttled", "busy", "gpu_wait", "gpu_wait_by"}
            rows |= {key: clipped_share(rows[key]) for key in shares}
        of_gpu, of_service = (self.xids.rows(key, readings[key]) for key in XID_READINGS)
        errors = {"errors": np.where(np.isnan(of_gpu), of_service, of_gpu)}
        return [(self.gpus, figures), (self.tenants, tenants), (self.gpu_wait_pairs, waits), (self.xids, errors)]

    def hardware(self, since: float) -> Hardware | None:
        """GPU health; None without a health sample since `since`."""
        if self._healthy < since or self._healthy == -np.inf:
            return None
        health = (self.gpus[key] for key in ("clock", "throttled", "gpu_errors", "gpu_lost"))
        return Hardware(*health, xids=self.xids.keys, xid_errors=self.xids["errors"])

    def pool(self) -> tuple[str, ...]:
        """Pool of each GPU, "" where unknown; empty where none is known."""
        pools = self._pools.facts
        keys = ((split_cluster(gpu.host)[0], gpu.uuid) for gpu in self.gpus.keys)
        return tuple(pools.get(key, "") for key in keys) if pools else ()

    def allocations(self, service_of_pod: Callable[[str, str], Service | None]) -> Allocations:
        """Containers with a GPU, by GPU and pod: those of whose service no process is seen on it, and all.

        None on a GPU with a process of a service that no allocation explains: it may be theirs. Among all, a container
        without a known service has its workload as the service.
        """
        pods = {
            (gpu, labels.get("k8s_namespace_name", ""), labels["k8s_pod_name"], labels.get("k8s_container_name", ""))
            for labels in self._allocated
            if (gpu := self._gpu(labels)) and labels.get("k8s_pod_name")
        }
        for _, namespace, pod, _ in pods:
            service_of_pod(namespace, pod)  # all names are known before any is joined by its name alone
        owners: dict[GpuAllocation, tuple[Service, ...]] = {}
        given: dict[Gpu, set[Service]] = {}
        for gpu, namespace, pod, container in pods:
            service = service_of_pod(namespace, pod)
            named = Service(namespace, self._workload({"namespace": namespace, "pod": pod}))
            of: tuple[Service, ...] = (service, named) if service else (named,)
            owners[GpuAllocation(gpu, namespace, pod, container, service)] = of
            given.setdefault(gpu, set()).update(of)
        seen: dict[Gpu, set[Service]] = {}
        if owners:
            newest = (self.tenants[figure][:, -1:] for figure in TENANT_READINGS)
            known = np.any([np.isfinite(values).any(axis=1) for values in newest], axis=0)
            for number in np.flatnonzero(known).tolist():
                tenant = self.tenants.keys[number]
                seen.setdefault(tenant.gpu, set()).add(tenant.service)
        idle, every = [], []
        for item, of in owners.items():
            here = seen.get(item.gpu, set())
            used = next((service for service in of if service in here), None)
            if used or here <= given[item.gpu]:
                every.append(item._replace(service=used or of[0]))
            if not used and here <= given[item.gpu]:
                idle.append(item)
        return Allocations(*(tuple(sorted(items, key=_allocation_order)) for items in (idle, every)))

    def targets(self) -> frozenset[Address]:
        """Targets that report GPUs."""
        return frozenset((job, instance) for job, instance, _ in self._identities.facts)

    def _gpu(self, labels: LabelMap) -> Gpu | None:
        target, uuid = target_of(labels), labels.get("uuid", "")
        identity = self._identities.facts.get((*target, uuid))
        if identity is None:
            return None
        host, index, model, vendor, instance = identity
        return Gpu(host or self._hosts.facts.get(target, instance), index, uuid, model, vendor)

    def _tenant(self, labels: LabelMap) -> Tenant | None:
        gpu, service = self._gpu(labels), service_of(labels) or self._assigned_service(labels)
        return Tenant(gpu, service) if gpu and service else None

    def _gpu_wait_pair(self, labels: LabelMap) -> GpuWaitPair | None:
        gpu, affected, neighbor = self._gpu(labels), service_of(labels), service_at(labels, "aggressor")
        return GpuWaitPair(gpu, affected, neighbor) if gpu and affected and neighbor.name else None

    def _xid(self, labels: LabelMap) -> XidCounter | None:
        gpu, xid = self._gpu(labels), labels.get("xid", "")
        return XidCounter(gpu.label, int(xid), service_of(labels)) if gpu and xid.isdecimal() else None

    def _assigned_service(self, labels: LabelMap) -> Service | None:
        """Workload of the pod that dcgm-exporter reports for a GPU; None for the pod of the exporter itself."""
        name = self._workload(labels)
        if not name or "dcgm-exporter" in name:
            return None
        return Service(labels.get("exported_namespace") or labels.get("namespace", ""), name)


def _allocation_order(item: GpuAllocation) -> tuple[object, ...]:
    return (gpu_order(item.gpu), *item[1:4])


def _gpu_first(key: Tenant | GpuWaitPair) -> tuple[object, ...]:
    """Sort key of what is on a GPU."""
    return (gpu_order(key.gpu), *key[1:])


def _xid_order(key: XidCounter) -> tuple[object, ...]:
    return key.gpu, key.xid, str(key.service or "")


def _pool(labels: LabelMap) -> tuple[tuple[str, str], str]:
    return (labels.get(CLUSTER_LABEL, ""), labels.get("uuid", "")), labels.get("pool", "")


def _identity(labels: LabelMap) -> tuple[GpuId, tuple[str, str, str, str, str]]:
    target = target_of(labels)
    host, index, model, vendor = (labels.get(name, "") for name in ("host_name", "gpu", "model", "vendor"))
    vendor = vendor or ("NVIDIA" if "nvidia" in model.lower() else "")  # dcgm-exporter has no such label
    return (*target, labels.get("uuid", "")), (host, index or "?", model, vendor, target[1])
