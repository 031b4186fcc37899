"""What a hub shows of one cluster of several: the same evaluation, with the rows and incidents of that cluster."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, TypeVar

import numpy as np

from foreshock_dashboard.model.capacity.forecast import CapacityForecast
from foreshock_dashboard.model.capacity.load import Subject
from foreshock_dashboard.model.change import Change
from foreshock_dashboard.model.cost.ledger import CostLedger
from foreshock_dashboard.model.cost.prices import Prices
from foreshock_dashboard.model.explanation import Explanation
from foreshock_dashboard.model.forecast import Forecast
from foreshock_dashboard.model.hub.view import HubView
from foreshock_dashboard.model.incident import Incident
from foreshock_dashboard.model.journal import EntryLog
from foreshock_dashboard.model.query import MetricSource
from foreshock_dashboard.model.service import Ownership, Service, split_cluster
from foreshock_dashboard.model.snapshot import Snapshot, clusters_of
from foreshock_dashboard.model.span import TraceSource
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.model.world import Gpu, World
from foreshock_dashboard.model.world_sections import Capacity, Hardware, ModelServers, Network, Resources
from foreshock_dashboard.web.state.one_cluster_traces import OneClusterTraces

Key = TypeVar("Key")
Section = TypeVar("Section")


class OneCluster(HubView):
    """A view of a hub that shows one cluster. Thread-safe; the newest snapshot and forecast are filtered once."""

    def __init__(self, hub: HubView, cluster: str) -> None:
        self._hub, self._cluster = hub, cluster
        self._lock = threading.Lock()
        self._newest: tuple[Snapshot, Snapshot] | None = None
        self._capacity: tuple[CapacityForecast, CapacityForecast] | None = None
        self._cost: tuple[CostLedger, CostLedger] | None = None

    @property
    def cluster(self) -> str:
        """See `HubView.cluster`."""
        return self._cluster

    @property
    def snapshot(self) -> Snapshot:
        """See `HubView.snapshot`."""
        whole = self._hub.snapshot
        with self._lock:
            if self._newest is None or self._newest[0] is not whole:
                self._newest = whole, snapshot_of(whole, self._cluster)
            return self._newest[1]

    @property
    def capacity(self) -> CapacityForecast:
        """See `HubView.capacity`."""
        whole = self._hub.capacity
        with self._lock:
            if self._capacity is None or self._capacity[0] is not whole:
                self._capacity = whole, capacity_of(whole, self._cluster)
            return self._capacity[1]

    @property
    def cost(self) -> CostLedger:
        """See `HubView.cost`."""
        whole = self._hub.cost
        with self._lock:
            if self._cost is None or self._cost[0] is not whole:
                self._cost = whole, whole.of_cluster(self._cluster)
            return self._cost[1]

    @property
    def prices(self) -> Prices:
        """See `HubView.prices`."""
        return self._hub.prices

    @property
    def metrics(self) -> MetricSource:
        """See `HubView.metrics`."""
        return self._hub.metrics

    @property
    def traces(self) -> TraceSource:
        """See `HubView.traces`."""
        return OneClusterTraces(self._hub.traces, self._cluster)

    @property
    def remote_traces(self) -> str:
        """See `HubView.remote_traces`."""
        return self._hub.remote_traces

    @property
    def journal(self) -> EntryLog:
        """See `HubView.journal`."""
        return self._hub.journal

    def silenced_until(self) -> Mapping[str, float | None]:
        """See `HubView.silenced_until`."""
        return self._hub.silenced_until()

    def at(self, time: float) -> Snapshot:
        """See `HubView.at`."""
        return snapshot_of(self._hub.at(time), self._cluster)

    def over(self, start: float, end: float) -> World | None:
        """See `HubView.over`."""
        world = self._hub.over(start, end)
        return world and world_of(world, {self._cluster})

    def explain(self, service: str | None, at: float, cluster: str = "") -> Explanation:
        """See `HubView.explain`."""
        return self._hub.explain(service, at, cluster or self._cluster)

    def ownership(self, service: Service) -> Ownership:
        """See `HubView.ownership`."""
        return self._hub.ownership(service)

    def now(self) -> float:
        """See `HubView.now`."""
        return self._hub.now()

    def status(self) -> Json:
        """See `HubView.status`, with the targets that are known to be of this cluster, by their data or own label."""
        status, world = self._hub.status(), self._hub.snapshot.world
        clusters: dict[str, set[str]] = {}
        for cluster, instance in (split_cluster(target.instance) for target in (world.targets if world else ())):
            clusters.setdefault(instance, set()).add(cluster)
        rows = status.get("scrapes") or ()
        own = [row for row in rows if self._cluster in clusters.get(row["instance"], {row.get("cluster")})]
        return {**status, "scrapes": own}

    def ready(self) -> tuple[bool, str]:
        """See `HubView.ready`."""
        return self._hub.ready()

    def metrics_text(self, *, openmetrics: bool = False) -> str:
        """See `HubView.metrics_text`."""
        return self._hub.metrics_text(openmetrics=openmetrics)


def snapshot_of(snapshot: Snapshot, cluster: str) -> Snapshot:
    """The part of a snapshot that is of one cluster. An incident with services in two clusters is of both."""
    if snapshot.world is None:
        return snapshot
    return replace(
        snapshot,
        world=world_of(snapshot.world, {cluster}),
        incidents=tuple(incident for incident in snapshot.incidents if cluster in clusters_of_incident(incident)),
        forecast=_forecast(snapshot.forecast, cluster),
        clusters=clusters_of(snapshot),
    )


def clusters_of_incident(incident: Incident) -> frozenset[str]:
    """The clusters of the services of an incident."""
    return frozenset(service.cluster for service in incident.services)


def world_of(world: World, clusters: Collection[str]) -> World:
    """The rows of some clusters; calls between one of them and another one are of both."""

    def has(service: Service | None) -> bool:
        return service is not None and service.cluster in clusters

    def has_name(name: str) -> bool:
        return split_cluster(name)[0] in clusters

    def has_change(change: Change) -> bool:
        return has(change.service) or has_name(change.host) if change.service or change.host else True

    services = _rows(world.services, has)
    edges = _rows(world.edges, lambda edge: has(edge.client) or has(edge.server))
    gpus = _rows(world.gpus, lambda gpu: has_name(gpu.host))
    tenants = _rows(world.tenants, lambda tenant: has_name(tenant.gpu.host) and has(tenant.service))
    pairs = _rows(world.gpu_wait_pairs, lambda pair: has_name(pair.gpu.host))
    operations = _rows(world.operations, lambda operation: has(operation.service))
    per_gpu = ("utilization", "contended", "memory_used", "memory_total", "power", "temperature")
    return replace(
        world,
        services=_chosen(world.services, services),
        red=_taken(world.red, services),
        tier=_chosen(world.tier, services) if world.tier else (),
        edges=_chosen(world.edges, edges),
        calls=_taken(world.calls, edges),
        server_p95=world.server_p95[edges],
        attempts=world.attempts[edges],
        gpus=_chosen(world.gpus, gpus),
        pool=_chosen(world.pool, gpus) if world.pool else (),
        hardware=world.hardware and _hardware(world.hardware, world.gpus, gpus),
        tenants=_chosen(world.tenants, tenants),
        gpu_wait_pairs=_chosen(world.gpu_wait_pairs, pairs),
        gpu_wait_by=world.gpu_wait_by[pairs],
        operations=_chosen(world.operations, operations),
        operation_red=_taken(world.operation_red, operations),
        targets=tuple(target for target in world.targets if has_name(target.instance)),
        allocations=tuple(item for item in world.allocations if has_name(item.gpu.host)),
        allocated=tuple(item for item in world.allocated if has_name(item.gpu.host)),
        unjoined=tuple(server for server in world.unjoined if has(server.replica.service)),
        model_servers=world.model_servers and _model_servers(world.model_servers, has),
        capacity=world.capacity and _capacity(world.capacity, has, has_name),
        network=world.network and _network(world.network, has_name),
        resources=world.resources and _resources(world.resources, has),
        changes=tuple(filter(has_change, world.changes)),
        collected=frozenset(filter(has_change, world.collected)),
        change_tracked=frozenset(filter(has, world.change_tracked)),
        **{name: getattr(world, name)[gpus] for name in per_gpu},
        **{name: getattr(world, name)[tenants] for name in ("busy", "gpu_wait", "memory")},
    )


def _hardware(hardware: Hardware, gpus: Sequence[Gpu], rows: list[int]) -> Hardware:
    labels = {gpus[row].label for row in rows}
    xids = _rows(hardware.xids, lambda counter: counter.gpu in labels)
    return replace(
        hardware,
        xids=_chosen(hardware.xids, xids),
        xid_errors=hardware.xid_errors[xids],
        **{name: getattr(hardware, name)[rows] for name in ("clock", "throttled", "errors", "lost")},
    )


def _model_servers(servers: ModelServers, has: Callable[[Service], bool]) -> ModelServers:
    services = _rows(servers.services, has)
    replicas = _rows(servers.replicas, lambda replica: has(replica.service))
    names = [item.name for item in fields(servers) if item.name not in ("services", "replicas")]
    rows = {name: replicas if name.startswith("replica_") else services for name in names}
    return replace(
        servers,
        services=_chosen(servers.services, services),
        replicas=_chosen(servers.replicas, replicas),
        **{name: getattr(servers, name)[rows[name]] for name in names},
    )


def _capacity(capacity: Capacity, has: Callable[[Service], bool], has_name: Callable[[str], bool]) -> Capacity:
    services, pools = _rows(capacity.services, has), _rows(capacity.pools, has_name)
    return replace(
        capacity,
        services=_chosen(capacity.services, services),
        pools=_chosen(capacity.pools, pools),
        quota=capacity.quota[pools],
        used=capacity.used[pools],
        **{name: getattr(capacity, name)[services] for name in ("wanted", "ready", "max_replicas", "pending")},
    )


def _network(network: Network, has_name: Callable[[str], bool]) -> Network:
    hosts = _rows(network.hosts, has_name)
    return replace(_taken(network, hosts), hosts=_chosen(network.hosts, hosts))


def _resources(resources: Resources, has: Callable[[Service], bool]) -> Resources:
    services = _rows(resources.services, has)
    return replace(_taken(resources, services), services=_chosen(resources.services, services))


def _forecast(forecast: Forecast, cluster: str) -> Forecast:
    def of(items: Iterable[Key], service: Callable[[Key], Service]) -> tuple[Key, ...]:
        return tuple(item for item in items if service(item).cluster == cluster)

    return Forecast(
        of(forecast.risks, lambda item: item.service),
        of(forecast.loads, lambda item: item.service),
        of(forecast.amplification, lambda item: item.client),
        of(forecast.imbalance, lambda item: item.service),
        of(forecast.gpu_wait, lambda item: item.affected),
        of(forecast.slos, lambda item: item.service),
    )


def capacity_of(forecast: CapacityForecast, cluster: str) -> CapacityForecast:
    """What a forecast has of one cluster."""

    def has(subject: Subject) -> bool:
        return (subject.service.cluster if subject.service else split_cluster(subject.pool)[0]) == cluster

    return replace(
        forecast,
        loads=tuple(item for item in forecast.loads if has(item.subject)),
        shortages=tuple(item for item in forecast.shortages if has(item.subject)),
        slow_burns=tuple(item for item in forecast.slow_burns if has(Subject(item.service, item.name))),
    )


def _rows(keys: Sequence[Key], has: Callable[[Key], bool]) -> list[int]:
    return [row for row, key in enumerate(keys) if has(key)]


def _chosen(keys: Sequence[Key], rows: Sequence[int]) -> tuple[Key, ...]:
    return tuple(keys[row] for row in rows)


def _taken(section: Section, rows: list[int]) -> Section:
    """These rows of every array of a section."""
    arrays: dict[str, Any] = {
        item.name: getattr(section, item.name)[rows]
        for item in fields(section)  # type: ignore[arg-type]  # sections are dataclasses
        if isinstance(getattr(section, item.name), np.ndarray)
    }
    return replace(section, **arrays)  # type: ignore[type-var]  # as above
