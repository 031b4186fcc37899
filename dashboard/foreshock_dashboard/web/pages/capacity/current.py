"""Load, headroom, and replicas of each service as measured: what is known without a forecast. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field

import numpy as np

from foreshock_dashboard.analysis.baseline.signals import model_servers
from foreshock_dashboard.analysis.capacity.replica_need import current_need
from foreshock_dashboard.analysis.capacity.replica_state import replica_states
from foreshock_dashboard.analysis.saturation.batching_model import LOAD_WINDOWS_SECONDS
from foreshock_dashboard.analysis.saturation.safe_limits import SHOWN_LIMIT, safe_limit_basis
from foreshock_dashboard.model.capacity.replicas import ReplicaNeed, ReplicaState
from foreshock_dashboard.model.forecast import Load
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.types import SafeLimitBasis
from foreshock_dashboard.model.verdict.reading import Status
from foreshock_dashboard.model.world import World
from foreshock_dashboard.render.capacity_text import need_text
from foreshock_dashboard.render.clause import Text
from foreshock_dashboard.render.units import elapsed, headroom_ratio
from foreshock_dashboard.web.panels.vitals import load_ratios, sparkline
from foreshock_dashboard.web.state.conditions import incident_status, open_incidents
from foreshock_dashboard.web.state.numbers import Row, number

NO_STATE, NO_NEED = ReplicaState(), ReplicaNeed()
PEAK_SECONDS = LOAD_WINDOWS_SECONDS[SHOWN_LIMIT]
"""Averaging window of a peak: that of the load to which the safe limit applies."""


class NeedRow(Row):
    """Replicas that a service needs, as `ReplicaNeed`; None where unknown."""

    peak: float | None
    more_traffic: float | None
    host_lost: float | None
    is_lower_bound: bool


class CurrentRow(Row):
    """The load of a service now and its safe limit, as shares of capacity, None where the limit is not learned.

    basis: of the safe limit. headroom: of the safe limit, negative above it. spark: load of the last 30 minutes.
    ready, room: replicas, as in `ReplicaState`. need: at the measured peak.
    """

    service: str
    load: float | None
    safe: float | None
    basis: SafeLimitBasis
    headroom: float | None
    status: Status
    spark: list[float | None]
    pool: str
    ready: float | None
    room: float | None
    need: NeedRow


@dataclass(frozen=True, slots=True)
class Measured:
    """What is measured of the replicas of each service with model servers.

    seconds: that the peaks of `needs` cover; 0 where no load is known.
    """

    states: Mapping[Service, ReplicaState] = field(default_factory=dict)
    needs: Mapping[Service, ReplicaNeed] = field(default_factory=dict)
    sparks: Mapping[Service, list[float | None]] = field(default_factory=dict)
    seconds: float = 0.0

    def text(self, service: Service) -> Text:
        """Ready and needed replicas of a service, and the room of its pool, as a sentence."""
        peak = f"the peak of the last {elapsed(self.seconds)}"
        return need_text(self.states.get(service, NO_STATE), self.needs.get(service, NO_NEED), peak)


def measured(snapshot: Snapshot) -> Measured:
    """Replicas, their need at the highest load of the World, and sparklines of the load."""
    world = snapshot.world
    if world is None:
        return Measured()
    states, servers = replica_states(world), model_servers(world)
    limits = {load.service: load.safe for load in snapshot.forecast.loads}
    replicas = servers.reporting_replicas(slice(None))
    columns = np.arange(len(world.times))
    ratios = load_ratios(world, columns, snapshot)
    means = load_ratios(world, columns, snapshot, PEAK_SECONDS)  # with the load of now, below which no peak is
    needs, first = {}, len(world.times)
    for service, ratio, count, mean in zip(servers.services, ratios, replicas, means, strict=True):
        if not np.isfinite(ratio).any():
            continue
        first = min(first, int(np.isfinite(ratio).argmax()))
        full = np.nan_to_num(np.minimum(mean, 1.0) * count)  # beyond capacity, queues exaggerate the load
        at = int(full.argmax())
        on_one_host = states.get(service, NO_STATE).on_one_host
        safe = limits.get(service, math.nan)
        needs[service] = current_need(float(full[at]), safe, on_one_host, is_saturated=bool(mean[at] > 1))
    sparks = {service: sparkline(world, row) for service, row in zip(servers.services, ratios, strict=True)}
    return Measured(states, needs, sparks, (len(world.times) - first) * world.step)


def current_rows(snapshot: Snapshot, found: Measured) -> Sequence[CurrentRow]:
    """The services with model servers or a known load, the least headroom first, then those without a safe limit."""
    loads = {load.service: load for load in snapshot.forecast.loads if load.safe > 0}
    servers = model_servers(snapshot.world).services if snapshot.world else ()
    critical = in_critical_incident(snapshot)
    rows = [_row(service, loads.get(service), found, critical) for service in dict.fromkeys((*loads, *servers))]
    return sorted(rows, key=lambda row: (row.headroom is None, row.headroom or 0.0, row.service))


def unlisted(world: World | None, rows: Sequence[CurrentRow]) -> list[str]:
    """The services of a World without a row."""
    known = {row.service for row in rows}
    return [str(service) for service in sorted(world.services if world else ()) if str(service) not in known]


def need_row(need: ReplicaNeed) -> NeedRow:
    """Needed replicas as JSON."""
    return NeedRow(number(need.peak), number(need.more_traffic), number(need.host_lost), need.is_lower_bound)


def in_critical_incident(snapshot: Snapshot) -> Set[Service]:
    """Services of critical open incidents."""
    return {item.service for item in open_incidents(snapshot) if incident_status(item) == "critical"}


def load_status(load: Load, critical: Set[Service]) -> Status:
    """The color of a load, that of the incident which the banner of the page names. critical: services in one."""
    if not load.ratio > load.safe:
        return "ok"
    return "critical" if load.ratio > 1 or load.service in critical else "warning"


def _row(service: Service, load: Load | None, found: Measured, critical: Set[Service]) -> CurrentRow:
    state = found.states.get(service, NO_STATE)
    return CurrentRow(
        str(service),
        number(load.ratio) if load else None,
        number(load.safe) if load else None,
        basis=safe_limit_basis(load.law.load, load.law.peak) if load and load.law else "capacity",
        headroom=number(headroom_ratio(load.ratio, load.safe)) if load else None,
        status=load_status(load, critical) if load else "unknown",
        spark=found.sparks.get(service, []),
        pool=state.pool,
        ready=number(state.ready),
        room=number(state.room),
        need=need_row(found.needs.get(service, NO_NEED)),
    )
