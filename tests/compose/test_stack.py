"""The stack of compose.yml as processes: real exporter, hub, Prometheus and Alertmanager find each other."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

NEEDS_TIME = {"Slow-down of services", "Incidents"}
"""Panels without data in a stack that is seconds old: they need half an hour of history, or an incident."""


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


def call(number: int, retried: bool) -> bytes:
    """One failed call from web to pay, as both of them saw it."""
    request, end = ExportTraceServiceRequest(), time.time_ns()
    for service, kind, span, parent in (("web", Span.SPAN_KIND_CLIENT, 1, 0), ("pay", Span.SPAN_KIND_SERVER, 2, 1)):
        group = request.resource_spans.add()
        group.resource.attributes.add(key="service.name").value.string_value = service
        made = group.scope_spans.add().spans.add(
            trace_id=number.to_bytes(16, "big"), span_id=span.to_bytes(8, "big"), name="POST /pay", kind=kind,
            parent_span_id=parent.to_bytes(8, "big") if parent else b"",
            start_time_unix_nano=end - 50_000_000, end_time_unix_nano=end, status=Status(code=Status.STATUS_CODE_ERROR),
        )  # fmt: skip
        if retried and kind == Span.SPAN_KIND_CLIENT:
            made.attributes.add(key="http.request.resend_count").value.int_value = 1
    return request.SerializeToString()


def send(url: str, count: int) -> None:
    """Send calls over OTLP/HTTP, every other one a retry."""
    for number in range(count):
        answer = httpx.post(
            url,
            content=call(time.time_ns() + number, number % 2 == 1),
            headers={"Content-Type": "application/x-protobuf"},
        )
        assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("name", ["exporter", "prometheus", "alertmanager", "hub"])
def test_the_health_check_of_each_service_finds_it_well(
    name: str, healthy: Callable[..., bool], eventually: Callable[..., None]
) -> None:
    """The command of compose.yml itself. Grafana's is not tried: there is no Grafana here."""
    eventually(lambda: healthy(name), f"{name} healthy", 60)


def test_a_health_check_notices_when_nobody_answers(stack: Stack, healthy: Callable[..., bool]) -> None:
    """Asked at a port where nothing listens."""
    for name in stack.addresses:
        assert not healthy(name, "127.0.0.1:1"), name


def test_prometheus_scrapes_both_jobs_and_has_the_rules(stack: Stack, eventually: Callable[..., None]) -> None:
    """And knows where to send alerts."""
    at = stack.addresses["prometheus"]
    eventually(
        lambda: {r["metric"]["job"] for r in query(at, "up == 1")} == {"foreshock-exporter", "foreshock-hub"},
        "both jobs up",
    )
    groups = httpx.get(f"http://{at}/api/v1/rules").json()["data"]["groups"]
    assert all(rule["health"] != "err" for group in groups for rule in group["rules"])
    assert "foreshock-incidents" in {group["name"] for group in groups}

    def receivers() -> list[str]:
        found = httpx.get(f"http://{at}/api/v1/alertmanagers").json()["data"]["activeAlertmanagers"]
        return [httpx.URL(receiver["url"]).netloc.decode() for receiver in found]

    eventually(lambda: receivers() == [stack.addresses["alertmanager"]], "Alertmanager")


def test_the_hub_shows_the_exporters_gpus_by_way_of_prometheus(stack: Stack, eventually: Callable[..., None]) -> None:
    """Four simulated GPUs, marked as simulated."""
    eventually(lambda: "mock-gpu-host" in httpx.get(f"http://{stack.addresses['hub']}/api/gpus").text, "GPUs", 60)


def test_simulated_gpus_that_are_meant_raise_no_alert(stack: Stack, eventually: Callable[..., None]) -> None:
    """Their target has the label of a demo, and a healthy stack is silent."""
    at = stack.addresses["prometheus"]
    eventually(lambda: bool(query(at, 'foreshock_exporter_mock{environment="demo"} == 1')), "the mock's mark")
    eventually(lambda: query(at, "ALERTS") == [], "silence", 60)


def test_every_panel_of_the_boards_shows_data(stack: Stack, root: Path, eventually: Callable[..., None]) -> None:
    """Each query is put to Prometheus as Grafana would put it, after a few calls were sent to the hub."""
    send(stack.otlp, 20)
    at = stack.addresses["prometheus"]
    for file in sorted((root / "grafana/dashboards").glob("*.json")):
        for panel in json.loads(file.read_text())["panels"]:
            for target in panel.get("targets", []):
                text = target["expr"].replace("$__rate_interval", "1m")
                text = re.sub(r"\$(instance|service)\b", ".+", text)
                if panel["title"] in NEEDS_TIME:
                    query(at, text)
                else:
                    eventually(lambda text=text: bool(query(at, text)), f"data in {panel['title']}: {text}", 120)
