"""How a Prometheus with the operator, or Alloy, scrapes exporters and hubs of the chart."""

from __future__ import annotations

import pytest
from tests.helm.conftest import Template, Yaml, of


def endpoint(found: list[Yaml], name: str) -> Yaml:
    """The only endpoint of a PodMonitor."""
    (each,) = of(found, "PodMonitor", name)["spec"]["podMetricsEndpoints"]
    assert isinstance(each, dict)
    return each


def test_series_have_the_jobs_that_the_rules_ask_for_and_no_labels_of_pods(rendered: dict[str, list[Yaml]]) -> None:
    """A pod that is replaced would be a new series, and of two hubs each incident would be notified twice."""
    monitors = [each for each in rendered["kube-prometheus-stack"] if each["kind"] == "PodMonitor"]
    assert [each["metadata"]["name"] for each in monitors] == ["foreshock-exporter", "foreshock-hub"]
    for monitor in monitors:
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        assert {"targetLabel": "job", "replacement": monitor["metadata"]["name"]} in endpoint["relabelings"]
        assert {"action": "labeldrop", "regex": "namespace|pod|container|endpoint"} in endpoint["relabelings"]
        assert 4 * int(endpoint["interval"].removesuffix("s")) < 59


@pytest.mark.parametrize("component", ["exporter", "hub"])
def test_fields_of_an_endpoint_replace_those_of_the_chart(template: Template, component: str) -> None:
    """Each key once, as YAML wants; relabelings are added, since the rules need the chart's."""
    mine = {"sourceLabels": ["__meta_kubernetes_pod_label_rack"], "targetLabel": "rack"}
    fields = {"interval": "15s", "relabelings": [mine], "tlsConfig": {"insecureSkipVerify": True}}
    made = endpoint(template(values={"podMonitor": {"enabled": True}}), f"foreshock-{component}")
    found = endpoint(template(values={"podMonitor": {"enabled": True, component: fields}}), f"foreshock-{component}")
    assert found == {**made, **fields, "relabelings": [*made["relabelings"], mine]}


@pytest.mark.parametrize(
    ("config", "scheme"), [({}, "http"), ({"tls_cert": "/tls/crt", "tls_key": "/tls/key"}, "https")]
)
def test_a_hub_with_tls_is_scraped_and_probed_over_it(template: Template, config: Yaml, scheme: str) -> None:
    """Links to a hub without a known address have its scheme, too."""
    found = template(
        values={"hub": {"config": config}, "podMonitor": {"enabled": True}, "dashboards": {"enabled": True}}
    )
    assert endpoint(found, "foreshock-hub")["scheme"] == scheme
    container = of(found, "StatefulSet")["spec"]["template"]["spec"]["containers"][0]
    assert {container[f"{name}Probe"]["httpGet"]["scheme"] for name in ("startup", "liveness", "readiness")} == {
        scheme.upper()
    }
    (links,) = {
        text.partition("://127.0.0.1:8050")[0][-5:].strip('"')
        for each in found
        if each["metadata"]["labels"].get("grafana_dashboard")
        for text in each["data"].values()
    }
    assert links == scheme


def test_a_password_for_the_hub_replaces_the_token(template: Template) -> None:
    """The operator refuses an endpoint with both."""
    password = {"username": {"name": "web", "key": "user"}, "password": {"name": "web", "key": "password"}}
    found = template(values={"podMonitor": {"enabled": True, "hub": {"basicAuth": password}}})
    assert endpoint(found, "foreshock-hub")["basicAuth"] == password
    assert "authorization" not in endpoint(found, "foreshock-hub")


def test_figures_of_a_demo_are_not_scraped(template: Template) -> None:
    """They are simulated, and the demo does not know the token."""
    values: Yaml = {"exporter": {"enabled": False}, "hub": {"demo": True}, "podMonitor": {"enabled": True}}
    assert "PodMonitor" not in {each["kind"] for each in template(values=values)}
