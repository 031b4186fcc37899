"""One hub or several: who reaches which, by which Service."""

from __future__ import annotations

import re

import pytest
from tests.helm.conftest import CHART, Template, Tool, Yaml, of

TWO: Yaml = {"replicas": 2, "config": {"prometheus_url": "http://prometheus:9090"}}


def test_two_hubs_keep_apart_and_one_stays(rendered: dict[str, list[Yaml]]) -> None:
    """Over one Prometheus; each with its own store, and a person stays with one of them."""
    found = rendered["mimir"]
    spec = of(found, "StatefulSet")["spec"]
    assert spec["replicas"] == 2
    assert spec["minReadySeconds"] == 30
    assert "podAntiAffinity" in spec["template"]["spec"]["affinity"]
    assert of(found, "PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
    assert of(found, "Service", "foreshock-hub")["spec"]["sessionAffinity"] == "ClientIP"


def test_two_hubs_that_share_a_database_may_both_have_channels(template: Template) -> None:
    """One of them sends."""
    config = {**TWO["config"], "notify_file": "/channels", "postgres_url": "postgresql://hub@db/hubs"}
    assert of(template(values={"hub": {**TWO, "config": config}}), "StatefulSet")["spec"]["replicas"] == 2


@pytest.mark.parametrize(("hub", "pod"), [({}, None), (TWO, "foreshock-hub-0")])
def test_all_spans_reach_one_hub_and_people_any_that_responds(template: Template, hub: Yaml, pod: str | None) -> None:
    """Caller and callee send their halves of a call from different pods. A hub that is not ready answers itself."""
    found = template(values={"hub": hub})
    pages, otlp = (of(found, "Service", name)["spec"] for name in ("foreshock-hub", "foreshock-hub-otlp"))
    assert [port["name"] for port in pages["ports"]] == ["http"]
    assert [port["name"] for port in otlp["ports"]] == ["otlp-grpc", "otlp-http"]
    assert (pages.get("publishNotReadyAddresses"), otlp["publishNotReadyAddresses"]) == (None, True)
    assert "statefulset.kubernetes.io/pod-name" not in pages["selector"]
    assert otlp["selector"].get("statefulset.kubernetes.io/pod-name") == pod


def test_an_outage_of_prometheus_takes_no_hub_from_its_users(rendered: dict[str, list[Yaml]]) -> None:
    """All hubs read the same one, so none would be left to say so: the readiness is that of the process."""
    container = of(rendered["mimir"], "StatefulSet")["spec"]["template"]["spec"]["containers"][0]
    assert container["readinessProbe"]["httpGet"]["path"] == "/healthz"


def test_each_service_has_its_type_and_annotations(template: Template) -> None:
    """Such as a load balancer for senders outside of the cluster only."""
    balancer = {"type": "LoadBalancer", "annotations": {"a": "b"}}
    found = template(values={"hub": {"otlpService": balancer}})
    pages, otlp = (of(found, "Service", name) for name in ("foreshock-hub", "foreshock-hub-otlp"))
    assert (pages["spec"]["type"], otlp["spec"]["type"]) == ("ClusterIP", "LoadBalancer")
    assert ("annotations" in pages["metadata"], otlp["metadata"]["annotations"]) == (False, {"a": "b"})


@pytest.mark.parametrize("name", ["a" * 53, f"{'a' * 44}-foreshock", f"{'a' * 40}-{'b' * 12}"])
def test_a_long_name_leaves_room_for_what_kubernetes_adds(template: Template, name: str) -> None:
    """A label of a StatefulSet's pods is its name, a dash, and a hash of up to 10 characters; labels have 63."""
    found = template(values={"fullnameOverride": name})
    assert len(f"{of(found, 'StatefulSet')['metadata']['name']}-{'f' * 10}") <= 63
    services = [each["metadata"]["name"] for each in found if each["kind"] == "Service"]
    assert all(re.fullmatch("[a-z]([-a-z0-9]{,61}[a-z0-9])", service) for service in services)


@pytest.mark.parametrize(
    ("fleet", "lines"),
    [
        (
            "demo",
            ["port-forward service/foreshock-hub 8050", "get secret foreshock-hub-auth", "one to two minutes"],
        ),
        (
            "single-host",
            ["OTEL_EXPORTER_OTLP_ENDPOINT=http://foreshock-hub-otlp.foreshock:4318", "enforce=privileged"],
        ),
        ("kube-prometheus-stack", ["from these namespaces only: monitoring"]),
        ("mimir", ["Spans go to foreshock-hub-0 only"]),
    ],
)
def test_an_installation_ends_with_what_to_do_next(helm: Tool, fleet: str, lines: list[str]) -> None:
    values = f"--values={CHART / 'fleets' / fleet}.yaml"
    done = helm("install", "foreshock", CHART, "--namespace=foreshock", "--dry-run=client", values)
    assert done.returncode == 0, done.stderr
    notes = done.stdout.partition("\nNOTES:\n")[2]
    assert [line for line in lines if line not in notes] == []


def test_two_hubs_without_a_trace_backend_are_warned_about(helm: Tool) -> None:
    """Traces would be on the pages of one of them."""
    words = ["--set=hub.replicas=2,hub.config.prometheus_url=http://p"]
    notes = [
        helm("install", "foreshock", CHART, "--dry-run=client", *words, *more).stdout
        for more in ([], ["--set=hub.config.tempo_url=http://t"], ["--set=hub.config.jaeger_url=http://j"])
    ]
    assert ["The other hubs have no traces" in text for text in notes] == [True, False, False]
