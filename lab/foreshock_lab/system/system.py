"""A running system: starts everything of a topology, changes it on request, and records it."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from foreshock_dashboard.common.clock import Clock
from foreshock_dashboard.hub.hub import Hub
from foreshock_dashboard.recording.meta import RecordingMeta
from foreshock_dashboard.settings.settings import load_settings
from foreshock_dashboard.sources.prometheus.api import PrometheusSource
from foreshock_dashboard.web.state.incident_json import incident
from foreshock_lab.record.record import Range, record
from foreshock_lab.system import container_metrics, prometheus, stores
from foreshock_lab.system.cgroups import Cgroup, remove_stale
from foreshock_lab.system.process import Process, listens
from foreshock_lab.topology.model import NAMESPACE, Json, ServiceSpec, Topology, service_json

LAB = Path(__file__).parents[2]
PYTHON = LAB.parent / ".venv-lab" / "bin"
NODE = LAB / "services" / "node"
PROGRAMS = {
    "python": (PYTHON / "opentelemetry-instrument", PYTHON / "python", LAB / "services" / "service.py"),
    "node": (
        "node",
        "--require",
        NODE / "node_modules" / "@opentelemetry" / "auto-instrumentations-node" / "build" / "src" / "register.js",
        NODE / "service.cjs",
    ),
}
"""Command of a service by stack, with OpenTelemetry's auto-instrumentation."""
SCRAPE_SECONDS = 10.0
HUB_PORT, OTLP_PORT = 8050, 4318
SERVICE_PORT, METRICS_PORT = 8080, 9100
POSTGRES, VALKEY = "postgres", "valkey"
STORE_ADDRESSES = {POSTGRES: "127.0.11.1", VALKEY: "127.0.11.2"}
BACKOFF_SECONDS, MAX_BACKOFF_SECONDS = 1.0, 30.0
"""Time before a failed replica starts again, doubled with each failure; kubelet's is 10 s to 300 s."""
STABLE_SECONDS = 60.0
"""A replica that ran so long starts again without waiting."""


@dataclass(frozen=True, slots=True)
class Service:
    """A service or a store with its replicas."""

    name: str
    replicas: Sequence[Process]


class UserRequest(NamedTuple):
    """What a user saw: Unix time of the request, its operation, its duration in seconds, and whether it succeeded."""

    time: float
    operation: str
    seconds: float
    succeeded: bool


