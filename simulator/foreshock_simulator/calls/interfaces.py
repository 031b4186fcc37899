"""Interfaces of hosts, network and model servers as the services use them."""

from __future__ import annotations

from typing import Protocol, TypeVar

from foreshock_simulator.core.engine import Signal
from foreshock_simulator.core.names import ServiceName


class Network(Protocol):
    """Carries messages between hosts."""

    def message(self, source: str, target: str, size: int, /) -> float:
        """Send `size` bytes from host to host now; returns the seconds until they have arrived."""
        ...


class Host(Protocol):
    """A machine that runs processes."""

    @property
    def name(self) -> str: ...

    @property
    def host_id(self) -> str: ...

    def start(self, service: ServiceName, /) -> int:
        """Start a process of the service; returns its pid."""
        ...

    def stop(self, pid: int, /) -> None:
        """End a process."""
        ...


class Worker(Protocol):
    """The GPU process of a replica."""

    slowdown: float
    """Factor on the duration of its own work; 1 is normal."""

    @property
    def pid(self) -> int: ...


class Job(Protocol):
    """A request at a model server."""

    @property
    def done(self) -> Signal:
        """Fires with True when the job is finished, with False when the server rejected it."""
        ...

    @property
    def queued_seconds(self) -> float | None: ...

    @property
    def first_token_seconds(self) -> float | None:
        """Time to first token since submission; None before."""
        ...


J = TypeVar("J", bound=Job)


class Model(Protocol[J]):
    """The model server of one replica."""

    def submit(self, prompt_tokens: int, generated_tokens: int, variant: str, /) -> J: ...

    def cancel(self, job: J, /) -> None:
        """Stop working on a job; no effect on a finished one."""
        ...
