"""Services and calls from a mesh, a service graph, or HTTP servers, where there are no span metrics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.world.scraped import Page, world_scraped

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Edge
from foreshock_dashboard.stats.histogram_quantile import quantile_lower_bound
from foreshock_dashboard.world.builder import catalog

WEB, CHAT, ELSEWHERE = Service("shop", "web"), Service("shop", "chat"), Service("", "legacy")


def istio(
    reporter: str, source: str, rate: float, lost: float = 0.0, status: str = 'response_code="503"', to: str = "chat"
) -> Page:
    """Page of a proxy: `rate` requests per second of 200 to 250 ms each, `lost` of them failed."""

    def page(t: float) -> str:
        ends = (
            f'reporter="{reporter}",source_workload="{source}",source_workload_namespace="shop",'
            f'destination_workload="{to}",destination_workload_namespace="shop",'
            'destination_service_name="chat",destination_service_namespace="shop"'
        )
        return f"""
istio_requests_total{{{ends},response_code="200",grpc_response_status="0"}} {(rate - lost) * t}
istio_requests_total{{{ends},{status}}} {lost * t}
istio_request_duration_milliseconds_bucket{{{ends},response_code="200",le="200"}} 0
istio_request_duration_milliseconds_bucket{{{ends},response_code="200",le="250"}} {rate * t}
istio_request_duration_milliseconds_bucket{{{ends},response_code="200",le="+Inf"}} {rate * t}
"""

    return page


def http(rate: float, lost: float, name: str = "") -> Page:
    """Page of an HTTP server by OpenTelemetry's conventions."""

    def page(t: float) -> str:
        service = f'service_name="{name}",service_namespace="shop",' if name else ""
        metric, route = "http_server_request_duration_seconds", f'{service}http_route="/v1/ask"'
        return f"""
{metric}_bucket{{{route},http_response_status_code="200",le="0.2"}} 0
{metric}_bucket{{{route},http_response_status_code="200",le="0.25"}} {(rate - lost) * t}
{metric}_bucket{{{route},http_response_status_code="200",le="+Inf"}} {(rate - lost) * t}
{metric}_count{{{route},http_response_status_code="200"}} {(rate - lost) * t}
{metric}_count{{{route},http_response_status_code="500"}} {lost * t}
"""

    return page


@pytest.mark.parametrize(
    "status", ['response_code="503"', 'response_code="0"', 'response_code="200",grpc_response_status="14"']
)
def test_a_mesh_has_services_and_the_calls_between_them(tmp_path: Path, status: str) -> None:
    """From the proxies of caller and callee; a caller outside the mesh has no edge."""
    pages = {
        ("envoy-stats", "web:15020"): istio("source", "web", 4.0, 1.0, status),
        ("envoy-stats", "chat:15020"): istio("destination", "web", 3.0),
        ("envoy-stats", "chat:15021"): istio("destination", "unknown", 1.0),
    }
    world = world_scraped(tmp_path, pages)

    assert world.services == (CHAT, WEB)
    assert world.edges == (Edge(WEB, CHAT),)
    assert world.red.rate[0, -1] == pytest.approx(4.0)
    assert world.red.error_rate[0, -1] == pytest.approx(0.0)
    assert world.red.p95[0, -1] == pytest.approx(0.2475, rel=0.01)
    assert world.calls.rate[0, -1] == pytest.approx(4.0)
    assert world.calls.error_rate[0, -1] == pytest.approx(0.25)
    assert world.server_p95[0, -1] == pytest.approx(0.2475, rel=0.01)
    for red in (world.red, world.calls):  # of 240 requests a minute, all between 200 and 250 ms
        assert red.lower_bound is not None
        assert red.lower_bound[0, -1] == pytest.approx(
            0.2 + 0.05 * float(quantile_lower_bound(0.95)(np.array(240.0))), abs=3e-4
        )


def test_the_servers_of_a_service_graph_are_services(tmp_path: Path) -> None:
    """Attempts are unknown: a graph without a retry counter does not say that there are none."""

    def graph(t: float) -> str:
        ends = 'client="web",client_service_namespace="shop",server="chat",server_service_namespace="shop"'
        name = "traces_service_graph_request"
        return f"""
{name}_total{{client="user",server="web",server_service_namespace="shop",connection_type="virtual_node"}} {2 * t}
{name}_total{{client="chat",client_service_namespace="shop",server="pg",connection_type="database"}} {9 * t}
{name}_total{{client="chat",client_service_namespace="shop",server="openai",connection_type="virtual_node"}} {t}
{name}_total{{{ends}}} {4 * t}
{name}_failed_total{{{ends}}} {1 * t}
{name}_server_seconds_bucket{{{ends},le="0.2"}} 0
{name}_server_seconds_bucket{{{ends},le="0.25"}} {4 * t}
{name}_server_seconds_bucket{{{ends},le="+Inf"}} {4 * t}
"""

    world = world_scraped(tmp_path, {("tempo", "t:1"): graph})
    rates = dict(zip(map(str, world.services), world.red.rate[:, -1].tolist(), strict=True))

    assert rates == pytest.approx({"openai": np.nan, "pg": np.nan, "shop/chat": 4.0, "shop/web": 2.0}, nan_ok=True)
    row = world.services.index(CHAT)
    assert world.red.error_rate[row, -1] == pytest.approx(0.25)
    assert world.red.p95[row, -1] == pytest.approx(0.2475, rel=0.01)
    assert np.isnan(world.attempts).all()


