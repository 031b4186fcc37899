"""The stack of compose.yml as processes: real exporter, hub, Prometheus and Alertmanager find each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import httpx
import pytest


class Stack(Protocol):
    """The running processes: host:port by the name of their service, and the URL for OTLP."""

    @property
    def addresses(self) -> Mapping[str, str]:
        """By the name of the service in compose.yml."""
        ...

    @property
    def otlp(self) -> str:
        """Where the hub takes spans."""
        ...


def query(address: str, expression: str) -> list[Any]:
    """An instant query's result."""
    answer = httpx.get(f"http://{address}/api/v1/query", params={"query": expression}).json()
    assert answer["status"] == "success", answer
    result: list[Any] = answer["data"]["result"]
    return result


@pytest.mark.parametrize("name", ["exporter", "prometheus", "alertmanager", "hub", "platform"])
def test_the_health_check_of_each_service_finds_it_well(
    name: str, healthy: Callable[..., bool], eventually: Callable[..., None]
) -> None:
    """The command of compose.yml itself. There is no Grafana, Tempo or Collector here."""
    eventually(lambda: healthy(name), f"{name} healthy", 60)


def test_a_health_check_notices_a_hub_without_answers(stack: Stack, healthy: Callable[..., bool]) -> None:
    """Asked at a port where nothing listens."""
    for name in stack.addresses:
        assert not healthy(name, "127.0.0.1:1"), name


JOBS = {"foreshock-exporter", "foreshock-hub", "model-servers", "kube-state-metrics"}


def test_prometheus_scrapes_all_jobs_and_has_the_rules(stack: Stack, eventually: Callable[..., None]) -> None:
    """Those of the simulated platform as well. And it knows where to send alerts."""
    at = stack.addresses["prometheus"]
    eventually(lambda: {r["metric"]["job"] for r in query(at, "up == 1")} == JOBS, "all jobs up", 60)
    hosts = {"exporter:10877", *(f"host-{number}:10877" for number in range(1, 5))}
    shown = 'up{job="foreshock-exporter",environment="demo"} == 1'
    eventually(lambda: {r["metric"]["instance"] for r in query(at, shown)} == hosts, "all hosts up", 60)
    groups = httpx.get(f"http://{at}/api/v1/rules").json()["data"]["groups"]
    assert all(rule["health"] != "err" for group in groups for rule in group["rules"])
    assert "ForeshockIncident" in {rule["name"] for group in groups for rule in group["rules"]}

    def receivers() -> list[str]:
        found = httpx.get(f"http://{at}/api/v1/alertmanagers").json()["data"]["activeAlertmanagers"]
        return [httpx.URL(receiver["url"]).netloc.decode() for receiver in found]

    eventually(lambda: receivers() == [stack.addresses["alertmanager"]], "Alertmanager")


def test_the_hub_shows_the_exporters_gpus_by_way_of_prometheus(stack: Stack, eventually: Callable[..., None]) -> None:
    """Four simulated GPUs, marked as simulated."""
    eventually(lambda: "mock-gpu-host" in httpx.get(f"http://{stack.addresses['hub']}/api/gpus").text, "GPUs", 60)


def test_the_hub_refuses_a_host_name_that_it_does_not_have(stack: Stack) -> None:
    """Prometheus scrapes hub:8050, people open localhost; a page elsewhere whose name points here gets nothing."""
    at = f"http://{stack.addresses['hub']}/healthz"
    asked = {
        host: httpx.get(at, headers={"Host": host}).status_code for host in ("hub:8050", "localhost", "evil.example")
    }
    assert asked == {"hub:8050": 200, "localhost": 200, "evil.example": 421}


def test_simulated_gpus_that_are_meant_raise_no_alert(stack: Stack, eventually: Callable[..., None]) -> None:
    """Their target has the label of a demo, and a healthy stack is silent."""
    at = stack.addresses["prometheus"]
    eventually(lambda: bool(query(at, 'foreshock_exporter_mock{environment="demo"} == 1')), "the mock's mark")
    eventually(lambda: query(at, "ALERTS") == [], "silence", 60)


def test_spans_of_the_simulated_services_are_counted_by_one_alone(
    stack: Stack, eventually: Callable[..., None]
) -> None:
    """The hub makes a service graph of them, but Prometheus takes the Collector's: else sums would be double."""
    hub, at = stack.addresses["hub"], stack.addresses["prometheus"]
    eventually(lambda: "traces_service_graph_request_total{" in httpx.get(f"http://{hub}/metrics").text, "a graph", 90)
    eventually(
        lambda: bool(query(at, 'foreshock_receiver_accepted_spans_total{job="foreshock-hub"} > 0')), "the hub's count"
    )
    assert query(at, '{__name__=~"traces_.*"}') == []
