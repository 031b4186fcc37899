"""Resources of workloads (CPU, memory, disk, file descriptors, connection pools): queries, and rows of the World.

Sources: cAdvisor and the kubelet by pod, process and pool metrics by service, pod, or job.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.model.query import Matcher, Query
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world_sections import Resources
from foreshock_dashboard.world.cluster import NAMESPACE_LABELS, PodServices, namespace_of
from foreshock_dashboard.world.row import (
    SERVICE_LABELS,
    TARGET_LABELS,
    Catalog,
    CatalogRow,
    LabelMap,
    Producer,
    RateWindows,
    Readings,
    row,
)
from foreshock_dashboard.world.row_math import clipped_share, safe_ratio, service_of, service_of_job
from foreshock_dashboard.world.section import Grouping, Growth, Section, Sections

POD_LABELS = (*NAMESPACE_LABELS, "pod", "exported_pod")
PROCESS_LABELS = (*TARGET_LABELS, *SERVICE_LABELS, *POD_LABELS)
POOL_NAME_LABELS = ("pool_name", "db_client_connection_pool_name", "pool")
"""Labels for the name of a connection pool: OpenTelemetry's old and new one, and that of HikariCP."""
PART_LABELS = ("container", *POOL_NAME_LABELS)
SHARES: Mapping[str, tuple[str, str]] = {
    "cpu": ("cpu_used", "cpu_quota"),
    "cpu_throttled": ("cpu_throttled_periods", "cpu_periods"),
    "memory": ("container_memory", "container_memory_limit"),
    "disk": ("disk_used", "disk_size"),
    "files": ("open_files", "max_files"),
    "pool": ("pool_used", "pool_size"),
    "pool_wait": ("pool_wait_sum", "pool_wait_count"),
}
"""Figures that are one reading over another, by container, process, or pool; the largest counts."""
TOTALS = ("restarts", "oom_kills", "pool_pending")
"""Figures that are summed over pods."""
MAX_LIMIT_BYTES = 2.0**60
"""Memory limit from which there is none: cAdvisor reports 0, or the largest number of the kernel."""
_CONTAINER = Matcher("container", "!~", "|POD")
_USED = Matcher("state", "=", "used")
_NEW_USED = Matcher("db_client_connection_state", "=", "used")


def readings(windows: RateWindows) -> Catalog:
    """Readings of resources.

    Names: cAdvisor's prometheus metrics, kube-state-metrics/docs/metrics (pod), kubelet's volume stats, the clients of
    Prometheus (process metrics), OpenTelemetry's semantic conventions for database clients (old and new names), and
    HikariCP with Micrometer.
    """
    last, rate = windows.last, windows.rate

    def container(query: Callable[..., Query], metric: str) -> tuple[Query, Query]:
        """By container, which the kernel limits, else by pod: the kubelet reports the sum over its containers, too."""
        return query(metric, (*POD_LABELS, "container"), _CONTAINER), query(metric, POD_LABELS)

    def process(query: Callable[..., Query], metric: str, *matchers: Matcher) -> Query:
        return query(metric, PROCESS_LABELS, *matchers)

    def pools(query: Callable[..., Query], metric: str, *matchers: Matcher) -> Query:
        return query(metric, (*PROCESS_LABELS, *POOL_NAME_LABELS), *matchers)

    cpu, memory, disk, files = "CPU throttling", "memory limits", "full disks", "file descriptors"
    cpu_limits = "CPU limits"
    pool, wait = "connection pools", "waiting for connections"
    volume = (*NAMESPACE_LABELS, "persistentvolumeclaim")
    old, new, hikari = "db_client_connections", "db_client_connection", "hikaricp_connections"
    return {
        "cpu_used": row(cpu_limits, *container(windows.quick_rate, "container_cpu_usage_seconds_total")),
        "cpu_quota": row(cpu_limits, *container(last, "container_spec_cpu_quota")),
        "cpu_period": row(cpu_limits, *container(last, "container_spec_cpu_period")),
        "cpu_throttled_periods": row(cpu, *container(rate, "container_cpu_cfs_throttled_periods_total")),
        "cpu_periods": row(cpu, *container(rate, "container_cpu_cfs_periods_total")),
        "container_memory": row(memory, *container(last, "container_memory_working_set_bytes")),
        "container_memory_limit": row(memory, *container(last, "container_spec_memory_limit_bytes")),
        "restarts": row("restarts", rate("kube_pod_container_status_restarts_total", POD_LABELS)),
        "oom_kills": row("OOM kills", *container(rate, "container_oom_events_total")),
        "disk_used": row(disk, last("kubelet_volume_stats_used_bytes", volume)),
        "disk_size": row(disk, last("kubelet_volume_stats_capacity_bytes", volume)),
        "open_files": row(files, process(last, "process_open_fds")),
        "max_files": row(files, process(last, "process_max_fds")),
        "pool_used": row(
            pool,
            pools(last, f"{old}_usage", _USED),
            also=(pools(last, f"{new}_count", _NEW_USED), pools(last, f"{hikari}_active")),
        ),
        "pool_size": row(
            pool, pools(last, f"{old}_max"), also=tuple(pools(last, f"{name}_max") for name in (new, hikari))
        ),
        "pool_pending": row(
            wait,
            pools(last, f"{old}_pending_requests"),
            also=(pools(last, f"{new}_pending_requests"), pools(last, f"{hikari}_pending")),
        ),
        "pool_wait_sum": _wait_times("sum", 0.001, lambda metric: pools(rate, metric)),
        "pool_wait_count": _wait_times("count", 1.0, lambda metric: pools(rate, metric)),
    }


