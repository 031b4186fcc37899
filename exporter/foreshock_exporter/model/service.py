"""The service of a process."""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol

Source = Literal["otel", "ray", "kubernetes", "slurm", "systemd", "container", "executable", "simulated"]


class AttributedService(NamedTuple):
    """Service with the source of its name, and the id of the Slurm or Ray job that runs it, "" for none.

    sm_limit: share of the SMs that the process may use as an MPS client, 0 to 1; None without one set.
    """

    namespace: str
    name: str
    source: Source
    job: str = ""
    sm_limit: float | None = None


class Resolver(Protocol):
    """Resolves a PID of the host's namespace to its service; None if the process is gone or inaccessible."""

    def __call__(self, pid: int) -> AttributedService | None: ...
