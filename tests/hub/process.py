"""Programs that the tests start, read and end."""

from __future__ import annotations

import os
import re
import signal
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

BIN = Path(sys.executable).parent
TLS = ssl.create_default_context()
"""For clients that ask over plain HTTP: to make one for each question takes longer than many an answer."""


class Process:
    """A started program whose output is read as it comes."""

    def __init__(self, command: list[str], env: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1, env=env
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.append(line.rstrip())

    @property
    def output(self) -> str:
        """All it has printed."""
        return "\n".join(self.lines)

    def find(self, pattern: str) -> str:
        """The first group of the pattern in what it printed, or ""."""
        match = re.search(pattern, self.output)
        return match[1] if match else ""

    def end(self, number: int = signal.SIGTERM, seconds: float = 20.0) -> int:
        """Send a signal, wait, and give the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            pytest.fail(f"did not end within {seconds} s:\n{self.output}")
        self._reader.join(5)
        if self.process.stdout:
            self.process.stdout.close()
        return code


class HubProcess(Process):
    """A running `foreshock serve`."""

    @classmethod
    def serving(
        cls, store: Path, *flags: str, env: dict[str, str] | None = None, files: int | None = None
    ) -> HubProcess:
        """Start one on ports that the system chooses; `env` is added to the environment; `files` it may have open."""
        ports = ["--port", "0", "--otlp-grpc-port", "0", "--otlp-http-port", "0"]
        command = [str(BIN / "foreshock"), "serve", *ports, "--store-path", str(store), *flags]
        if files is not None:
            command = ["sh", "-c", f'ulimit -n {files}; exec "$@"', "sh", *command]
        return cls(command, env={**os.environ, **(env or {})})

    @property
    def url(self) -> str:
        """The page's address, without a slash at the end."""
        return self.find(r"page\s+(http://\S+)/")

    @property
    def otlp(self) -> str:
        """Where spans go over HTTP."""
        return self.find(r"OTLP/HTTP\s+(\S+)")

    @property
    def grpc(self) -> str:
        """Where spans go over gRPC, `host:port`."""
        return self.find(r"OTLP/gRPC\s+(\S+)")

    def metric(self, name: str) -> float:
        """The value of a series of the hub's /metrics, written as there; 0 where there is none."""
        lines = self.get("/metrics").text.splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if line.rpartition(" ")[0] == name), 0.0)

    def memory(self, what: str = "VmRSS") -> float:
        """MiB of memory it has now, or with `VmHWM` at most since `forget_peak`."""
        found = re.search(rf"{what}:\s+(\d+)", Path(f"/proc/{self.process.pid}/status").read_text())
        assert found
        return int(found[1]) / 1024

    def forget_peak(self) -> None:
        """Let the most that it has had begin with what it has now."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def end_output(self) -> str:
        """All it printed, once it has ended."""
        self.process.wait(20)
        self._reader.join(5)
        return self.output

    def wait_for_page(self, seconds: float = 60.0) -> None:
        """Wait until the page's address has been printed and answers."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if self.url and self.get("/healthz").status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.02)
        pytest.fail(f"no page within {seconds} s:\n{self.output}")

    def get(self, path: str) -> httpx.Response:
        """Ask the hub. How long it takes is not judged here: the machine may be busy with other tests."""
        return httpx.get(self.url + path, timeout=90, trust_env=False, verify=TLS)

    def up(self) -> bool:
        """Whether it says that it can answer."""
        try:
            return bool(self.url) and self.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False
