"""The service of a process."""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol

Source = Literal["otel", "ray", "kubernetes", "slurm", "systemd", "container", "executable", "simulated"]


class MpsProcess(NamedTuple):
    """What a process says of MPS.

    sm_limit, memory_limit: share of the SMs, 0 to 1, and bytes of device memory that its environment leaves to it as a
    client, or to the clients of a server; None without a limit. is_server: whether it is a server. has_daemon: whether
    the control daemon that started this server still runs; None if that is unknown.
    """

    sm_limit: float | None = None
    memory_limit: float | None = None
    is_server: bool = False
    has_daemon: bool | None = None


class AttributedService(NamedTuple):
    """Service with the source of its name, and the id of the Slurm or Ray job that runs it, "" for none."""

    namespace: str
    name: str
    source: Source
    job: str = ""
    mps: MpsProcess = MpsProcess()


class Resolver(Protocol):
    """Resolves a PID of the host's namespace to its service; None if the process is gone or inaccessible."""

    def __call__(self, pid: int) -> AttributedService | None: ...
