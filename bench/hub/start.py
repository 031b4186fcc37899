"""CPU seconds of a hub from its start until its receivers store spans, and then its page answers; part of `make bench`.

  .venv/bin/python -m bench.hub.start [--starts 3]

The store is new. The best of several starts counts, since other programs on the machine make the same work cost more.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from bench.support.figures import Figure, report
from bench.support.process import BIN, MeasuredProcess, free_ports
from bench.support.send_spans import batch

MAX_RECEIVER_SECONDS, MAX_PAGE_SECONDS, MAX_MIB = 1.0, 3.0, 250.0
PAUSE_SECONDS = 0.01
DEADLINE_SECONDS = 120.0
OTLP_HEADERS = {"Content-Type": "application/x-protobuf"}


def wait_for(answers: Callable[[], httpx.Response]) -> None:
    """Repeat a request until its status is 200."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        try:
            if answers().status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(PAUSE_SECONDS)
    sys.exit("no answer")


def start(store: Path) -> tuple[float, float, float]:
    """CPU seconds until the receivers and the page answer, and MiB that are resident then."""
    page, grpc, http = free_ports(3)
    ports = ["--port", str(page), "--otlp-grpc-port", str(grpc), "--otlp-http-port", str(http)]
    process = subprocess.Popen(
        [BIN / "foreshock", "serve", *ports, "--store-path", store],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    hub = MeasuredProcess(pid=process.pid)
    try:
        with httpx.Client(trust_env=False, timeout=30) as client:
            otlp = f"http://127.0.0.1:{http}/v1/traces"
            body = batch(random.Random(1), time.time_ns())  # noqa: S311 - no secret
            wait_for(lambda: client.post(otlp, content=body, headers=OTLP_HEADERS))
            receivers = hub.cpu_seconds()
            wait_for(lambda: client.get(f"http://127.0.0.1:{page}/"))
            return receivers, hub.cpu_seconds(), hub.memory_mib()
    finally:
        process.terminate()
        process.wait(60)


def main() -> int:
    """Print the table; returns 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="foreshock-bench-") as folder:
        runs = [start(Path(folder) / str(number)) for number in range(options.starts)]
    receivers, page, memory = map(min, zip(*runs, strict=True))
    return report(
        [
            Figure(name="Start until receivers store spans", value=receivers, unit="s", goal=MAX_RECEIVER_SECONDS),
            Figure(name="Start until the page responds", value=page, unit="s", goal=MAX_PAGE_SECONDS),
            Figure(name="Memory after the start", value=memory, unit="MiB", goal=MAX_MIB),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
