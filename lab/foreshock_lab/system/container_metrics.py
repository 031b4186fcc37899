"""What cAdvisor, kube-state-metrics, and the kubelet would export about the processes of a system."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Protocol

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from foreshock_lab.system.cgroups import PERIOD_MICROSECONDS, CgroupUsage
from foreshock_lab.topology.model import NAMESPACE

PORT = 9102
_LABELS = ("namespace", "pod", "container")
_COUNTERS: Mapping[str, Callable[[CgroupUsage], float]] = {
    "container_cpu_usage_seconds": lambda usage: usage.cpu_seconds,
    "container_cpu_cfs_periods": lambda usage: usage.periods,
    "container_cpu_cfs_throttled_periods": lambda usage: usage.throttled_periods,
    "container_cpu_cfs_throttled_seconds": lambda usage: usage.throttled_seconds,
    "container_oom_events": lambda usage: usage.oom_kills,
}
_GAUGES: Mapping[str, Callable[[CgroupUsage], float]] = {
    "container_spec_cpu_quota": lambda usage: usage.cpu_cores * PERIOD_MICROSECONDS,
    "container_spec_cpu_period": lambda _: PERIOD_MICROSECONDS,
    "container_spec_memory_limit_bytes": lambda usage: usage.memory_limit,
    "container_memory_usage_bytes": lambda usage: usage.memory,
    "container_memory_working_set_bytes": lambda usage: usage.working_set,
}


class Group(Protocol):
    """A control group."""

    def usage(self) -> CgroupUsage:
        """Its present counters."""


class Container(Protocol):
    """A replica. name: of its pod. restarts: after it ended by itself."""

    name: str
    restarts: int

    @property
    def cgroup(self) -> Group:
        """Its control group."""

    @property
    def running(self) -> bool:
        """Whether its process lives."""

    @property
    def ready(self) -> Callable[[], bool]:
        """Health check."""


class ContainerMetrics(Collector):
    """Metrics of replicas by service, and of volumes by their claim; `serve` has them at `PORT`."""

    def __init__(self, replicas: Mapping[str, Sequence[Container]], volumes: Mapping[str, Path]) -> None:
        self._replicas, self._volumes = replicas, volumes

    def serve(self) -> Callable[[], None]:
        """Serve them on loopback; the result ends it."""
        registry = CollectorRegistry()
        registry.register(self)
        server, thread = start_http_server(PORT, addr="127.0.0.1", registry=registry)

        def close() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        return close

    def collect(self) -> Iterable[Metric]:
        """In the format that Prometheus's client requests."""
        pods = [(service, replica) for service, replicas in self._replicas.items() for replica in replicas]
        usages = [(service, replica, replica.cgroup.usage()) for service, replica in pods if replica.running]
        for kind, table in ((CounterMetricFamily, _COUNTERS), (GaugeMetricFamily, _GAUGES)):
            for name, value in table.items():
                family: CounterMetricFamily | GaugeMetricFamily = kind(name, name, labels=_LABELS)
                for service, replica, usage in usages:
                    if isfinite(amount := value(usage)):
                        family.add_metric((NAMESPACE, replica.name, service), amount)
                yield family
        yield from self._pods(pods)
        yield from self._deployments()
        yield from self._disks()

    def _pods(self, pods: Sequence[tuple[str, Container]]) -> Iterator[Metric]:
        restarts = CounterMetricFamily("kube_pod_container_status_restarts", "restarts", labels=_LABELS)
        ready = GaugeMetricFamily("kube_pod_status_ready", "ready", labels=("namespace", "pod", "condition"))
        for service, replica in pods:
            restarts.add_metric((NAMESPACE, replica.name, service), replica.restarts)
            ready.add_metric((NAMESPACE, replica.name, "true"), float(replica.running and replica.ready()))
        yield restarts
        yield ready

    def _deployments(self) -> Iterator[Metric]:
        labels = ("namespace", "deployment")
        wanted = GaugeMetricFamily("kube_deployment_spec_replicas", "wanted replicas", labels=labels)
        ready = GaugeMetricFamily("kube_deployment_status_replicas_ready", "ready replicas", labels=labels)
        for service, replicas in self._replicas.items():
            wanted.add_metric((NAMESPACE, service), len(replicas))
            ready.add_metric((NAMESPACE, service), sum(item.running and item.ready() for item in replicas))
        yield wanted
        yield ready

    def _disks(self) -> Iterator[Metric]:
        labels = ("namespace", "persistentvolumeclaim")
        size = GaugeMetricFamily("kubelet_volume_stats_capacity_bytes", "size", labels=labels)
        used = GaugeMetricFamily("kubelet_volume_stats_used_bytes", "used", labels=labels)
        for name, path in self._volumes.items():
            stat = os.statvfs(path)
            size.add_metric((NAMESPACE, name), stat.f_blocks * stat.f_frsize)
            used.add_metric((NAMESPACE, name), (stat.f_blocks - stat.f_bavail) * stat.f_frsize)
        yield size
        yield used
