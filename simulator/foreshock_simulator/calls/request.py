"""Requests, the operations that they invoke, and the interfaces of hosts, network and model servers."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from foreshock_simulator.core.engine import Engine, Process, Signal
from foreshock_simulator.core.names import ServiceName
from foreshock_simulator.tracing.service_graph import Edge
from foreshock_simulator.tracing.spans import BREAKER_OPEN, TIMED_OUT, SpanTemplate

TOKEN_BYTES: Final = 5
"""Bytes of text per token in JSON."""


class Network(Protocol):
    """Carries messages between hosts."""

    def message(self, source: str, target: str, size: int, /) -> float:
        """Send `size` bytes from host to host now; returns the seconds until they have arrived."""


class Host(Protocol):
    """A machine that runs processes."""

    name: str
    host_id: str

    def start(self, service: ServiceName, /) -> int:
        """Start a process of the service; returns its pid."""

    def stop(self, pid: int, /) -> None:
        """End a process."""


class Worker(Protocol):
    """The GPU process of a replica. `slowdown` is the factor on the duration of its work; 1 is normal."""

    pid: int
    slowdown: float


class Job(Protocol):
    """A request at a model server. Times are since submission, and None until they are known."""

    done: Signal
    """Fires with True when the job is finished, with False when the server rejected it."""
    queued_seconds: float | None
    first_token_seconds: float | None


J = TypeVar("J", bound=Job)


class Model(Protocol[J]):
    """The model server of one replica."""

    def submit(self, prompt_tokens: int, generated_tokens: int, variant: str, /) -> J: ...

    def cancel(self, job: J, /) -> None:
        """Stop working on a job; no effect on a finished one."""


class CallFailed(Exception):  # noqa: N818 - an outcome of a request, not a defect
    """A request fails; `status` is the HTTP status for its caller."""

    def __init__(self, status: int) -> None:
        super().__init__(f"failed with {status}")
        self.status = status


def response_status(status: int) -> int:
    """HTTP status of a service after its required call ended with `status`.

    504 after a timeout, 503 with an open circuit breaker, else 502.
    """
    if status in (TIMED_OUT, 504):
        return 504
    return 503 if status == BREAKER_OPEN else 502


class Step(Protocol):
    """One step of an operation."""

    def run(self, replica: Any, request: Request, /) -> Process:  # noqa: ANN401 - steps differ in what they need of it
        """Run in a replica, for a request; to be used with `yield from`.

        Raises:
            CallFailed: the request fails with this step.
        """


Plan = tuple[Step, ...]


@dataclass(slots=True, eq=False)
class Operation:
    """An operation of a service.

    `text`: whether messages carry the prompt and the generated text. `template`: of its SERVER spans, None without.
    """

    route: str
    request_bytes: int
    response_bytes: int
    text: bool
    plan: Plan = ()
    template: SpanTemplate | None = None


class Request(Signal):
    """One attempt of a call, at one replica. It fires with the status, or when the caller stops waiting.

    `trace` is 0 in a trace that is not sampled. `parent` is the span number of the caller, 0 for a user. The callee
    sets `span`, `arrived`, `process` and `job`.
    """

    __slots__ = (
        "arrived", "caller_host", "edge", "generated", "job", "operation", "parent", "process", "prompt", "span",
        "trace",
    )  # fmt: skip

    span: int
    arrived: float

    def __init__(
        self,
        engine: Engine,
        operation: Operation,
        trace: int,
        parent: int,
        prompt: int,
        generated: int,
        caller_host: str,
        edge: Edge | None,
    ) -> None:
        self._engine, self.waiter, self.fired = engine, None, False  # as in `Signal`, without the call
        self.operation, self.trace, self.parent, self.edge = operation, trace, parent, edge
        self.prompt, self.generated, self.caller_host = prompt, generated, caller_host
        self.process: Process | None = None
        self.job: Job | None = None


class UnitOfWork(NamedTuple):
    """Work that no request triggered, as the parent of calls. Without a limit on their tokens."""

    trace: int
    span: int
    began: float
    prompt: int = sys.maxsize
    generated: int = sys.maxsize
