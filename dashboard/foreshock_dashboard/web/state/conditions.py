"""Snapshot → plain dicts for the JSON API. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from foreshock_dashboard.analysis.saturation.pooling import mixed, needs
from foreshock_dashboard.model.incident import Incident
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.model.world import Gpu, Red, Target, Tenant, World
from foreshock_dashboard.web.state.forecast import Expected
from foreshock_dashboard.web.state.freshness import fresh_services
from foreshock_dashboard.web.state.incident_json import document
from foreshock_dashboard.web.state.numbers import last, number
from foreshock_dashboard.web.state.placement import pairs
from foreshock_dashboard.web.state.stages import Course

Health = Literal["ok", "warning", "critical", "idle", "unknown"]
FAILING = 0.05
"""Share of failed requests from which a service is critical."""
TROUBLED = 0.01
"""Share of failed requests from which a service is in a warning state."""


def envelope(snapshot: Snapshot) -> Json:
    """What every answer carries besides the hub's time."""
    return {
        "seq": snapshot.seq,
        "simulated": bool(snapshot.world and snapshot.world.simulated),
        "learning": {
            "have": number(snapshot.learning.have),
            "need": number(snapshot.learning.need),
            "done": snapshot.learning.done,
        },
        "data_time": snapshot.world.time if snapshot.world else None,
        "error": snapshot.error,
        "bounds": list(snapshot.bounds) if snapshot.bounds else None,
    }


def open_incidents(snapshot: Snapshot) -> tuple[Incident, ...]:
    """Those that are not over, the worst and then the oldest first."""
    rank = {"cascading": 0, "page": 1, "advisory": 2}
    current = [incident for incident in snapshot.incidents if incident.phase != "over"]
    return tuple(sorted(current, key=lambda incident: (rank[incident.phase], incident.since, incident.id)))


class Condition(NamedTuple):
    """How a service is: a state, and the word that is shown beside its shape."""

    health: Health
    word: str


def condition(
    service: Service,
    incidents: Sequence[Incident],
    rate: float | None,
    failed: float | None,
    used: float | None = None,
    silent: bool = False,
) -> Condition:
    """How a service is, from the open incidents, its own errors and its objective.

    used: how much of its objective it uses, above 1 it misses it. silent: what it told has stopped coming.
    """
    named = _part(service, incidents)
    if silent:
        return Condition(named.health, f"{named.word}, no data") if named else Condition("unknown", "no data")
    if named:
        return named
    if failed is not None and failed >= TROUBLED:
        return Condition("critical" if failed >= FAILING else "warning", "errors")
    if used is not None and used > 1.0:
        return Condition("warning", "over objective")
    return Condition("idle", "no requests") if not rate else Condition("ok", "ok")


def _part(service: Service, incidents: Sequence[Incident]) -> Condition | None:
    """The part that a service has in the open incidents, if any."""
    incidents = [each for each in incidents if each.victims]  # nothing is wrong yet with what is only weak
    for incident in incidents:
        if service in (incident.victim, incident.service):
            soon = any(risk.service == service and 0 < risk.p50 < math.inf for risk in incident.at_risk)
            grave = incident.phase in ("page", "cascading") and not soon
            hit = "first at risk" if soon else "hit first"
            word = "starved" if incident.cause == "pool contention" else hit
            return Condition("critical" if grave else "warning", word if service == incident.victim else "at risk")
    if blamed := [incident for incident in incidents if incident.aggressor == service]:
        return Condition("warning", "starves others" if blamed[0].cause == "pool contention" else "the cause")
    if any(service in incident.slowed for incident in incidents):
        return Condition("warning", "slowed down")
    return None


def conditions(snapshot: Snapshot) -> Mapping[Service, Condition]:
    """Every service's condition, in the World's order."""
    world = snapshot.world
    if world is None:
        return {}
    current = open_incidents(snapshot)
    known = np.isfinite(world.red.rate)
    lost = ~known[:, -1:].any(axis=1) & (known.any(axis=1) | ~fresh_services(world))
    expected, red = Expected(snapshot), world.red
    rows = zip(world.services, last(red.rate), last(red.failed), last(red.p95), lost.tolist(), strict=True)
    return {
        who: condition(who, current, rate, failed, expected.used(who, p95, failed), silent)
        for who, rate, failed, p95, silent in rows
    }


def _red(red: Red) -> list[Json]:
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


