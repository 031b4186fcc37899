"""A request on its way, what it asks for, and how it fails."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final, NamedTuple

from foreshock_simulator.core.engine import (Engine, Process, Signal)
from foreshock_simulator.tracing.spans import NOT_TRIED, TIMED_OUT, Shape

if TYPE_CHECKING:
    from foreshock_simulator.calls.interfaces import Job
    from foreshock_simulator.calls.steps import Plan
    from foreshock_simulator.tracing.service_graph import Edge

TOKEN_BYTES: Final = 5
"""Of text, for one token, as JSON carries it."""


class Failed(Exception):  # noqa: N818 - an outcome of a request, not a defect
    """The request cannot be answered; `status` is what its caller gets."""

    def __init__(self, status: int) -> None:
        super().__init__(f"failed with {status}")
        self.status = status


def answer_after(status: int) -> int:
    """What a service answers whose call failed like this: 504 after a time-out, 503 behind a breaker, else 502."""
    if status in (TIMED_OUT, 504):
        return 504
    return 503 if status == NOT_TRIED else 502


class Operation:
    """Something a service does when asked. `text` says whether prompts and answers travel with it.

    `shape` is that of its spans, None where the service makes none.
    """

    __slots__ = ("plan", "request_bytes", "response_bytes", "route", "shape", "text")

    def __init__(self, route: str, request_bytes: int, response_bytes: int, *, text: bool) -> None:
        self.route, self.request_bytes, self.response_bytes, self.text = route, request_bytes, response_bytes, text
        self.plan: Plan = ()
        self.shape: Shape | None = None


class Request(Signal):
    """One attempt of a caller, at one replica. It fires with the status, or when the caller stops waiting.

    `trace` is 0 where the trace is not sampled; `parent` is the caller's span, 0 for a user's. `span`, `arrived`,
    `process` and `job` are the callee's.
    """

    __slots__ = (
        "arrived", "edge", "generated", "job", "operation", "origin", "parent", "process", "prompt", "span", "trace",
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
        origin: str,
        edge: Edge | None,
    ) -> None:
        self._engine, self.waiter, self.fired = engine, None, False  # as `Signal` does, without the call
        self.operation, self.trace, self.parent, self.edge = operation, trace, parent, edge
        self.prompt, self.generated, self.origin = prompt, generated, origin
        self.process: Process | None = None
        self.job: Job | None = None


class Unit(NamedTuple):
    """A unit of work that nobody asked for, and from which calls are made: those say how many tokens they have."""

    trace: int
    span: int
    began: float
    prompt: int = sys.maxsize
    generated: int = sys.maxsize
