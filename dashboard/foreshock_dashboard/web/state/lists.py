"""The lists of the JSON API: services, calls, GPUs, pairs, pools, incidents, targets. Pure."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from foreshock_dashboard.analysis.saturation.pooling import shared_gpus, tier_needs
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.model.world import Gpu, Red, Target, World
from foreshock_dashboard.web.state.conditions import Health, conditions, open_incidents
from foreshock_dashboard.web.state.incident_json import VERSION, IncidentJson, incident
from foreshock_dashboard.web.state.numbers import last, number
from foreshock_dashboard.web.state.placement import pairs


class RedFigures(TypedDict):
    """Request rate, errors, and latency of a service or of a call edge."""

    requests_per_second: float | None
    failed_ratio: float | None
    p50_seconds: float | None
    p95_seconds: float | None
    p99_seconds: float | None


class ServiceRow(RedFigures):
    """A service: health, request figures, and its GPUs."""

    service: str
    health: Health
    condition: str
    gpus: list[str]


class EdgeRow(RedFigures):
    """A call edge."""

    client: str
    server: str
    connection: str
    server_p95_seconds: float | None
    attempts_per_call: float | None


class Services(TypedDict):
    """All services and call edges."""

    services: list[ServiceRow]
    edges: list[EdgeRow]


class TenantRow(TypedDict):
    """A service on a GPU."""

    service: str
    busy_ratio: float | None
    stalled_ratio: float | None
    memory_used_bytes: float | None


class GpuRow(TypedDict):
    """A GPU and the services on it."""

    gpu: str
    host: str
    index: str
    uuid: str
    model: str
    utilization_ratio: float | None
    contended_ratio: float | None
    memory_used_bytes: float | None
    memory_total_bytes: float | None
    power_watts: float | None
    temperature_celsius: float | None
    services: list[TenantRow]


class Gpus(TypedDict):
    """All GPUs."""

    gpus: list[GpuRow]


class PairGpu(TypedDict):
    """A GPU that a pair shares."""

    gpu: str
    stalled_ratio: float | None


class PairRow(TypedDict):
    """A victim, an aggressor, and the share of time that one waits for the other."""

    victim: str
    aggressor: str
    stalled_ratio: float | None
    gpus: list[PairGpu]


class Contention(TypedDict):
    """All pairs that share GPUs, the longest waits first."""

    pairs: list[PairRow]


class TierRow(TypedDict):
    """What one tier needs."""

    tier: str
    services: list[str]
    gpus: int
    shared: int
    load: float | None
    safe_ratio: float | None
    needed: int | None
    by: str


class MixedGpuRow(TypedDict):
    """A GPU that several tiers share."""

    gpu: str
    pool: str | None
    tiers: dict[str, list[str]]


class Pools(TypedDict):
    """The tiers, and the GPUs that several of them share."""

    tiers: list[TierRow]
    mixed: list[MixedGpuRow]


class TargetRow(TypedDict):
    """A scrape target."""

    instance: str
    job: str
    up: bool | None
    age_seconds: float | None


class Status(TypedDict):
    """The health of the hub itself."""

    version: str
    ready: bool
    reason: str
    targets: list[TargetRow]
    missing: list[str]
    hub: Json


class Warnings(TypedDict):
    """The open incidents."""

    version: Annotated[int, Field(description="of the form of an incident")]
    warnings: list[IncidentJson]


class Incidents(TypedDict):
    """All incidents."""

    version: Annotated[int, Field(description="of the form of an incident")]
    incidents: list[IncidentJson]


def red_figures(red: Red) -> list[RedFigures]:
    """The newest figures of each row."""
    columns = [last(values) for values in (red.rate, red.failed, red.p50, red.p95, red.p99)]
    return [
        {
            "requests_per_second": rate,
            "failed_ratio": failed,
            "p50_seconds": p50,
            "p95_seconds": p95,
            "p99_seconds": p99,
        }
        for rate, failed, p50, p95, p99 in zip(*columns, strict=True)
    ]


def services(snapshot: Snapshot) -> Services:
    """Every service with its figures, every call edge, and the GPUs of each service."""
    world = snapshot.world
    if world is None:
        return {"services": [], "edges": []}
    gpus_by_service: dict[Service, list[str]] = {}
    for tenant in world.tenants:
        gpus_by_service.setdefault(tenant.service, []).append(tenant.gpu.label)
    by_service = conditions(snapshot)
    return {
        "services": [
            {
                "service": str(service),
                "health": by_service[service].health,
                "condition": by_service[service].word,
                **red,
                "gpus": gpus_by_service.get(service, []),
            }
            for service, red in zip(world.services, red_figures(world.red), strict=True)
        ],
        "edges": [
            {
                "client": str(edge.client),
                "server": str(edge.server),
                "connection": edge.connection,
                **red,
                "server_p95_seconds": server_p95,
                "attempts_per_call": attempts,
            }
            for edge, red, server_p95, attempts in zip(
                world.edges, red_figures(world.calls), last(world.server_p95), last(world.attempts), strict=True
            )
        ],
    }


def gpus(snapshot: Snapshot) -> Gpus:
    """Every GPU with its state and the services on it."""
    world = snapshot.world
    if world is None:
        return {"gpus": []}
    tenants: dict[Gpu, list[TenantRow]] = {}
    columns = (last(world.busy), last(world.stalled), last(world.memory))
    for tenant, busy, stalled, memory in zip(world.tenants, *columns, strict=True):
        row: TenantRow = {
            "service": str(tenant.service),
            "busy_ratio": busy,
            "stalled_ratio": stalled,
            "memory_used_bytes": memory,
        }
        tenants.setdefault(tenant.gpu, []).append(row)
    figures = (
        world.utilization,
        world.contended,
        world.memory_used,
        world.memory_total,
        world.power,
        world.temperature,
    )
    rows = zip(world.gpus, *(last(values) for values in figures), strict=True)
    return {
        "gpus": [
            {
                "gpu": gpu.label,
                "host": gpu.host,
                "index": gpu.index,
                "uuid": gpu.uuid,
                "model": gpu.model,
                "utilization_ratio": utilization,
                "contended_ratio": contended,
                "memory_used_bytes": memory_used,
                "memory_total_bytes": memory_total,
                "power_watts": power,
                "temperature_celsius": temperature,
                "services": tenants.get(gpu, []),
            }
            for gpu, utilization, contended, memory_used, memory_total, power, temperature in rows
        ]
    }


def contention(snapshot: Snapshot) -> Contention:
    """Every pair of services that share GPUs, and the share of time that one waits for the other."""
    return {
        "pairs": [
            {
                "victim": str(pair.victim),
                "aggressor": str(pair.aggressor),
                "stalled_ratio": pair.ratio,
                "gpus": [{"gpu": gpu.label, "stalled_ratio": ratio} for gpu, ratio in pair.gpus],
            }
            for pair in (pairs(snapshot.world) if snapshot.world else ())
        ]
    }


def pools(world: World | None) -> Pools:
    """The GPUs that each tier needs, and the GPUs that several tiers share."""
    return {
        "tiers": [
            {
                "tier": need.tier,
                "services": [str(service) for service in need.services],
                "gpus": need.used,
                "shared": need.shared,
                "load": number(need.load),
                "safe_ratio": number(need.safe),
                "needed": need.needed,
                "by": need.by,
            }
            for need in (tier_needs(world) if world else ())
        ],
        "mixed": [
            {
                "gpu": row.gpu.label,
                "pool": row.pool or None,
                "tiers": {tier: [str(service) for service in members] for tier, members in row.tiers.items()},
            }
            for row in (shared_gpus(world) if world else ())
        ],
    }


def warnings(snapshot: Snapshot) -> Warnings:
    """The open incidents, the worst first."""
    return {"version": VERSION, "warnings": [incident(item) for item in open_incidents(snapshot)]}


def incidents(snapshot: Snapshot) -> Incidents:
    """Every incident: the open ones, then the resolved ones, newest first."""
    over = [item for item in snapshot.incidents if item.phase == "over"]
    over.sort(key=lambda item: (-(item.until or item.since), item.id))
    return {"version": VERSION, "incidents": [incident(item) for item in (*open_incidents(snapshot), *over)]}


def target(item: Target) -> TargetRow:
    """One scrape target."""
    return {
        "instance": item.instance,
        "job": item.job,
        "up": item.up,
        "age_seconds": None if item.age is None else number(item.age),
    }


def status(snapshot: Snapshot, hub: Json, ready: bool, reason: str, version: str) -> Status:
    """The health of the hub itself: targets, missing signals, and the hub's own counters."""
    world = snapshot.world
    return {
        "version": version,
        "ready": ready,
        "reason": reason,
        "targets": [target(item) for item in world.targets] if world else [],
        "missing": list(world.missing) if world else [],
        "hub": hub,
    }