def test_the_side_of_a_virtual_node_has_no_latency(tmp_path: Path) -> None:
    """Tempo counts 0 s for it, which is the lowest bucket; the other side has what the calls took."""

    def page(t: float) -> str:
        lines = []
        for client, server, slow in (("user", "web", "server"), ("chat", "openai", "client"), ("web", "chat", "both")):
            kind = "" if slow == "both" else "virtual_node"
            edge = f'client="{client}",server="{server}",connection_type="{kind}"'
            lines.append(f"traces_service_graph_request_total{{{edge}}} {t}")
            for side in ("client", "server"):
                fast = 0 if slow in (side, "both") else t
                lines += [
                    f'traces_service_graph_request_{side}_seconds_bucket{{{edge},le="{le}"}} {value}'
                    for le, value in (("0.05", fast), ("100", fast), ("120", t), ("+Inf", t))
                ]
        return "\n".join(lines) + "\n"

    world = world_scraped(tmp_path, {("tempo", "t:1"): page})
    seen = {
        str(edge.server): (world.calls.p95[row, -1], world.server_p95[row, -1]) for row, edge in enumerate(world.edges)
    }
    np.testing.assert_allclose(seen["web"], (np.nan, 119))
    np.testing.assert_allclose(seen["openai"], (119, np.nan))
    np.testing.assert_allclose(seen["chat"], (119, 119))


def test_requests_that_reach_no_workload_count_for_the_called_service(tmp_path: Path) -> None:
    """So a service without replicas fails and does not vanish; requests to unknown destinations are left out."""
    pages = {
        ("envoy-stats", "web:15020"): istio("source", "web", 4.0, 4.0, to="unknown"),
        ("envoy-stats", "chat:15020"): istio("destination", "web", 2.0),
        ("envoy-stats", "way:15020"): lambda t: (istio("waypoint", "web", 1.0, to="unknown")(t) or "").replace(
            'destination_service_name="chat"', 'destination_service_name="PassthroughCluster"'
        ),
    }
    world = world_scraped(tmp_path, pages)

    assert world.services == (CHAT, WEB)
    assert world.edges == (Edge(WEB, CHAT),)
    assert world.calls.error_rate[0, -1] == pytest.approx(1.0)


def test_servers_with_and_without_a_service_name_are_both_read(tmp_path: Path) -> None:
    """Only one has its resource attributes as labels."""
    pages = {
        ("x", "a:1"): http(4.0, 1.0, "chat"),
        ("shop/web", "b:1"): http(2.0, 0.0),
        ("y", "c:1"): http(1.0, 0.0, "chat"),
    }
    world = world_scraped(tmp_path, pages)

    assert world.services == (CHAT, WEB)
    assert world.red.rate[:, -1].tolist() == pytest.approx([5.0, 2.0])
    assert world.red.error_rate[:, -1].tolist() == pytest.approx([0.2, 0.0])


@pytest.mark.parametrize(
    ("job", "name", "service"),
    [("shop/chat", "", CHAT), ("legacy", "", ELSEWHERE), ("kubernetes-pods", "chat", CHAT)],
)
def test_an_http_server_without_a_service_name_has_its_job(
    tmp_path: Path, job: str, name: str, service: Service
) -> None:
    world = world_scraped(tmp_path, {(job, "a:8080"): http(4.0, 1.0, name)})

    assert world.services == (service,)
    assert world.red.rate[0, -1] == pytest.approx(4.0)
    assert world.red.error_rate[0, -1] == pytest.approx(0.25)
    assert world.red.p95[0, -1] == pytest.approx(0.2475, rel=0.01)
    assert world.edges == ()


def test_spans_come_first_and_a_mesh_beside_them_adds_no_services(tmp_path: Path) -> None:
    """Not even while span metrics have no failure and no duration."""

    ends = 'client="web",client_service_namespace="shop",server="chat",server_service_namespace="shop"'

    def spans(t: float) -> str:
        return f"""
traces_span_metrics_calls_total{{service_name="chat",service_namespace="shop",span_kind="SPAN_KIND_SERVER"}} {4 * t}
traces_service_graph_request_total{{{ends}}} {4 * t}
"""

    pages = {("app", "a:1"): spans, ("envoy-stats", "b:15020"): istio("destination", "web-v1", 3.0, 1.0, to="chat-v1")}
    world = world_scraped(tmp_path, pages)

    assert world.services == (CHAT, WEB)
    assert world.edges == (Edge(WEB, CHAT),)
    assert world.red.rate[0, -1] == pytest.approx(4.0)
    assert world.red.error_rate[0, -1] == 0.0
    assert world.calls.error_rate[0, -1] == 0.0


def test_each_catalog_names_its_series_by_the_same_functions() -> None:
    """What is found about a source's series is kept by function, so that others would fill the memory."""
    assert catalog(59.0) == catalog(59.0)
