"""Resources of services, by the labels of cAdvisor, kube-state-metrics, the kubelet, processes, and pools."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.world.scraped import world_scraped

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import World

ORDERS, STORE = Service("shop", "orders"), Service("shop", "store")


def spans(t: float) -> str:
    """Two services with requests."""
    return "\n".join(
        f'traces_span_metrics_calls_total{{service_name="{service.name}",service_namespace="shop",'
        f'span_kind="SPAN_KIND_SERVER"}} {10 * t}'
        for service in (ORDERS, STORE)
    )


def kubelet(t: float) -> str:
    """Two pods of one service, each also as a whole; the second is throttled half of the time and nearly full."""
    first = 'namespace="shop",pod="orders-7d4b9c6f5d-x2x4z"'
    second = 'namespace="shop",pod="orders-7d4b9c6f5d-q8k2m"'
    pods = "\n".join(
        f"""
container_cpu_cfs_periods_total{{{pod},container="{container}"}} {10 * t}
container_cpu_cfs_throttled_periods_total{{{pod},container="{container}"}} {throttled * t}
container_memory_working_set_bytes{{{pod},container="{container}"}} {memory}
container_spec_memory_limit_bytes{{{pod},container="{container}"}} 1000
container_oom_events_total{{{pod},container="{container}"}} {0.1 * t}
container_cpu_usage_seconds_total{{{pod},container="{container}"}} {cores * t}
container_spec_cpu_quota{{{pod},container="{container}"}} 50000
container_spec_cpu_period{{{pod},container="{container}"}} 100000
"""
        for pod, throttled, memory, cores in ((first, 0, 300, 0.1), (second, 5, 950, 0.3))
        for container in ("app", "")
    )
    return f"""{pods}
kube_pod_container_status_restarts_total{{{second},container="app"}} {0.2 * t}
kube_deployment_spec_replicas{{namespace="shop",deployment="orders"}} 2
kubelet_volume_stats_used_bytes{{namespace="shop",persistentvolumeclaim="data-store-0"}} 90
kubelet_volume_stats_capacity_bytes{{namespace="shop",persistentvolumeclaim="data-store-0"}} 100
kube_statefulset_replicas{{namespace="shop",statefulset="store"}} 1
"""


def process(t: float) -> str:
    """A process without labels, found by its job."""
    return f"""
process_open_fds 90
process_max_fds 100
db_client_connections_usage{{pool_name="postgres",state="used"}} 9
db_client_connections_usage{{pool_name="postgres",state="idle"}} 1
db_client_connections_max{{pool_name="postgres"}} 10
db_client_connections_pending_requests{{pool_name="postgres"}} 4
db_client_connections_wait_time_seconds_sum{{pool_name="postgres"}} {2 * t}
db_client_connections_wait_time_seconds_count{{pool_name="postgres"}} {10 * t}
"""


def world(folder: Path) -> World:
    """The platform after two minutes; one of two targets of `orders` is down since the start."""
    pages = {
        ("collector", "c:8889"): spans,
        ("kubelet", "node-1:10250"): kubelet,
        ("shop/orders", "orders-1:8080"): process,
        ("shop/orders", "orders-2:8080"): lambda _: None,
    }
    return world_scraped(folder, pages)


def test_resources_are_those_of_the_worst_pod_of_each_service(tmp_path: Path) -> None:
    found = world(tmp_path).resources
    assert found
    assert found.services == (ORDERS, STORE)
    figures = {
        "cpu": 0.6, "cpu_throttled": 0.5, "memory": 0.95, "files": 0.9, "pool": 0.9, "pool_wait": 0.2,
        "pool_pending": 4.0, "restarts": 0.2, "oom_kills": 0.2, "up": 0.5,
    }  # fmt: skip
    assert {name: getattr(found, name)[0, -1] for name in figures} == pytest.approx(figures)
    assert found.disk[1, -1] == pytest.approx(0.9)


def test_the_fullest_container_counts_not_the_sum_of_its_pod(tmp_path: Path) -> None:
    """The kernel limits each container; a sidecar without a limit has no share."""

    def with_sidecars(t: float) -> str:
        pod = 'namespace="shop",pod="orders-7d4b9c6f5d-x2x4z"'
        return "\n".join(
            f"""
