"""`make bench`: latency and cost of the hub under 5,000 spans/s and 64 mock GPUs.

Then the exporter, the start and the memory of a hub, spans, the search for traces, and the simulator.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from operator import methodcaller
from pathlib import Path

import httpx
import numpy as np

import bench_exporter
from bench_parts import parts
from bench_process import REAL_TIME, clock_arguments, hub_process, measure
from foreshock_dashboard.common.clock import Clock, Now
from foreshock_exporter.exporter import Exporter
from foreshock_exporter.script.mock import mock_network, open_script
from foreshock_exporter.web.server import serve

ROOT = Path(__file__).parent
GPUS_PER_HOST = 4
PATHS = (
    *(
        "/api/now",
        "/api/services",
        "/api/gpus",
        "/api/contention",
        "/api/incidents",
        "/api/traces?order=slowest",
    ),
    *("/api/pages/contention", "/api/pages/fleet?metric=nvlink&gpu=bench-0/gpu-0", "/api/csv/gpus"),
)
WARM_UP_SECONDS = 15.0
PAUSE_SECONDS = 0.05
OTHERS = (
    ("bench_start.py",),
    ("bench_memory.py",),
    ("bench_day.py",),
    ("bench_spans.py",),
    ("bench_search.py", "--spans", "1000000"),  # of the ten million that its bar is for: they take minutes to write
    ("bench_core.py",),
    ("bench_tick.py", "--world"),
    ("bench_replay.py",),
    ("bench_explain.py",),
    ("bench_page.py",),
    ("bench_simulate.py",),
    ("bench_simulate.py", "--size", "large", "--minutes", "2"),
)
"""Benchmarks in further processes."""
MAX_P95_MS = 150.0


@contextmanager
def exporter(host: int, now: Now = time.time) -> Iterator[str]:
    """A mock host in this process; gives its `host:port`."""
    script = open_script("contended", now)
    mock = Exporter(
        script.driver,
        script.resolver,
        host_id=f"bench-{host}",
        host_name=f"bench-{host}",
        mock=True,
        host={"network": mock_network(now)},
    )
    mock.start()
    with closing(mock), closing(serve(mock, "127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.port}"


@contextmanager
def load(endpoint: str, rate: float, clock: Clock = REAL_TIME) -> Iterator[Path]:
    """A sender in another process, on a clock; gives the file with the numbers of accepted and refused spans."""
    with tempfile.TemporaryDirectory(prefix="foreshock-bench-") as folder:
        counts_file = Path(folder) / "accepted"
        counts_file.write_text("0 0")
        command = [sys.executable, str(ROOT / "send_spans.py"), endpoint, str(rate), str(counts_file)]
        process = subprocess.Popen([*command, *clock_arguments(clock)])
        try:
            yield counts_file
        finally:
            process.terminate()
            process.wait(10)


def counts(counts_file: Path) -> tuple[int, int]:
    """Spans accepted and refused so far."""
    accepted, refused = counts_file.read_text().split() or ("0", "0")
    return int(accepted), int(refused)


def main() -> int:
    """Run the load and print the tables; returns 1 if a limit is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=40.0, help="duration of the measurement")
    parser.add_argument("--spans", type=int, default=5000, help="spans per second")
    parser.add_argument("--gpus", type=int, default=64)
    options = parser.parse_args()
    for name, value, unit in parts():
        print(f"{name:<40}{value:>9.2f} {unit}")
    print()
    with ExitStack() as opened:
        targets = [opened.enter_context(exporter(i)) for i in range(options.gpus // GPUS_PER_HOST)]
        store = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="foreshock-bench-")))
        hub = opened.enter_context(hub_process(store, targets))
        counts_file = opened.enter_context(load(hub.endpoints[1], options.spans))
        print(f"{options.gpus} GPUs on {len(targets)} exporters, {options.spans} spans/s, {os.cpu_count()} cores")
        time.sleep(WARM_UP_SECONDS)
        cpu, (accepted, _), started = hub.cpu_seconds(), counts(counts_file), time.monotonic()
        requests = {path: methodcaller("get", path) for path in PATHS}
        timings = measure(hub.url, requests, options.seconds, PAUSE_SECONDS)
        took = time.monotonic() - started
        now, refused = counts(counts_file)
        rate, cores = (now - accepted) / took, (hub.cpu_seconds() - cpu) / took
        memory = hub.memory_mib("VmHWM")
        tick = httpx.get(f"{hub.url}/api/status", trust_env=False).json()["hub"]["evaluation_seconds"]

    print(f"{'path':<28}{'answers':>8}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}")
    for path, values in timings.items():
        p50, p95, p99 = np.percentile(values, [50, 95, 99])
        print(f"{path:<28}{len(values):>8}{p50:>9.1f}{p95:>9.1f}{p99:>9.1f}")
    worst = max(float(np.percentile(values, 95)) for values in timings.values())
    print(f"spans accepted and kept: {rate:.0f}/s, refused {refused}")
    print(f"hub: {cores:.2f} cores, {memory:.0f} MiB at its peak")
    print(f"last evaluation: {tick * 1000:.0f} ms")
    held = worst < MAX_P95_MS and rate > 0.95 * options.spans
    print(f"{'held' if held else 'MISSED'}: every p95 under {MAX_P95_MS:.0f} ms (worst {worst:.0f}) at the full rate")
    print()
    held = bench_exporter.compare() and held
    for script, *flags in OTHERS:
        print(f"\n{' '.join([script, *flags])}", flush=True)
        held = subprocess.run([sys.executable, ROOT / script, *flags], check=False).returncode == 0 and held
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
