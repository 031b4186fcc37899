"""Builder of the World: series become rows by entity, joined on the service, and grow with each evaluation."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import DTypeLike

from foreshock_dashboard.model.change import Change
from foreshock_dashboard.model.query import Matrix
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import Tenant, World
from foreshock_dashboard.model.world_sections import UNKNOWN_SEASONALITY
from foreshock_dashboard.world import calls, changes, cluster, gpus, hosts, model_servers, resources
from foreshock_dashboard.world.calls import CallRows, OperationRows
from foreshock_dashboard.world.changes import ChangeRows
from foreshock_dashboard.world.cluster import ClusterRows, PodServices
from foreshock_dashboard.world.gpus import GPU_GAUGES, TENANT_READINGS, GpuRows
from foreshock_dashboard.world.hosts import HostRows
from foreshock_dashboard.world.model_servers import ModelServerRows
from foreshock_dashboard.world.resources import ResourceRows
from foreshock_dashboard.world.row import Catalog, LabelMap, RateWindows, Readings
from foreshock_dashboard.world.row_math import LabelFacts, last_sample_time
from foreshock_dashboard.world.section import Sections
from foreshock_dashboard.world.targets import Address, ServicePlaces, target_of

MIN_KEPT_SECONDS = 1980.0
"""Shortest history kept at the memory bound: the 1800 s that the analysis learns from, and its guard of 180 s."""
SIMULATED_FLAG_POINTS = 60
"""Grid points for which the World stays marked as simulated after the last simulated sample."""


def build_world(readings: Readings, step: float, missing: tuple[str, ...] = ()) -> World:
    """Build a World from readings with quantiles in place of buckets. `step` of the grid is in seconds.

    A service is an entity that serves, calls, holds a GPU, or runs a model server. Deployments count as services only
    where nothing else names any, because most deployments of a cluster are not part of the platform.
    """
    return WorldBuilder(step).add(readings, missing)


class WorldBuilder:
    """Builds the World of the last `keep` seconds incrementally; equal to one built of everything at once.

    Identity (the name of a host, the target of an autoscaler) holds from its first sample on. A returned World never
    changes. Not thread-safe.

    Args:
        step: seconds between grid points.
        keep: seconds of history.
        dtype: of the arrays.
        max_bytes: bound of all arrays. History shrinks to fit, but not below `MIN_KEPT_SECONDS`.
        tiers: tiers of services, over those in the samples.
        reported: returns changes besides those in the samples.
    """

    def __init__(
        self,
        step: float,
        keep: float = np.inf,
        dtype: DTypeLike = np.float64,
        max_bytes: float = np.inf,
        tiers: Mapping[Service, str] = MappingProxyType({}),
        reported: Callable[[], Sequence[Change]] = tuple,
    ) -> None:
        self._step = step
        self._reported = reported
        self._keep = keep
        self._max_bytes = max_bytes
        self._times: Floats = np.empty(0)
        self._sections = Sections(dtype, max_bytes, math.ceil(MIN_KEPT_SECONDS / step))
        self._hosts: LabelFacts[Address, str] = LabelFacts(_host)
        self._cluster = ClusterRows(self._sections)
        self._gpus = GpuRows(self._sections, self._hosts, self._cluster.workload_of)
        self._calls = CallRows(self._sections, tiers)
        self._operations = OperationRows(self._sections)
        self._places = ServicePlaces()
        self._serving = ModelServerRows(self._sections, self._places, self._cluster.workload_of)
        self._network = HostRows(self._sections, self._hosts)
        self._of_workloads = PodServices(self._places, self._cluster.workload_of)
        self._resources = ResourceRows(self._sections, self._of_workloads, self._serving.service_at)
        self._changes = ChangeRows(self._network.host_of, self._cluster.workload_of, self._cluster.workload)
        self._known_services: tuple[tuple[object, ...], frozenset[Service]] = ((), frozenset())
        self._joinable_from: tuple[tuple[Service, ...], tuple[Tenant, ...]] = ((), ())
        self._joinable_services: frozenset[Service] = frozenset()
        self._last_simulated = -np.inf

    def add(self, readings: Readings, missing: tuple[str, ...] = ()) -> World:
        """Append the new grid points of the readings and return the World; known grid points change nothing."""
        try:
            return self._extended(self._new_points(readings), missing)
        finally:
            self._sections.hasher.clear()

    def _extended(self, readings: Readings, missing: tuple[str, ...]) -> World:
        times = readings["up"].times
        since = float((times if len(times) else self._times)[-1]) - self._history_seconds()
        if not len(times):
            return self._world(since, self._services(), missing)
        self._sections.targets.update(readings["up"])
        mock = readings["mock"]
        self._last_simulated = max(
            self._last_simulated, last_sample_time(Matrix(times, mock.labels, np.where(mock.values > 0, 1.0, np.nan)))
        )
        renamed = self._hosts.update(readings["host"])
        moved = self._cluster.update(readings, since)
        self._gpus.update(readings, since, renamed or moved)
        self._network.update(readings, since, renamed)
        self._calls.update(readings, since)
        placed = self._places.update(readings["places"])
        joined_otherwise = self._serving.update(readings, since, self._joinable(), moved | placed)
        self._operations.update(readings, since, self._gpus.tenants.keys)
        known = self._services()
        self._calls.set_services(known or self._cluster.workloads.keys)
        self._of_workloads.update(known, moved or placed)
        self._resources.update(readings, since, joined_otherwise)
        self._changes.update(readings, since)
        parts = (
            self._cluster,
            self._gpus,
            self._network,
            self._serving,
            self._calls,
            self._operations,
            self._resources,
        )
        growth = [columns for part in parts for columns in part.columns(readings)]
        self._sections.make_room(sum(section.first_bytes(figures) for section, figures in growth))
        self._times = self._times[len(self._times) - self._sections.columns :]  # without those dropped to make room
        for section, figures in growth:
            section.grow(len(self._times), figures)
        extended = np.concatenate([self._times, times])
        self._times = extended[extended >= since]
        self._sections.columns = len(extended)
        self._sections.trim(len(extended) - len(self._times))
        return self._world(since, known, missing)

    def _new_points(self, readings: Readings) -> Readings:
        times = readings["up"].times
        if not len(self._times) or times[0] > self._times[-1]:
            return readings
        new = times > self._times[-1]
        return {key: Matrix(times[new], old.labels, old.values[:, new]) for key, old in readings.items()}

    def _history_seconds(self) -> float:
        """Seconds of history that fit."""
        column = self._sections.column_bytes
        fitting = self._max_bytes / column * self._step if column else np.inf
        return min(self._keep, max(MIN_KEPT_SECONDS, fitting))

    def _joinable(self) -> frozenset[Service]:
        """Services of which a model server may be part: those that answer requests, and those on GPUs."""
        sources = (self._calls.serving.keys, self._gpus.tenants.keys)
        if any(new is not old for new, old in zip(sources, self._joinable_from, strict=True)):
            self._joinable_from = sources
            self._joinable_services = frozenset({*sources[0], *(tenant.service for tenant in sources[1])})
        return self._joinable_services

    def _services(self) -> frozenset[Service]:
        """All services; the same object as long as the set does not change."""
        calls, serving, tenants = self._calls, self._serving.services.keys, self._gpus.tenants.keys
        sources: tuple[object, ...] = (calls.edges.keys, calls.serving.keys, serving, tenants)
        if any(new is not old for new, old in zip(sources, self._known_services[0] or (None,) * 4, strict=True)):
            named = frozenset({*calls.all_services(), *serving, *(tenant.service for tenant in tenants)})
            self._known_services = (sources, self._known_services[1] if named == self._known_services[1] else named)
        return self._known_services[1]

    def _world(self, since: float, known: frozenset[Service], missing: tuple[str, ...]) -> World:
        gpus, calls = self._gpus, self._calls
        now = float(self._times[-1])
        collected = self._changes.collected(now, known)
        allocations = gpus.allocations(self._of_workloads.of_pod)
        return World(
            times=self._times,
            step=self._step,
            services=calls.services.keys,
            red=calls.red(),
            edges=calls.edges.keys,
            calls=calls.calls(),
            server_p95=calls.edges["server_p95"],
            attempts=calls.edges["attempts"],
            gpus=gpus.gpus.keys,
            **{key: gpus.gpus[key] for key in GPU_GAUGES},
            tenants=gpus.tenants.keys,
            **{key: gpus.tenants[key] for key in TENANT_READINGS},
            gpu_wait_pairs=gpus.gpu_wait_pairs.keys,
            gpu_wait_by=gpus.gpu_wait_pairs["gpu_wait_by"],
            operations=self._operations.rows.keys,
            operation_red=self._operations.red(),
            targets=self._sections.targets.fresh_targets(gpus.targets(), since, now),
            missing=missing,
            allocations=allocations.idle,
            allocated=allocations.every,
            simulated=self._last_simulated > max(now - SIMULATED_FLAG_POINTS * self._step, since - self._step),
            model_servers=self._serving.model_servers(),
            unjoined=self._serving.unjoined(),
            capacity=self._cluster.capacity(known),
            network=self._network.network(),
            hardware=gpus.hardware(since),
            resources=self._resources.resources(),
            pool=gpus.pool(),
            tier=calls.tier(),
            season=UNKNOWN_SEASONALITY,
            changes=self._changes.changes(since, now, known, (*collected, *self._reported())),
            collected=collected,
            change_tracked=self._changes.tracked_services(known),
        )


def _host(labels: LabelMap) -> tuple[Address, str] | None:
    return (target_of(labels), labels["host_name"]) if labels.get("host_name") else None


def catalog(window: float, quick: float = 29.0) -> Catalog:
    """Queries behind a World, by key.

    Args:
        window: rate window in seconds: at least four scrapes, and not a multiple of the scrape interval.
        quick: rate window of readings that must react at once to a neighbor; see `quick_window`.
    """
    windows = RateWindows(window, quick)
    parts = (gpus, calls, model_servers, cluster, hosts, resources, changes)
    return {key: row for part in parts for key, row in part.readings(windows).items()}
