"""Advice to callers and load balancers: whether to send to a service, and where there is headroom. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Literal, NamedTuple

import numpy as np
from pydantic import Field
from typing_extensions import TypedDict

from foreshock_dashboard.model.forecast import Load
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.world import World
from foreshock_dashboard.render.incident_summary import incident_sentence
from foreshock_dashboard.render.units import breach_bucket, load_percent, percent
from foreshock_dashboard.render.words.panels import HISTORY_BEING_READ
from foreshock_dashboard.render.words.services import CONDITIONS
from foreshock_dashboard.web.state.conditions import LIKELY_BREACH_PROBABILITY, open_incidents
from foreshock_dashboard.web.state.freshness import freshness
from foreshock_dashboard.web.state.numbers import Row, number

State = Literal["ok", "degraded", "shed"]


class Health(TypedDict):
    """How a service is for its callers."""

    service: str
    state: State
    retry_after: Annotated[int | None, Field(description="seconds, as in the header Retry-After")]
    reason: Annotated[str, Field(description="why it is not ok, or unknown")]
    known: Annotated[bool, Field(description="false: no fresh or evaluated data; state is then ok")]


LoadRatio = Annotated[float | None, Field(description="offered load over capacity")]
SafeRatio = Annotated[float | None, Field(description="safe limit of the load")]
SpareRatio = Annotated[float | None, Field(description="safe limit minus load; negative above the limit")]
"""Load and its safe limit as ratios of capacity (1 = saturated)."""


class PoolHeadroom(Row):
    """Headroom of a service on one pool."""

    service: str
    pool: str | None
    load_ratio: LoadRatio
    safe_ratio: SafeRatio
    spare_ratio: SpareRatio


class ReplicaHeadroom(Row):
    """Headroom of a replica. `requests`: mean number of requests in progress."""

    service: str
    instance: str
    requests: float | None
    load_ratio: LoadRatio
    safe_ratio: SafeRatio
    spare_ratio: SpareRatio


class Headroom(TypedDict):
    """Pools and replicas by spare load."""

    pools: Annotated[list[PoolHeadroom], Field(description="each service on its pool, most headroom first")]
    replicas: Annotated[list[ReplicaHeadroom], Field(description="each replica, most headroom first")]


MAX_RETRY_AFTER_SECONDS = 300.0
"""Longest wait that is advised; by then later evaluations know more."""
REPLICA_LOAD_SECONDS = 120.0
"""Window of a replica's mean load, as in the analysis."""


class Advice(NamedTuple):
    """How a service is for its callers. retry_after: seconds; None where it is ok.

    known: whether there is data to judge by. A service without data is not kept from work.
    """

    state: State
    retry_after: float | None
    reason: str
    known: bool = True


def advice(snapshot: Snapshot, service: Service) -> Advice:
    """The advice to the callers of a service.

    *shed*: it breaches its SLO so much that more requests make it worse; stay away for as long as one of its requests
    takes. *degraded*: it is slower than its baseline, or is about to be; send what cannot wait, and look again after
    one evaluation.
    """
    world = snapshot.world
    if world is None or snapshot.error or service in freshness(world).stale_services:
        return Advice("ok", None, snapshot.error or "no fresh data", known=False)
    if snapshot.is_preview:
        return Advice("ok", None, HISTORY_BEING_READ, known=False)
    soon = world.step
    for item in open_incidents(snapshot):
        if service not in (item.service, *item.affected):
            continue
        if item.severity == "critical" and service == item.service:
            return Advice("shed", _retry_seconds(world, service), incident_sentence(item))
        return Advice("degraded", soon, incident_sentence(item))
    risk = next((item for item in snapshot.forecast.risks if item.service == service), None)
    if risk and risk.probability >= LIKELY_BREACH_PROBABILITY:
        reason = CONDITIONS["slo_breach"] if risk.p50 <= 0 else f"SLO breach forecast: {breach_bucket(risk.p50)}"
        return Advice("degraded", soon, reason)
    over = [load for load in snapshot.forecast.loads if load.service == service and load.ratio > load.safe]
    if over:
        reason = f"load {load_percent(over[0].ratio)} (safe limit {percent(over[0].safe)})"
        return Advice("degraded", soon, reason)
    if not _has_figures(world, service):
        return Advice("ok", None, "no data for its requests, GPU time, or queue", known=False)
    return Advice("ok", None, "")


