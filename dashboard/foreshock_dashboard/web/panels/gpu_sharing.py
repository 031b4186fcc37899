"""How services share GPUs: MPS with its clients and state, and services whose CPUs are far from their GPU.

No World holds these metrics: they are read while a page is open, and the analysis does not use them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

from foreshock_dashboard.common.single_flight_cache import SingleFlightCache
from foreshock_dashboard.model.hub.view import HubView
from foreshock_dashboard.model.query import Matcher, MetricSource, Query, SourceError
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.world import Tenant, World
from foreshock_dashboard.render.clause import filled_text
from foreshock_dashboard.render.units import counted
from foreshock_dashboard.render.verdict.gpu_sentence import far_cpus_sentence
from foreshock_dashboard.render.words.panels import MPS_TEXTS
from foreshock_dashboard.web.state.placement import NO_SHARING, GpuSharing, Mps, MpsService, MpsState

LAST_VALUE_WINDOW_SECONDS = 299.0
MIN_LOCAL_CPUS_RATIO = 0.5
"""Share of the CPUs of a service on the NUMA node of its GPU below which that is stated: most of them are far.

A service on a host with two nodes has 50% if it is not pinned.
"""

_SERVICE = ("service_namespace", "service_name")
_Values = Mapping[str, Mapping[Service, float]]
"""By UUID and service, as the cluster of the GPU names it."""


def read_sharing(source: MetricSource, world: World) -> dict[str, GpuSharing]:
    """Sharing of each GPU by UUID, at the time of the World.

    Raises:
        SourceError: the source cannot answer.
    """
    modes = {
        labels["uuid"]: labels["sharing"]
        for labels, _ in _read(source, world, "gpu_info", ("uuid", "sharing"))
        if labels.get("uuid") and labels.get("sharing")
    }
    local_cpus = _by_service(source, world, "gpu_service_local_cpus_ratio")
    mps = _read_mps(source, world)
    return {
        uuid: GpuSharing(modes.get(uuid), mps.get(uuid), local_cpus.get(uuid, {}))
        for uuid in {*modes, *local_cpus, *mps}
    }


def far_cpus(sharing: Mapping[str, GpuSharing], tenants: Sequence[Tenant]) -> list[str]:
    """A sentence on each service with CPUs far from its GPU, and the remedy; with several GPUs, on the worst one."""
    found: dict[Service, list[tuple[float, str]]] = {}
    for gpu, service in tenants:
        ratio = sharing.get(gpu.uuid, GpuSharing()).local_cpus.get(service.local, math.nan)
        if ratio < MIN_LOCAL_CPUS_RATIO:
            found.setdefault(service, []).append((ratio, gpu.label))
    sentences = []
    for service, gpus in sorted(found.items()):
        ratio, worst = min(gpus)
        sentences.append(far_cpus_sentence(service.name, worst, ratio, MIN_LOCAL_CPUS_RATIO, len(gpus) - 1))
    return sentences


def _read_mps(source: MetricSource, world: World) -> dict[str, Mps]:
    """MPS of each GPU that uses it, or did."""

    def by_gpu(metric: str, *matchers: Matcher) -> dict[str, float]:
        return {labels.get("uuid", ""): value for labels, value in _read(source, world, metric, ("uuid",), *matchers)}

    clients, servers = by_gpu("gpu_mps_clients"), by_gpu("gpu_mps_servers")
    if not (clients or servers):
        return {}
    daemons = by_gpu("gpu_mps_control_daemon_up")
    busy, mps = Matcher("metric", "=", "gpu_service_busy_seconds_total"), Matcher("reason", "=", "mps")
    unknown = by_gpu("foreshock_exporter_metric_unavailable", busy, mps)
    by_service, sm_limits, memory_limits = (
        _by_service(source, world, f"gpu_service_mps_{name}")
        for name in ("clients", "sm_limit_ratio", "memory_limit_bytes")
    )
    names = {(gpu.uuid, service.local): service for gpu, service in world.tenants}
    found = {}
    for uuid in {**clients, **servers}:
        services = [
            MpsService(
                str(names.get((uuid, service), service)),
                round(count),
                sm_limits.get(uuid, {}).get(service),
                memory_limits.get(uuid, {}).get(service),
            )
            for service, count in sorted(by_service.get(uuid, {}).items())
        ]
        state, text = _state(servers.get(uuid), daemons.get(uuid))
        total = round(clients[uuid]) if uuid in clients else None
        unnamed = (total or 0) - sum(row.clients for row in services)
        texts = [
            f"MPS: {MPS_TEXTS[text]}",
            filled_text(MPS_TEXTS["unnamed"], clients=counted(unnamed, "client")) if unnamed > 0 else "",
            MPS_TEXTS["time_unknown"] if uuid in unknown else "",
        ]
        server_count = round(servers[uuid]) if uuid in servers else None
        found[uuid] = Mps(state, " ".join(filter(None, texts)), total, server_count, services, uuid in unknown)
    return found


def _state(servers: float | None, daemon_up: float | None) -> tuple[MpsState, str]:
    """State of server and control daemon, and the key of its text; None is unknown."""
    if servers is None:
        return "unknown", "unseen"
    if servers == 0:
        return "server_ended", "server_ended"
    if daemon_up is None:
        return "unknown", "daemon_unseen"
    return ("running", "running") if daemon_up else ("control_daemon_gone", "control_daemon_gone")


def _by_service(source: MetricSource, world: World, metric: str) -> _Values:
    found: dict[str, dict[Service, float]] = {}
    for labels, value in _read(source, world, metric, ("uuid", *_SERVICE)):
        service = Service(labels.get("service_namespace", ""), labels.get("service_name", "")).local
        found.setdefault(labels.get("uuid", ""), {})[service] = value
    return found


def _read(
    source: MetricSource, world: World, metric: str, by: Sequence[str], *matchers: Matcher
) -> Iterator[tuple[Mapping[str, str], float]]:
    """Newest values by labels and target: two targets of one GPU are copies, which a sum would double."""
    query = Query(metric, matchers, ("instance", *by), "last", LAST_VALUE_WINDOW_SECONDS)
    answer = source.fetch(query, world.time, world.time, 1.0)
    for labels, value in zip(answer.labels, answer.values[:, -1].tolist() if answer.labels else (), strict=True):
        if math.isfinite(value):
            yield dict(labels), value


class SharingReader:
    """Sharing of all GPUs, read once per snapshot. Safe to call from several threads."""

    def __init__(self, hub: HubView) -> None:
        self._hub = hub
        self._read: SingleFlightCache[Mapping[str, GpuSharing]] = SingleFlightCache(1)

    def by_gpu(self, snapshot: Snapshot) -> Mapping[str, GpuSharing]:
        """Sharing by UUID; empty without a World, and where the source cannot answer."""
        world = snapshot.world
        if world is None:
            return NO_SHARING
        with suppress(SourceError):
            return self._read.get("sharing", lambda: read_sharing(self._hub.metrics, world), snapshot)
        return NO_SHARING
