"""Join of spans with the GPUs that they ran on.

The driver reports PIDs of the host; a span's `process.pid` belongs to the PID namespace of its container. So a span and
a process match by `container.id` or `k8s.pod.uid` and the innermost PID; by `host.id` and PID only in the host's own
PID namespace. Otherwise a process of the same container matches (a server that hands work to another process), else a
process of the same service on the same host; both are inferred.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

from foreshock_dashboard.analysis.traces.occupancy import OccupancyInterval, text_value
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import Attributes, Span
from foreshock_dashboard.model.world import Gpu, Tenant

MatchedBy = Literal["process", "container", "service"]
_REMOTE_KINDS = ("client", "producer")
"""Kinds of spans that wait for another service, not for a GPU."""


class Placement(NamedTuple):
    """The GPUs that a span may have used, the service that it is on them, and how the match was made."""

    gpus: tuple[Gpu, ...]
    service: Service
    matched_by: MatchedBy


class SpanGpuJoin:
    """Index of processes, containers, and services on GPUs.

    Args:
        intervals: occupancy around the time of the spans.
        tenants: services on GPUs, also on those that were not shared at that time.
    """

    def __init__(self, intervals: Iterable[OccupancyInterval], tenants: Iterable[Tenant] = ()) -> None:
        self._by_key: dict[str, set[tuple[Service, Gpu]]] = {}  # by process and by container
        self._services: dict[Service, dict[str, set[Gpu]]] = {}
        self._hosts: dict[str, str] = {}
        gpus: dict[str, Gpu] = {}
        for interval in intervals:
            service, gpu = interval.service, interval.gpu
            gpus[gpu.uuid] = gpu
            self._hosts[interval.host_id] = gpu.host
            self._add_service(service, gpu)
            for join_key in interval.processes:
                container, _, pid = join_key.rpartition("/")
                keys = (f"{interval.host_id} host/{pid}",) if container == "host" else (join_key, container)
                for key in keys:
                    self._by_key.setdefault(key, set()).add((service, gpu))
        for gpu, service in tenants:
            self._add_service(service, gpus.get(gpu.uuid, gpu))

    def _add_service(self, service: Service, gpu: Gpu) -> None:
        self._services.setdefault(service, {}).setdefault(gpu.host, set()).add(gpu)

    def placement(self, span: Span) -> Placement | None:
        """Where a span ran; None where that is unknown, or the span only waited for another service."""
        if span.kind in _REMOTE_KINDS or span.occupancy:
            return None
        container, pid = _container(span.resource), _pid(span.resource)
        host_id = text_value(span.resource.get("host.id"))
        process = f"{container or f'{host_id} host'}/{pid}" if pid and (container or host_id) else ""
        if matches := self._by_key.get(process):
            return _placement(matches, "process")
        if container and (matches := self._by_key.get(container)):
            return _placement(matches, "container")
        return self._by_service(span.service, host_id)

    def _by_service(self, wanted: Service, host_id: str) -> Placement | None:
        """The service's GPUs on the span's host; of a span without a host, only where the service has one host.

        The exporter or the span may lack the namespace. Hosts without occupancy intervals do not count: it is unknown
        what ran there.
        """
        same_name = [
            service
            for service in self._services
            if (service.cluster, service.name) == (wanted.cluster, wanted.name)
            and "" in (service.local.namespace, wanted.local.namespace)
        ]
        matches = [wanted] if wanted in self._services else same_name
        if len(matches) != 1:
            return None
        by_host = self._services[matches[0]]
        only_host = next(iter(by_host)) if len(by_host) == 1 else ""
        host = self._hosts.get(host_id, "") if host_id else only_host
        gpus = by_host.get(host) if host in self._hosts.values() else None
        return Placement(tuple(sorted(gpus)), matches[0], "service") if gpus else None


def _placement(matches: set[tuple[Service, Gpu]], matched_by: MatchedBy) -> Placement:
    """The GPUs of a process; under the first service name where it is exported under several."""
    service = min(service for service, _ in matches)
    return Placement(tuple(sorted(gpu for other, gpu in matches if other == service)), service, matched_by)


def _container(resource: Attributes) -> str:
    """Join key of a span's container, else of its pod; empty without either."""
    container = text_value(resource.get("container.id")).rpartition("://")[2]
    pod = text_value(resource.get("k8s.pod.uid"))
    return f"container:{container}" if container else f"pod:{pod}" if pod else ""


def _pid(resource: Attributes) -> str:
    """PID in the process's own namespace; vLLM exports it as `vllm.process_id`."""
    for name in ("process.pid", "vllm.process_id"):
        value = resource.get(name)
        if isinstance(value, int | str) and not isinstance(value, bool) and str(value).isdecimal():
            return str(value)
    return ""
