"""Latency of the API and cost of the hub under 5,000 spans/s and 64 mock GPUs."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from operator import methodcaller
from pathlib import Path

import httpx
import numpy as np

from bench.support.figures import Figure, report
from bench.support.process import hub_process, measure
from bench.support.sources import GPUS_PER_HOST, counts, exporter, load

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
MAX_P95_MS, MAX_CORES, MAX_MIB, MAX_EVALUATION_SECONDS = 100.0, 0.5, 512.0, 0.5


def main() -> int:
    """Run the load and print the tables; returns 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=40.0, help="duration of the measurement")
    parser.add_argument("--spans", type=int, default=5000, help="spans per second")
    parser.add_argument("--gpus", type=int, default=64)
    options = parser.parse_args()
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
    print(f"spans accepted and kept: {rate:.0f}/s, refused {refused}")
    worst = max(float(np.percentile(values, 95)) for values in timings.values())
    return report(
        [
            Figure(name="p95 of the slowest response", value=worst, unit="ms", goal=MAX_P95_MS, is_latency=True),
            Figure(name="CPU of the hub", value=100 * cores, unit="% of a core", goal=100 * MAX_CORES),
            Figure(name="Peak memory", value=memory, unit="MiB", goal=MAX_MIB),
            Figure(name="An evaluation", value=tick, unit="s", goal=MAX_EVALUATION_SECONDS, is_latency=True),
            Figure(name="Spans accepted", value=rate, unit="/s", goal=0.95 * options.spans, more_is_better=True),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
