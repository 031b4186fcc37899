"""Processes under measurement for `make bench`: their CPU time and memory, and a hub in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

BIN = Path(sys.executable).parent


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


@contextmanager
def hub_process(store: Path, targets: Sequence[str] = ()) -> Iterator[HubProcess]:
    """Run a hub over a store that scrapes the targets."""
    ports = ["--port", "0", "--otlp-grpc-port", "0", "--otlp-http-port", "0"]
    command = [str(BIN / "foreshock"), "serve", *ports, "--store", str(store)]
    command += ["--targets", ",".join(targets)] if targets else []
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    try:
        page, grpc, http = (process.stdout.readline().split()[-1] for _ in range(3))
        yield HubProcess(pid=process.pid, url=page.rstrip("/"), endpoints=(grpc, http))
    finally:
        process.terminate()
        process.wait(60)
        process.stdout.close()
