"""`check`: one system and one fault in about two minutes, and whether users, metrics, and recording show it."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from foreshock_dashboard.recording.reader import Recording
from foreshock_lab.system.system import System, UserRequest
from foreshock_lab.topology.draw import draw

NORMAL_SECONDS, FAULT_SECONDS = 50.0, 60.0
SEED = 0
DELAY_SECONDS = 1.0
MAX_BYTES = 300 << 10
EXPECTED = (
    "up",
    "traces_service_graph_request_total",
    "traces_span_metrics_duration_seconds_bucket",
    "vllm:num_requests_running",
    "container_cpu_usage_seconds_total",
    "kube_deployment_status_replicas_ready",
    "process_resident_memory_bytes",
    "db_client_connections_usage",
    "pg_stat_activity_count",
    "redis_keyspace_hits_total",
    "node_netstat_Tcp_RetransSegs",
)
"""One metric of each producer."""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's options."""
    parser = commands.add_parser("check", help="run one system with one fault for two minutes, and check its recording")
    parser.set_defaults(command=check)


def check(_: argparse.Namespace) -> int:
    """Delay the payment service, and compare what users see before and after; 1 if anything is missing."""
    topology = draw(SEED)
    slow = next(spec.name for spec in topology.services if spec.role == "payment")
    with tempfile.TemporaryDirectory(prefix="foreshock-lab-") as base:
        folder, out = Path(base) / "system", Path(base) / "recording"
        with System(topology, folder) as system:
            print(f"{topology.name}: {len(topology.services)} services, {len(system.edges)} with calls", flush=True)
            start = time.time()
            time.sleep(NORMAL_SECONDS)
            system.behave(slow, delay_seconds=DELAY_SECONDS)
            fault = time.time()
            print(f"{slow} waits {DELAY_SECONDS:g} s longer", flush=True)
            time.sleep(FAULT_SECONDS)
            end = time.time()
            system.record(out, start, end, {"kind": "slow_handler", "root_cause": slow, "start": fault, "end": end})
            failed = sum(not item.succeeded for item in system.user_requests(start, fault))
            before, after = (
                _seconds(system.user_requests(*span), "buy") for span in ((start, fault), (fault, end - 5.0))
            )
        with Recording(out) as recording:
            names = {series.metric for series in recording.series}
            spans = recording.meta.spans
        size = sum(path.stat().st_size for path in out.iterdir())
    findings = {
        f"{failed} failed requests without the fault": failed == 0,
        f"users wait {before:.2f} s for a purchase, {after:.2f} s with the fault": after > before + DELAY_SECONDS / 2,
        f"missing metrics: {', '.join(sorted(set(EXPECTED) - names)) or 'none'}": set(EXPECTED) <= names,
        f"{spans} spans": spans > 0,
        f"recording of {size / 1024:.0f} KiB (limit {MAX_BYTES / 1024:.0f} KiB)": size <= MAX_BYTES,
    }
    for finding, fine in findings.items():
        print(f"{'ok' if fine else 'FAILED':<7}{finding}")
    return 0 if all(findings.values()) else 1


def _seconds(requests: Sequence[UserRequest], operation: str) -> float:
    """Median latency of an operation in seconds; 0 without requests."""
    return median([item.seconds for item in requests if item.operation == operation] or [0.0])
