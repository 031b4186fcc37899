"""An incident from its early warning to its postmortem: sent, acknowledged on a phone, and resolved."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from datetime import datetime
from itertools import product
from pathlib import Path
from typing import Any

import bcrypt
import httpx
import pytest
from playwright.sync_api import sync_playwright
from tests.browser.conftest import CHROMIUM, FLAGS
from tests.notify.receivers import alertmanagers, clustered, webhook

from foreshock_simulator.scenarios.load import load
from foreshock_simulator.simulation import Simulation

SCENARIO = """\
description: A batch job spreads onto the GPUs of the language model until someone pauses it.
duration: 75m
topology: {load: 0.38}
faults:
  - tenant_grows:
      {tenant: batch-embed, at: 40m, workers: 4, onto: [llm-chat, embedder], sm: 0.4, dram: 0.3, pause: 1s,
       ramp: 12m, duration: 15m}
expects: {cascade: true, cause: gpu_contention, root_cause: batch-embed, origin: llm-chat}
"""
SERVICE, NEIGHBOR = "serving/llm-chat", "ml/batch-embed"
ACTION = f"Scale {NEIGHBOR}"
FAULT_SECONDS = 40 * 60.0
NOTE = "Paused ml/batch-embed; its owner agrees."


def breaches(scenario: Path, fault_at: float) -> Mapping[str, float]:
    """Unix seconds at which each service first breached its SLO, as the simulation itself counts its answers."""
    start = fault_at - FAULT_SECONDS
    simulation = Simulation(load(str(scenario), "demo"), 1, start, sample=0.0)
    simulation.advance(fault_at + 1200.0)
    return simulation.truth().breached


def of_day(clock: str) -> float:
    """Seconds since midnight of `14:03:20`."""
    hours, minutes, seconds = map(int, clock.split(":"))
    return 3600.0 * hours + 60.0 * minutes + seconds


def acknowledge_on_a_phone(url: str, user: str) -> None:
    """Sign in, tap Acknowledge, and add a note."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        page = browser.new_context(
            viewport={"width": 390, "height": 844},
            has_touch=True,
            is_mobile=True,
            http_credentials={"username": user, "password": "phone"},
        ).new_page()
        page.set_default_timeout(120_000)
        page.goto(url)
        page.locator("[data-acknowledge]").first.tap()
        page.locator(".response", has_text="Acknowledged by dana").first.wait_for()
        page.locator("[data-respond]").first.tap()
        page.fill("#respond textarea", NOTE)
        page.locator("#respond [data-action=notes] button").tap()
        page.locator("#respond").wait_for(state="hidden")
        browser.close()


@pytest.mark.soak
def test_an_incident_is_sent_before_the_breach_acknowledged_on_a_phone_and_in_its_postmortem(
    demo: Callable[..., Any], eventually: Callable[..., None], tmp_path: Path
) -> None:
    """With a real Alertmanager, a webhook, and Chromium; at five times the speed of the wall."""
    (tmp_path / "paused.yaml").write_text(SCENARIO)
    hashed = bcrypt.hashpw(b"phone", bcrypt.gensalt(4)).decode()
    (tmp_path / "users").write_text(f"dana:{hashed}\nvictor:{hashed}\n")
    with webhook() as alerted, webhook() as hook, alertmanagers(tmp_path, alerted, 1) as (alertmanager,):
        eventually(lambda: clustered(alertmanager, 1), "Alertmanager is ready")
        (tmp_path / "channels").write_text(f"json://{hook.address}/ severity=warning name=chat service=llm-chat\n")
        process = demo(
            *("--scenario", str(tmp_path / "paused.yaml"), "--speed", "5", "--alertmanager-url", alertmanager),
            *("--alertmanager-early-warnings", "true"),
            *("--auth-basic-file", str(tmp_path / "users"), "--roles", "dana=responder"),
            *("--notify-file", str(tmp_path / "channels")),
        )

        def get(path: str) -> Any:  # noqa: ANN401 - JSON
            return httpx.get(process.address + path, auth=("dana", "phone"), timeout=90, trust_env=False).json()

        def paged() -> list[str]:
            listed = get("/api/incidents")["incidents"]
            return [item["id"] for item in listed if (item["severity"], item["service"]) == ("critical", SERVICE)]

        def sent(kind: str) -> list[dict[str, Any]]:
            return [post for post in hook.posted if post["type"] == kind and incident in post["message"]]

        def alerts(name: str, status: str) -> list[dict[str, Any]]:
            posted = [alert for group in alerted.posted for alert in group["alerts"]]
            labels = {"alertname": name, "incident": incident}
            return [item for item in posted if item["status"] == status and labels.items() <= item["labels"].items()]

        eventually(lambda: bool(paged()), "the page", 400)
        (incident,) = paged()
        acknowledge = f"{process.address}/api/incidents/{incident}/acknowledge"
        refused = httpx.post(acknowledge, json={}, auth=("victor", "phone"), timeout=90, trust_env=False)
        assert refused.status_code == 403
        acknowledge_on_a_phone(process.address, "dana")
        eventually(lambda: bool(sent("failure") and alerts("ForeshockIncident", "firing")), "the page at both")
        for post in (sent("warning")[0], sent("failure")[0]):
            assert f"Action: {ACTION}" in post["message"]
            assert base64.b64decode(post["attachments"][0]["base64"]).startswith(b"\x89PNG")
        for name in ("ForeshockEarlyWarning", "ForeshockIncident"):
            assert alerts(name, "firing")[0]["annotations"]["action"].startswith(ACTION)

        eventually(lambda: bool(sent("success") and alerts("ForeshockIncident", "resolved")), "the end at both", 600)
        report = get(f"/api/report/{incident}")["markdown"]
        known = get("/api/incidents")["incidents"]
        (tmp_path / "report.md").write_text(report)
        assert f"noisy neighbor {NEIGHBOR}" in report
        assert f"{NEIGHBOR}: GPU contention (" in report
        assert f"1. {ACTION}" in report
        timeline = report.partition("## Timeline")[2].partition("\n## ")[0]
        expected = (
            *("first anomaly**", "incident opened as an early warning", "early warning sent to Alertmanager"),
            *(
                f"{SERVICE} breaches its SLO",
                "acknowledged by dana",
                NOTE,
                "symptoms ended",
                "resolved",
            ),
        )
        places = [timeline.find(words) for words in expected]
        assert -1 not in places
        assert places == sorted(places), timeline
        assert timeline.find("paged, ") < timeline.find("acknowledged by dana")
        assert "resolution sent to chat" in timeline

        fault_at = datetime.fromisoformat(process.find(r"First fault at (\S+Z)")).timestamp()
        process.end()
        breached = breaches(tmp_path / "paused.yaml", fault_at)
        (found,) = (item for item in known if item["id"] == incident)
        seconds = {name: at - fault_at for name, at in breached.items()} | {"page": found["paged"] - fault_at}
        for kind, receiver in product(("early warning", "page"), ("Alertmanager", "chat")):
            sent_at = timeline.partition(f" {kind} sent to {receiver}")[0].rpartition("- ")[2]
            seconds[f"{kind} at {receiver}"] = (of_day(sent_at) - fault_at) % 86400
        print("seconds after the first fault:", seconds)
        first = min(seconds[name] for name in breached)
        warned = max(seconds["early warning at Alertmanager"], seconds["early warning at chat"])
        assert warned < first, "the early warning, with picture and action, is at both before any service breaches"
        assert seconds["page"] < seconds["assistant-feature"], "the page comes before users notice"
