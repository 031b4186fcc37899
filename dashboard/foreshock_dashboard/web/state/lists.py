"""The lists of the JSON API: services, calls, GPUs, pairs, pools, incidents, targets. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field
from typing_extensions import TypedDict

from foreshock_dashboard.analysis.saturation.pooling import shared_gpus, tier_needs
from foreshock_dashboard.model.service import Ownership, Service
from foreshock_dashboard.model.snapshot import Snapshot, clusters_of
from foreshock_dashboard.model.types import ConditionKind, Health, Json
from foreshock_dashboard.model.world import Gpu, Red, Target, World
from foreshock_dashboard.render.clause import filled_text, in_sentence
from foreshock_dashboard.render.units import minutes_of
from foreshock_dashboard.render.words.status import DATA_STATES
from foreshock_dashboard.response.fold import NO_RESPONSES, Responses
from foreshock_dashboard.web.state.conditions import open_incidents, states
from foreshock_dashboard.web.state.freshness import fresh_seconds
from foreshock_dashboard.web.state.incident_json import VERSION, IncidentJson, incident
from foreshock_dashboard.web.state.numbers import Row, last, last_median, number
from foreshock_dashboard.web.state.placement import (
    NO_SHARING,
    Allocated,
    GpuSharing,
    Mps,
    allocated,
    contended_time,
    mean_power,
    pairs,
    tenant_time,
)
from foreshock_dashboard.web.state.response_json import OwnershipJson, ResponseJson, ownership, response
from foreshock_dashboard.web.state.stages import ServiceHistory

Figure = float | None
_UNSHARED = GpuSharing()
RedFigures = tuple[Figure, Figure, Figure, Figure, Figure]
"""Requests per second, share that failed, p50, p95, p99."""


class ServiceRow(Row):
    """A service: state, request figures, and its GPUs. suspected: it is the suspected cause of an open incident."""

    service: str
    health: Health
    condition: ConditionKind
    suspected: bool
    requests_per_second: Figure
    error_rate: Figure
    p50_seconds: Figure
    p95_seconds: Figure
    p99_seconds: Figure
    gpus: list[str]


class EdgeRow(Row):
    """A call edge."""

    client: str
    server: str
    connection: str
    requests_per_second: Figure
    error_rate: Figure
    p50_seconds: Figure
    p95_seconds: Figure
    p99_seconds: Figure
    server_p95_seconds: Figure
    attempts_per_call: Figure


class Services(TypedDict):
    """All services and call edges."""

    services: list[ServiceRow]
    edges: list[EdgeRow]


class TenantRow(Row):
    """A service on a GPU. local_cpus_ratio: share of its CPUs on the NUMA node of the GPU."""

    service: str
    busy_ratio: Figure
    gpu_wait_ratio: Figure
    memory_used_bytes: Figure
    local_cpus_ratio: Figure


class GpuRow(Row):
    """A GPU and the services on it. allocated: containers with the GPU of whose service no process is seen on it.

    sharing: time-slicing, mps, mig, concurrent, partitioned, or unknown; null without data. mps: null on a GPU that
    never used it.
    """

    gpu: str
    host: str
    index: str
    uuid: str
    model: str
    vendor: str
    utilization_ratio: Figure
    contended_ratio: Figure
    memory_used_bytes: Figure
    memory_total_bytes: Figure
    power_watts: Figure
    temperature_celsius: Figure
    services: list[TenantRow]
    allocated: list[Allocated]
    sharing: str | None
    mps: Mps | None


class Gpus(TypedDict):
    """All GPUs."""

    gpus: list[GpuRow]


class PairGpu(Row):
    """A GPU that a pair shares."""

    gpu: str
    gpu_wait_ratio: Figure


class PairRow(Row):
    """A victim, an aggressor, and the share of time that one waits for the other."""

    victim: str
    aggressor: str
    gpu_wait_ratio: Figure
    gpus: list[PairGpu]


class Contention(TypedDict):
    """All pairs that share GPUs, the longest waits first."""

    pairs: list[PairRow]


class TierRow(Row):
    """What one tier needs."""

    tier: str
    gpus: int
    shared: int
    load: Figure
    safe_ratio: Figure
    needed: int | None
    by: str
    services: list[str]


class MixedGpuRow(Row):
    """A GPU that several tiers share."""

    gpu: str
    pool: str | None
    tiers: dict[str, list[str]]


class Pools(TypedDict):
    """The tiers, and the GPUs that several of them share."""

    tiers: list[TierRow]
    mixed: list[MixedGpuRow]


class TargetRow(Row):
    """A scrape target."""

    instance: str
    job: str
    up: bool | None
    age_seconds: Figure


class UnjoinedServerRow(Row):
    """A model server of no service with requests. service: shown as; candidates: at its address, or of its name."""

    instance: str
    job: str
    model: str
    service: str
    candidates: list[str]


class Status(TypedDict):
    """The health of the hub itself."""

    version: str
    ready: bool
    reason: str
    targets: list[TargetRow]
    unjoined: list[UnjoinedServerRow]
    missing: list[str]
    hub: Json


class HubPart(TypedDict):
    """What a front of several hubs needs of each, besides the incidents.

    part: such as "2/3" of `--shard`, "" without it. clusters: those that it reads; "" is that of series without one.
    url: where browsers find it, "" if it does not know. reason: why it is not ready, or its data is old.
    """

    part: str
    clusters: list[str]
    url: str
    gpus: int
    services: int
    ready: bool
    reason: str


class ListedIncident(IncidentJson):
    """An incident, what people did about it, and who is responsible for its service."""

    response: ResponseJson
    ownership: OwnershipJson


class Incidents(TypedDict):
    """Incidents."""

    version: Annotated[int, Field(description="of the form of an incident")]
    incidents: list[ListedIncident]


def hub_part(snapshot: Snapshot, shard: Json | None, ready: bool, reason: str, now: float) -> HubPart:
    """What a front needs. shard: of the hub's status. now: the hub's time, Unix seconds."""
    world = snapshot.world
    if ready and world and (lag := now - world.time) > 2 * fresh_seconds(world.step):
        ready, reason = False, filled_text(DATA_STATES["lag"], seconds=round(lag))
    if ready and not snapshot.learning.done:
        progress = minutes_of(*snapshot.learning)
        ready, reason = False, in_sentence(filled_text(DATA_STATES["building"], progress=progress))
    return {
        "part": shard["part"] if shard else "",
        "clusters": list(shard["clusters"] if shard else clusters_of(snapshot)),
        "url": shard["url"] if shard else "",
        "gpus": len(world.gpus) if world else 0,
        "services": len(world.services) if world else 0,
        "ready": ready,
        "reason": reason,
    }


def _red_figures(red: Red) -> list[RedFigures]:
    """The newest figures of each row."""
    shown = map(last_median, (red.error_rate, red.p50, red.p95, red.p99))
    return list(zip(last_median(red.rate), *shown, strict=True))


def services(snapshot: Snapshot, history: ServiceHistory | None) -> Services:
    """Every service and every call edge with its request figures. history: see `states`; None without a World."""
    world = snapshot.world
    if world is None or history is None:
        return {"services": [], "edges": []}
    gpus_by_service: dict[Service, list[str]] = {}
    for tenant in world.tenants:
        gpus_by_service.setdefault(tenant.service, []).append(tenant.gpu.label)
    by_service = states(snapshot, history)
    edges = zip(
        world.edges, _red_figures(world.calls), last_median(world.server_p95), last(world.attempts), strict=True
    )
    return {
        "services": [
            ServiceRow(str(service), state.health, state.kind, state.suspected, *red, gpus_by_service.get(service, []))
            for (service, state), red in zip(by_service.items(), _red_figures(world.red), strict=True)
        ],
        "edges": [
            EdgeRow(str(edge.client), str(edge.server), edge.connection, *red, server_p95, attempts)
            for edge, red, server_p95, attempts in edges
        ],
    }


def gpus(snapshot: Snapshot, sharing: Mapping[str, GpuSharing] = NO_SHARING) -> Gpus:
    """Every GPU with its state and the services on it. sharing: by UUID."""
    world = snapshot.world
    if world is None:
        return {"gpus": []}
    tenants: dict[Gpu, list[TenantRow]] = {}
    shares = zip(*tenant_time(world), last(world.memory), strict=True)
    for tenant, share in zip(world.tenants, shares, strict=True):
        local_cpus = sharing.get(tenant.gpu.uuid, _UNSHARED).local_cpus.get(tenant.service.local)
        tenants.setdefault(tenant.gpu, []).append(TenantRow(str(tenant.service), *share, local_cpus))
    idle = allocated(world)
    columns = (world.memory_used, world.memory_total, mean_power(world)[:, None], world.temperature)
    contended = map(number, contended_time(world).tolist())
    modes = [sharing.get(gpu.uuid, _UNSHARED) for gpu in world.gpus]
    figures: Iterator[tuple[Any, ...]] = zip(last(world.utilization), contended, *map(last, columns), strict=True)
    return {
        "gpus": [
            GpuRow(
                *(gpu.label, gpu.host, gpu.index, gpu.uuid, gpu.model, gpu.vendor),
                *(*newest, tenants.get(gpu, []), idle.get(gpu, []), mode.mode, mode.mps),
            )
            for gpu, newest, mode in zip(world.gpus, figures, modes, strict=True)
        ]
    }


def contention(snapshot: Snapshot) -> Contention:
    """Every pair of services that share GPUs, and the share of time that one waits for the other.

    A pair of an open incident has the incident's GPUs, as on pages.
    """
    rows = []
    for pair in pairs(snapshot.world, open_incidents(snapshot)) if snapshot.world else ():
        gpus = [PairGpu(gpu.label, ratio) for gpu, ratio in pair.gpus]
        rows.append(PairRow(str(pair.victim), str(pair.aggressor), pair.ratio, gpus))
    return {"pairs": rows}


def pools(world: World | None) -> Pools:
    """The GPUs that each tier needs, and the GPUs that several tiers share."""
    tiers, mixed = [], []
    for need in tier_needs(world) if world else ():
        services, load, safe = list(map(str, need.services)), number(need.load), number(need.safe)
        tiers.append(TierRow(need.tier, need.used, need.shared, load, safe, need.needed, need.by, services))
    for row in shared_gpus(world) if world else ():
        services_by_tier = {tier: list(map(str, members)) for tier, members in row.tiers.items()}
        mixed.append(MixedGpuRow(row.gpu.label, row.pool or None, services_by_tier))
    return {"tiers": tiers, "mixed": mixed}


def incidents(
    snapshot: Snapshot,
    state: str = "",
    responses: Responses = NO_RESPONSES,
    time: float = 0.0,
    owner: Callable[[Service], Ownership] = lambda _: Ownership(),
) -> Incidents:
    """The open incidents, the worst first, then the resolved ones, newest first.

    state: `open` or `resolved` for these only; "" for all. responses: what people did by `time` (Unix seconds).
    """
    resolved = [item for item in snapshot.incidents if not item.is_open]
    resolved.sort(key=lambda item: (-(item.resolved or item.since), item.id))
    listed = {"open": open_incidents(snapshot), "resolved": resolved}
    shown = (item for name, items in listed.items() if state in ("", name) for item in items)
    rows: list[ListedIncident] = [
        {**incident(item), "response": response(item, responses, time), "ownership": ownership(owner(item.service))}
        for item in shown
    ]
    return {"version": VERSION, "incidents": rows}


def target(item: Target) -> TargetRow:
    """One scrape target."""
    return TargetRow(item.instance, item.job, item.up, None if item.age is None else number(item.age))


def status(snapshot: Snapshot, hub: Json, ready: bool, reason: str, version: str) -> Status:
    """The health of the hub itself: targets, missing signals, and the hub's own counters."""
    world = snapshot.world
    return {
        "version": version,
        "ready": ready,
        "reason": reason,
        "targets": list(map(target, world.targets)) if world else [],
        "unjoined": [
            UnjoinedServerRow(
                item.instance, item.job, item.model, str(item.replica.service), [*map(str, item.candidates)]
            )
            for item in (world.unjoined if world else ())
        ],
        "missing": list(world.missing) if world else [],
        "hub": hub,
    }
