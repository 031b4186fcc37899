"""Readings → what the World has on GPUs: identity, load, who is on them, who waits for whom, how well they are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from foreshock_dashboard.model.hardware import Hardware
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import Gpu, Stall, Tenant, gpu_order
from foreshock_dashboard.world.catalogue.catalogue import Readings, service_at
from foreshock_dashboard.world.row_math import Named, Told, last_told, service_of, share
from foreshock_dashboard.world.section import Section
from foreshock_dashboard.world.sections import Growth, Sections
from foreshock_dashboard.world.targets import Address, target_of

GIVEN = ("utilization", "contended", "memory_used", "memory_total", "power", "temperature")
HEALTH = ("clock", "clock_max", "throttled", "gpu_errors", "gpu_lost")
ON_TENANTS = ("busy", "stalled", "memory")

Place = tuple[str, str, str]
"""(job, instance, uuid)."""


def _tenant_order(tenant: Tenant) -> tuple[tuple[str, int, str, str], Service]:
    return gpu_order(tenant.gpu), tenant.service


def _stall_order(stall: Stall) -> tuple[tuple[str, int, str, str], Service, Service]:
    return gpu_order(stall.gpu), stall.victim, stall.aggressor


class OnGpus:
    """Rows of GPUs, tenants and stalls. `workload` names the deployment of a pod."""

    def __init__(self, sections: Sections, hosts: Told[Address, str], workload: Callable[[Named], str]) -> None:
        self.gpus: Section[Gpu] = sections.new(gpu_order)
        self.tenants: Section[Tenant] = sections.new(_tenant_order)
        self.stalls: Section[Stall] = sections.new(_stall_order)
        self._hosts = hosts
        self._workload = workload
        self._places: Told[Place, tuple[str, str, str, str]] = Told(_identity)
        self._pools: Told[str, str] = Told(lambda labels: (labels.get("uuid", ""), labels.get("pool", "")))
        self._healthy = -np.inf  # when somebody last said how GPUs are

    def meet(self, readings: Readings, since: float, renamed: bool) -> None:
        """Name what is told of; `renamed`: hosts or workloads are others than before."""
        if self._places.meet(readings["gpu"]) or renamed:
            self.gpus.forget("gpu", "memory_free", *GIVEN, *HEALTH)
            self.tenants.forget(*ON_TENANTS)
            self.stalls.forget("stalled_by")
        self._pools.meet(readings["pool"])
        self.gpus.meet("gpu", readings["gpu"], self._gpu)
        for key in ON_TENANTS:
            self.tenants.meet(key, readings[key], self._tenant)
        self.stalls.meet("stalled_by", readings["stalled_by"], self._stall)
        for section in (self.gpus, self.tenants, self.stalls):
            section.settle(since)
        self._healthy = max(self._healthy, *(last_told(readings[key]) for key in HEALTH))

    def arrange(self, readings: Readings) -> Growth:
        """What is told, as rows."""

        def figure(key: str) -> Floats:
            return self.gpus.rows(key, readings[key], self._gpu, copies=True, while_up=True)

        def held(key: str) -> Floats:
            return self.tenants.rows(key, readings[key], self._tenant, copies=True, while_up=True)

        told = {key: figure(key) for key in (*GIVEN, *HEALTH)}
        total, free = told["memory_total"], figure("memory_free")
        told["memory_total"] = np.where(np.isnan(total), told["memory_used"] + free, total)
        with np.errstate(invalid="ignore", divide="ignore"):
            highest = told.pop("clock_max")
            told["clock"] = np.where(highest > 0, told["clock"] / highest, np.nan)
        told |= {key: share(told[key]) for key in ("utilization", "contended", "throttled")}
        stalls = self.stalls.rows("stalled_by", readings["stalled_by"], self._stall, copies=True, while_up=True)
        on = {"busy": share(held("busy")), "stalled": share(held("stalled")), "memory": held("memory")}
        return [(self.gpus, told), (self.tenants, on), (self.stalls, {"stalled_by": share(stalls)})]

    def hardware(self, since: float) -> Hardware | None:
        """How GPUs are, if anybody said so."""
        if self._healthy < since or self._healthy == -np.inf:
            return None
        return Hardware(*(self.gpus[key] for key in ("clock", "throttled", "gpu_errors", "gpu_lost")))

    def pool(self) -> tuple[str, ...]:
        """The pool of each GPU, "" where nobody says; empty where nobody says anything."""
        pools = self._pools.found
        return tuple(pools.get(gpu.uuid, "") for gpu in self.gpus.keys) if pools else ()

    def targets(self) -> frozenset[Address]:
        """The targets that tell of GPUs."""
        return frozenset((job, instance) for job, instance, _ in self._places.found)

    def _gpu(self, labels: Named) -> Gpu | None:
        target, uuid = target_of(labels), labels.get("uuid", "")
        told = self._places.found.get((*target, uuid))
        if told is None:
            return None
        host, index, model, instance = told
        return Gpu(host or self._hosts.found.get(target, instance), index, uuid, model)

    def _tenant(self, labels: Named) -> Tenant | None:
        where, who = self._gpu(labels), service_of(labels) or self._holder(labels)
        return Tenant(where, who) if where and who else None

    def _stall(self, labels: Named) -> Stall | None:
        where, victim, aggressor = self._gpu(labels), service_of(labels), service_at(labels, "by_")
        return Stall(where, victim, aggressor) if where and victim and aggressor.name else None

    def _holder(self, labels: Named) -> Service | None:
        """The workload of the pod that dcgm-exporter says a GPU is given to; none where the scrape named its own."""
        name = self._workload(labels)
        if not name or "dcgm-exporter" in name:
            return None
        return Service(labels.get("exported_namespace") or labels.get("namespace", ""), name)


def _identity(labels: Named) -> tuple[Place, tuple[str, str, str, str]]:
    target = target_of(labels)
    told = (labels.get("host_name", ""), labels.get("gpu", "?"), labels.get("model", ""), target[1])
    return (*target, labels.get("uuid", "")), told
