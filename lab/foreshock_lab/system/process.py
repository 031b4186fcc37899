"""Processes of a system, each in a control group, with its output in a file."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from foreshock_lab.system.cgroups import Cgroup

START_SECONDS = 120.0
"""Limit of the start of a process, on a machine that is busy with others."""
STOP_SECONDS = 10.0


class StartError(Exception):
    """A process did not start. The message has its name and the end of its output."""


class Process:
    """A replica: a process that can be started again, always in the same control group.

    Args:
        name: of the pod.
        command: program and arguments.
        env: environment besides PATH and HOME.
        ready: whether it answers.
        user: Unix user to run as.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        env: Mapping[str, str],
        folder: Path,
        ready: Callable[[], bool],
        *,
        user: str | None = None,
        cores: float = 1.0,
        memory: int = 256 << 20,
    ) -> None:
        self.name, self.ready = name, ready
        self.restarts = 0
        self.wanted = False
        """Whether it should run: false before the start and after `stop`."""
        self.started = 0.0
        """Unix time of the last start."""
        self._command, self.env, self._user = list(command), dict(env), user
        self.added_env: Mapping[str, str] = {}
        self._log = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.cgroup = Cgroup(f"{time.time_ns() // 1000}-{name}")
        self.cgroup.cpu_limit(cores)
        self.cgroup.memory_limit(memory)

    @property
    def pid(self) -> int:
        """Process id; that of the last process if it has ended.

        Raises:
            ProcessLookupError: it was never started.
        """
        if self._process is None:
            raise ProcessLookupError(f"{self.name} was not started")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the process without waiting for it."""
        base = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env={**base, **self.env, **self.added_env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=self._user,
                group=self._user,
                extra_groups=[] if self._user else None,
                cwd="/",
            )
        self.cgroup.add(self._process.pid)
        self.started, self.wanted = time.time(), True

    def wait_ready(self, seconds: float = START_SECONDS) -> None:
        """Wait until it answers.

        Raises:
            StartError: it ended, or does not answer in time.
        """
        deadline = time.monotonic() + seconds
        while not self.ready():
            if not self.running or time.monotonic() > deadline:
                lines = self._log.read_text(errors="replace").splitlines()[-12:]
                raise StartError("\n".join((f"{self.name} did not start:", *lines)))
            time.sleep(0.1)

    def stop(self, *, kill: bool = False) -> None:
        """End the process, and wait for its end."""
        self.wanted = False
        if self._process is None or not self.running:
            return
        self._process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        """End the process and remove its control group."""
        self.stop()
        self.cgroup.remove()


def listens(address: str, *ports: int) -> bool:
    """Whether something accepts connections on all ports."""
    for port in ports:
        try:
            socket.create_connection((address, port), 1.0).close()
        except OSError:
            return False
    return True
