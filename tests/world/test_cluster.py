"""Replicas and quotas of kube-state-metrics, joined with services."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from tests.world.scraped import world_scraped

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import World
from foreshock_dashboard.model.world_sections import Capacity
from foreshock_dashboard.world.cluster import PodServices, services_of, workload_of
from foreshock_dashboard.world.targets import ServicePlaces

CLUSTER = ("kube-state-metrics", "ksm:8080")
SERVERS = ("servers", "a:8000")
LLM, DB = Service("serving", "llm"), Service("data", "db")


def cluster(_: float) -> str:
    """A deployment with an autoscaler of another name, a stateful set, and two quotas of one name."""
    return """
kube_horizontalpodautoscaler_info{namespace="serving",horizontalpodautoscaler="scaler",scaletargetref_name="llm"} 1
kube_horizontalpodautoscaler_status_desired_replicas{namespace="serving",horizontalpodautoscaler="scaler"} 6
kube_horizontalpodautoscaler_spec_max_replicas{namespace="serving",horizontalpodautoscaler="scaler"} 8
kube_deployment_spec_replicas{namespace="serving",deployment="llm"} 4
kube_deployment_status_replicas_ready{namespace="serving",deployment="llm"} 3
kube_statefulset_replicas{namespace="data",statefulset="db"} 2
kube_statefulset_status_replicas_ready{namespace="data",statefulset="db"} 1
kube_pod_status_phase{namespace="serving",pod="llm-7d9c5b8f6d-x2x4z",phase="Pending"} 1
kube_pod_status_phase{namespace="serving",pod="llm-7d9c5b8f6d-abcde",phase="Pending"} 1
kube_pod_status_phase{namespace="serving",pod="llm-7d9c5b8f6d-abcde",phase="Running"} 0
kube_pod_status_phase{namespace="data",pod="db-0",phase="Pending"} 0
kube_pod_status_phase{namespace="other",pod="llm-0",phase="Pending"} 1
kube_resourcequota{namespace="a",resourcequota="gpus",resource="requests.nvidia.com/gpu",type="hard"} 8
kube_resourcequota{namespace="a",resourcequota="gpus",resource="requests.nvidia.com/gpu",type="used"} 5
kube_resourcequota{namespace="b",resourcequota="gpus",resource="requests.nvidia.com/gpu",type="hard"} 4
kube_resourcequota{namespace="b",resourcequota="gpus",resource="pods",type="used"} 99
kube_resourcequota{namespace="b",resourcequota="chat",resource="requests.nvidia.com/gpu",type="used"} 2
"""


def capacity(world: World) -> Capacity:
    """The capacity of a World."""
    assert world.capacity
    return world.capacity


def test_replicas_are_by_service(tmp_path: Path) -> None:
    """The autoscaler's target comes before the specification; pending pods are counted by their name."""
    found = capacity(world_scraped(tmp_path, {CLUSTER: cluster}))
    rows = np.stack([found.wanted[:, -1], found.ready[:, -1], found.max_replicas[:, -1], found.pending[:, -1]], axis=1)

    assert found.services == (DB, LLM)
    np.testing.assert_array_equal(rows, [[2, 1, np.nan, 0], [6, 3, 8, 2]])


def test_quotas_are_pools_with_the_namespace_where_names_are_equal(tmp_path: Path) -> None:
    """Other resources are ignored, and a missing value is not zero."""
    found = capacity(world_scraped(tmp_path, {CLUSTER: cluster}))

    assert found.pools == ("a/gpus", "chat", "b/gpus")
    np.testing.assert_array_equal(found.quota[:, -1], [8, np.nan, 4])
    np.testing.assert_array_equal(found.used[:, -1], [5, 2, np.nan])