def services(snapshot: Snapshot) -> Json:
    """Every service with its figures, its callers and callees, and the GPUs it is on."""
    world = snapshot.world
    if world is None:
        return {"services": [], "edges": []}
    on = _gpus_of(world)
    state = conditions(snapshot)
    calls = [
        {"client": str(edge.client), "server": str(edge.server), "connection": edge.connection}
        | red
        | {"server_p95_seconds": server_p95, "attempts_per_call": attempts}
        for edge, red, server_p95, attempts in zip(
            world.edges, _red(world.calls), last(world.server_p95), last(world.attempts), strict=True
        )
    ]
    return {
        "services": [
            {"service": str(service), "health": state[service].health, "condition": state[service].word}
            | red
            | {"gpus": [gpu.label for gpu in on.get(service, ())]}
            for service, red in zip(world.services, _red(world.red), strict=True)
        ],
        "edges": calls,
    }


def _gpus_of(world: World) -> dict[Service, list[Gpu]]:
    found: dict[Service, list[Gpu]] = {}
    for tenant in world.tenants:
        found.setdefault(tenant.service, []).append(tenant.gpu)
    return found


def gpus(snapshot: Snapshot) -> Json:
    """Every GPU with its state and the services on it."""
    world = snapshot.world
    if world is None:
        return {"gpus": []}
    tenants: dict[Gpu, list[Json]] = {}
    for row in zip(world.tenants, last(world.busy), last(world.stalled), last(world.memory), strict=True):
        tenants.setdefault(row[0].gpu, []).append(_tenant(*row))
    columns = (
        world.utilization,
        world.contended,
        world.memory_used,
        world.memory_total,
        world.power,
        world.temperature,
    )
    names = (
        "utilization_ratio",
        "contended_ratio",
        "memory_used_bytes",
        "memory_total_bytes",
        "power_watts",
        "temperature_celsius",
    )
    rows = zip(*(last(values) for values in columns), strict=True)
    return {
        "gpus": [
            {"gpu": gpu.label, "host": gpu.host, "index": gpu.index, "uuid": gpu.uuid, "model": gpu.model}
            | dict(zip(names, row, strict=True))
            | {"services": tenants.get(gpu, [])}
            for gpu, row in zip(world.gpus, rows, strict=True)
        ]
    }


def _tenant(tenant: Tenant, busy: float | None, stalled: float | None, memory: float | None) -> Json:
    return {"service": str(tenant.service), "busy_ratio": busy, "stalled_ratio": stalled, "memory_used_bytes": memory}


def contention(snapshot: Snapshot) -> Json:
    """Who waits for whom, on which GPUs, for which share of time."""
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


def pools(world: World | None) -> Json:
    """What each tier needs, and the GPUs on which tiers meet."""
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
            for need in (needs(world) if world else ())
        ],
        "mixed": [
            {
                "gpu": each.gpu.label,
                "pool": each.pool or None,
                "tiers": {tier: [str(service) for service in who] for tier, who in each.tiers.items()},
            }
            for each in (mixed(world) if world else ())
        ],
    }


def warnings(snapshot: Snapshot) -> Json:
    """The incidents that are open, the worst first."""
    return document(open_incidents(snapshot), "warnings")


def incidents(snapshot: Snapshot) -> Json:
    """Every incident that is remembered: the open ones, then those that are over, newest first."""
    over = [item for item in snapshot.incidents if item.phase == "over"]
    over.sort(key=lambda item: (-(item.until or item.since), item.id))
    return document((*open_incidents(snapshot), *over))


def target(item: Target) -> Json:
    """One scraped target."""
    return {
        "instance": item.instance,
        "job": item.job,
        "up": item.up,
        "age_seconds": None if item.age is None else number(item.age),
    }


def status(snapshot: Snapshot, hub: Json, ready: bool, reason: str, version: str) -> Json:
    """The health of the hub itself: can this page be trusted?"""
    world = snapshot.world
    return {
        "version": version,
        "ready": ready,
        "reason": reason,
        "targets": [target(item) for item in world.targets] if world else [],
        "missing": list(world.missing) if world else [],
        "hub": hub,
    }


def service_rows(snapshot: Snapshot, fared: Course) -> list[Json]:
    """Every service with its figures, its condition and its stage; in the World's order.

    One that what was followed does not know, such as one that came after it was read, has no stage.
    """
    world = snapshot.world
    if world is None:
        return []
    red = [last(values) for values in (world.red.rate, world.red.failed, world.red.p50, world.red.p95, world.red.p99)]
    state = conditions(snapshot)
    stages = fared.now()
    return [
        {
            "id": str(service),
            "health": state[service].health,
            "word": state[service].word,
            "stage": stages.get(service),
            "rate": rate,
            "failed": failed,
            "p50": p50,
            "p95": p95,
            "p99": p99,
        }
        for service, rate, failed, p50, p95, p99 in zip(world.services, *red, strict=True)
    ]
