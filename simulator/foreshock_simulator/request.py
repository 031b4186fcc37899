"""What goes from service to service: operations, requests, and how a call fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from foreshock_simulator.engine import Process, Signal
from foreshock_simulator.machine import Machine
from foreshock_simulator.span import AttributeValue

if TYPE_CHECKING:
    from foreshock_simulator.mesh import Context

TIMED_OUT = 0
"""Stands for the status that never came."""

Attributes = dict[str, AttributeValue]


class CallFailed(Exception):  # noqa: N818 - an outcome of a call, not a defect
    """A call failed in all its attempts. `status` is what its caller answers in turn."""

    def __init__(self, status: int) -> None:
        super().__init__(f"call failed with {status}")
        self.status = 504 if status in (TIMED_OUT, 504) else 502


class Operation(NamedTuple):
    """Something a service does when asked. `route` reads `POST /v1/chat`; the handler is a process."""

    service: str
    route: str
    handler: Callable[[Context], Process]
    request_bytes: int = 900
    response_bytes: int = 900


class Request(NamedTuple):
    """A request on its way. `parent_id` is the caller's span; `reply` is None where a user outside waits."""

    operation: Operation
    trace_id: str
    parent_id: str
    arrived: float
    prompt_tokens: int
    generated_tokens: int
    origin: Machine | None
    reply: Signal | None

    @property
    def abandoned(self) -> bool:
        """Whether its caller has stopped waiting."""
        return self.reply is not None and self.reply.fired