container_cpu_cfs_periods_total{{{pod},container="{container}"}} {10 * t}
container_cpu_cfs_throttled_periods_total{{{pod},container="{container}"}} {throttled * t}
container_memory_working_set_bytes{{{pod},container="{container}"}} {memory}
container_spec_memory_limit_bytes{{{pod},container="{container}"}} {limit}
"""
            for container, throttled, memory, limit in (
                ("app", 8, 950, 1000), ("proxy", 0, 100, 9000), ("logs", 0, 5000, 0), ("agent", 0, 10, 2**63)
            )
        )  # fmt: skip

    found = world_scraped(tmp_path, {("collector", "c:8889"): spans, ("kubelet", "n:10250"): with_sidecars}).resources
    assert found
    assert found.memory[0, -1] == pytest.approx(0.95)
    assert found.cpu_throttled[0, -1] == pytest.approx(0.8)


def test_a_container_without_a_limit_has_no_share_of_it(tmp_path: Path) -> None:
    """cAdvisor reports 0, or the largest number of the kernel."""

    def unlimited(t: float) -> str:
        return kubelet(t).replace("} 1000\n", "} 9.223372036854772e18\n")

    found = world_scraped(tmp_path, {("collector", "c:8889"): spans, ("kubelet", "n:10250"): unlimited}).resources
    assert found
    assert not (found.memory[0] >= 0).any()


def test_workloads_that_are_no_service_have_no_rows(tmp_path: Path) -> None:
    found = world_scraped(
        tmp_path, {("kubelet", "n:10250"): kubelet, ("collector", "c:8889"): lambda _: "x 1"}
    ).resources
    assert found is None


def one_of_two_pools(t: float) -> str:
    """A pool that is exhausted beside a large idle one, under OpenTelemetry's old names."""
    return f"""
db_client_connections_usage{{pool_name="orders",state="used"}} 5
db_client_connections_max{{pool_name="orders"}} 5
db_client_connections_usage{{pool_name="audit",state="used"}} 0
db_client_connections_max{{pool_name="audit"}} 95
db_client_connections_wait_time_milliseconds_sum{{pool_name="orders"}} {2000 * t}
db_client_connections_wait_time_milliseconds_count{{pool_name="orders"}} {10 * t}
"""


def hikari(t: float) -> str:
    """A pool of HikariCP."""
    return f"""
hikaricp_connections_active{{pool="main"}} 6
hikaricp_connections_max{{pool="main"}} 10
hikaricp_connections_pending{{pool="main"}} 3
hikaricp_connections_acquire_seconds_sum{{pool="main"}} {t}
hikaricp_connections_acquire_seconds_count{{pool="main"}} {10 * t}
"""


def test_pools_of_all_clients_are_read_and_the_fullest_counts(tmp_path: Path) -> None:
    """One service reports in another form than the next."""
    found = world_scraped(
        tmp_path,
        {
            ("collector", "c:8889"): spans,
            ("shop/orders", "orders-1:8080"): one_of_two_pools,
            ("shop/store", "store-1:8080"): hikari,
        },
    ).resources
    assert found
    assert found.services == (ORDERS, STORE)
    assert found.pool[:, -1] == pytest.approx([1.0, 0.6])
    assert found.pool_wait[:, -1] == pytest.approx([0.2, 0.1])
    assert found.pool_pending[1, -1] == pytest.approx(3.0)


@pytest.mark.parametrize("claim", ["data-store-0", "store-data"])
def test_a_volume_belongs_to_the_service_that_its_claim_names(tmp_path: Path, claim: str) -> None:
    """A StatefulSet derives the names of claims from its pods; others are chosen by hand."""

    def volumes(t: float) -> str:
        return kubelet(t).replace("data-store-0", claim)

    found = world_scraped(tmp_path, {("collector", "c:8889"): spans, ("kubelet", "n:10250"): volumes}).resources
    assert found
    assert found.disk[found.services.index(STORE), -1] == pytest.approx(0.9)


def same_names(t: float) -> str:
    """Spans of services, and containers of these names with memory use from 10% to 90%, in two namespaces."""
    named = [("a", "api"), ("b", "api"), ("a", "cart"), ("shop", "mail"), ("shop", "auth"), ("", "web"), ("", "pay")]
    used = {
        ("a", "api"): 10, ("b", "api"): 20, ("b", "cart"): 30, ("a", "mail"): 40,
        ("a", "auth"): 50, ("b", "auth"): 60, ("a", "pay"): 70, ("b", "pay"): 80, ("b", "web"): 90,
    }  # fmt: skip
    lines = [
        f'traces_span_metrics_calls_total{{service_name="{name}",service_namespace="{namespace}",'
        f'span_kind="SPAN_KIND_SERVER"}} {10 * t}'
        for namespace, name in named
    ]
    for (namespace, name), percent in used.items():
        pod = f'namespace="{namespace}",pod="{name}-7d4b9c6f5d-x2x4z",container="app"'
        lines.append(f"container_memory_working_set_bytes{{{pod}}} {percent}")
        lines.append(f"container_spec_memory_limit_bytes{{{pod}}} 100")
    lines.append(
        'foreshock_service_address_spans_total{service_name="pay",k8s_namespace_name="a",'
        'k8s_pod_name="pay-7d4b9c6f5d-x2x4z"} 9'
    )
    return "\n".join(lines)


def test_containers_join_no_service_of_another_namespace(tmp_path: Path) -> None:
    """Nor where two namespaces have the name and neither is the service's, unless spans name the pod."""
    found = world_scraped(tmp_path, {("kubelet", "n:10250"): same_names}).resources
    assert found
    memory = zip(map(str, found.services), found.memory[:, -1].round(6).tolist(), strict=True)
    assert {service: share for service, share in memory if share > 0} == {
        "a/api": 0.1,
        "b/api": 0.2,
        "shop/mail": 0.4,
        "pay": 0.7,
        "web": 0.9,
    }
