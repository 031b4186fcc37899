"""Which service a process belongs to."""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol

Source = Literal["otel", "kubernetes", "slurm", "systemd", "container", "executable", "simulated"]


class AttributedService(NamedTuple):
    """A service and which of the sources named it."""

    namespace: str
    name: str
    source: Source


class Resolver(Protocol):
    """Finds the service of a process; None when the process is gone or may not be looked at."""

    def __call__(self, pid: int) -> AttributedService | None:
        """Look the process up by its pid in the host's namespace."""
        ...
