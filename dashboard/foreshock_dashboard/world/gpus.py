"""Rows of GPUs, of the services on them, of GPU waits, and of GPU health."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from foreshock_dashboard.model.hardware import Hardware
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import Gpu, Stall, Tenant, gpu_order
from foreshock_dashboard.world.catalogue.catalogue import Readings, service_at
from foreshock_dashboard.world.row_math import LabelFacts, LabelMap, clipped_share, last_sample_time, service_of
from foreshock_dashboard.world.section import Section
from foreshock_dashboard.world.sections import Growth, Sections
from foreshock_dashboard.world.targets import Address, target_of

GPU_GAUGES = ("utilization", "contended", "memory_used", "memory_total", "power", "temperature")
HEALTH_READINGS = ("clock", "clock_max", "throttled", "gpu_errors", "gpu_lost")
TENANT_READINGS = ("busy", "stalled", "memory")

GpuId = tuple[str, str, str]
"""(job, instance, uuid)."""


def _tenant_order(tenant: Tenant) -> tuple[tuple[str, int, str, str], Service]:
    return gpu_order(tenant.gpu), tenant.service


def _stall_order(stall: Stall) -> tuple[tuple[str, int, str, str], Service, Service]:
    return gpu_order(stall.gpu), stall.victim, stall.aggressor


class GpuRows:
    """Rows of GPUs, tenants, and stalls. `workload` maps the labels of a pod to its workload."""

    def __init__(
        self, sections: Sections, hosts: LabelFacts[Address, str], workload: Callable[[LabelMap], str]
    ) -> None:
        self.gpus: Section[Gpu] = sections.new(gpu_order)
        self.tenants: Section[Tenant] = sections.new(_tenant_order)
        self.stalls: Section[Stall] = sections.new(_stall_order)
        self._hosts = hosts
        self._workload = workload
        self._identities: LabelFacts[GpuId, tuple[str, str, str, str]] = LabelFacts(_identity)
        self._pools: LabelFacts[str, str] = LabelFacts(lambda labels: (labels.get("uuid", ""), labels.get("pool", "")))
        self._healthy = -np.inf  # Unix seconds of the last health sample

    def update(self, readings: Readings, since: float, renamed: bool) -> None:
        """Register the entities of new readings; `renamed`: names of hosts or workloads changed."""
        if self._identities.update(readings["gpu"]) or renamed:
            self.gpus.forget("gpu", "memory_free", *GPU_GAUGES, *HEALTH_READINGS)
            self.tenants.forget(*TENANT_READINGS)
            self.stalls.forget("stalled_by")
        self._pools.update(readings["pool"])
        self.gpus.update("gpu", readings["gpu"], self._gpu)
        for key in TENANT_READINGS:
            self.tenants.update(key, readings[key], self._tenant)
        self.stalls.update("stalled_by", readings["stalled_by"], self._stall)
        for section in (self.gpus, self.tenants, self.stalls):
            section.drop_idle(since)
        self._healthy = max(self._healthy, *(last_sample_time(readings[key]) for key in HEALTH_READINGS))

    def columns(self, readings: Readings) -> Growth:
        """New columns of every figure."""

        def of_gpus(key: str) -> Floats:
            return self.gpus.rows(key, readings[key], self._gpu, copies=True, while_up=True)

        def of_tenants(key: str) -> Floats:
            return self.tenants.rows(key, readings[key], self._tenant, copies=True, while_up=True)

        figures = {key: of_gpus(key) for key in (*GPU_GAUGES, *HEALTH_READINGS)}
        total, free = figures["memory_total"], of_gpus("memory_free")
        figures["memory_total"] = np.where(np.isnan(total), figures["memory_used"] + free, total)
        with np.errstate(invalid="ignore", divide="ignore"):
            highest = figures.pop("clock_max")
            figures["clock"] = np.where(highest > 0, figures["clock"] / highest, np.nan)
        figures |= {key: clipped_share(figures[key]) for key in ("utilization", "contended", "throttled")}
        stalls = self.stalls.rows("stalled_by", readings["stalled_by"], self._stall, copies=True, while_up=True)
        tenants = {key: of_tenants(key) for key in TENANT_READINGS}
        tenants |= {key: clipped_share(tenants[key]) for key in ("busy", "stalled")}
        return [(self.gpus, figures), (self.tenants, tenants), (self.stalls, {"stalled_by": clipped_share(stalls)})]

    def hardware(self, since: float) -> Hardware | None:
        """GPU health; None without a health sample since `since`."""
        if self._healthy < since or self._healthy == -np.inf:
            return None
        return Hardware(*(self.gpus[key] for key in ("clock", "throttled", "gpu_errors", "gpu_lost")))

    def pool(self) -> tuple[str, ...]:
        """Pool of each GPU, "" where unknown; empty where none is known."""
        pools = self._pools.facts
        return tuple(pools.get(gpu.uuid, "") for gpu in self.gpus.keys) if pools else ()

    def targets(self) -> frozenset[Address]:
        """Targets that report GPUs."""
        return frozenset((job, instance) for job, instance, _ in self._identities.facts)

    def _gpu(self, labels: LabelMap) -> Gpu | None:
        target, uuid = target_of(labels), labels.get("uuid", "")
        identity = self._identities.facts.get((*target, uuid))
        if identity is None:
            return None
        host, index, model, instance = identity
        return Gpu(host or self._hosts.facts.get(target, instance), index, uuid, model)

    def _tenant(self, labels: LabelMap) -> Tenant | None:
        gpu, service = self._gpu(labels), service_of(labels) or self._assigned_service(labels)
        return Tenant(gpu, service) if gpu and service else None

    def _stall(self, labels: LabelMap) -> Stall | None:
        gpu, victim, aggressor = self._gpu(labels), service_of(labels), service_at(labels, "by_")
        return Stall(gpu, victim, aggressor) if gpu and victim and aggressor.name else None

    def _assigned_service(self, labels: LabelMap) -> Service | None:
        """Workload of the pod that dcgm-exporter reports for a GPU; None for the pod of the exporter itself."""
        name = self._workload(labels)
        if not name or "dcgm-exporter" in name:
            return None
        return Service(labels.get("exported_namespace") or labels.get("namespace", ""), name)


def _identity(labels: LabelMap) -> tuple[GpuId, tuple[str, str, str, str]]:
    target = target_of(labels)
    identity = (labels.get("host_name", ""), labels.get("gpu", "?"), labels.get("model", ""), target[1])
    return (*target, labels.get("uuid", "")), identity
