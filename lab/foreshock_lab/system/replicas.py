"""Replicas of services: their programs with OpenTelemetry's auto-instrumentation, and how Prometheus finds them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from foreshock_lab.system.process import Process, listens
from foreshock_lab.system.prometheus import Target
from foreshock_lab.system.stores import VALKEY, VALKEY_PORT
from foreshock_lab.topology.model import NAMESPACE, Json, ServiceSpec, service_json

SERVICE_PORT, METRICS_PORT, OTLP_PORT = 8080, 9100, 4318
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
"""Command of a service by stack."""


class Place(NamedTuple):
    """Where a service runs: folder of the system, its volume, its IP address, connection string of PostgreSQL."""

    folder: Path
    volume: Path
    address: str
    dsn: str


def make_replica(spec: ServiceSpec, number: int, place: Place) -> Process:
    """A replica of a service, not yet started."""
    name, port = f"{spec.name}-{number}", METRICS_PORT + number
    specification = place.folder / "specs" / f"{spec.name}.json"
    write_json(specification, service_json(spec))
    place.volume.mkdir(exist_ok=True)
    env = {
        "LAB_SPEC": str(specification),
        "LAB_CONTROL": str(place.folder / "control" / f"{spec.name}.json"),
        "LAB_ADDRESS": place.address,
        "LAB_METRICS_PORT": str(port),
        "LAB_DSN": place.dsn,
        "LAB_CACHE_URL": f"redis://{VALKEY}:{VALKEY_PORT}",
        "LAB_VOLUME": str(place.volume / "data"),
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{OTLP_PORT}",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "fastapi",  # the program instruments it, with fewer spans
        "OTEL_NODE_ENABLED_INSTRUMENTATIONS": "http,express,undici,pg,redis",
        "OTEL_NODE_RESOURCE_DETECTORS": "env,host",
        "PYTHONUNBUFFERED": "1",
        **resource_env(spec.name, name, "1"),
    }
    program = map(str, PROGRAMS["node" if spec.stack == "node" else "python"])
    return Process(name, [*program], env, place.folder, lambda: listens(place.address, SERVICE_PORT, port))


def resource_env(service: str, pod: str, version: str) -> dict[str, str]:
    """Variables that name a replica in its spans."""
    attributes = {"service.namespace": NAMESPACE, "service.version": version, "k8s.pod.name": pod}
    return {
        "OTEL_SERVICE_NAME": service,
        "OTEL_RESOURCE_ATTRIBUTES": ",".join(f"{key}={value}" for key, value in attributes.items()),
    }


def scrape_target(spec: ServiceSpec, number: int, address: str) -> Target:
    """A replica's own metrics, with the labels that name it."""
    pod = {"namespace": NAMESPACE, "pod": f"{spec.name}-{number}"}
    service = {"service_name": spec.name, "service_namespace": NAMESPACE}
    return Target(spec.name, f"{address}:{METRICS_PORT + number}", pod | service)


def write_json(path: Path, content: Json) -> None:
    """Replace a file at once, so that no reader sees half of it."""
    new = path.with_suffix(".new")
    new.write_text(json.dumps(content))
    new.replace(path)
