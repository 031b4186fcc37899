"""What calls need of hosts, the network and model servers, and no more."""

from __future__ import annotations

from typing import Protocol, TypeVar

from foreshock_simulator.core.engine import Signal
from foreshock_simulator.core.names import ServiceName


class Network(Protocol):
    """Carries messages between hosts, by their names."""

    def message(self, source: str, target: str, size: int, /) -> float:
        """Send `size` bytes now; the seconds until they have arrived."""
        ...


class Host(Protocol):
    """Where processes run."""

    @property
    def name(self) -> str: ...

    @property
    def host_id(self) -> str: ...

    def start(self, service: ServiceName, /) -> int:
        """Begin a process of the service; its pid."""
        ...

    def stop(self, pid: int, /) -> None:
        """End it."""
        ...


class Worker(Protocol):
    """The process of a replica that has GPUs."""

    slow: float
    """Times that its own work takes longer than usual."""

    @property
    def pid(self) -> int: ...


class Job(Protocol):
    """A request to a model, on its way through its server."""

    @property
    def done(self) -> Signal:
        """Fires with True, or with False where the server refused."""
        ...

    @property
    def queued_seconds(self) -> float | None: ...

    @property
    def first_token_seconds(self) -> float | None:
        """Since it was submitted; None while there is none."""
        ...


J = TypeVar("J", bound=Job)


class Model(Protocol[J]):
    """What serves a model to one replica."""

    def submit(self, prompt_tokens: int, generated_tokens: int, variant: str, /) -> J: ...

    def cancel(self, job: J, /) -> None:
        """Stop working on it; nothing where it is over."""
        ...
