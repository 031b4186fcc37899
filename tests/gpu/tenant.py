"""Control of a process that uses a GPU on demand; spin.py is that process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]


class Work(NamedTuple):
    """What a tenant got done: kernels, and in how many seconds."""

    kernels: float
    seconds: float

    @property
    def rate(self) -> float:
        """Kernels per second."""
        return self.kernels / self.seconds


class Tenant:
    """One running process of a service."""

    def __init__(self, service: str, running: subprocess.Popen[str]) -> None:
        self.service = service
        self._running = running
        self.pid = int(self.answer("pid"))

    def calibrate(self, seconds: float) -> int:
        """For how many iterations a kernel takes so long."""
        self.order(f"calibrate {seconds}")
        return int(self.answer("iterations"))

    def order(self, line: str) -> None:
        """Have it begin."""
        assert self._running.stdin is not None
        self._running.stdin.write(f"{line}\n")
        self._running.stdin.flush()

    def work(self) -> Work:
        """What it answers to an order to run, once it has."""
        answer = self._read()
        return Work(answer["kernels"], answer["seconds"])

    def answer(self, key: str) -> float:
        """One value of its answer."""
        return self._read()[key]

    def _read(self) -> dict[str, float]:
        assert self._running.stdout is not None
        line = self._running.stdout.readline()
        if not line:
            _, error = self._running.communicate(timeout=30)
            raise RuntimeError(f"{self.service} ended with {self._running.returncode}: {error.strip()}")
        found: dict[str, float] = json.loads(line)
        return found


@contextmanager
def tenant(service: str, uuid: str, *arguments: str) -> Iterator[Tenant]:
    """A process of the service with a context on the GPU, which ends with the block."""
    named = {"OTEL_SERVICE_NAME": service, "CUDA_VISIBLE_DEVICES": uuid, "PYTHONPATH": str(ROOT)}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    with subprocess.Popen(
        [sys.executable, "-m", "tests.gpu.spin", *arguments],
        cwd=ROOT,
        env={**inherited, **named},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        try:
            yield Tenant(service, running)
        finally:
            running.kill()
            running.communicate()


def at_once(tenants: Sequence[Tenant], seconds: float, iterations: int) -> list[Work]:
    """What each gets done while all of them run."""
    for each in tenants:
        each.order(f"run {seconds} {iterations}")
    return [each.work() for each in tenants]
