"""A running system: starts everything of a topology, changes it on request, and records it."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
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
from foreshock_lab.system.kubelet import Kubelet
from foreshock_lab.system.process import Process
from foreshock_lab.system.replicas import (
    OTLP_PORT,
    SERVICE_PORT,
    Place,
    make_replica,
    resource_env,
    scrape_target,
    write_json,
)
from foreshock_lab.system.stores import POSTGRES, VALKEY
from foreshock_lab.topology.model import NAMESPACE, Json, Topology

SCRAPE_SECONDS = 10.0
HUB_PORT = 8050
STORE_ADDRESSES = {POSTGRES: "127.0.11.1", VALKEY: "127.0.11.2"}


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
    """A system of processes; use it in a `with` block, in separate namespaces (`namespace.enter`).

    Args:
        folder: new folder for its files.

    Raises:
        StartError: a part did not start.
    """

    def __init__(self, topology: Topology, folder: Path) -> None:
        self.topology, self.folder = topology, folder
        self._addresses = {spec.name: f"127.0.10.{n}" for n, spec in enumerate(topology.services, 1)} | STORE_ADDRESSES
        self._hosts = dict(self._addresses)
        self._services: dict[str, Service] = {}
        self._behaviors: dict[str, Json] = {}
        self._cgroup = Cgroup(f"{time.time_ns() // 1000}-lab")
        self._kubelet = Kubelet()

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
            opened.callback(self._kubelet.close)
            self._kubelet.start([replica for service in self._services.values() for replica in service.replicas])
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
        write_json(self.folder / "control" / f"{name}.json", self._behaviors[name])

    def stop(self, name: str, replica: int = 0, *, kill: bool = False) -> None:
        """End a replica; it stays ended."""
        with self._kubelet.paused:
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
        with self._kubelet.paused:
            if version is not None:
                process.env |= resource_env(name, process.name, version)
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
        write_json(self.folder / "control" / "load.json", factors)

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
        dsn = self._dsn.replace(self._addresses[POSTGRES], POSTGRES)
        for spec in self.topology.services:
            place = Place(self.folder, self.volume(spec.name), self._addresses[spec.name], dsn)
            replicas = [make_replica(spec, number, place) for number in range(spec.replicas)]
            self._services[spec.name] = Service(spec.name, replicas)
        pods = {service.name: service.replicas for service in self._services.values()}
        metrics = container_metrics.ContainerMetrics(pods, {"postgres-data": self.volume(POSTGRES)})
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
            targets += [scrape_target(spec, number, self._addresses[spec.name]) for number in range(spec.replicas)]
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
        write_json(path, config)
        command = [sys.executable, "-m", "foreshock_lab.load.generator", str(path)]
        return Process("users", command, {}, self.folder, lambda: True)

    def _volumes(self) -> dict[str, Path]:
        folder = self.folder / "volumes"
        return {spec.name: folder / spec.name for spec in self.topology.services} | {POSTGRES: self.folder / "postgres"}
