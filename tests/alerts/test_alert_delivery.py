"""From an injected fault to a notification, through a real exporter, a real Prometheus and a real Alertmanager."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import httpx
import pytest
import yaml
from tests.alerts.servers import SHORTER, at_once, hurried

from foreshock_dashboard.cli.main import main
from foreshock_dashboard.ingest.span_metrics.span_metrics import SpanMetrics
from foreshock_dashboard.model.incident import Incident
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import Span

Yaml = dict[str, Any]
Server = Callable[[Sequence[str | Path], str], str]


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
def prometheus(tmp_path: Path, server: Server) -> Callable[..., str]:
    """Start Prometheus with targets by job and generated rules; gives its address."""

    def start(alertmanager: str, targets: Mapping[str, str], windows: Mapping[str, str] | None = None) -> str:
        written = tmp_path / "written"
        words = ["--output-dir", str(written), "--hub-url", "https://hub.example.com", "--slo", "assistant/chat=20s"]
        assert main(["generate", "rules", *words]) == 0
        config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": hurried(written, tmp_path, windows=windows),
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]},
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": [address], "labels": {"environment": "demo"}}]}
                for job, address in targets.items()
            ],
        }
        (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
        return server(
            [
                "prometheus",
                f"--config.file={tmp_path / 'prometheus.yml'}",
                f"--storage.tsdb.path={tmp_path / 'data'}",
                "--web.listen-address=127.0.0.1:0",
                "--rules.alert.resend-delay=1s",  # what is sent before Alertmanager was found is sent again
            ],
            "Server is ready to receive web requests",
        )

    return start


def test_an_incident_is_one_notification_until_it_is_resolved_whatever_is_corrected_meanwhile(
    page: Callable[[], Any],
    prometheus: Callable[..., str],
    alertmanager: Callable[[str], str],
    hub_page: Callable[[Sequence[Incident]], str],
    incident: Callable[..., Incident],
    eventually: Callable[..., None],
) -> None:
    """It pages with its suspected cause; a correction or a cascade updates the text of the same alert."""
    hub, inbox = page(), page()
    hub.body[0] = hub_page([incident("i1", "critical", "chat")])
    receiver = alertmanager(f"http://{inbox.address}/alerts")
    prometheus(receiver, {"foreshock-hub": hub.address})

    def notified(status: str) -> dict[tuple[str, str], Yaml]:
        """The latest alert of each name and service."""
        groups = [json.loads(body) for body in list(inbox.posted)]
        alerts = [alert for group in groups for alert in group["alerts"] if alert["status"] == status]
        return {(a["labels"]["alertname"], a["labels"].get("service", "")): a for a in alerts}

    def states() -> dict[tuple[str, str], str]:
        alerts = httpx.get(f"http://{receiver}/api/v2/alerts").json()
        return {(a["labels"]["alertname"], a["labels"].get("service", "")): a["status"]["state"] for a in alerts}

    eventually(lambda: ("ForeshockIncident", "chat") in notified("firing"), "the page at the webhook")
    paged = notified("firing")["ForeshockIncident", "chat"]
    assert {name: paged["labels"][name] for name in ("namespace", "service", "incident", "severity")} == {
        "namespace": "assistant", "service": "chat", "incident": "i1", "severity": "critical",
    }  # fmt: skip
    assert paged["annotations"]["summary"] == "Ongoing or imminent SLO breach on assistant/chat"
    assert "Suspected cause: GPU contention, ml/batch (high confidence)" in paged["annotations"]["description"]
    assert paged["annotations"]["runbook_url"] == "https://hub.example.com/runbooks/ForeshockIncident"
    assert paged["annotations"]["dashboard_url"] == "https://hub.example.com/cascade?incident=i1"

    # The hub corrects the cause and the first service, and the incident cascades.
    corrected = replace(
        incident("i1", "critical", "gateway", "train"),
        cause="overload", cascading=True, confidence=0.6, paged_service=Service("assistant", "chat"),
    )  # fmt: skip
    early = incident("i2", "warning", "search")
    hub.body[0] = hub_page([corrected, early])
    text = "Its callers are also breaching their SLOs. Suspected cause: overload, ml/train (medium confidence)"
    firing = f"http://{receiver}/api/v2/alerts?filter=alertname%3D%22ForeshockIncident%22"
    eventually(lambda: text in httpx.get(firing).json()[0]["annotations"]["description"], "the corrected text")
    (same,) = httpx.get(firing).json()
    assert same["labels"] == paged["labels"]

    # An early warning fires without a notification; another problem sends one.
    eventually(lambda: ("ForeshockEarlyWarning", "search") in states(), "the early warning")
    eventually(lambda: ("ForeshockExporterDown", "") in notified("firing"), "that no exporter can be scraped")
    assert ("ForeshockEarlyWarning", "search") not in notified("firing")

    hub.body[0] = hub_page([early])
    eventually(lambda: ("ForeshockIncident", "chat") in notified("resolved"), "the end")
    groups = [json.loads(body) for body in list(inbox.posted)]
    about = [group for group in groups if any(a["labels"]["alertname"] == "ForeshockIncident" for a in group["alerts"])]
    assert {group["groupKey"] for group in about} == {about[0]["groupKey"]}
    assert {a["fingerprint"] for group in about for a in group["alerts"]} == {paged["fingerprint"]}


class Load:
    """A service's requests, counted by the hub's own code: ten a second, of so many seconds each."""

    def __init__(self, put: Callable[[str], None]) -> None:
        self.seconds = 0.1
        self.page = ""
        self._put, self._metrics, self._number = put, SpanMetrics(zero_for=2.0), 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    @contextmanager
    def running(self) -> Iterator[Load]:
        """For as long as the block runs."""
        self._thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.2):
            now = time.time()
            self._metrics.add([self._span(now), self._span(now)], now)
            self._put(self._metrics.text(now) + self.page)

    def _span(self, now: float) -> Span:
        self._number += 1
        start, end = round((now - self.seconds) * 1e9), round(now * 1e9)
        return Span(
            trace_id=f"{self._number:032x}", span_id=f"{self._number:016x}", parent_id="", name="POST /", kind="server",
            start_ns=start, end_ns=end, status="unset", status_message="",
            resource={"service.name": "chat", "service.namespace": "assistant"}, attributes={}, links=(),
        )  # fmt: skip


@pytest.fixture
def exporter() -> Iterator[tuple[str, IO[str]]]:
    """A real exporter over simulated GPUs: its address, and where lines of its device script are written."""
    command: list[str | Path] = [
        Path(sys.executable).with_name("foreshock-exporter"),
        "--mock=-",
        "--web.listen-address=127.0.0.1:0",
    ]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stderr=pipe, text=True) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write('{"foreshock_device_script": 1, "host": "gpu-host-1"}\n{"gpu": 0, "device": {}}\n')
        process.stdin.flush()
        try:
            found = re.search(r"http://(127\S+)/metrics", process.stderr.readline())
            assert found
            yield found[1], process.stdin
        finally:
            process.terminate()
            process.communicate()


def test_injected_contention_notifies_and_is_inhibited_once_an_incident_pages(
    page: Callable[[], Any],
    exporter: tuple[str, IO[str]],
    prometheus: Callable[..., str],
    alertmanager: Callable[[str], str],
    hub_page: Callable[[Sequence[Incident]], str],
    incident: Callable[..., Incident],
    eventually: Callable[..., None],
) -> None:
    """A neighbor takes the GPU and the service slows down; PromQL warns, the hub pages, and inhibits the warning."""
    hub, inbox = page(), page()
    address, script = exporter

    def put(text: str) -> None:
        hub.body[0] = text

    def gpu(pid: int, service: str, share: float) -> None:
        process = {"pid": pid, "service": service, "memory_bytes": 20e9, "sm": share}
        script.write(json.dumps({"gpu": 0, "process": process}) + "\n")
        script.flush()

    with Load(put).running() as load:
        load.page = hub_page([])
        gpu(4101, "assistant/chat", 0.4)
        receiver = alertmanager(f"http://{inbox.address}")
        metrics = prometheus(receiver, {"foreshock-hub": hub.address, "foreshock-exporter": address}, SHORTER)

        def has(expression: str) -> bool:
            answer = httpx.get(f"http://{metrics}/api/v1/query", params={"query": expression}).json()
            return bool(answer["data"]["result"])

        def states() -> dict[str, str]:
            found = httpx.get(f"http://{receiver}/api/v2/alerts").json()
            return {each["labels"]["alertname"]: each["status"]["state"] for each in found}

        eventually(lambda: has("service:request_duration_slowdown:ratio_rate5m"), "enough history for a baseline")
        assert states().keys() <= {"ForeshockCapacityShortage", "ForeshockResourceFillingUp"}  # forecast by the hub

        gpu(4201, "ml/batch", 1.0)
        load.seconds = 0.5
        eventually(lambda: states().get("ForeshockGPUNoisyNeighbor") == "active", "that PromQL sees it")
        eventually(lambda: any(b"ForeshockGPUNoisyNeighbor" in body for body in list(inbox.posted)), "the notification")
        notification = next(json.loads(body) for body in list(inbox.posted) if b"ForeshockGPUNoisyNeighbor" in body)
        assert notification["receiver"] == "notify"
        assert notification["groupLabels"] == {"aggressor": "ml/batch"}
        warned = notification["alerts"][0]
        assert warned["labels"]["aggressor"] == "ml/batch"
        pair = "victim=assistant/chat&aggressor=ml/batch"
        assert warned["annotations"]["dashboard_url"] == f"https://hub.example.com/contention?{pair}"

        load.page = hub_page([incident("i1", "critical")])
        eventually(lambda: any(b'"receiver":"page"' in body for body in list(inbox.posted)), "the page")
        eventually(lambda: states()["ForeshockGPUNoisyNeighbor"] == "suppressed", "that its effect is inhibited")
        assert states()["ForeshockIncident"] == "active"