def test_exported_labels_are_read(tmp_path: Path) -> None:
    """Without honor_labels, `namespace` is that of kube-state-metrics."""

    def exported(t: float) -> str:
        return (
            cluster(t)
            .replace("namespace=", 'namespace="monitoring",pod="ksm-0",exported_namespace=')
            .replace(',pod="llm', ',exported_pod="llm')
            .replace(',pod="db', ',exported_pod="db')
        )

    found = capacity(world_scraped(tmp_path, {CLUSTER: exported}))

    assert found.services == (DB, LLM)
    assert found.pending[:, -1].tolist() == [0, 2]


def test_deployments_are_services_only_where_no_other_reading_has_any(tmp_path: Path) -> None:
    """Most deployments of a cluster are not part of the platform."""
    server = 'vllm:num_requests_running{model_name="m",service_name="llm",service_namespace="serving"} 1'
    alone = world_scraped(tmp_path / "alone", {CLUSTER: cluster})
    both = world_scraped(tmp_path / "both", {CLUSTER: cluster, SERVERS: lambda _: server})

    assert alone.services == (DB, LLM)
    assert both.services == (LLM,)
    assert capacity(both).services == (DB, LLM)


@pytest.mark.parametrize(
    ("known", "service"),
    [
        ({Service("serving", "llm"), Service("", "llm")}, Service("serving", "llm")),
        ({Service("", "llm")}, Service("", "llm")),
        ({Service("one", "llm"), Service("two", "llm")}, LLM),
        (set(), LLM),
    ],
    ids=["of that namespace", "the only one of that name", "none of several", "none at all"],
)
def test_the_service_of_a_deployment(known: set[Service], service: Service) -> None:
    """The service of its namespace and name, else the only one of its name, else itself."""
    assert services_of([LLM], known) == (service,)


def test_two_deployments_of_one_name_are_not_both_the_same_service() -> None:
    """The name is ambiguous."""
    twins = [Service("blue", "llm"), Service("green", "llm")]

    assert services_of(twins, {Service("", "llm")}) == tuple(twins)


def test_a_deployment_is_no_service_of_another_namespace_of_the_cluster() -> None:
    """A namespace of spans that is none of the cluster may stand for any."""
    staging, other = Service("staging", "llm"), Service("prod", "shop")

    assert services_of([staging, other], {Service("prod", "llm")}) == (staging, other)
    assert services_of([staging, other], {Service("team", "llm")}) == (Service("team", "llm"), other)


@pytest.mark.parametrize(
    ("pod", "workload"),
    [
        ("llm-chat-7d9c5b8f6d-x2x4z", "llm-chat"),
        ("llm-7d9c5b8f6d-x2x4z", "llm"),
        ("other-7d9c5b8f6d-x2x4z", "other"),
        ("db-12", "db"),
        ("batch-x2x4z", "batch"),
        ("llama", "llama"),
        ("", ""),
    ],
)
def test_a_pod_belongs_to_the_longest_workload_name_that_prefixes_its_own(pod: str, workload: str) -> None:
    """Without a known workload, the Kubernetes suffix is removed."""
    known = {Service("serving", "llm"), Service("serving", "llm-chat"), Service("elsewhere", "other-7d9c5b8f6d")}

    assert workload_of({"namespace": "serving", "pod": pod}, known) == workload


def test_joining_a_pod_costs_the_same_however_many_services_there_are() -> None:
    """Spans often lack the namespace; each of 10,000 pods is joined whenever workloads change."""

    def calls(count: int) -> int:
        """Function calls of one more lookup after one of each service."""
        services = PodServices(ServicePlaces(), lambda labels: labels["pod"].rpartition("-")[0])
        services.update(frozenset(Service("", f"service{i}") for i in range(count)), True)
        for i in range(count):
            services.of_pod(f"namespace{i % 7}", f"service{i}-0")
        events: list[str] = []
        sys.setprofile(lambda _frame, event, _arg: events.append(event))
        try:
            found = services.of_pod("namespace3", "service3-1")
        finally:
            sys.setprofile(None)
        assert found == Service("", "service3")
        return len(events)

    assert calls(10) == calls(100)
