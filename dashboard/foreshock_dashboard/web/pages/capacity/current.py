"""Load, headroom, and replicas of each service as measured: what is known without a forecast. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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
from foreshock_dashboard.model.verdict.reading import Status
from foreshock_dashboard.model.world import World
from foreshock_dashboard.render.capacity_text import measured_peak, need_text, unlearned_text
from foreshock_dashboard.render.clause import Text
from foreshock_dashboard.render.units import headroom_ratio
from foreshock_dashboard.web.panels.limits import reading
from foreshock_dashboard.web.panels.vitals import load_ratios, sparkline
from foreshock_dashboard.web.state.capacity_json import CurrentJson, need_row
from foreshock_dashboard.web.state.numbers import number

NO_STATE, NO_NEED = ReplicaState(), ReplicaNeed()
PEAK_SECONDS = LOAD_WINDOWS_SECONDS[SHOWN_LIMIT]
"""Averaging window of a peak: that of the load to which the safe limit applies."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What is measured of the replicas of each service with model servers.

    unlearned: why a service has no safe limit. covered: seconds that the peak in `needs` covers. window: seconds of
    the World.
    """

    states: Mapping[Service, ReplicaState] = field(default_factory=dict)
    needs: Mapping[Service, ReplicaNeed] = field(default_factory=dict)
    sparks: Mapping[str, list[float | None]] = field(default_factory=dict)
    unlearned: Mapping[Service, str] = field(default_factory=dict)
    covered: Mapping[Service, float] = field(default_factory=dict)
    window: float = 0.0

    @property
    def seconds(self) -> float:
        """What the longest of the peaks covers; 0 where no load is known."""
        return max(self.covered.values(), default=0.0)

    @property
    def is_since_start(self) -> bool:
        """Whether all peaks cover all data, which begins after the World does."""
        return self.seconds < self.window

    def text(self, service: Service, *, is_over: bool) -> Text:
        """What replicas to add for a service, and the room of its pool. is_over: load is above the safe limit."""
        state, need = self.states.get(service, NO_STATE), self.needs.get(service, NO_NEED)
        seconds = self.covered.get(service, 0.0)
        return need_text(state, need, measured_peak(seconds, is_since_start=seconds < self.window), is_over=is_over)


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
    needs, covered = {}, {}
    for service, ratio, count, mean in zip(servers.services, ratios, replicas, means, strict=True):
        if not np.isfinite(ratio).any():
            continue
        covered[service] = (len(world.times) - int(np.isfinite(ratio).argmax())) * world.step
        full = np.nan_to_num(np.minimum(mean, 1.0) * count)  # beyond capacity, queues exaggerate the load
        at = int(full.argmax())
        on_one_host = states.get(service, NO_STATE).on_one_host
        safe = limits.get(service, math.nan)
        needs[service] = current_need(float(full[at]), safe, on_one_host, is_saturated=bool((mean > 1).any()))
    sparks = {str(service): sparkline(world, row) for service, row in zip(servers.services, ratios, strict=True)}
    learnable = np.isfinite(servers.running), np.isfinite(servers.per_token), np.isfinite(servers.cache)
    reported = np.stack([known.any(axis=1) for known in learnable], axis=1)
    unlearned = {service: unlearned_text(row) for service, row in zip(servers.services, reported.tolist(), strict=True)}
    return Measured(states, needs, sparks, unlearned, covered, len(world.times) * world.step)


def current_rows(snapshot: Snapshot, found: Measured) -> Sequence[CurrentJson]:
    """The services with model servers or a known load, the least headroom first, then those without a safe limit."""
    loads = {load.service: load for load in snapshot.forecast.loads if load.safe > 0}
    servers = model_servers(snapshot.world).services if snapshot.world else ()
    rows = [_row(service, loads.get(service), found) for service in dict.fromkeys((*loads, *servers))]
    return sorted(rows, key=lambda row: (row.headroom is None, row.headroom or 0.0, row.service))


def unlisted(world: World | None, rows: Sequence[CurrentJson]) -> list[str]:
    """The services of a World without a row."""
    known = {row.service for row in rows}
    return [str(service) for service in sorted(world.services if world else ()) if str(service) not in known]


def load_status(load: Load) -> Status:
    """The state of a load, as on *Services* and *Now*: critical only above the capacity."""
    return reading(load.service, "load", load.ratio, load.safe, "ratio", True).status


def _row(service: Service, load: Load | None, found: Measured) -> CurrentJson:
    state = found.states.get(service, NO_STATE)
    return CurrentJson(
        str(service),
        state.pool,
        number(load.ratio) if load else None,
        number(load.safe) if load else None,
        basis=safe_limit_basis(load.law.load, load.law.peak) if load and load.law else "capacity",
        headroom=number(headroom_ratio(load.ratio, load.safe)) if load else None,
        status=load_status(load) if load else "unknown",
        ready=number(state.ready),
        room=number(state.room),
        need=need_row(state, found.needs.get(service, NO_NEED)),
        peak_seconds=number(found.covered.get(service, math.nan)),
        unlearned="" if load else found.unlearned.get(service, ""),
    )
