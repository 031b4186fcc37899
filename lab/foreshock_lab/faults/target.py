"""What faults need of a running system (`foreshock_lab.system.System` has it)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from foreshock_lab.topology.model import Topology


class Usage(Protocol):
    """Use and limits of a cgroup: CPU in seconds and cores, memory in bytes; infinite without a limit."""

    @property
    def cpu_seconds(self) -> float:
        """CPU time so far."""

    @property
    def cpu_cores(self) -> float:
        """Limit of CPU time per second."""

    @property
    def memory(self) -> float:
        """Memory in use."""

    @property
    def memory_limit(self) -> float:
        """Limit of memory."""


class Cgroup(Protocol):
    """Control group of a replica."""

    def add(self, pid: int) -> None:
        """Move a process into the group."""

    def cpu_limit(self, cores: float | None) -> None:
        """Limit the CPU time per second; None: no limit."""

    def memory_limit(self, size: int | None) -> None:
        """Limit the memory in bytes; None: no limit."""

    def usage(self) -> Usage:
        """Its use and limits."""


class Replica(Protocol):
    """A process of a service."""

    @property
    def pid(self) -> int:
        """Process id."""

    @property
    def running(self) -> bool:
        """Whether the process lives."""

    @property
    def cgroup(self) -> Cgroup:
        """Its control group."""


class Service(Protocol):
    """A running service."""

    @property
    def replicas(self) -> Sequence[Replica]:
        """Its processes."""


class System(Protocol):
    """A running system, whose ended processes start again on their own."""

    @property
    def topology(self) -> Topology:
        """Its description."""

    @property
    def postgres(self) -> str:
        """Connection string of PostgreSQL."""

    @property
    def valkey(self) -> tuple[str, int]:
        """Address and port of Valkey."""

    @property
    def prometheus_pid(self) -> int:
        """Process id of Prometheus."""

    def service(self, name: str) -> Service:
        """The service of that name."""

    def address(self, name: str) -> str:
        """IP address of a service."""

    def volume(self, name: str) -> Path:
        """Folder to which a service or store writes."""

    def behave(self, name: str, **behavior: Any) -> None:  # noqa: ANN401 - JSON
        """Change the behavior of a service from its next request on; without arguments, restore it."""

    def stop(self, name: str, replica: int = 0, *, kill: bool = False) -> None:
        """End a replica; it does not start again on its own."""

    def start(
        self, name: str, replica: int = 0, version: str | None = None, env: Mapping[str, str] | None = None
    ) -> None:
        """Start a replica, and return when it is ready. `env` holds for later starts as well."""

    def resolve(self, name: str, *, works: bool) -> None:
        """Have the name of a service resolve, or not."""

    def load(self, rate_factor: float = 1.0, prompt_factor: float = 1.0, output_factor: float = 1.0) -> None:
        """Set factors on the arrival rate and on the length of prompts and outputs."""