def _wait_times(part: str, scale: float, query: Callable[[str], Query]) -> CatalogRow:
    """Sum or count of waits. OpenTelemetry's old metric is in milliseconds; `scale` makes its values seconds."""
    old, *others = (
        *("db_client_connections_wait_time_milliseconds", "db_client_connections_wait_time_seconds"),
        *("db_client_connection_wait_time_seconds", "hikaricp_connections_acquire_seconds"),
    )
    return row(
        "waiting for connections",
        Producer(query(f"{old}_{part}"), scale=scale),
        also=tuple(query(f"{name}_{part}") for name in others),
    )


class Pod(NamedTuple):
    """A pod, a process, or a volume of a service. part: name of a container or connection pool in it, or ""."""

    service: Service
    name: str
    part: str


class ResourceRows:
    """Rows of pods and their services.

    Args:
        of_workloads: the services of workloads.
        service_at: maps the labels of a series to the service that answers where it was scraped; None if unknown.
    """

    def __init__(
        self, sections: Sections, of_workloads: PodServices, service_at: Callable[[LabelMap], Service | None]
    ) -> None:
        self._of_workloads, self._service_at = of_workloads, service_at
        self._version = of_workloads.version
        self.pods = Section(sections, tuple, self._pod)
        self.services: Section[Service] = Section(sections, tuple, service_of)
        self._service_of_pod = Grouping(self.pods, self.services, lambda pod: pod.service)

    def update(self, readings: Readings, since: float, moved: bool) -> None:
        """Register the entities of new readings. Only known services have rows; `moved`: to other targets."""
        keys = [*(key for pair in SHARES.values() for key in pair), "cpu_period", *TOTALS, "up"]
        if moved:
            self.pods.forget()
        while True:  # another namespace with the same names shows only when its series are read
            if self._version != self._of_workloads.version:
                self.pods.forget()
            self._version = self._of_workloads.version
            self.pods.register(readings, keys, since)
            if self._version == self._of_workloads.version:
                break
        self._service_of_pod.update()

    def columns(self, readings: Readings) -> Growth:
        """New columns of every figure."""
        figures = {}
        for name, (part, whole) in SHARES.items():
            used, limit = (self.pods.rows(key, readings[key]) for key in (part, whole))
            if name == "cpu":
                limit = safe_ratio(limit, self.pods.rows("cpu_period", readings["cpu_period"]))
            share = safe_ratio(used, np.where(limit < MAX_LIMIT_BYTES, limit, np.nan))
            figures[name] = self._largest(share if name == "pool_wait" else clipped_share(share))
        figures |= {key: self._service_of_pod.sums(self.pods.rows(key, readings[key])) for key in TOTALS}
        up = self.pods.rows("up", readings["up"])
        counted = np.where(np.isnan(up), np.nan, 1.0)
        figures["up"] = safe_ratio(*map(self._service_of_pod.sums, (up, counted)))
        return [(self.services, figures)]

    def resources(self) -> Resources | None:
        """Resources by service; None where nothing reports them."""
        if not self.services.keys:
            return None
        return Resources(self.services.keys, **{name: self.services[name] for name in (*SHARES, *TOTALS, "up")})

    def _largest(self, rows: Floats) -> Floats:
        largest = np.full((len(self.services.keys), rows.shape[1]), np.nan)
        np.fmax.at(largest, self._service_of_pod.index, rows)
        return largest

    def _pod(self, labels: LabelMap) -> Pod | None:
        pod = labels.get("exported_pod") or labels.get("pod", "")
        claim = labels.get("persistentvolumeclaim", "")
        service = self._service_of(labels, pod, claim)
        part = next((labels[label] for label in PART_LABELS if labels.get(label)), "")
        return service and Pod(service, pod or claim or labels.get("instance", ""), part)

    def _service_of(self, labels: LabelMap, pod: str, claim: str) -> Service | None:
        """The service that is named, else at this place, else of the pod's workload, of the volume, or of the job.

        A claim of a StatefulSet is `volume-pod`; others may be `service-volume`. A job is `namespace/name` or `name`
        (OpenTelemetry's compatibility with Prometheus).
        """
        if service := service_of(labels) or self._service_at(labels):
            return service
        namespace = namespace_of(labels)
        if pod:
            return self._of_workloads.of_pod(namespace, pod)
        if claim:
            by_pod = self._of_workloads.of_pod(namespace, claim.partition("-")[2])
            return by_pod or self._of_workloads.named(namespace, claim.rpartition("-")[0])
        job = service_of_job(labels)
        return job and self._of_workloads.named(*job)