class System:
    """A system of processes; use it in a `with` block, in namespaces of its own (`namespace.enter`).

    Args:
        folder: new folder for its files.

    Raises:
        StartError: a part did not start.
    """

    def __init__(self, topology: Topology, folder: Path) -> None:
        self.topology, self.folder = topology, folder
        self.restart_policy = True
        """Whether a replica that ended by itself starts again."""
        self._addresses = {spec.name: f"127.0.10.{n}" for n, spec in enumerate(topology.services, 1)} | STORE_ADDRESSES
        self._hosts = dict(self._addresses)
        self._services: dict[str, Service] = {}
        self._behaviors: dict[str, Json] = {}
        self._cgroup = Cgroup(f"{time.time_ns() // 1000}-lab")
        self._lock = threading.RLock()
        self._closing = threading.Event()

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            for name in ("control", "volumes", "specs"):
                (self.folder / name).mkdir(parents=True)
            remove_stale()
            self._cgroup.add(os.getpid())
            self._mount_hosts()
            self._start_stores(opened)
            self._start_observers(opened)
            self._start_services(opened)
            self._load = self._make_load()
            opened.callback(self._load.close)
            self._load.start()
            watch = threading.Thread(target=self._restart_ended, name="kubelet")
            watch.start()
            opened.callback(watch.join)
            opened.callback(self._closing.set)
            self._opened = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End everything."""
        self._opened.__exit__(kind, error, trace)

    # --- parts

    def service(self, name: str) -> Service:
        """A service, or a store by the names `postgres` and `valkey`.

        Raises:
            KeyError: there is none.
        """
        return self._services[name]

    @property
    def edges(self) -> Mapping[str, Sequence[str]]:
        """Callees of each service, stores among them."""
        return {spec.name: sorted(spec.callees | spec.stores) for spec in self.topology.services}

    @property
    def entries(self) -> Sequence[str]:
        """Names of the services that users call."""
        return [self.topology.front.name]

    @property
    def postgres(self) -> str:
        """Connection string of PostgreSQL."""
        return self._dsn

    @property
    def valkey(self) -> tuple[str, int]:
        """Address and port of Valkey."""
        return self._addresses[VALKEY], stores.VALKEY_PORT

    @property
    def prometheus_pid(self) -> int:
        """Process id of Prometheus."""
        return self._prometheus.pid

    def address(self, name: str) -> str:
        """IP address of a service or store."""
        return self._addresses[name]

    def volume(self, name: str) -> Path:
        """Folder to which a service writes; PostgreSQL's is a small file system."""
        return self._volumes()[name]

    # --- changes

    def behave(self, name: str, **behavior: Any) -> None:  # noqa: ANN401 - JSON
        """Change what a service does from its next request on (README.md lists the keys); without any, restore it."""
        self._behaviors[name] = (self._behaviors.get(name, {}) | behavior) if behavior else {}
        _write_json(self.folder / "control" / f"{name}.json", self._behaviors[name])

    def stop(self, name: str, replica: int = 0, *, kill: bool = False) -> None:
        """End a replica; it stays ended."""
        with self._lock:
            self._services[name].replicas[replica].stop(kill=kill)

    def start(
        self, name: str, replica: int = 0, version: str | None = None, env: Mapping[str, str] | None = None
    ) -> None:
        """Start a replica, and return when it is ready.

        version: its `service.version` from now on. env: added to the environment until the next `start`.

        Raises:
            StartError: it is not.
        """
        process = self._services[name].replicas[replica]
        with self._lock:
            if version is not None:
                process.env |= self._resource(name, process.name, version)
            process.added_env = env or {}
            process.start()
        process.wait_ready()

    def restart(self, name: str, version: str | None = None) -> None:
        """Restart the replicas one after another, as a rolling update does."""
        for number in range(len(self._services[name].replicas)):
            self.stop(name, number)
            self.start(name, number, version)

    def resolve(self, name: str, *, works: bool) -> None:
        """Have the name of a service resolve, or not. Open connections stay."""
        if works:
            self._hosts[name] = self._addresses[name]
        else:
            self._hosts.pop(name, None)
        self._write_hosts()

    def load(self, rate_factor: float = 1.0, prompt_factor: float = 1.0, output_factor: float = 1.0) -> None:
        """Set factors on the arrival rate and on the length of prompts and outputs."""
        factors = {"rate_factor": rate_factor, "prompt_factor": prompt_factor, "output_factor": output_factor}
        _write_json(self.folder / "control" / "load.json", factors)

    # --- observation

    def record(self, out: Path, start: float, end: float, truth: Json, left_out: Sequence[Range] = ()) -> None:
        """Write a recording of a range (Unix seconds) with its ground truth, as if nothing was scraped in `left_out`.

        `end` may not lie in the future.
        """
        meta = RecordingMeta(
            scenario=truth.get("kind"), seed=self.topology.seed, scrape_interval=SCRAPE_SECONDS, span_sampling=None
        )
        with closing(PrometheusSource(prometheus.URL)) as source:
            record(source, self._hub.traces, start, end, out, meta, truth, left_out)

    def user_requests(self, start: float, end: float) -> list[UserRequest]:
        """What users saw of requests sent in [start, end), Unix seconds, by the time of their answer."""
        with (self.folder / "users.csv").open() as file:
            rows = [UserRequest(float(row[0]), row[1], float(row[2]), row[3] == "1") for row in csv.reader(file)]
        return [row for row in rows if start <= row.time < end]

    def incidents(self) -> list[Json]:
        """Incidents of the live hub."""
        return [dict(incident(item)) for item in self._hub.snapshot.incidents]

    def cpu_seconds(self) -> dict[str, float]:
        """CPU time so far by service, and that of this process (hub, exporter of containers) as `lab`."""
        used = {
            name: sum(replica.cgroup.usage().cpu_seconds for replica in service.replicas)
            for name, service in self._services.items()
        }
        others = {
            item.name: item.cgroup.usage().cpu_seconds for item in (*self._exporters, self._prometheus, self._load)
        }
        return used | others | {"lab": time.process_time()}

    # --- start

    def _mount_hosts(self) -> None:
        self._hosts_file = self.folder / "hosts"
        self._write_hosts()
        subprocess.run(["mount", "--bind", str(self._hosts_file), "/etc/hosts"], check=True)

    def _write_hosts(self) -> None:
        lines = ["127.0.0.1 localhost", *(f"{address} {name}" for name, address in self._hosts.items())]
        self._hosts_file.write_text("\n".join((*lines, "")))

    def _start_stores(self, opened: ExitStack) -> None:
        opened.callback(subprocess.run, ["umount", "--lazy", str(self.volume(POSTGRES))], check=False)
        database, self._dsn = stores.make_postgres(self._addresses[POSTGRES], self.folder)
        cache = stores.make_valkey(self._addresses[VALKEY], self.folder)
        self._exporters = stores.make_exporters(self._dsn, self._addresses[VALKEY], self.folder)
        for name, process in ((POSTGRES, database), (VALKEY, cache)):
            self._services[name] = Service(name, [process])
            opened.callback(process.close)
            process.start()
            process.wait_ready()
        stores.fill(self._dsn)
        for process in self._exporters:
            opened.callback(process.close)
            process.start()

    def _start_observers(self, opened: ExitStack) -> None:
        for spec in self.topology.services:
            self._services[spec.name] = Service(
                spec.name, [self._make_replica(spec, number) for number in range(spec.replicas)]
            )
        replicas = {service.name: service.replicas for service in self._services.values()}
        metrics = container_metrics.ContainerMetrics(replicas, {"postgres-data": self.volume(POSTGRES)})
        opened.callback(metrics.serve())
        self._prometheus = prometheus.make_prometheus(self._targets(), SCRAPE_SECONDS, self.folder)
        opened.callback(self._prometheus.close)
        self._prometheus.start()
        self._prometheus.wait_ready()
        settings = load_settings(
            {}, {}, prometheus_url=prometheus.URL, store_path=self.folder / "hub", port=HUB_PORT,
            otlp_http_port=OTLP_PORT, scrape_interval=SCRAPE_SECONDS,
        )  # fmt: skip
        self._hub = opened.enter_context(closing(Hub(settings, Clock())))
        self._hub.start()

    def _start_services(self, opened: ExitStack) -> None:
        started = [replica for spec in self.topology.services for replica in self._services[spec.name].replicas]
        for replica in started:
            opened.callback(replica.close)
            replica.start()
        for replica in (*started, *self._exporters):
            replica.wait_ready()

    def _make_replica(self, spec: ServiceSpec, number: int) -> Process:
        name, address, port = f"{spec.name}-{number}", self._addresses[spec.name], METRICS_PORT + number
        specification = self.folder / "specs" / f"{spec.name}.json"
        _write_json(specification, service_json(spec))
        volume = self.volume(spec.name)
        volume.mkdir(exist_ok=True)
        env = {
            "LAB_SPEC": str(specification),
            "LAB_CONTROL": str(self.folder / "control" / f"{spec.name}.json"),
            "LAB_ADDRESS": address,
            "LAB_METRICS_PORT": str(port),
            "LAB_DSN": self._dsn.replace(self._addresses[POSTGRES], POSTGRES),
            "LAB_CACHE_URL": f"redis://{VALKEY}:{stores.VALKEY_PORT}",
            "LAB_VOLUME": str(volume / "data"),
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{OTLP_PORT}",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_TRACES_EXPORTER": "otlp",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
            "OTEL_NODE_ENABLED_INSTRUMENTATIONS": "http,express,undici,pg,redis",
            "OTEL_NODE_RESOURCE_DETECTORS": "env,host",
            "PYTHONUNBUFFERED": "1",
            **self._resource(spec.name, name, "1"),
        }
        program = PROGRAMS["node" if spec.stack == "node" else "python"]
        return Process(name, [*map(str, program)], env, self.folder, lambda: listens(address, SERVICE_PORT, port))

    def _resource(self, service: str, pod: str, version: str) -> dict[str, str]:
        """Variables that name a replica in its spans."""
        attributes = {"service.namespace": NAMESPACE, "service.version": version, "k8s.pod.name": pod}
        return {
            "OTEL_SERVICE_NAME": service,
            "OTEL_RESOURCE_ATTRIBUTES": ",".join(f"{key}={value}" for key, value in attributes.items()),
        }

    def _targets(self) -> list[prometheus.Target]:
        local = {
            "postgres": stores.POSTGRES_EXPORTER_PORT,
            "valkey": stores.VALKEY_EXPORTER_PORT,
            "node": stores.NODE_EXPORTER_PORT,
            "cadvisor": container_metrics.PORT,
            "foreshock": HUB_PORT,
        }
        pods = {"postgres": "postgres-0", "valkey": "valkey-0"}
        targets = [
            prometheus.Target(
                job, f"127.0.0.1:{port}", {"namespace": NAMESPACE, "pod": pods[job]} if job in pods else {}
            )
            for job, port in local.items()
        ]
        for spec in self.topology.services:
            for number in range(spec.replicas):
                labels = {
                    "namespace": NAMESPACE,
                    "pod": f"{spec.name}-{number}",
                    "service_name": spec.name,
                    "service_namespace": NAMESPACE,
                }
                address = f"{self._addresses[spec.name]}:{METRICS_PORT + number}"
                targets.append(prometheus.Target(spec.name, address, labels))
        return targets

    def _make_load(self) -> Process:
        config = {
            "url": f"http://{self._addresses[self.topology.front.name]}:{SERVICE_PORT}",
            "seed": self.topology.seed,
            "rate": self.topology.rate,
            "entries": [{"operation": item.operation, "share": item.share} for item in self.topology.entries],
            "control": str(self.folder / "control" / "load.json"),
            "results": str(self.folder / "users.csv"),
        }
        path = self.folder / "load.json"
        _write_json(path, config)
        command = [sys.executable, "-m", "foreshock_lab.load.generator", str(path)]
        return Process("users", command, {}, self.folder, lambda: True)

    def _volumes(self) -> dict[str, Path]:
        folder = self.folder / "volumes"
        return {spec.name: folder / spec.name for spec in self.topology.services} | {POSTGRES: self.folder / "postgres"}

    def _restart_ended(self) -> None:
        """Start replicas again that ended by themselves, with a delay that grows as kubelet's does."""
        due: dict[str, float] = {}
        delays: dict[str, float] = {}
        while not self._closing.wait(0.5):
            if not self.restart_policy:
                continue
            for replica in [item for service in self._services.values() for item in service.replicas]:
                with self._lock:
                    if replica.running or not replica.wanted:
                        due.pop(replica.name, None)
                        continue
                    now = time.time()
                    if replica.name not in due:
                        stable = now - replica.started > STABLE_SECONDS
                        delay = BACKOFF_SECONDS if stable else delays.get(replica.name, BACKOFF_SECONDS)
                        due[replica.name] = now + delay
                        delays[replica.name] = min(MAX_BACKOFF_SECONDS, 2 * delay)
                    elif now >= due[replica.name]:
                        del due[replica.name]
                        replica.restarts += 1
                        replica.start()


def _write_json(path: Path, content: Json) -> None:
    """Replace a file at once, so that no reader sees half of it."""
    new = path.with_suffix(".new")
    new.write_text(json.dumps(content))
    new.replace(path)
