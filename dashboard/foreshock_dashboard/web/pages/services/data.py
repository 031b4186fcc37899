"""What the pages of services show: a row of figures each, and all about one of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from foreshock_dashboard.analysis.saturation.pooling import tier_of
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
"""Services in the list; all are in /api/services."""


def services(snapshot: Snapshot) -> Json:
    """Every service with its figures, the worst first where not all fit."""
    world = snapshot.world
    if world is None:
        return {"ready": False, "services": [], "hidden": 0}
    state, tiers, expected = conditions(snapshot), tier_of(world), ServiceForecasts(snapshot)
    attempts, shares = _attempts(world), _shares(world)
    red = [last(values) for values in (world.red.rate, world.red.failed, world.red.p95)]
    rows: list[Json] = [
        {
            "id": str(who),
            "colour": service_colour(str(who)),
            "health": state[who].health,
            "word": state[who].word,
            "tier": tiers[who],
            "rate": rate,
            "failed": failed,
            "p95": p95,
            "spark": sparkline(world, world.red.p95[i]),
            "attempts": attempts.get(who),
            **shares.get(who, _NO_GPU),
            **expected.of(who, p95, failed),
        }
        for i, (who, rate, failed, p95) in enumerate(zip(world.services, *red, strict=True))
    ]
    grave = {"critical": 0, "warning": 1, "unknown": 2, "ok": 3, "idle": 4}
    kept = (
        rows
        if len(rows) <= MAX_SERVICES
        else sorted(rows, key=lambda row: (grave[row["health"]], row["id"]))[:MAX_SERVICES]
    )
    return {"ready": True, "services": kept, "hidden": len(rows) - len(kept), "learning_done": snapshot.learning.done}


def service(snapshot: Snapshot, who: Service) -> Json:
    """All about one service that the World knows."""
    world = snapshot.world
    if world is None or who not in world.services:
        return {"ready": False, "service": str(who)}
    row = world.services.index(who)
    red = world.red
    figures = {
        name: number(float(values[row, -1])) if values.shape[1] else None
        for name, values in (
            ("rate", red.rate), ("failed", red.failed), ("p50", red.p50), ("p95", red.p95), ("p99", red.p99),
        )
    }  # fmt: skip
    state = conditions(snapshot)[who]
    expected = ServiceForecasts(snapshot).of(who, figures["p95"], figures["failed"])
    told: Json = {
        "ready": True,
        "service": str(who),
        "colour": service_colour(str(who)),
        "health": state.health,
        "word": state.word,
        "tier": tier_of(world)[who],
        **figures,
        **_shares(world, who).get(who, _NO_GPU),
        **expected,
        "neighbours": _neighbours(world, who),
        "on": _gpu_rows(world, who),
        "callers": _calls(world, who, [i for i, edge in enumerate(world.edges) if edge.server == who]),
        "callees": _calls(world, who, [i for i, edge in enumerate(world.edges) if edge.client == who]),
        "inference": _inference(snapshot, who),
        "capacity": _capacity(world, who),
        "incidents": [incident(item) for item in snapshot.incidents if who in involved_services(item)],
    }
    current = worst(snapshot, who)
    step, summary = current.action if current else None, sentence(snapshot, who, told)
    return told | {
        "sentence": plain(summary),
        "summary": clauses(summary),
        "next_step": action_text(step),
        "action": action(step),
    }


_NO_GPU: Json = {"gpus": 0, "busy": None, "wait": None}


def _shares(world: World, only: Service | None = None) -> dict[Service, Json]:
    """Of services on GPUs: how many, how many GPUs' worth of time they use, and the share of time they wait."""
    on: dict[Service, list[int]] = {}
    for i, tenant in enumerate(world.tenants):
        if only in (None, tenant.service):
            on.setdefault(tenant.service, []).append(i)
    busy, stalled = _newest(world.busy), _newest(world.stalled)
    return {
        who: {"gpus": len(rows), "busy": _total(busy[rows]), "wait": _mean(stalled[rows])} for who, rows in on.items()
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
    """Attempts per call that a service receives, the most of its callers."""
    found: dict[Service, float] = {}
    for edge, value in zip(world.edges, last(world.attempts), strict=True):
        if value is not None:
            found[edge.server] = max(value, found.get(edge.server, value))
    return found


def _gpu_rows(world: World, who: Service) -> list[Json]:
    """The GPUs that it is on, those where it waits longest first."""
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
        if tenant.service == who
    ]
    return sorted(rows, key=lambda row: (-(row["wait"] or 0.0), -(row["busy"] or 0.0), str(row["gpu"])))


