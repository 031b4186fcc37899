"""Incidents as alerts."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import yaml
from tests.notify.incidents import BATCH, CHAT, NOW, incident, resolved, warning

from foreshock_dashboard.model.incident import Incident, Severity, Summary
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.notify.alerts import RESEND_RESOLVED_SECONDS, alert_labels, alerts
from foreshock_dashboard.notify.due import LATENT_SECONDS

BASE = "https://hub.example.com"
ROOT = Path(__file__).parents[2]


def posted(*incidents: Incident, now: float = NOW, owner: str = "", early: bool = True) -> list[Json]:
    """The alerts at a time."""

    def labels(state: Incident, severity: Severity) -> dict[str, str]:
        return alert_labels(state, severity, lambda _: owner)

    return alerts(incidents, now, lambda time: time, 300.0, BASE, labels, early=early)


def test_an_open_incident_is_an_alert_that_ends_unless_it_is_renewed() -> None:
    """With labels that identify it, and annotations that may change."""
    _, alert = posted(incident(), owner="team-a")
    assert alert["labels"] == {
        "alertname": "ForeshockIncident",
        "severity": "critical",
        "alert_role": "cause",
        "incident": "20270115T080000Z-serving.llm-chat",
        "service": "llm-chat",
        "service_name": "llm-chat",
        "namespace": "serving",
        "service_namespace": "serving",
        "origin": "serving/llm-chat",
        "owner": "team-a",
    }
    assert alert["annotations"] == {
        "service": "serving/llm-chat",
        "summary": "serving/llm-chat is degraded: p95 14.6 s (SLO 17.3 s)",
        "description": "Suspected cause: noisy neighbor ml/batch-embed on host-1/gpu-0 (high confidence). "
        "First anomaly: 07:59:00 UTC.",
        "action": "Move ml/batch-embed off host-1/gpu-0. Expected: serving/llm-chat p95 14.6 s → 9.20 s (SLO 17.3 s), "
        "takes effect within 1 min.",
        "dashboard_url": f"{BASE}/cascade?incident=20270115T080000Z-serving.llm-chat",
        "runbook_url": f"{BASE}/runbooks/ForeshockIncident",
    }
    assert (alert["startsAt"], alert["endsAt"]) == ("2027-01-15T07:59:50.000+00:00", "2027-01-15T08:05:00.000+00:00")


def test_the_origin_is_named_as_in_the_rules_of_the_cluster() -> None:
    """Alertmanager groups and inhibits by cluster and origin."""
    for _, alert in (posted(incident()), posted(incident(service=Service("eu//serving", CHAT.name)))):
        assert alert["labels"]["origin"] == "serving/llm-chat"


def test_the_page_ends_the_alert_of_the_early_warning() -> None:
    """Severity is a label, so it is another alert; the first one ends when the second begins."""
    (early,) = posted(warning())
    ended, page = posted(incident())
    assert ended["labels"] == early["labels"]
    assert ended["endsAt"] == page["startsAt"]


def test_without_early_warnings_pages_and_latent_risks_are_posted() -> None:
    """An early warning comes twice a day for each service."""
    latent = warning(summary=Summary(latent=True), opened=NOW - LATENT_SECONDS)
    assert posted(warning(), early=False) == []
    assert posted(incident(), latent, early=False) == posted(incident(), latent)[1:]


def test_the_end_is_posted_for_a_while() -> None:
    """For a peer that missed it."""
    over = resolved(opened=NOW - 10)
    (alert,) = posted(over)
    assert alert["endsAt"] == "2027-01-15T08:00:00.000+00:00"
    assert posted(over, now=NOW + RESEND_RESOLVED_SECONDS) == [alert]
    assert posted(over, now=NOW + RESEND_RESOLVED_SECONDS + 1) == []


def test_a_correction_changes_no_label() -> None:
    """Else Alertmanager would notify again."""
    known = incident(first_service=BATCH, paged_service=CHAT)
    other = replace(known, service=BATCH, cause="overload", confidence=0.2, state="recovering", affected=(), actions=())
    assert [item["labels"] for item in posted(known)] == [item["labels"] for item in posted(other)]
    assert [item["labels"]["origin"] for item in posted(other)] == ["ml/batch-embed", "serving/llm-chat"]
    assert [item["annotations"]["service"] for item in posted(other)] == ["ml/batch-embed"] * 2


def test_a_latent_risk_is_posted_once_it_has_lasted() -> None:
    """It affects no request yet, and may be gone in a minute."""
    latent = warning(summary=Summary(latent=True), opened=NOW - LATENT_SECONDS)
    assert posted(latent, now=NOW - 1) == []
    assert posted(latent)[0]["labels"]["alertname"] == "ForeshockMetastableRisk"


def test_a_simulated_platform_has_its_alerts_at_the_time_of_alertmanager() -> None:
    """Its clock is another one."""
    state = incident(opened=NOW - 10)
    (alert,) = alerts([state], NOW, lambda time: NOW + 7200 + (time - NOW) / 10, 300.0, BASE, lambda *_: {})
    assert (alert["startsAt"], alert["endsAt"]) == ("2027-01-15T09:59:59.000+00:00", "2027-01-15T10:05:00.000+00:00")


def test_labels_are_those_of_the_rules_in_prometheus() -> None:
    """So the same routes and inhibitions hold, and one incident from both is one alert."""
    rules = {
        rule["alert"]: rule
        for file in (ROOT / "alerts").glob("*.rules.yml")
        for group in yaml.safe_load(file.read_text())["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }
    for state in (
        incident(opened=NOW - 10),
        warning(),
        warning(summary=Summary(latent=True), opened=NOW - LATENT_SECONDS),
    ):
        (alert,) = posted(state)
        rule = rules[alert["labels"]["alertname"]]
        assert {name: alert["labels"][name] for name in ("severity", "alert_role")}.items() <= rule["labels"].items()
        series = {"incident", "namespace", "service_name", "service_namespace", "severity"}  # of incident:open:max
        assert set(alert["labels"]) == {"alertname", *rule["labels"], *series}
        assert re.search(r"/runbooks/\w+$", rule["annotations"]["runbook_url"])