def _has_figures(world: World, service: Service) -> bool:
    """Whether a service has recent figures of requests, GPU time, or model servers."""
    rows = [world.red.rate[world.services.index(service)]] if service in world.services else []
    rows += [world.busy[row] for row, tenant in enumerate(world.tenants) if tenant.service == service]
    if world.model_servers is not None and service in world.model_servers.services:
        rows.append(world.model_servers.running[world.model_servers.services.index(service)])
    recent = world.points(REPLICA_LOAD_SECONDS)
    return any(bool(np.isfinite(row[-recent:]).any()) for row in rows)


def _retry_seconds(world: World, service: Service) -> float:
    """The p95 of a service, within the evaluation interval and `MAX_RETRY_AFTER_SECONDS`."""
    p95 = float(world.red.p95[world.services.index(service), -1]) if service in world.services else math.nan
    return min(MAX_RETRY_AFTER_SECONDS, max(world.step, p95 if math.isfinite(p95) else 0.0))


def health(snapshot: Snapshot, service: Service) -> Health:
    """The health of one service."""
    advised = advice(snapshot, service)
    return {
        "service": str(service),
        "state": advised.state,
        "retry_after": None if advised.retry_after is None else math.ceil(advised.retry_after),
        "reason": advised.reason,
        "known": advised.known,
    }


def headroom(snapshot: Snapshot, service: Service | None = None) -> Headroom:
    """Pools and replicas by spare burst-safe load, the most first; those of one service where it is given."""
    loads = [load for load in snapshot.forecast.loads if service in (None, load.service)]
    pools = [PoolHeadroom(str(load.service), load.pool or None, *_ratios(load.ratio, load.safe)) for load in loads]
    replicas = [row for load in loads for row in _replicas(snapshot.world, load)]
    return {"pools": sorted(pools, key=_headroom_key), "replicas": sorted(replicas, key=_headroom_key)}


def _ratios(load: float, safe: float) -> tuple[float | None, float | None, float | None]:
    return number(load), number(safe), number(safe - load)


def _headroom_key(row: PoolHeadroom | ReplicaHeadroom) -> tuple[bool, float, str]:
    """Sort key: the most headroom first, unknown headroom last."""
    return row.spare_ratio is None, -(row.spare_ratio or 0.0), str(vars(row))


def _replicas(world: World | None, load: Load) -> Iterator[ReplicaHeadroom]:
    """Each replica's part of its service's load, in proportion to its requests."""
    if world is None or world.model_servers is None:
        return
    servers = world.model_servers
    rows = [row for row, replica in enumerate(servers.replicas) if replica.service == load.service]
    recent = servers.replica_busy[rows, -world.points(REPLICA_LOAD_SECONDS) :]
    is_reporting = np.isfinite(recent[:, -1]) if len(rows) else np.empty(0, dtype=bool)
    reporting = [row for row, is_alive in zip(rows, is_reporting, strict=True) if is_alive]
    busy = np.nanmean(recent[is_reporting], axis=1) if reporting else np.empty(0)
    mean_requests = float(busy.mean()) if len(busy) else 0.0
    for row, requests in zip(reporting, busy.tolist(), strict=True):
        ratio = load.ratio * requests / mean_requests if mean_requests > 0 else load.ratio
        instance = servers.replicas[row].instance
        yield ReplicaHeadroom(str(load.service), instance, number(requests), *_ratios(ratio, load.safe))
