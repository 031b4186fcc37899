"""`make bench`: the hub under 5,000 spans/s and 64 mock GPUs: what a user would feel, what it costs; then the exporter,
spans, the search for traces, and the simulator."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np

import bench_exporter
from bench_parts import parts
from foreshock_exporter.exporter import Exporter
from foreshock_exporter.script.mock import mock_network, open_script
from foreshock_exporter.web.server import serve

ROOT = Path(__file__).parent
BIN = Path(sys.executable).parent
GPUS_PER_HOST = 4
PATHS = (
    *("/api/now", "/api/services", "/api/gpus", "/api/contention", "/api/warnings", "/api/traces?order=slowest"),
    *("/api/pages/contention", "/api/pages/fleet?metric=nvlink&gpu=bench-0/gpu-0", "/api/csv/gpus"),
)
WARM_UP = 15.0
PAUSE = 0.05
OTHERS = (
    ("bench_day.py",),
    ("bench_spans.py",),
    ("bench_search.py", "--spans", "1000000"),  # of the ten million that its bar is for: they take minutes to write
    ("bench_core.py",),
    ("bench_tick.py", "--world"),
    ("bench_replay.py",),
    ("bench_page.py",),
    ("bench_simulate.py",),
    ("bench_simulate.py", "--size", "large", "--minutes", "2"),
)
"""Tables that processes of their own print."""
BAR_MS = 150.0
"""Milliseconds that every path's p95 has to stay under."""


@dataclass(frozen=True)
class HubProcess:
    """A running hub."""

    pid: int
    url: str
    otlp: str

    def cpu(self) -> float:
        """Seconds of CPU it has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> float:
        """Resident memory at its peak, MiB."""
        match = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{self.pid}/status").read_text())
        return int(match[1]) / 1024 if match else float("nan")


@contextmanager
def exporter(host: int) -> Iterator[str]:
    """A mock host in this process; gives its `host:port`."""
    played = open_script("contended", time.time)
    one = Exporter(
        played.driver,
        played.resolver,
        host_id=f"bench-{host}",
        host_name=f"bench-{host}",
        mock=True,
        host={"network": mock_network(time.time)},
    )
    one.start()
    with closing(one), closing(serve(one, "127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.port}"


@contextmanager
def hub_process(targets: list[str], folder: Path | None = None) -> Iterator[HubProcess]:
    """A hub of its own process that scrapes the targets; over the store in a folder, or a new one."""
    with tempfile.TemporaryDirectory(prefix="foreshock-bench-") as new:
        ports = ["--port", "0", "--otlp-grpc-port", "0", "--otlp-http-port", "0"]
        stored = ["--store", str(folder or new)]
        command = [str(BIN / "foreshock"), "serve", *ports, *stored, "--targets", ",".join(targets)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout
        try:
            told = [process.stdout.readline() for _ in range(3)]
            yield HubProcess(process.pid, told[0].split()[-1].rstrip("/"), told[2].split()[-1])
        finally:
            process.terminate()
            process.wait(30)


@contextmanager
def load(otlp: str, rate: int) -> Iterator[Path]:
    """A sender of its own process; gives the file that holds how many spans were accepted and how many refused."""
    with tempfile.TemporaryDirectory(prefix="foreshock-bench-") as folder:
        told = Path(folder) / "accepted"
        told.write_text("0 0")
        process = subprocess.Popen([sys.executable, str(ROOT / "send_spans.py"), otlp, str(rate), str(told)])
        try:
            yield told
        finally:
            process.terminate()
            process.wait(10)


def measure(url: str, seconds: float) -> dict[str, list[float]]:
    """Ask every path in turn, as a browser with a page open would; milliseconds of each answer."""
    timings: dict[str, list[float]] = {path: [] for path in PATHS}
    deadline = time.monotonic() + seconds
    with httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
        while time.monotonic() < deadline:
            for path in PATHS:
                begun = time.perf_counter()
                client.get(path).raise_for_status()
                timings[path].append((time.perf_counter() - begun) * 1000)
                time.sleep(PAUSE)
    return timings


def counts(told: Path) -> tuple[int, int]:
    """Spans accepted and refused so far."""
    accepted, refused = told.read_text().split() or ("0", "0")
    return int(accepted), int(refused)


def main() -> int:
    """Run the load, print the tables; 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=40.0, help="how long to measure")
    parser.add_argument("--spans", type=int, default=5000, help="spans per second")
    parser.add_argument("--gpus", type=int, default=64)
    options = parser.parse_args()
    for what, value, unit in parts():
        print(f"{what:<40}{value:>9.2f} {unit}")
    print()
    with ExitStack() as opened:
        targets = [opened.enter_context(exporter(i)) for i in range(options.gpus // GPUS_PER_HOST)]
        hub = opened.enter_context(hub_process(targets))
        told = opened.enter_context(load(hub.otlp, options.spans))
        print(f"{options.gpus} GPUs on {len(targets)} exporters, {options.spans} spans/s, {os.cpu_count()} cores")
        time.sleep(WARM_UP)
        cpu, (accepted, _), begun = hub.cpu(), counts(told), time.monotonic()
        timings = measure(hub.url, options.seconds)
        took = time.monotonic() - begun
        now, refused = counts(told)
        rate, used = (now - accepted) / took, (hub.cpu() - cpu) / took
        memory = hub.memory()
        tick = httpx.get(f"{hub.url}/api/status", trust_env=False).json()["hub"]["tick_seconds"]

    print(f"{'path':<28}{'answers':>8}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}")
    for path, values in timings.items():
        p50, p95, p99 = np.percentile(values, [50, 95, 99])
        print(f"{path:<28}{len(values):>8}{p50:>9.1f}{p95:>9.1f}{p99:>9.1f}")
    worst = max(float(np.percentile(values, 95)) for values in timings.values())
    print(
        f"spans accepted and kept: {rate:.0f}/s, refused {refused}; hub: {used:.2f} cores, {memory:.0f} MiB at its peak"
    )
    print(f"last tick: {tick * 1000:.0f} ms")
    held = worst < BAR_MS and rate > 0.95 * options.spans
    print(f"{'held' if held else 'MISSED'}: every p95 under {BAR_MS:.0f} ms (worst {worst:.0f}) at the full rate")
    print()
    held = bench_exporter.compare() and held
    for script, *flags in OTHERS:
        print(f"\n{' '.join([script, *flags])}", flush=True)
        held = subprocess.run([sys.executable, ROOT / script, *flags], check=False).returncode == 0 and held
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
