"""Parsed expositions, series counts per GPU, and where a started exporter serves its metrics."""

from __future__ import annotations

import re
import subprocess
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics

Values = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


def from_text(text: bytes) -> Values:
    """Values by name and labels, of the text format."""
    return _values(parser.text_string_to_metric_families(text.decode()))


def from_openmetrics(text: bytes) -> Values:
    """The same of OpenMetrics."""
    read: Any = openmetrics.text_string_to_metric_families
    return _values(read(text.decode()))


def _values(families: Any) -> Values:  # noqa: ANN401 - the parsers ship no types that agree
    found: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    for family in families:
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found, f"{key} is there twice"
            found[key] = sample.value
    return found


def families(text: bytes) -> set[str]:
    """The names of the families with samples."""
    return {family.name for family in parser.text_string_to_metric_families(text.decode()) if family.samples}


def refused_by_promtool(text: bytes) -> str:
    """What promtool has against it; `node_netstat_*` are left out, the kernel's own names, which it does not like."""
    lines = (line for line in text.splitlines(keepends=True) if b"node_netstat_" not in line)
    ran = subprocess.run(["promtool", "check", "metrics"], input=b"".join(lines), capture_output=True, check=False)
    return (ran.stdout + ran.stderr).decode() if ran.returncode else ""


@dataclass(frozen=True, slots=True)
class SeriesOf:
    """Series of one GPU, in total and by the groups of the design."""

    all: int
    services: int
    of_services: int
    pairs: int
    xids: int
    instances: int
    links: int

    @property
    def itself(self) -> int:
        """Without those of services, pairs and NVLinks."""
        return self.all - self.of_services - self.pairs - self.links


_PAIRS = "gpu_service_wait_by_aggressor_seconds_total"


def series_by_gpu(text: bytes) -> dict[str, SeriesOf]:
    """By uuid: every series with the GPU's index or uuid as a label."""
    values = from_text(text)
    uuids = {labels["gpu"]: labels["uuid"] for name, labels in _labelled(values) if name == "gpu_info"}
    names: dict[str, Counter[str]] = {uuid: Counter() for uuid in uuids.values()}
    services: dict[str, set[tuple[str, str]]] = {uuid: set() for uuid in uuids.values()}
    for name, labels in _labelled(values):
        uuid = labels.get("uuid") or uuids.get(labels.get("gpu", ""), "")
        if uuid in names:
            names[uuid][name] += 1
            if "service_name" in labels:
                services[uuid].add((labels["service_namespace"], labels["service_name"]))
    return {uuid: _series_of(found, len(services[uuid])) for uuid, found in names.items()}


def _labelled(values: Values) -> list[tuple[str, dict[str, str]]]:
    return [(name, dict(labels)) for name, labels in values]


def _series_of(names: Counter[str], services: int) -> SeriesOf:
    def beginning(*begins: str) -> int:
        return sum(count for name, count in names.items() if name.startswith(begins))

    return SeriesOf(
        all=names.total(),
        services=services,
        of_services=beginning("gpu_service_") - names[_PAIRS],
        pairs=names[_PAIRS],
        xids=beginning("gpu_xid_"),
        instances=beginning("gpu_mig_"),
        links=beginning("gpu_nvlink_port_"),
    )


def metrics_address(running: subprocess.Popen[bytes], log: Path) -> str:
    """The address of its metrics that a starting exporter logs."""
    while running.poll() is None:
        if found := re.search(r"listens on (http://127\.0\.0\.1:\d+/metrics)", log.read_text()):
            return found[1]
        time.sleep(0.02)
    pytest.fail(f"the exporter ended: {log.read_text()}")
