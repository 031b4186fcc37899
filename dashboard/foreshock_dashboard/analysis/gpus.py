"""Readings → what the World has on GPUs: identity, load, who is on them, who waits for whom, how well they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from foreshock_dashboard.analysis.rows import Named, hosts_of, keys_of, rows_of, service_of, share, target_of
from foreshock_dashboard.model.hardware import Hardware
from foreshock_dashboard.model.query import Floats
from foreshock_dashboard.model.readings import Readings, service_at
from foreshock_dashboard.model.world import Gpu, Stall, Tenant

GIVEN = ("utilization", "contended", "memory_used", "memory_total", "memory_free", "power", "temperature")
HEALTH = ("clock", "clock_max", "throttled", "gpu_errors", "gpu_lost")
ON_GPUS = frozenset({*GIVEN, *HEALTH, "busy", "stalled", "stalled_by", "memory"})
"""Readings that an exporter gives, and that end with it."""

Place = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Gpus:
    """The World's rows of GPUs, tenants and stalls; see there."""

    gpus: tuple[Gpu, ...]
    pool: tuple[str, ...]
    figures: Mapping[str, Floats]
    tenants: tuple[Tenant, ...]
    busy: Floats
    stalled: Floats
    memory: Floats
    stalls: tuple[Stall, ...]
    stalled_by: Floats
    hardware: Hardware | None
    targets: frozenset[tuple[str, str]]


def gpu_order(gpu: Gpu) -> tuple[str, int, str, str]:
    """Sort GPUs by host, then by index as a number."""
    return gpu.host, int(gpu.index) if gpu.index.isdigit() else 10**9, gpu.index, gpu.uuid


def gpus_of(readings: Readings, workload: Callable[[Named], str]) -> Gpus:
    """Name GPUs and arrange what is told of them. `workload` names the deployment of a pod."""
    places = _places(readings)
    gpus = sorted(set(places.values()), key=gpu_order)

    def gpu(labels: Named) -> Gpu | None:
        return places.get((*target_of(labels), labels.get("uuid", "")))

    def tenant(labels: Named) -> Tenant | None:
        where, who = gpu(labels), service_of(labels) or service_of(_holder(labels, workload))
        return Tenant(where, who) if where and who else None

    def stall(labels: Named) -> Stall | None:
        where, victim, aggressor = gpu(labels), service_of(labels), service_at(labels, "by_")
        return Stall(where, victim, aggressor) if where and victim and aggressor.name else None

    def figure(key: str) -> Floats:
        return rows_of(readings[key], gpus, gpu, copies=True)

    tenants = keys_of([readings["busy"], readings["memory"]], tenant)
    stalls = keys_of([readings["stalled_by"]], stall)
    figures = {key: figure(key) for key in GIVEN}
    free = figures.pop("memory_free")
    figures["memory_total"] = np.where(
        np.isnan(figures["memory_total"]), figures["memory_used"] + free, figures["memory_total"]
    )
    figures |= {key: share(figures[key]) for key in ("utilization", "contended")}
    pools = {dict(labels).get("uuid"): dict(labels).get("pool", "") for labels in readings["pool"].labels}
    return Gpus(
        gpus=tuple(gpus),
        pool=tuple(pools.get(each.uuid, "") for each in gpus) if pools else (),
        figures=figures,
        tenants=tuple(tenants),
        busy=share(rows_of(readings["busy"], tenants, tenant, copies=True)),
        stalled=share(rows_of(readings["stalled"], tenants, tenant, copies=True)),
        memory=rows_of(readings["memory"], tenants, tenant, copies=True),
        stalls=tuple(stalls),
        stalled_by=share(rows_of(readings["stalled_by"], stalls, stall, copies=True)),
        hardware=_hardware({key: figure(key) for key in HEALTH}) if any(len(readings[key]) for key in HEALTH) else None,
        targets=frozenset((job, instance) for job, instance, _ in places),
    )


def _places(readings: Readings) -> dict[Place, Gpu]:
    """GPUs by (job, instance, uuid); the host's name is told beside them or joined from target_info."""
    hosts = hosts_of(readings["host"])
    found = {}
    for labels in map(dict, readings["gpu"].labels):
        target = target_of(labels)
        host = labels.get("host_name") or hosts.get(target, target[1])
        uuid = labels.get("uuid", "")
        found[*target, uuid] = Gpu(host, labels.get("gpu", "?"), uuid, labels.get("model", ""))
    return found


def _holder(labels: Named, workload: Callable[[Named], str]) -> Named:
    """The workload of the pod that dcgm-exporter says a GPU is given to; itself where the scrape named the pod."""
    name = workload(labels)
    if not name or "dcgm-exporter" in name:
        return {}
    return {
        "service_name": name,
        "service_namespace": labels.get("exported_namespace") or labels.get("namespace", ""),
    }


def _hardware(told: Mapping[str, Floats]) -> Hardware:
    with np.errstate(invalid="ignore", divide="ignore"):
        clock = np.where(told["clock_max"] > 0, told["clock"] / told["clock_max"], np.nan)
    return Hardware(clock, share(told["throttled"]), told["gpu_errors"], told["gpu_lost"])
