"""Metrics of processes under the names of cAdvisor, kube-state-metrics, and the kubelet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from foreshock_lab.system.cgroups import CgroupUsage
from foreshock_lab.system.container_metrics import ContainerMetrics


@dataclass
class Group:
    """A control group that was read once."""

    read: CgroupUsage

    def usage(self) -> CgroupUsage:
        return self.read


@dataclass
class Replica:
    """A replica that runs or not."""

    name: str
    running: bool
    cgroup: Group
    restarts: int = 0

    def ready(self) -> bool:
        return True


USAGE = CgroupUsage(7.5, 0.5, 40, 10, 2.5, 2000, 1500, inf, 2)


def exported(tmp_path: Path, **replicas: bool) -> CollectorRegistry:
    pods = {"cart": [Replica(name.replace("_", "-"), running, Group(USAGE), 3) for name, running in replicas.items()]}
    registry = CollectorRegistry()
    registry.register(ContainerMetrics(pods, {"postgres-data": tmp_path}))
    return registry


def pod(name: str) -> Mapping[str, str]:
    return {"namespace": "shop", "pod": name, "container": "cart"}


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        ("container_cpu_usage_seconds_total", 7.5),
        ("container_cpu_cfs_throttled_periods_total", 10.0),
        ("container_cpu_cfs_throttled_seconds_total", 2.5),
        ("container_spec_cpu_quota", 50_000.0),
        ("container_memory_working_set_bytes", 1500.0),
        ("container_oom_events_total", 2.0),
        ("container_spec_memory_limit_bytes", None),
        ("kube_pod_container_status_restarts_total", 3.0),
    ],
)
def test_a_control_group_is_a_container(tmp_path: Path, metric: str, value: float | None) -> None:
    """No series says that there is no limit, as in cAdvisor."""
    assert exported(tmp_path, cart_0=True).get_sample_value(metric, dict(pod("cart-0"))) == value


def test_an_ended_replica_is_not_ready_and_has_no_container(tmp_path: Path) -> None:
    registry = exported(tmp_path, cart_0=True, cart_1=False)
    labels = {"namespace": "shop", "deployment": "cart"}
    assert registry.get_sample_value("kube_deployment_spec_replicas", labels) == 2
    assert registry.get_sample_value("kube_deployment_status_replicas_ready", labels) == 1
    assert registry.get_sample_value("container_memory_usage_bytes", dict(pod("cart-1"))) is None


def test_a_volume_has_a_size_and_what_is_used(tmp_path: Path) -> None:
    labels = {"namespace": "shop", "persistentvolumeclaim": "postgres-data"}
    registry = exported(tmp_path)
    size = registry.get_sample_value("kubelet_volume_stats_capacity_bytes", labels)
    used = registry.get_sample_value("kubelet_volume_stats_used_bytes", labels)
    assert size is not None
    assert used is not None
    assert 0 < used <= size
