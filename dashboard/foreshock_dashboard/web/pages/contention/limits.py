"""Resources besides SM time at whose limit services wait: which, where, and what each service lost at most.

No World holds these metrics: they are read while the page is open, and the analysis does not use them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Literal, NamedTuple, cast, get_args

from foreshock_dashboard.common.single_flight_cache import SingleFlightCache
from foreshock_dashboard.model.hub.view import HubView
from foreshock_dashboard.model.query import Matcher, MetricSource, Query, Reduce, SourceError
from foreshock_dashboard.model.service import Service, split_cluster
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.world import Gpu, World
from foreshock_dashboard.render.words.panels import RESOURCES
from foreshock_dashboard.web.state.numbers import Row, rounded

RATE_WINDOW_SECONDS = 119.0
LAST_VALUE_WINDOW_SECONDS = 299.0
MIN_LOST_RATIO = 0.05
"""Share of time from which a loss is worth a row."""
MAX_ROWS = 60
"""Rows on the page, the largest losses first; /api/contention has all."""
MAX_GPUS = 300
"""GPUs whose time at the limit is read, those with the largest losses."""

GpuResource = Literal["dram", "pcie", "nvlink", "power"]
HostResource = Literal["cpu", "cpu_limit", "storage", "host_memory", "steal"]
Resource = GpuResource | HostResource
_HOST_METRICS: Mapping[HostResource, str] = {
    "cpu": "gpu_service_cpu_waiting_seconds_total",
    "cpu_limit": "gpu_service_cpu_throttled_seconds_total",
    "storage": "gpu_service_host_io_waiting_seconds_total",
    "host_memory": "gpu_service_host_memory_waiting_seconds_total",
    "steal": "gpu_host_cpu_steal_seconds_total",
}


class LimitRow(Row):
    """A resource at whose limit a service lost time. Ratios are shares of the last two minutes, 0 to 1.

    resource: dram, pcie, nvlink, or power of a GPU; cpu, storage, host_memory (pressure), cpu_limit, or steal of a
    service on a host.
    name, step: the resource in words, and the first step. place: the GPU, or the host. saturated_ratio: measured share
    of time that the resource was at its limit; None on a host, or without data. wait_ratio: share of time that the
    service lost, at most. shared_with: other services on the GPU.
    """

    service: str
    resource: Resource
    name: str
    step: str
    place: str
    saturated_ratio: float | None
    wait_ratio: float
    shared_with: list[str]


class Limits(Row):
    """Losses of at least `MIN_LOST_RATIO`, the largest first. hidden: number of rows that are left out.

    error: why the metrics cannot be read, "" if they can.
    """

    rows: list[LimitRow]
    hidden: int = 0
    error: str = ""


class _Loss(NamedTuple):
    """labels: of the series. ratio: share of time."""

    labels: Mapping[str, str]
    ratio: float


def read_limits(source: MetricSource, world: World) -> tuple[LimitRow, ...]:
    """All losses of at least `MIN_LOST_RATIO` of services in the World, at its time.

    Raises:
        SourceError: the source cannot answer.
    """
    rows = [*_gpu_rows(source, world), *_host_rows(source, world)]
    return tuple(sorted(rows, key=lambda row: (-row.wait_ratio, row.service, row.place)))


def _read(
    source: MetricSource,
    world: World,
    metric: str,
    by: Sequence[str],
    reduce: Reduce = "rate",
    matchers: tuple[Matcher, ...] = (),
) -> Iterator[_Loss]:
    """Newest values by labels and target: two targets of one GPU are copies, which a sum would double."""
    window = RATE_WINDOW_SECONDS if reduce == "rate" else LAST_VALUE_WINDOW_SECONDS
    answer = source.fetch(Query(metric, matchers, ("instance", *by), reduce, window), world.time, world.time, 1.0)
    for labels, value in zip(answer.labels, answer.values[:, -1].tolist() if answer.labels else (), strict=True):
        if math.isfinite(value):
            yield _Loss(dict(labels), rounded(min(1.0, value)) if reduce == "rate" else value)


def _gpu_rows(source: MetricSource, world: World) -> list[LimitRow]:
    by = ("uuid", "service_name", "service_namespace", "resource")
    lost = [loss for loss in _read(source, world, "gpu_service_resource_wait_seconds_total", by) if _matters(loss)]
    if not lost:
        return []
    lost.sort(key=lambda loss: -loss.ratio)
    uuids = list(dict.fromkeys(loss.labels.get("uuid", "") for loss in lost))[:MAX_GPUS]
    these = (Matcher("uuid", "=~", "|".join(map(re.escape, uuids))),)
    at_limit = {
        (loss.labels.get("uuid", ""), loss.labels.get("resource", "")): loss.ratio
        for loss in _read(source, world, "gpu_resource_saturated_seconds_total", ("uuid", "resource"), matchers=these)
    }
    on: dict[str, list[tuple[Gpu, Service]]] = {}
    for gpu, service in world.tenants:
        on.setdefault(gpu.uuid, []).append((gpu, service))
    rows: dict[tuple[str, str, str], LimitRow] = {}
    for labels, ratio in lost:
        uuid, resource = labels.get("uuid", ""), labels.get("resource", "")
        found = next(((gpu, of) for gpu, of in on.get(uuid, ()) if of.local == _service(labels)), None)
        if found is None or resource not in get_args(GpuResource):
            continue
        others = sorted({str(of) for _, of in on[uuid]} - {str(found[1])})
        rows.setdefault(
            (str(found[1]), resource, uuid),
            LimitRow(
                str(found[1]),
                cast("GpuResource", resource),
                *RESOURCES[resource],
                found[0].label,
                at_limit.get((uuid, resource)),
                ratio,
                others,
            ),
        )
    return list(rows.values())


def _host_rows(source: MetricSource, world: World) -> list[LimitRow]:
    by = ("service_name", "service_namespace")
    lost = {
        resource: [loss for loss in _read(source, world, metric, () if resource == "steal" else by) if _matters(loss)]
        for resource, metric in _HOST_METRICS.items()
    }
    if not any(lost.values()):
        return []
    names = {
        loss.labels.get("instance", ""): loss.labels.get("host_name", "")
        for loss in _read(source, world, "target_info", ("host_name",), "last")
    }
    hosts: dict[str, dict[Service, tuple[str, Service]]] = {}
    for gpu, service in world.tenants:
        hosts.setdefault(split_cluster(gpu.host)[1], {}).setdefault(service.local, (gpu.host, service))
    rows: dict[tuple[str, str, str], LimitRow] = {}
    for resource, losses in lost.items():
        for labels, ratio in losses:
            instance = labels.get("instance", "")
            here = hosts.get(names.get(instance) or instance, {})
            for host, service in here.values() if resource == "steal" else filter(None, [here.get(_service(labels))]):
                row = LimitRow(str(service), resource, *RESOURCES[resource], host, None, ratio, [])
                rows.setdefault((str(service), resource, host), row)
    return list(rows.values())


def _matters(loss: _Loss) -> bool:
    return loss.ratio >= MIN_LOST_RATIO


def _service(labels: Mapping[str, str]) -> Service:
    return Service(labels.get("service_namespace", ""), labels.get("service_name", ""))


class LimitReader:
    """Losses of a hub's services, read once per snapshot. Safe to call from several threads."""

    def __init__(self, hub: HubView) -> None:
        self._hub = hub
        self._rows: SingleFlightCache[tuple[LimitRow, ...]] = SingleFlightCache(1)

    def rows(self, snapshot: Snapshot) -> tuple[LimitRow, ...]:
        """All losses. Raises SourceError."""
        world = snapshot.world
        if world is None:
            return ()
        return self._rows.get("limits", lambda: read_limits(self._hub.metrics, world), snapshot)

    def listed(self, snapshot: Snapshot) -> list[LimitRow] | None:
        """All losses; None if they cannot be read."""
        with suppress(SourceError):
            return list(self.rows(snapshot))
        return None

    def shown(self, snapshot: Snapshot, victim: str = "") -> Limits:
        """The losses of the page, of an open pair only those of its affected service."""
        try:
            rows = [row for row in self.rows(snapshot) if victim in ("", row.service)]
        except SourceError as error:
            return Limits([], error=str(error))
        return Limits(rows[:MAX_ROWS], len(rows) - len(rows[:MAX_ROWS]))
