"""The payloads of the Services pages: a row per service, and all figures of one service. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NotRequired, Required

import numpy as np
from typing_extensions import TypedDict

from foreshock_dashboard.analysis.saturation.pooling import tier_by_service
from foreshock_dashboard.model.incident import Incident
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import Edge, Gpu, World
from foreshock_dashboard.render.action import action_text
from foreshock_dashboard.render.clause import joined_text
from foreshock_dashboard.web.charts.theme import service_color
from foreshock_dashboard.web.pages.services.sentence import ServiceState, sentence, worst
from foreshock_dashboard.web.panels.vitals import sparkline
from foreshock_dashboard.web.state.conditions import Health, conditions
from foreshock_dashboard.web.state.forecast import ServiceForecast, ServiceForecasts, SloJson
from foreshock_dashboard.web.state.incident_json import ActionJson, ClauseJson, IncidentJson, action, clauses, incident
from foreshock_dashboard.web.state.numbers import last, newest, number

MAX_SERVICES = 1000
"""Rows of the list; /api/services has all."""


class GpuUse(TypedDict):
    """The GPUs of a service: number, busy GPUs in total, and share of time that it waits."""

    gpus: int
    busy: float | None
    wait: float | None


class ServiceLine(ServiceForecast, GpuUse):
    """A service of the list."""

    id: str
    colour: int
    health: Health
    word: str
    tier: str
    rate: float | None
    failed: float | None
    p95: float | None
    spark: list[float | None]
    attempts: float | None


class ServicesPage(TypedDict):
    """The payload of the Services page. hidden: services that do not fit."""

    ready: bool
    services: list[ServiceLine]
    hidden: int
    learning_done: NotRequired[bool]


class NeighbourRow(TypedDict):
    """A service on the same GPUs, and the waits for each other."""

    id: str
    colour: int
    gpus: list[str]
    waits: float | None
    makes_wait: float | None


class GpuLine(TypedDict):
    """A GPU of a service."""

    gpu: str
    model: str
    pool: str
    busy: float | None
    wait: float | None
    memory: float | None


class CallRow(TypedDict):
    """A call edge to or from another service."""

    id: str
    colour: int
    known: bool
    connection: str
    rate: float | None
    failed: float | None
    p95: float | None
    server_p95: float | None
    attempts: float | None


class ServerReplica(TypedDict):
    """A replica of a model server."""

    instance: str
    requests: float | None
    finished: float | None
    seconds: float | None


class ModelServers(TypedDict):
    """The model servers of a service. silent: replicas without data."""

    running: float | None
    waiting: float | None
    cache: float | None
    preempted: float | None
    finished: float | None
    queued: float | None
    first_token: float | None
    per_token: float | None
    prompt_tokens: float | None
    generated_tokens: float | None
    replicas: list[ServerReplica]
    silent: int


class Replicas(TypedDict):
    """The replicas of a service."""

    wanted: float | None
    ready: float | None
    most: float | None
    pending: float | None


class ServicePage(TypedDict, total=False):
    """The payload of one service; for an unknown one `ready` and `service` alone."""

    ready: Required[bool]
    service: Required[str]
    colour: int
    health: Health
    word: str
    tier: str
    rate: float | None
    failed: float | None
    p50: float | None
    p95: float | None
    p99: float | None
    gpus: int
    busy: float | None
    wait: float | None
    promise: SloJson | None
    used: float | None
    risk: float | None
    breach: float | None
    load: float | None
    safe: float | None
    uneven: float | None
    neighbours: list[NeighbourRow]
    on: list[GpuLine]
    callers: list[CallRow]
    callees: list[CallRow]
    inference: ModelServers | None
    capacity: Replicas | None
    incidents: list[IncidentJson]
    sentence: str
    summary: list[ClauseJson]
    next_step: str
    action: ActionJson | None


def services(snapshot: Snapshot) -> ServicesPage:
    """Every service with its figures; the worst ones where not all fit."""
    world = snapshot.world
    if world is None:
        return {"ready": False, "services": [], "hidden": 0}
    state, tiers, expected = conditions(snapshot), tier_by_service(world), ServiceForecasts(snapshot)
    attempts, shares = _attempts(world), _shares(world)
    red = [last(values) for values in (world.red.rate, world.red.failed, world.red.p95)]
    rows: list[ServiceLine] = [
        {
            "id": str(service),
            "colour": service_color(str(service)),
            "health": state[service].health,
            "word": state[service].word,
            "tier": tiers[service],
            "rate": rate,
            "failed": failed,
            "p95": p95,
            "spark": sparkline(world, world.red.p95[i]),
            "attempts": attempts.get(service),
            **shares.get(service, _NO_GPU),
            **expected.of(service, p95, failed),
        }
        for i, (service, rate, failed, p95) in enumerate(zip(world.services, *red, strict=True))
    ]
    rank = {"critical": 0, "warning": 1, "unknown": 2, "ok": 3, "idle": 4}
    shown = (
        rows
        if len(rows) <= MAX_SERVICES
        else sorted(rows, key=lambda row: (rank[row["health"]], row["id"]))[:MAX_SERVICES]
    )
    return {"ready": True, "services": shown, "hidden": len(rows) - len(shown), "learning_done": snapshot.learning.done}


def service(snapshot: Snapshot, service: Service) -> ServicePage:
    """All figures of one service that the World knows."""
    world = snapshot.world
    if world is None or service not in world.services:
        return {"ready": False, "service": str(service)}
    row = world.services.index(service)
    red = world.red
    rate, failed, p95 = (_newest_of(values, row) for values in (red.rate, red.failed, red.p95))
    condition = conditions(snapshot)[service]
    forecast = ServiceForecasts(snapshot).of(service, p95, failed)
    use = _shares(world, service).get(service, _NO_GPU)
    state: ServiceState = {
        **forecast,
        "health": condition.health,
        "rate": rate,
        "failed": failed,
        "p95": p95,
        "gpus": use["gpus"],
    }
    current, summary = worst(snapshot, service), sentence(snapshot, service, state)
    step = current.action if current else None
    return {
        "ready": True,
        "service": str(service),
        "colour": service_color(str(service)),
        "health": condition.health,
        "word": condition.word,
        "tier": tier_by_service(world)[service],
        "rate": rate,
        "failed": failed,
        "p50": _newest_of(red.p50, row),
        "p95": p95,
        "p99": _newest_of(red.p99, row),
        **use,
        **forecast,
        "neighbours": _neighbors(world, service),
        "on": _gpu_rows(world, service),
        "callers": _calls(world, service, [i for i, edge in enumerate(world.edges) if edge.server == service]),
        "callees": _calls(world, service, [i for i, edge in enumerate(world.edges) if edge.client == service]),
        "inference": _inference(snapshot, service),
        "capacity": _capacity(world, service),
        "incidents": [incident(item) for item in snapshot.incidents if service in involved_services(item)],
        "sentence": joined_text(summary),
        "summary": clauses(summary),
        "next_step": action_text(step),
        "action": action(step),
    }


_NO_GPU: GpuUse = {"gpus": 0, "busy": None, "wait": None}


def _shares(world: World, only: Service | None = None) -> dict[Service, GpuUse]:
    """For services on GPUs: the number of GPUs, the busy GPUs in total, and the share of time that they wait."""
    on: dict[Service, list[int]] = {}
    for i, tenant in enumerate(world.tenants):
        if only in (None, tenant.service):
            on.setdefault(tenant.service, []).append(i)
    busy, stalled = newest(world.busy), newest(world.stalled)
    return {
        service: {"gpus": len(rows), "busy": _total(busy[rows]), "wait": _mean(stalled[rows])}
        for service, rows in on.items()
    }


def _total(values: Floats) -> float | None:
    known = values[np.isfinite(values)]
    return number(float(known.sum())) if len(known) else None


def _mean(values: Floats) -> float | None:
    known = values[np.isfinite(values)]
    return number(float(known.mean())) if len(known) else None


def _attempts(world: World) -> Mapping[Service, float]:
    """Attempts per call that a service receives, the maximum of its callers."""
    attempts: dict[Service, float] = {}
    for edge, value in zip(world.edges, last(world.attempts), strict=True):
        if value is not None:
            attempts[edge.server] = max(value, attempts.get(edge.server, value))
    return attempts


def _gpu_rows(world: World, service: Service) -> list[GpuLine]:
    """The GPUs of a service, those with the longest wait first."""
    pool = dict(zip(world.gpus, world.pool, strict=True)) if world.pool else {}
    rows: list[GpuLine] = [
        {
            "gpu": tenant.gpu.label,
            "model": tenant.gpu.model,
            "pool": pool.get(tenant.gpu, ""),
            "busy": number(busy),
            "wait": number(wait),
            "memory": number(memory),
        }
        for tenant, busy, wait, memory in zip(
            world.tenants,
            newest(world.busy).tolist(),
            newest(world.stalled).tolist(),
            newest(world.memory).tolist(),
            strict=True,
        )
        if tenant.service == service
    ]
    return sorted(rows, key=lambda row: (-(row["wait"] or 0.0), -(row["busy"] or 0.0), str(row["gpu"])))


def _neighbors(world: World, service: Service) -> list[NeighbourRow]:
    """The services on its GPUs: how long it waits for each, and each for it; mean shares of time over those GPUs."""
    own_gpus = {tenant.gpu for tenant in world.tenants if tenant.service == service}
    shared: dict[Service, list[Gpu]] = {}
    for tenant in world.tenants:
        if tenant.gpu in own_gpus and tenant.service != service:
            shared.setdefault(tenant.service, []).append(tenant.gpu)
    waits, makes_wait = _stalls(world, service)
    rows: list[NeighbourRow] = [
        {
            "id": str(other),
            "colour": service_color(str(other)),
            "gpus": [gpu.label for gpu in gpus],
            "waits": _mean(np.array(waits.get(other, []))),
            "makes_wait": _mean(np.array(makes_wait.get(other, []))),
        }
        for other, gpus in shared.items()
    ]
    return sorted(rows, key=lambda row: (-(row["waits"] or 0.0), -(row["makes_wait"] or 0.0), str(row["id"])))


def _stalls(world: World, service: Service) -> tuple[Mapping[Service, list[float]], Mapping[Service, list[float]]]:
    """The waits of a service for others, and of others for it, on each GPU."""
    waits: dict[Service, list[float]] = {}
    makes_wait: dict[Service, list[float]] = {}
    for stall, value in zip(world.stalls, newest(world.stalled_by).tolist(), strict=True):
        if stall.victim == service:
            waits.setdefault(stall.aggressor, []).append(value)
        elif stall.aggressor == service:
            makes_wait.setdefault(stall.victim, []).append(value)
    return waits, makes_wait


def _calls(world: World, service: Service, rows: Sequence[int]) -> list[CallRow]:
    """Call edges, the one with the most requests first."""
    edges = [_call(world, row, world.edges[row], service) for row in rows]
    return sorted(edges, key=lambda edge: (-(edge["rate"] or 0.0), str(edge["id"])))


def _call(world: World, row: int, edge: Edge, service: Service) -> CallRow:
    other = edge.client if edge.server == service else edge.server
    calls = world.calls
    return {
        "id": str(other),
        "colour": service_color(str(other)),
        "known": other in world.services,
        "connection": edge.connection,
        "rate": _newest_of(calls.rate, row),
        "failed": _newest_of(calls.failed, row),
        "p95": _newest_of(calls.p95, row),
        "server_p95": _newest_of(world.server_p95, row),
        "attempts": _newest_of(world.attempts, row),
    }


def _newest_of(values: Floats, row: int) -> float | None:
    return number(float(values[row, -1])) if values.shape[1] else None


def _inference(snapshot: Snapshot, service: Service) -> ModelServers | None:
    """The figures of its model servers; None where it has none."""
    world = snapshot.world
    servers = world.model_servers if world else None
    if servers is None or service not in servers.services:
        return None
    row = servers.services.index(service)
    replicas: list[ServerReplica] = [
        {
            "instance": replica.instance,
            "requests": _newest_of(servers.replica_busy, i),
            "finished": _newest_of(servers.replica_finished, i),
            "seconds": _newest_of(servers.replica_seconds, i),
        }
        for i, replica in enumerate(servers.replicas)
        if replica.service == service
    ]
    reporting = [row_ for row_ in replicas if row_["requests"] is not None]
    return {
        "running": _newest_of(servers.running, row),
        "waiting": _newest_of(servers.waiting, row),
        "cache": _newest_of(servers.cache, row),
        "preempted": _newest_of(servers.preempted, row),
        "finished": _newest_of(servers.finished, row),
        "queued": _newest_of(servers.queued, row),
        "first_token": _newest_of(servers.first_token, row),
        "per_token": _newest_of(servers.per_token, row),
        "prompt_tokens": _newest_of(servers.prompt_tokens, row),
        "generated_tokens": _newest_of(servers.generated_tokens, row),
        "replicas": sorted(reporting, key=lambda row_: (-(row_["requests"] or 0.0), str(row_["instance"]))),
        "silent": len(replicas) - len(reporting),
    }


def _capacity(world: World, service: Service) -> Replicas | None:
    """Its replicas; None where nothing is known of them."""
    capacity = world.capacity
    if capacity is None or service not in capacity.services:
        return None
    row = capacity.services.index(service)
    return {
        "wanted": _newest_of(capacity.wanted, row),
        "ready": _newest_of(capacity.ready, row),
        "most": _newest_of(capacity.max_replicas, row),
        "pending": _newest_of(capacity.pending, row),
    }


def involved_services(item: Incident) -> Iterable[Service]:
    """Every service with a role in an incident."""
    edge = item.suspect.edge or ()
    services_ = [item.service, *item.victims, *edge, *(risk.service for risk in item.at_risk)]
    return (*services_, item.aggressor) if item.aggressor else services_
