"""The calling side: attempts, back-off, budgets, breakers, fallbacks, cancellation, and CLIENT spans."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from foreshock_simulator.calls.policies import Admission, Breaker, RetryBudget
from foreshock_simulator.calls.request import TOKEN_BYTES, Failed, Operation, Request, Unit, answer_after
from foreshock_simulator.calls.tracing import (
    CANCELLED,
    NOT_TRIED,
    OK,
    REFUSED,
    TIMED_OUT,
    Attributes,
    Shape,
    SimSpan,
)  # fmt: skip
from foreshock_simulator.engine import Process, Signal

if TYPE_CHECKING:
    from random import Random

    from foreshock_simulator.calls.counting import Edge
    from foreshock_simulator.calls.mesh import Mesh
    from foreshock_simulator.calls.replica import Replica
    from foreshock_simulator.calls.service import Service
    from foreshock_simulator.spec.services import CallPolicy

CONTROL_BYTES: Final = 100
"""Of a message that only tells that a connection ends."""
REFUSAL_SECONDS: Final = 0.0002
"""Until a caller learns that no replica is ready."""


class Line:
    """A call as a service makes it: whom it asks what, and how. The policy may change; fallback is another line."""

    __slots__ = ("edge", "fallback", "generated", "operation", "policy", "prompt", "shape", "target")

    def __init__(
        self,
        target: Service,
        operation: Operation,
        policy: CallPolicy,
        tokens: tuple[int | None, int | None],
        shape: Shape,
        edge: Edge,
        fallback: Line | None,
    ) -> None:
        self.target, self.operation, self.policy, self.shape, self.edge = target, operation, policy, shape, edge
        self.prompt, self.generated = tokens
        self.fallback = fallback


class Caller:
    """A process that makes calls. Budgets and breakers are its own, one for each callee and setting."""

    __slots__ = ("_breakers", "_budgets", "_mesh", "_rng", "ended", "host", "resource")

    def __init__(self, mesh: Mesh, rng: Random, host: str, resource: Attributes) -> None:
        self._mesh, self._rng, self.host, self.resource = mesh, rng, host, resource
        self.ended = False
        self._budgets: dict[tuple[Service, float], RetryBudget] = {}
        self._breakers: dict[tuple[Service, int, float], Breaker] = {}

    def breaker(self, callee: Service, policy: CallPolicy) -> Breaker | None:
        """The breaker to a callee, where the policy has one."""
        if policy.breaker is None:
            return None
        key = callee, policy.breaker, policy.breaker_open
        found = self._breakers.get(key)
        if found is None:
            found = self._breakers[key] = Breaker(policy.breaker, policy.breaker_open)
        return found

    def ask(self, origin: Request | Unit, line: Line) -> Process:
        """Make a call in the name of a request (or a unit of work), to be yielded from.

        Raises:
            Failed: all attempts and the fallback failed, and the call is required.
        """
        policy, engine = line.policy, self._mesh.engine
        breaker = self.breaker(line.target, policy)
        budget = None if policy.retry_budget is None else self._budget(line.target, policy.retry_budget)
        status, tried = NOT_TRIED, 0
        for resend in range(policy.attempts):
            if resend:
                if budget is not None and not budget.retry(engine.now):
                    break
                yield self._rng.random() * policy.backoff * 2 ** (resend - 1)
            elif budget is not None:
                budget.first(engine.now)
            if breaker is None:
                status = yield from self._attempt(origin, line, policy, resend)
            else:
                admission = breaker.admit(engine.now)
                if admission == "no":
                    break
                status = yield from self._guarded(origin, line, policy, resend, breaker, admission)
            if status == OK:
                return
            tried = resend + 1
        if line.fallback is not None:
            instead = line.fallback
            if (yield from self._attempt(origin, instead, instead.policy, 0)) == OK:
                if self._mesh.counts.on and tried:
                    fallbacks, name = line.edge.fallbacks, instead.edge.server
                    fallbacks[name] = fallbacks.get(name, 0) + tried
                return
        if policy.required:
            raise Failed(answer_after(status))

    def _budget(self, callee: Service, ratio: float) -> RetryBudget:
        found = self._budgets.get((callee, ratio))
        if found is None:
            found = self._budgets[callee, ratio] = RetryBudget(ratio)
        return found

    def _guarded(
        self,
        origin: Request | Unit,
        line: Line,
        policy: CallPolicy,
        resend: int,
        breaker: Breaker,
        admission: Admission,
    ) -> Process:
        """An attempt whose outcome a breaker hears."""
        failed = None
        try:
            status: int = yield from self._attempt(origin, line, policy, resend)
            failed = status != OK
        finally:
            breaker.told(self._mesh.engine.now, admission, failed)
        return status

    def _attempt(self, origin: Request | Unit, line: Line, policy: CallPolicy, resend: int) -> Process:
        """One attempt; gives the status."""
        mesh = self._mesh
        engine = mesh.engine
        began = engine.now
        mesh.numbered = number = mesh.numbered + 1
        replica = line.target.pick()
        status: int
        if replica is None:
            yield REFUSAL_SECONDS
            status = REFUSED
        else:
            prompt, generated, operation = origin.prompt, origin.generated, line.operation
            if line.prompt is not None and line.prompt < prompt:
                prompt = line.prompt
            if line.generated is not None and line.generated < generated:
                generated = line.generated
            size = operation.request_bytes
            if operation.text:
                size += TOKEN_BYTES * prompt
            reply = Signal(engine)
            request = Request(operation, origin.trace, number, prompt, generated, self.host, reply, line.edge)
            replica.inbound += 1
            engine.at(began + mesh.network.message(self.host, replica.host, size), replica.accept, request)
            mesh.deadlines.set(policy.timeout, reply)
            try:
                status = yield reply
            except GeneratorExit:
                reply.fire(CANCELLED)
                if policy.cancels:
                    self._cancel(replica, request)
                self._record(origin, line, number, began, CANCELLED, resend)
                raise
            if status == TIMED_OUT and policy.cancels:
                self._cancel(replica, request)
        self._record(origin, line, number, began, status, resend)
        return status

    def _cancel(self, replica: Replica, request: Request) -> None:
        mesh = self._mesh
        mesh.engine.at(
            mesh.engine.now + mesh.network.message(self.host, replica.host, CONTROL_BYTES), replica.cancel, request
        )

    def _record(self, origin: Request | Unit, line: Line, number: int, began: float, status: int, resend: int) -> None:
        """The CLIENT span; a process that was killed tells none."""
        if self.ended:
            return
        mesh = self._mesh
        now = mesh.engine.now
        if origin.trace:
            mesh.spans.append(
                SimSpan(
                    origin.trace,
                    number,
                    origin.span,
                    line.shape,
                    self.resource,
                    began,
                    now,
                    status,
                    resend,
                    None,
                    mesh.epoch_ns,
                )
            )
        if mesh.counts.on:
            edge, durations, seconds = line.edge, line.shape.durations, now - began
            edge.requests += 1
            edge.client_seconds.append(seconds)
            if resend:
                edge.retries += 1
            if status == OK:
                durations.answered.append(seconds)
            else:
                edge.failed += 1
                durations.failed.append(seconds)
