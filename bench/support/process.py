"""Measurements of `make bench`: CPU time and memory of processes, a hub in its own process, and latency of answers."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import httpx

from foreshock_dashboard.common.clock import Clock

Request = Callable[[httpx.Client], httpx.Response]
BIN = Path(sys.executable).parent
STOP_SECONDS = 60
"""Time for a hub to end after SIGTERM, before SIGKILL."""
REAL_TIME = Clock()


@dataclass(kw_only=True)
class MeasuredProcess:
    """A running process."""

    pid: int

    def cpu_seconds(self) -> float:
        """CPU time so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_mib(self, line: str = "VmRSS") -> float:
        """Resident memory in MiB; its peak with `VmHWM`."""
        match = re.search(rf"{line}:\s+(\d+)", Path(f"/proc/{self.pid}/status").read_text())
        return int(match[1]) / 1024 if match else float("nan")


@dataclass(kw_only=True)
class HubProcess(MeasuredProcess):
    """A running hub: URL of its page, and its OTLP endpoints over gRPC and HTTP."""

    url: str
    endpoints: tuple[str, str]


def clock_arguments(clock: Clock) -> list[str]:
    """The arguments by which another process makes the same clock."""
    return [repr(part) for part in (clock.speed, clock.origin, clock.wall_origin)]


def free_ports(count: int) -> list[int]:
    """Different ports of loopback at which nothing listens."""
    with ExitStack() as opened:
        servers = [opened.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [server.getsockname()[1] for server in servers]


def end_processes_when_ended() -> None:
    """Let SIGTERM and SIGHUP raise SystemExit, so that `finally` ends the processes that this one started."""

    def leave(number: int, _: FrameType | None) -> None:
        for each in signals:
            signal.signal(each, signal.SIG_IGN)  # a second one would cut the ending short
        sys.exit(128 + number)

    signals = (signal.SIGTERM, signal.SIGHUP)
    for each in signals:
        signal.signal(each, leave)


@contextmanager
def hub_process(
    store: Path, targets: Sequence[str] = (), flags: Sequence[str] = (), clock: Clock = REAL_TIME
) -> Iterator[HubProcess]:
    """Run a hub over a store that scrapes the targets, with further flags, on a clock."""
    ports = ["--port", "0", "--otlp-grpc-port", "0", "--otlp-http-port", "0"]
    command = [str(BIN / "foreshock"), "serve"]
    if clock != REAL_TIME:
        command = [sys.executable, "-m", "bench.support.accelerated_hub", *clock_arguments(clock)]
    command += [*ports, "--store-path", str(store)]
    command += ["--targets", ",".join(targets)] if targets else []
    command += flags
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    try:
        page, grpc, http = (process.stdout.readline().split()[-1] for _ in range(3))
        yield HubProcess(pid=process.pid, url=page.rstrip("/"), endpoints=(grpc, http))
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def measure(
    url: str, requests: Mapping[str, Request], seconds: float, pause_seconds: float = 0.0
) -> dict[str, list[float]]:
    """Send requests in turn, as a browser with an open page; returns the milliseconds of every answer by name."""
    timings: dict[str, list[float]] = {name: [] for name in requests}
    deadline = time.monotonic() + seconds
    with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        while time.monotonic() < deadline:
            for name, request in requests.items():
                started = time.perf_counter()
                answer = request(client)
                timings[name].append(1000 * (time.perf_counter() - started))
                if answer.status_code != 200:
                    sys.exit(f"{name}: {answer.status_code} {answer.text[:300]}")
                time.sleep(pause_seconds)
    return timings
