"""The compose file as it is, and its processes run without containers: same commands, other paths and ports."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "compose"

Yaml = dict[str, Any]


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def compose() -> Yaml:
    """compose.yml, anchors resolved."""
    loaded: Yaml = yaml.safe_load((COMPOSE / "compose.yml").read_text())
    return loaded


class Stack(NamedTuple):
    """The running processes by the name of their service: host:port of each. `otlp` is the hub's OTLP/HTTP port."""

    addresses: Mapping[str, str]
    otlp: str


class _Run:
    """One process: what it writes is read to the end in a separate thread."""

    def __init__(self, command: Sequence[str]) -> None:
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self._lines: list[str] = []
        self._more = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._more:
                self._lines.append(line)
                self._more.notify_all()
        with self._more:
            self._ended = True
            self._more.notify_all()

    def said(self, pattern: str, seconds: float = 60.0) -> str:
        """The first group of the first line that matches."""

        def found() -> re.Match[str] | None:
            return next((match for line in self._lines if (match := re.search(pattern, line))), None)

        with self._more:
            self._more.wait_for(lambda: found() is not None or self._ended, seconds)
            match = found()
            assert match is not None, f"{pattern} not in:\n{''.join(self._lines[-20:])}"
            return match[1]

    def reload(self) -> None:
        """Read the configuration again."""
        self._process.send_signal(signal.SIGHUP)

    def close(self) -> None:
        """Stop it and wait."""
        self._process.terminate()
        self._process.wait(30)
        self._reader.join()
        if self._process.stdout is not None:
            self._process.stdout.close()


def _command(service: Yaml, folders: Mapping[str, Path]) -> list[str]:
    """The service's arguments with the container's paths replaced by those on this machine."""
    words: list[str] = list(service["command"])
    for inside, outside in sorted(folders.items(), reverse=True):
        words = [re.sub(rf"(?<=[= ]){re.escape(inside)}(?=/|$)", str(outside), word) for word in words]
    return words


def _hurried(folder: Path) -> None:
    """Every rule group once a second, so that a test need not wait for half a minute."""
    for file in folder.glob("*.rules.yml"):
        rules = yaml.safe_load(file.read_text())
        file.write_text(yaml.safe_dump({"groups": [{**group, "interval": "1s"} for group in rules["groups"]]}))


def _scraping(alerts: Path, **addresses: str) -> str:
    """prometheus.yml, scraping every second: where services are found by name, at these addresses instead."""
    config = yaml.safe_load((COMPOSE / "prometheus.yml").read_text().replace("/etc/foreshock/alerts", str(alerts)))
    text = yaml.safe_dump(config["scrape_configs"] + config["alerting"]["alertmanagers"])
    named = {name: re.sub(r"^http://", "", address) for name, address in addresses.items()}
    for name, address in named.items():
        text = re.sub(rf"\b{name}:\d+", address, text)
    *jobs, alerting = yaml.safe_load(text)
    for job in jobs:
        if found := job.pop("dns_sd_configs", None):
            (name,) = set(found[0]["names"]) & set(named)
            job["static_configs"] = [{"targets": [named[name]], "labels": {"__meta_dns_name": name}}]
        for found in job.get("http_sd_configs", []):
            found["refresh_interval"] = "1s"
    config["scrape_configs"] = [job for job in jobs if job["job_name"] != "collector"]  # there is none here
    config["alerting"]["alertmanagers"] = [alerting]
    config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    return yaml.safe_dump(config)


@pytest.fixture(scope="module")
def stack(compose: Yaml, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Exporter, hub, Prometheus and Alertmanager, as compose.yml starts them."""
    for name in ("prometheus", "prometheus-alertmanager"):
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not installed; `make setup-tests` installs it")
    folder, services = tmp_path_factory.mktemp("stack"), compose["services"]
    alerts = folder / "alerts"
    shutil.copytree(ROOT / "alerts", alerts)
    _hurried(alerts)
    paths = {
        "/etc/foreshock/alerts": alerts,
        "/etc/prometheus": folder,
        "/etc/alertmanager": alerts,
        "/prometheus": folder / "prometheus",
        "/alertmanager": folder / "alertmanager",
        "/var/lib/foreshock": folder / "hub",
    }
    own = Path(sys.executable)
    listening = r"Listening on\"? .*?address=(127\S+)"
    with ExitStack() as opened:

        def run(*command: str | Path) -> _Run:
            process = _Run([str(word) for word in command])
            opened.callback(process.close)
            return process

        def words(name: str) -> list[str]:
            return _command(services[name], paths)

        exporter = run(
            own.with_name("foreshock-exporter"), *words("exporter"), "--web.listen-address=127.0.0.1:0",
            "--otlp.endpoint=http://127.0.0.1:1",
        ).said(r"listens on http://([\d.:]+)/metrics")  # fmt: skip
        alertmanager = run("prometheus-alertmanager", *words("alertmanager"), "--web.listen-address=127.0.0.1:0").said(
            listening
        )
        file = folder / "prometheus.yml"
        # The hub must know Prometheus and Prometheus the hub, so the second learns it by a reload.
        nowhere = "127.0.0.1:1"
        file.write_text(_scraping(alerts, exporter=exporter, alertmanager=alertmanager, hub=nowhere, platform=nowhere))
        server = run("prometheus", *words("prometheus"), "--web.listen-address=127.0.0.1:0")
        prometheus = server.said(listening)
        server.said(r"(Server is ready)")
        hub = run(
            own.with_name("foreshock"), *(word for word in words("hub") if not word.startswith("--tempo-url=")),
            f"--prometheus-url=http://{prometheus}", "--host=127.0.0.1", "--port=0", "--otlp-grpc-port=0",
            "--otlp-http-port=0",
        )  # fmt: skip
        page = hub.said(r"^page +http://([\d.:]+)")
        otlp = hub.said(r"^OTLP/HTTP +(http://\S+)")
        # Its spans go to the hub: there is no Collector here.
        entry = [str(own), *services["platform"]["entrypoint"][1:]]
        platform = run(*entry, *words("platform"), f"--otlp={otlp}", "--host=127.0.0.1", "--port=0").said(
            r"simulated platform .*: http://([\d.:]+)/targets"
        )
        file.write_text(_scraping(alerts, exporter=exporter, alertmanager=alertmanager, hub=page, platform=platform))
        server.reload()
        addresses = {"exporter": exporter, "alertmanager": alertmanager, "prometheus": prometheus}
        yield Stack(addresses | {"hub": page, "platform": platform}, otlp)


@pytest.fixture(scope="module")
def healthy(compose: Yaml, stack: Stack) -> Callable[..., bool]:
    """Run a service's own health check against the process, or against another address."""

    def check(name: str, address: str = "") -> bool:
        kind, *words = compose["services"][name]["healthcheck"]["test"]
        assert kind == "CMD"
        words = [re.sub(r"127\.0\.0\.1:\d+", address or stack.addresses[name], word) for word in words]
        words = [sys.executable if word == "python" else word for word in words]
        return subprocess.run(words, capture_output=True, timeout=30, check=False).returncode == 0

    return check
