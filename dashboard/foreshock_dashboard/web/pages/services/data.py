"""The payloads of the Services pages: a row per service, and all figures of one service. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from typing import Any, Literal, Required

import numpy as np
from typing_extensions import TypedDict

from foreshock_dashboard.analysis.saturation.pooling import tier_by_service
from foreshock_dashboard.model.incident import Incident
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.types import HEALTH_ORDER, ConditionKind, Floats, Health, Stage
from foreshock_dashboard.model.world import World
from foreshock_dashboard.render.change import no_changes
from foreshock_dashboard.render.clause import in_sentence, joined_text, text
from foreshock_dashboard.render.incident_summary import cause_name
from foreshock_dashboard.render.verdict.platform import cluster_summary, slo_summary
from foreshock_dashboard.render.verdict.service_sentence import ServiceState, service_detail, service_sentence
from foreshock_dashboard.web.charts.theme import service_color
from foreshock_dashboard.web.panels.chosen_incidents import chosen_incidents, current_history
from foreshock_dashboard.web.panels.gpu_sharing import far_cpus
from foreshock_dashboard.web.panels.vitals import services_by_cluster, slo_status, sparkline
from foreshock_dashboard.web.state.change_json import CHANGES_DURING, CHANGES_SECONDS, ChangeMark, change_mark_rows
from foreshock_dashboard.web.state.conditions import (
    IncidentStatus,
    ServiceForecast,
    ServiceForecasts,
    SloJson,
    enough_requests,
    incident_status,
    open_incidents,
    states,
)
from foreshock_dashboard.web.state.freshness import serving_services
from foreshock_dashboard.web.state.incident_json import (
    ActionJson,
    BreachSeconds,
    ClauseJson,
    IncidentJson,
    actions,
    clauses,
    incident,
)
from foreshock_dashboard.web.state.numbers import Row, last, last_median, newest, number
from foreshock_dashboard.web.state.placement import NO_SHARING, GpuSharing
from foreshock_dashboard.web.state.service_history import HistoryCache

MAX_SERVICES = 1000
"""Rows of the list; /api/services has all."""


EXPLAINED: Set[ConditionKind] = {"at_risk", "affected", "anomalous", "degraded", "slo_breach"}
"""Conditions of which the list has a reason."""


class GpuUse(TypedDict):
    """The GPUs of a service: number, those shared with others, and GPUs in use (sum of busy shares).

    wait: GPU wait, the share of time that it waits on others, mean over its shared GPUs; None if it shares none.
    """

    gpus: int
    shared_gpus: int
    busy: float | None
    wait: float | None


class ServiceLine(ServiceForecast, GpuUse):
    """A service of the list. reason: the cause of its condition, or the service that it comes from; "" for none.

    suspected: it is the suspected cause of an open incident. serving: it has or had requests (`serving_services`).
    incident_status: of the service's open incident, the worst one.
    wait_status: that of the open incident of GPU contention that affects it. spark: p95 of the last 30 minutes; judged:
    the same where there were enough requests to judge it.
    """

    id: str
    health: Health
    condition: ConditionKind
    stage: Stage | None
    word: str
    reason: str
    suspected: bool
    tier: str
    serving: bool
    rate: float | None
    error_rate: float | None
    p95: float | None
    incident_status: IncidentStatus | None
    wait_status: IncidentStatus | None
    spark: list[float | None]
    judged: list[float | None]
    attempts: float | None


class ServicesPage(TypedDict):
    """The payload of the Services page. summary: all services in one sentence. hidden: services that do not fit."""

    ready: bool
    summary: str
    services: list[ServiceLine]
    hidden: int


class NeighborRow(Row):
    """A service on the same GPUs. wait: share of time that this service waits on it; caused_wait: the reverse."""

    id: str
    color: int
    gpus: list[str]
    wait: float | None
    caused_wait: float | None


class GpuLine(Row):
    """A GPU of a service."""

    gpu: str
    model: str
    pool: str
    busy: float | None
    wait: float | None
    memory: float | None


class CallRow(Row):
    """A call edge to or from another service."""

    id: str
    known: bool
    connection: str
    rate: float | None
    error_rate: float | None
    p95: float | None
    server_p95: float | None
    attempts: float | None


class ServerReplica(Row):
    """A replica of a model server."""

    instance: str
    requests: float | None
    finished: float | None
    seconds: float | None


class ModelServers(Row):
    """The model servers of a service. stale: number of replicas without fresh data."""

    replicas: list[ServerReplica]
    stale: int


class Replicas(Row):
    """The replicas of a service."""

    desired: float | None
    ready: float | None
    max: float | None
    pending: float | None


class ServicePage(TypedDict, total=False):
    """The payload of one service; for an unknown one `ready` and `service` alone.

    incident_status, is_latent: of the worst open incident with a role for the service. far_cpus: at most one sentence.
    no_changes: what is known where there are none.
    """

    ready: Required[bool]
    service: Required[str]
    health: Health
    condition: ConditionKind
    word: str
    stage: Stage | None
    tier: str
    rate: float | None
    error_rate: float | None
    p50: float | None
    p95: float | None
    p99: float | None
    gpus: int
    shared_gpus: int
    busy: float | None
    wait: float | None
    wait_status: IncidentStatus | None
    slo: SloJson | None
    slo_usage: float | None
    breach_probability: float | None
    breach_seconds: BreachSeconds | None
    load: float | None
    safe_load: float | None
    imbalance: float | None
    neighbors: list[NeighborRow]
    gpu_list: list[GpuLine]
    callers: list[CallRow]
    dependencies: list[CallRow]
    inference: ModelServers | None
    capacity: Replicas | None
    incidents: list[IncidentJson]
    changes: list[ChangeMark]
    no_changes: str
    summary: str
    summary_clauses: list[ClauseJson]
    detail_clauses: list[ClauseJson]
    actions: list[ActionJson]
    incident_status: IncidentStatus | None
    is_latent: bool
    far_cpus: list[str]


def services(snapshot: Snapshot, histories: HistoryCache | None = None) -> ServicesPage:
    """Every service with its values; the worst ones where not all fit."""
    world = snapshot.world
    if world is None:
        return {"ready": False, "summary": "", "services": [], "hidden": 0}
    history = current_history(snapshot, world, chosen_incidents(snapshot), histories or HistoryCache())
    stages, waits = history.now(), _wait_statuses(snapshot)
    state, tiers, expected = states(snapshot, history), tier_by_service(world), ServiceForecasts(snapshot)
    attempts, shares, reasons = _attempts(world), _shares(world), _reasons(snapshot)
    serving = serving_services(world)
    incidents = {item.service: incident_status(item) for item in reversed(open_incidents(snapshot)) if item.affected}
    judged = np.where(enough_requests(world, world.red.rate), world.red.p95, math.nan)
    red = zip(
        world.services,
        last_median(world.red.rate),
        last_median(world.red.error_rate),
        last_median(world.red.p95),
        strict=True,
    )
    rows: list[ServiceLine] = []
    for i, (service, rate, error_rate, p95) in enumerate(red):
        forecast = expected.of(service, p95, error_rate)
        shown = state[service]
        row: ServiceLine = {
            "id": str(service),
            "health": shown.health,
            "condition": shown.kind,
            "stage": stages.get(service),
            "word": shown.word,
            "reason": reasons.get(service, "") if shown.kind in EXPLAINED and not shown.suspected else "",
            "suspected": shown.suspected,
            "tier": tiers[service],
            "serving": service in serving,
            "rate": rate,
            "error_rate": error_rate,
            "p95": p95,
            "incident_status": incidents.get(service),
            "wait_status": waits.get(service),
            "spark": sparkline(world, world.red.p95[i]),
            "judged": sparkline(world, judged[i]),
            "attempts": attempts.get(service),
            **shares.get(service, _NO_GPU),
            **forecast,
        }
        rows.append(row)
    rows.sort(key=lambda row: -(row["slo_usage"] or 0.0))  # tables keep this order among equal values
    hidden = max(0, len(rows) - MAX_SERVICES)
    if hidden:
        rows = sorted(rows, key=lambda row: (HEALTH_ORDER.index(row["health"]), row["id"]))[:MAX_SERVICES]
    clusters = cluster_summary(services_by_cluster(snapshot, history))
    summary = f"{slo_summary(slo_status(snapshot, history))}. {clusters}".rstrip()
    return {"ready": True, "summary": summary, "services": rows, "hidden": hidden}


def _reasons(snapshot: Snapshot) -> Mapping[Service, str]:
    """Why services are affected by the open incidents, the worst first: the cause, or the service it comes from."""
    reasons: dict[Service, str] = {}
    for item in open_incidents(snapshot):
        reasons.setdefault(item.service, in_sentence(cause_name(item)))
        for service_ in (*item.affected, *(risk.service for risk in item.at_risk)):
            reasons.setdefault(service_, joined_text(text("through ", item.service), service_.cluster))
    return reasons


def _wait_statuses(snapshot: Snapshot) -> Mapping[Service, IncidentStatus]:
    """The status of the worst open incident of GPU contention by the service that waits."""
    found = [item for item in open_incidents(snapshot) if item.cause == "gpu_contention" and item.is_cause_stated]
    return {item.service: incident_status(item) for item in reversed(found)}


def service(
    snapshot: Snapshot,
    service: Service,
    histories: HistoryCache | None = None,
    sharing: Mapping[str, GpuSharing] = NO_SHARING,
) -> ServicePage:
    """The page of one service. sharing: by UUID of the GPU."""
    world = snapshot.world
    if world is None or service not in world.services:
        return {"ready": False, "service": str(service)}
    row, red = world.services.index(service), world.red
    rate, error_rate, p50, p95, p99 = (
        last_median(values[row : row + 1])[0] for values in (red.rate, red.error_rate, red.p50, red.p95, red.p99)
    )
    forecasts = ServiceForecasts(snapshot)
    forecast = forecasts.of(service, p95, error_rate)
    use = _shares(world, service).get(service, _NO_GPU)
    history = current_history(snapshot, world, chosen_incidents(snapshot), histories or HistoryCache())
    stage, condition = history.now().get(service), states(snapshot, history)[service]
    state = ServiceState(
        *(condition.health, stage, rate, error_rate, p95, use["gpus"]),
        low_traffic=condition.kind == "low_traffic",
        slo=next((slo for slo in snapshot.forecast.slos if slo.service == service), None),
        slo_usage=forecast["slo_usage"] or 0.0,
        forecast=forecasts.expected.get(service),
        load=_known(forecast["load"]),
        safe_load=_known(forecast["safe_load"]),
    )
    current, summary = _worst(snapshot, service), service_sentence(snapshot, service, state)
    return {
        "ready": True,
        "service": str(service),
        "health": condition.health,
        "condition": condition.kind,
        "word": condition.word,
        "stage": stage,
        "tier": tier_by_service(world)[service],
        "rate": rate,
        "error_rate": error_rate,
        "p50": p50,
        "p95": p95,
        "p99": p99,
        **use,
        "wait_status": _wait_statuses(snapshot).get(service),
        **forecast,
        "neighbors": _neighbors(world, service),
        "gpu_list": _gpu_rows(world, service),
        "callers": _calls(world, service, "server"),
        "dependencies": _calls(world, service, "client"),
        "inference": _model_servers(world, service),
        "capacity": _capacity(world, service),
        "incidents": [incident(item) for item in snapshot.incidents if service in involved_services(item)],
        "changes": change_mark_rows(world.changes, world.time - CHANGES_SECONDS, world.time, {service}),
        "no_changes": no_changes([] if service in world.change_tracked else [str(service)], 1, CHANGES_DURING),
        "summary": joined_text(summary),
        "summary_clauses": clauses(summary),
        "detail_clauses": clauses(service_detail(service, state, current)),
        "actions": actions(current) if current else [],
        "incident_status": incident_status(current) if current else None,
        "is_latent": current is not None and current.summary.latent,
        "far_cpus": far_cpus(sharing, [tenant for tenant in world.tenants if tenant.service == service]),
    }


def _worst(snapshot: Snapshot, service: Service) -> Incident | None:
    """The worst open incident with a role for the service."""
    parts = ((item, (item.service, item.stated_suspect.service, *item.affected)) for item in open_incidents(snapshot))
    return next((item for item, named in parts if service in named), None)


def _known(value: float | None) -> float:
    return math.nan if value is None else value


_NO_GPU: GpuUse = {"gpus": 0, "shared_gpus": 0, "busy": None, "wait": None}


def _shares(world: World, only: Service | None = None) -> dict[Service, GpuUse]:
    """The GPU use of the services on GPUs."""
    tenants = Counter(tenant.gpu for tenant in world.tenants)
    on: dict[Service, list[int]] = {}
    for i, tenant in enumerate(world.tenants):
        if only in (None, tenant.service):
            on.setdefault(tenant.service, []).append(i)
    busy, gpu_wait = newest(world.busy), newest(world.gpu_wait)
    use: dict[Service, GpuUse] = {}
    for service, rows in on.items():
        shared = [row for row in rows if tenants[world.tenants[row].gpu] > 1]
        wait = _reduced(np.mean, gpu_wait[shared])
        use[service] = {
            "gpus": len(rows),
            "shared_gpus": len(shared),
            "busy": _reduced(np.sum, busy[rows]),
            "wait": wait,
        }
    return use


def _reduced(reduce: Callable[[Floats], np.float64], values: Floats) -> float | None:
    """The sum or mean of the known values; None without any."""
    known = values[np.isfinite(values)]
    return number(float(reduce(known))) if len(known) else None


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
    figures = zip(last(world.busy), last(world.gpu_wait), last(world.memory), strict=True)
    rows = [
        GpuLine(tenant.gpu.label, tenant.gpu.model, pool.get(tenant.gpu, ""), *values)
        for tenant, values in zip(world.tenants, figures, strict=True)
        if tenant.service == service
    ]
    return sorted(rows, key=lambda row: (-(row.wait or 0.0), -(row.busy or 0.0), row.gpu))


def _neighbors(world: World, service: Service) -> list[NeighborRow]:
    """The services on its GPUs: how long it waits for each, and each for it; mean shares of time over those GPUs."""
    own_gpus = {tenant.gpu for tenant in world.tenants if tenant.service == service}
    shared: dict[Service, list[str]] = {}
    for tenant in world.tenants:
        if tenant.gpu in own_gpus and tenant.service != service:
            shared.setdefault(tenant.service, []).append(tenant.gpu.label)
    waits: dict[Service, list[float]] = {}
    makes_wait: dict[Service, list[float]] = {}
    for pair, value in zip(world.gpu_wait_pairs, newest(world.gpu_wait_by).tolist(), strict=True):
        if pair.affected == service:
            waits.setdefault(pair.noisy_neighbor, []).append(value)
        elif pair.noisy_neighbor == service:
            makes_wait.setdefault(pair.affected, []).append(value)
    rows = []
    for other, gpus in shared.items():
        wait, caused = (_reduced(np.mean, np.array(values.get(other, []))) for values in (waits, makes_wait))
        rows.append(NeighborRow(str(other), service_color(str(other)), gpus, wait, caused))
    return sorted(rows, key=lambda row: (-(row.wait or 0.0), -(row.caused_wait or 0.0), row.id))


def _calls(world: World, service: Service, side: Literal["client", "server"]) -> list[CallRow]:
    """The calls of which a service is one side, the edge with the most requests first; values as on all pages."""
    at = [row for row, edge in enumerate(world.edges) if getattr(edge, side) == service]
    calls = world.calls
    smoothed = (last_median(values[at]) for values in (calls.rate, calls.error_rate, calls.p95, world.server_p95))
    rows = []
    for row, *figures in zip(at, *smoothed, last(world.attempts[at]), strict=True):
        edge = world.edges[row]
        other = edge.client if edge.server == service else edge.server
        rows.append(CallRow(str(other), other in world.services, edge.connection, *figures))
    return sorted(rows, key=lambda call: (-(call.rate or 0.0), call.id))


def _newest_of(row: int, *columns: Floats) -> Iterator[Any]:
    return (number(float(values[row, -1])) if values.shape[1] else None for values in columns)


def _model_servers(world: World, service: Service) -> ModelServers | None:
    servers = world.model_servers
    if servers is None or service not in servers.services:
        return None
    replicas = [
        ServerReplica(
            replica.instance, *_newest_of(i, servers.replica_busy, servers.replica_finished, servers.replica_seconds)
        )
        for i, replica in enumerate(servers.replicas)
        if replica.service == service
    ]
    reporting = [replica for replica in replicas if replica.requests is not None]
    busiest_first = sorted(reporting, key=lambda replica: (-(replica.requests or 0.0), replica.instance))
    return ModelServers(busiest_first, len(replicas) - len(reporting))


def _capacity(world: World, service: Service) -> Replicas | None:
    capacity = world.capacity
    if capacity is None or service not in capacity.services:
        return None
    columns = (capacity.wanted, capacity.ready, capacity.max_replicas, capacity.pending)
    return Replicas(*_newest_of(capacity.services.index(service), *columns))


def involved_services(item: Incident) -> Iterable[Service]:
    """Every service with a role in an incident."""
    suspect = item.stated_suspect
    edge = suspect.edge or ()
    services_ = [item.service, *item.affected, *edge, *(risk.service for risk in item.at_risk)]
    return (*services_, suspect.service) if suspect.service else services_
