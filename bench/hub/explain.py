"""`foreshock explain` on an hour of fifty services, and `foreshock recording import` of a million samples.

The recording has what a shop on Kubernetes exports: span metrics and a service graph with histograms, cAdvisor, and
process metrics of two pods per service, every 15 s. Its thirtieth service is slow and throttled at the end.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bench.support.figures import Figure, report
from foreshock_dashboard.model.samples import labels_of
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.recording import openmetrics
from foreshock_dashboard.recording.convert import import_files
from foreshock_dashboard.recording.reader import Recording
from foreshock_dashboard.recording.writer import RecordingWriter
from foreshock_dashboard.replay.explain import explain_recording

START, STEP_SECONDS, HOUR_SECONDS = 1_767_600_000.0, 15.0, 3600.0
FAULT_SECONDS = 3000.0
BOUNDS = ("0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1.0", "2.5", "5.0", "+Inf")
PODS, FANOUT = 2, 3
MAX_EXPLAIN_CPU_SECONDS, MAX_IMPORT_CPU_SECONDS = 3.0, 3.0


def series(services: int, times: Floats) -> Iterator[tuple[str, dict[str, str], Floats]]:
    """Metric, labels, and values at `times` (seconds after the start) of every series."""
    chance, root_cause = np.random.default_rng(1), 30 % services
    during = times >= FAULT_SECONDS
    callees = {client: {(client * FANOUT + 1 + k) % services for k in range(FANOUT)} for client in range(services)}
    affected = {client for client, servers in callees.items() if root_cause in servers}

    def noisy(level: float) -> Floats:
        return level * (1 + 0.05 * chance.standard_normal(len(times)))

    def counter(rates: Floats) -> Floats:
        return np.cumsum(chance.poisson(np.maximum(rates, 0.0) * STEP_SECONDS)).astype(np.float64)

    def histogram(name: str, labels: dict[str, str], mean: Floats) -> Iterator[tuple[str, dict[str, str], Floats]]:
        requests = noisy(20.0)
        for bound in BOUNDS:
            share = 1.0 - np.exp(-float(bound) / mean) if bound != "+Inf" else np.ones(len(times))
            yield f"{name}_bucket", labels | {"le": bound}, np.cumsum(np.rint(requests * STEP_SECONDS * share))
        count = np.cumsum(np.rint(requests * STEP_SECONDS))
        yield f"{name}_count", labels, count
        yield f"{name}_sum", labels, np.cumsum(np.rint(requests * STEP_SECONDS) * mean)

    for number in range(services):
        name = f"svc-{number}"
        factor = 10.0 if number == root_cause else 4.0 if number in affected else 1.0
        mean = noisy(0.05) * np.where(during, factor, 1.0)
        served = {"service_name": name, "service_namespace": "shop", "span_kind": "SPAN_KIND_SERVER"}
        yield "traces_span_metrics_calls_total", served | {"status_code": "STATUS_CODE_UNSET"}, counter(noisy(20.0))
        yield from histogram("traces_span_metrics_duration_seconds", served, mean)
        for callee in callees[number]:
            edge = {"client": name, "server": f"svc-{callee}"}
            yield "traces_service_graph_request_total", edge, counter(noisy(10.0))
            slow = np.where(during & (callee == root_cause), 10.0, 1.0)
            yield from histogram("traces_service_graph_request_client_seconds", edge, noisy(0.05) * slow)
        for pod in range(PODS):
            place = {"namespace": "shop", "pod": f"{name}-6c5bd6d5f4-x2x{pod}k", "container": name}
            throttled = np.where(during & (number == root_cause), 8.0, 0.05)
            yield "container_cpu_usage_seconds_total", place, np.cumsum(noisy(4.0))
            yield "container_cpu_cfs_periods_total", place, counter(noisy(10.0))
            yield "container_cpu_cfs_throttled_periods_total", place, counter(throttled)
            yield "container_memory_working_set_bytes", place, noisy(3e8)
            yield "container_network_receive_bytes_total", place, np.cumsum(noisy(1e6))
            yield "process_open_fds", place, np.rint(noisy(40.0))
            yield "go_goroutines", place, np.rint(noisy(80.0))
            yield "up", {"job": name, "instance": f"10.0.{number}.{pod}:8080"}, np.ones(len(times))


def write(folder: Path, services: int) -> int:
    """Write the recording and return its number of samples."""
    times = np.arange(0.0, HOUR_SECONDS, STEP_SECONDS)
    stamps, samples = np.rint((START + times) * 1000).astype(np.int64), 0
    with RecordingWriter(folder) as writer:
        for metric, labels, values in series(services, times):
            number = writer.series(metric, labels_of(labels))
            writer.add(np.full(len(values), number, np.int32), stamps, values)
            samples += len(values)
    return samples


def main() -> int:
    """Print the figures; returns 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--services", type=int, default=50)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="foreshock-bench-") as parent:
        folder, text = Path(parent) / "recording", Path(parent) / "metrics.om"
        samples = write(folder, options.services)
        slowest = 0.0
        with Recording(folder) as recording:
            for service in (None, "svc-9"):  # one of the callers of the root cause
                began, cpu = time.monotonic(), time.process_time()
                found = explain_recording(recording, service, START + FAULT_SECONDS + 120.0)
                explain_cpu, took = time.process_time() - cpu, time.monotonic() - began
                slowest = max(slowest, explain_cpu)
                first = str(found.candidates[0].service) if found.candidates else "none"
                question = f"explain {service or 'all'} of {options.services} services, {samples:,} samples"
                print(f"{question}: {explain_cpu:.2f} s of CPU, {took:.2f} s; first candidate: {first}")
            with text.open("wb") as file:
                for _ in openmetrics.write(recording, file):
                    pass
        began, cpu = time.monotonic(), time.process_time()
        imported = import_files(text, None, Path(parent) / "imported", lambda *_: None).samples / 1e6
        import_cpu, took = (time.process_time() - cpu) / imported, (time.monotonic() - began) / imported
        print(f"import: {import_cpu:.2f} s of CPU, {took:.2f} s per million samples")
    return report(
        [
            Figure(name="`foreshock explain`", value=slowest, unit="s", goal=MAX_EXPLAIN_CPU_SECONDS),
            Figure(name="Import of a million samples", value=import_cpu, unit="s", goal=MAX_IMPORT_CPU_SECONDS),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
