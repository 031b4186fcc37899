"""The example for Alertmanager: accepted, and it brings each alert to where it belongs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml


def test_alertmanager_accepts_the_configuration(root: Path, tool: Callable[..., str]) -> None:
    """`amtool check-config`."""
    assert "SUCCESS" in tool("amtool", "check-config", root / "alerts/alertmanager.yml")


@pytest.mark.parametrize(
    "labels",
    [
        ("alertname=IncidentPage", "severity=critical", "service_name=chat"),
        ("alertname=GpuLost", "severity=critical", "instance=n1"),
        ("alertname=ExporterDown", "severity=warning"),
    ],
)
def test_every_alert_reaches_the_webhook(root: Path, tool: Callable[..., str], labels: tuple[str, ...]) -> None:
    """`amtool config routes test`."""
    file = root / "alerts/alertmanager.yml"
    assert tool("amtool", "config", "routes", "test", f"--config.file={file}", *labels).strip() == "webhook"


def test_alerts_about_a_service_are_grouped_by_it_at_every_severity(root: Path) -> None:
    """An incident and its effects must arrive together, so no child route may fall back to other groups."""
    config = yaml.safe_load((root / "alerts/alertmanager.yml").read_text())
    about_service = config["route"]["routes"][0]
    assert about_service["matchers"] == ['service_name!=""']
    for route in (about_service, *about_service["routes"]):
        assert route["group_by"] == ["service_namespace", "service_name"]


def test_only_a_cause_that_names_a_service_can_silence_an_effect_that_names_it(root: Path) -> None:
    """Labels missing on both sides count as equal: without this a lost GPU would silence the whole fleet."""
    rules: list[dict[str, Any]] = yaml.safe_load((root / "alerts/alertmanager.yml").read_text())["inhibit_rules"]
    for rule in rules:
        assert 'service_name!=""' in rule["source_matchers"]
        assert 'service_name!=""' in rule["target_matchers"]
        assert "service_name" in rule["equal"]
        assert 'role="cause"' in rule["source_matchers"]
        assert 'role="effect"' in rule["target_matchers"]