def _neighbours(world: World, who: Service) -> list[Json]:
    """Who is on its GPUs: how long it waits for each there, and each for it; shares of time, means over those GPUs."""
    mine = {tenant.gpu for tenant in world.tenants if tenant.service == who}
    shared: dict[Service, list[Gpu]] = {}
    for tenant in world.tenants:
        if tenant.gpu in mine and tenant.service != who:
            shared.setdefault(tenant.service, []).append(tenant.gpu)
    waits, makes_wait = _stalls(world, who)
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


def _stalls(world: World, who: Service) -> tuple[Mapping[Service, list[float]], Mapping[Service, list[float]]]:
    """How long it waits for others, and others for it, on each GPU."""
    waits: dict[Service, list[float]] = {}
    makes_wait: dict[Service, list[float]] = {}
    for stall, value in zip(world.stalls, _newest(world.stalled_by).tolist(), strict=True):
        if stall.victim == who:
            waits.setdefault(stall.aggressor, []).append(value)
        elif stall.aggressor == who:
            makes_wait.setdefault(stall.victim, []).append(value)
    return waits, makes_wait


def _calls(world: World, who: Service, rows: Sequence[int]) -> list[Json]:
    """Edges, the one with the most requests first."""
    edges = [_call(world, row, world.edges[row], who) for row in rows]
    return sorted(edges, key=lambda edge: (-(edge["rate"] or 0.0), str(edge["id"])))


def _call(world: World, row: int, edge: Edge, who: Service) -> Json:
    other = edge.client if edge.server == who else edge.server
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


def _inference(snapshot: Snapshot, who: Service) -> Json | None:
    """What its model servers tell; None where it has none."""
    world = snapshot.world
    found = world.model_servers if world else None
    if found is None or who not in found.services:
        return None
    row = found.services.index(who)
    replicas: list[Json] = [
        {
            "instance": replica.instance,
            "requests": _newest_of(found.replica_busy, i),
            "finished": _newest_of(found.replica_finished, i),
            "seconds": _newest_of(found.replica_seconds, i),
        }
        for i, replica in enumerate(found.replicas)
        if replica.service == who
    ]
    alive = [each for each in replicas if each["requests"] is not None]
    return {name: _newest_of(getattr(found, name), row) for name in _SERVING} | {
        "replicas": sorted(alive, key=lambda each: (-(each["requests"] or 0.0), str(each["instance"]))),
        "silent": len(replicas) - len(alive),
    }


def _capacity(world: World, who: Service) -> Json | None:
    """What the cluster tells of its replicas; None where it tells nothing."""
    found = world.capacity
    if found is None or who not in found.services:
        return None
    row = found.services.index(who)
    rows = {"wanted": found.wanted, "ready": found.ready, "most": found.max_replicas, "pending": found.pending}
    return {name: _newest_of(values, row) for name, values in rows.items()}


def involved_services(item: Incident) -> Iterable[Service]:
    """Everybody who has a part in an incident."""
    edge = item.culprit.edge or ()
    found = [item.service, *item.victims, *edge, *(each.service for each in item.at_risk)]
    return (*found, item.aggressor) if item.aggressor else found
