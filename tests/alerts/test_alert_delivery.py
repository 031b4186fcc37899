"""From the hub's page to a notification, through a real Prometheus and a real Alertmanager."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from foreshock_dashboard.model.incident import Incident

Yaml = dict[str, Any]
Server = Callable[[Sequence[str | Path], str], str]


def hurried(rules: Yaml) -> Yaml:
    """The same rules without waiting: `for` and `keep_firing_for` gone, evaluated every second."""
    for group in rules["groups"]:
        group["interval"] = "1s"
        for rule in group["rules"]:
            rule.pop("for", None)
            rule.pop("keep_firing_for", None)
    return rules


def at_once(config: Yaml, webhook: str) -> Yaml:
    """The same Alertmanager configuration without waiting, with the webhook at another address."""

    def routes(route: Yaml) -> Iterator[Yaml]:
        yield route
        for child in route.get("routes", []):
            yield from routes(child)

    for route in routes(config["route"]):
        route["group_wait"] = route["group_interval"] = "1s"
    config["receivers"][0]["webhook_configs"][0]["url"] = webhook
    return config


@pytest.fixture
def alertmanager(root: Path, tmp_path: Path, server: Server) -> Callable[[str], str]:
    """Start Alertmanager with the example configuration; gives its address."""

    def start(webhook: str) -> str:
        config = at_once(yaml.safe_load((root / "alerts/alertmanager.yml").read_text()), webhook)
        (tmp_path / "alertmanager.yml").write_text(yaml.safe_dump(config))
        return server(
            [
                "prometheus-alertmanager",
                f"--config.file={tmp_path / 'alertmanager.yml'}",
                f"--storage.path={tmp_path / 'alertmanager'}",
                "--web.listen-address=127.0.0.1:0",
                "--cluster.listen-address=",
            ],
            "Completed loading of configuration file",
        )

    return start


@pytest.fixture
def prometheus(root: Path, tmp_path: Path, server: Server) -> Callable[[str, str], str]:
    """Start Prometheus with the rules and one target, the hub's page; gives its address."""

    def start(hub: str, alertmanager: str) -> str:
        rules = hurried(yaml.safe_load((root / "alerts/foreshock.rules.yml").read_text()))
        (tmp_path / "foreshock.rules.yml").write_text(yaml.safe_dump(rules))
        config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": ["foreshock.rules.yml"],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]},
            "scrape_configs": [{"job_name": "foreshock-hub", "static_configs": [{"targets": [hub]}]}],
        }
        (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
        return server(
            [
                "prometheus",
                f"--config.file={tmp_path / 'prometheus.yml'}",
                f"--storage.tsdb.path={tmp_path / 'data'}",
                f"--web.user-assets={root / 'alerts'}",
                "--web.listen-address=127.0.0.1:0",
                "--rules.alert.resend-delay=1s",  # what is sent before Alertmanager was found is sent again
            ],
            "Server is ready to receive web requests",
        )

    return start


def test_an_incident_of_the_hub_reaches_the_webhook_and_its_end_does_too(
    page: Callable[[], Any],
    prometheus: Callable[[str, str], str],
    alertmanager: Callable[[str], str],
    hub_page: Callable[[Sequence[Incident]], str],
    incident: Callable[..., Incident],
    eventually: Callable[..., None],
) -> None:
    """It names victim and aggressor, its runbook can be opened, and it silences the warning about the same service."""
    hub, inbox = page(), page()
    hub.body[0] = hub_page([incident("i1", "page", "chat")])
    receiver = alertmanager(f"http://{inbox.address}/alerts")
    metrics = prometheus(hub.address, receiver)

    def told(status: str) -> dict[tuple[str, str], Yaml]:
        groups = [json.loads(body) for body in list(inbox.posted)]
        alerts = [alert for group in groups for alert in group["alerts"] if alert["status"] == status]
        return {(a["labels"]["alertname"], a["labels"].get("service_name", "")): a for a in alerts}

    def states() -> dict[tuple[str, str], str]:
        alerts = httpx.get(f"http://{receiver}/api/v2/alerts").json()
        return {(a["labels"]["alertname"], a["labels"].get("service_name", "")): a["status"]["state"] for a in alerts}

    eventually(lambda: ("IncidentPage", "chat") in told("firing"), "the page at the webhook")
    paged = told("firing")["IncidentPage", "chat"]
    assert (paged["labels"]["victim_name"], paged["labels"]["aggressor_name"]) == ("chat", "batch")
    assert "assistant/chat waits for ml/batch" in paged["annotations"]["description"]
    link = httpx.URL(paged["annotations"]["runbook_url"]).copy_with(host="127.0.0.1", port=int(metrics.split(":")[1]))
    assert httpx.get(link).text.startswith("# IncidentPage\n")

    hub.body[0] = hub_page(
        [incident("i1", "page", "chat"), incident("i0", "advisory", "chat"), incident("i2", "advisory", "search")]
    )
    eventually(lambda: ("IncidentAdvisory", "search") in told("firing"), "a warning about another service")
    eventually(lambda: ("IncidentAdvisory", "chat") in states(), "the warning about the same service")
    eventually(lambda: states()["IncidentAdvisory", "chat"] == "suppressed", "its silence")
    assert states()["IncidentAdvisory", "search"] == "active"
    eventually(lambda: ("ExporterDown", "") in told("firing"), "that there is no exporter to scrape")
    assert ("IncidentAdvisory", "chat") not in told("firing")

    hub.body[0] = hub_page([])
    eventually(lambda: {("IncidentPage", "chat"), ("IncidentAdvisory", "search")} <= set(told("resolved")), "the end")
