"""The payloads of the Services pages: a row per service, and all figures of one service. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from foreshock_dashboard.analysis.saturation.pooling import tier_by_service
from foreshock_dashboard.model.incident import Incident
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.types import Floats, Json
from foreshock_dashboard.model.world import Edge, Gpu, World
from foreshock_dashboard.render.action import action_text
from foreshock_dashboard.render.clause import plain
from foreshock_dashboard.web.charts.theme import service_colour
from foreshock_dashboard.web.pages.services.sentence import sentence, worst
from foreshock_dashboard.web.panels.vitals import sparkline
from foreshock_dashboard.web.state.conditions import conditions
from foreshock_dashboard.web.state.forecast import ServiceForecasts
from foreshock_dashboard.web.state.incident_json import action, clauses, incident
from foreshock_dashboard.web.state.numbers import last, number

MAX_SERVICES = 1000
"""Rows of the list; /api/services has all."""


def services(snapshot: Snapshot) -> Json:
    """Every service with its figures; the worst ones where not all fit."""
    world = snapshot.world
    if world is None:
        return {"ready": False, "services": [], "hidden": 0}
    state, tiers, expected = conditions(snapshot), tier_by_service(world), ServiceForecasts(snapshot)
    attempts, shares = _attempts(world), _shares(world)
    red = [last(values) for values in (world.red.rate, world.red.failed, world.red.p95)]
    rows: list[Json] = [
        {
            "id": str(service),
            "colour": service_colour(str(service)),
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


def service(snapshot: Snapshot, service: Service) -> Json:
    """All figures of one service that the World knows."""
    world = snapshot.world
    if world is None or service not in world.services:
        return {"ready": False, "service": str(service)}
    row = world.services.index(service)
    red = world.red
    figures = {
        name: number(float(values[row, -1])) if values.shape[1] else None
        for name, values in (
            ("rate", red.rate), ("failed", red.failed), ("p50", red.p50), ("p95", red.p95), ("p99", red.p99),
        )
    }  # fmt: skip
    state = conditions(snapshot)[service]
    expected = ServiceForecasts(snapshot).of(service, figures["p95"], figures["failed"])
    payload: Json = {
        "ready": True,
        "service": str(service),
        "colour": service_colour(str(service)),
        "health": state.health,
        "word": state.word,
        "tier": tier_by_service(world)[service],
        **figures,
        **_shares(world, service).get(service, _NO_GPU),
        **expected,
        "neighbours": _neighbours(world, service),
        "on": _gpu_rows(world, service),
        "callers": _calls(world, service, [i for i, edge in enumerate(world.edges) if edge.server == service]),
        "callees": _calls(world, service, [i for i, edge in enumerate(world.edges) if edge.client == service]),
        "inference": _inference(snapshot, service),
        "capacity": _capacity(world, service),
        "incidents": [incident(item) for item in snapshot.incidents if service in involved_services(item)],
    }
    current = worst(snapshot, service)
    step, summary = current.action if current else None, sentence(snapshot, service, payload)
    return payload | {
        "sentence": plain(summary),
        "summary": clauses(summary),
        "next_step": action_text(step),
        "action": action(step),
    }


_NO_GPU: Json = {"gpus": 0, "busy": None, "wait": None}


def _shares(world: World, only: Service | None = None) -> dict[Service, Json]:
    """For services on GPUs: the number of GPUs, the busy GPUs in total, and the share of time that they wait."""
    on: dict[Service, list[int]] = {}
    for i, tenant in enumerate(world.tenants):
        if only in (None, tenant.service):
            on.setdefault(tenant.service, []).append(i)
    busy, stalled = _newest(world.busy), _newest(world.stalled)
    return {
        service: {"gpus": len(rows), "busy": _total(busy[rows]), "wait": _mean(stalled[rows])}
        for service, rows in on.items()
    }


def _newest(values: Floats) -> Floats:
    return values[:, -1] if values.shape[1] else np.full(len(values), np.nan)


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


def _gpu_rows(world: World, service: Service) -> list[Json]:
    """The GPUs of a service, those with the longest wait first."""
    pool = dict(zip(world.gpus, world.pool, strict=True)) if world.pool else {}
    rows = [
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
            _newest(world.busy).tolist(),
            _newest(world.stalled).tolist(),
            _newest(world.memory).tolist(),
            strict=True,
        )
        if tenant.service == service
    ]
    return sorted(rows, key=lambda row: (-(row["wait"] or 0.0), -(row["busy"] or 0.0), str(row["gpu"])))


def _neighbours(world: World, service: Service) -> list[Json]:
    """The services on its GPUs: how long it waits for each, and each for it; mean shares of time over those GPUs."""
    own_gpus = {tenant.gpu for tenant in world.tenants if tenant.service == service}
    shared: dict[Service, list[Gpu]] = {}
    for tenant in world.tenants:
        if tenant.gpu in own_gpus and tenant.service != service:
            shared.setdefault(tenant.service, []).append(tenant.gpu)
    waits, makes_wait = _stalls(world, service)
    rows = [
        {
            "id": str(other),
            "colour": service_colour(str(other)),
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
    for stall, value in zip(world.stalls, _newest(world.stalled_by).tolist(), strict=True):
        if stall.victim == service:
            waits.setdefault(stall.aggressor, []).append(value)
        elif stall.aggressor == service:
            makes_wait.setdefault(stall.victim, []).append(value)
    return waits, makes_wait


def _calls(world: World, service: Service, rows: Sequence[int]) -> list[Json]:
    """Call edges, the one with the most requests first."""
    edges = [_call(world, row, world.edges[row], service) for row in rows]
    return sorted(edges, key=lambda edge: (-(edge["rate"] or 0.0), str(edge["id"])))


def _call(world: World, row: int, edge: Edge, service: Service) -> Json:
    other = edge.client if edge.server == service else edge.server
    calls = world.calls
    return {
        "id": str(other),
        "colour": service_colour(str(other)),
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


_SERVING = (
    "running", "waiting", "cache", "preempted", "finished", "queued", "first_token", "per_token", "prompt_tokens",
    "generated_tokens",
)  # fmt: skip


def _inference(snapshot: Snapshot, service: Service) -> Json | None:
    """The figures of its model servers; None where it has none."""
    world = snapshot.world
    servers = world.model_servers if world else None
    if servers is None or service not in servers.services:
        return None
    row = servers.services.index(service)
    replicas: list[Json] = [
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
    return {name: _newest_of(getattr(servers, name), row) for name in _SERVING} | {
        "replicas": sorted(reporting, key=lambda row_: (-(row_["requests"] or 0.0), str(row_["instance"]))),
        "silent": len(replicas) - len(reporting),
    }


def _capacity(world: World, service: Service) -> Json | None:
    """Its replicas; None where nothing is known of them."""
    capacity = world.capacity
    if capacity is None or service not in capacity.services:
        return None
    row = capacity.services.index(service)
    rows = {
        "wanted": capacity.wanted,
        "ready": capacity.ready,
        "most": capacity.max_replicas,
        "pending": capacity.pending,
    }
    return {name: _newest_of(values, row) for name, values in rows.items()}


def involved_services(item: Incident) -> Iterable[Service]:
    """Every service with a role in an incident."""
    edge = item.culprit.edge or ()
    services_ = [item.service, *item.victims, *edge, *(risk.service for risk in item.at_risk)]
    return (*services_, item.aggressor) if item.aggressor else services_
