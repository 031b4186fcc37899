"""The calling side: attempts, back-off, budgets, breakers, fallbacks, cancellation, and CLIENT spans."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from foreshock_simulator.calls.policies import Admission, Breaker, RetryBudget
from foreshock_simulator.calls.request import TOKEN_BYTES, Failed, Operation, Request, Unit, answer_after
from foreshock_simulator.core.engine import Process
from foreshock_simulator.tracing.spans import (  # fmt: skip
    CANCELLED,
    NOT_TRIED,
    OK,
    REFUSED,
    TIMED_OUT,
    Attributes,
    Shape,
    SimSpan,
)

if TYPE_CHECKING:
    from random import Random

    from foreshock_simulator.calls.mesh import Mesh
    from foreshock_simulator.calls.replica import Replica
    from foreshock_simulator.calls.service import Service
    from foreshock_simulator.spec.services import CallPolicy
    from foreshock_simulator.tracing.service_graph import Edge

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


class Attempt(Request):
    """A request as its caller knows it: how it was made. `replica` is None where none was ready."""

    __slots__ = ("line", "policy", "replica", "resend", "sent")

    line: Line
    policy: CallPolicy
    replica: Replica | None
    sent: float
    resend: int


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
        breaker = None if policy.breaker is None else self.breaker(line.target, policy)
        budget = None if policy.retry_budget is None else self._budget(line.target, policy.retry_budget)
        status, tried = NOT_TRIED, 0
        admission: Admission = "yes"
        attempt: Attempt | None = None  # under way
        try:
            for resend in range(policy.attempts):
                if resend:
                    if budget is not None and not budget.retry(engine.now):
                        break
                    yield self._rng.random() * policy.backoff * 2 ** (resend - 1)
                elif budget is not None:
                    budget.first(engine.now)
                if breaker is not None:
                    admission = breaker.admit(engine.now)
                    if admission == "no":
                        break
                attempt = self._send(origin, line, policy, resend)
                status = yield attempt
                self._end(origin, attempt, status)
                attempt = None
                if breaker is not None:
                    breaker.told(engine.now, admission, status != OK)
                if status == OK:
                    return
                tried = resend + 1
            if line.fallback is not None:
                breaker = None
                attempt = self._send(origin, line.fallback, line.fallback.policy, 0)
                answer = yield attempt
                self._end(origin, attempt, answer)
                attempt = None
                if answer == OK:
                    if self._mesh.counts.on and tried:
                        fallbacks, name = line.edge.fallbacks, line.fallback.edge.server
                        fallbacks[name] = fallbacks.get(name, 0) + tried
                    return
        except GeneratorExit:
            if attempt is not None:
                if attempt.replica is not None:
                    attempt.fire(CANCELLED)
                    self._end(origin, attempt, CANCELLED)
                if breaker is not None:
                    breaker.told(engine.now, admission, None)
            raise
        if policy.required:
            raise Failed(answer_after(status))

    def _budget(self, callee: Service, ratio: float) -> RetryBudget:
        found = self._budgets.get((callee, ratio))
        if found is None:
            found = self._budgets[callee, ratio] = RetryBudget(ratio)
        return found

    def _send(self, origin: Request | Unit, line: Line, policy: CallPolicy, resend: int) -> Attempt:
        """Begin an attempt; where no replica is ready, it is refused in a moment."""
        mesh = self._mesh
        engine = mesh.engine
        now = engine.now
        mesh.numbered = number = mesh.numbered + 1
        replica = line.target.pick()
        prompt, generated, operation = origin.prompt, origin.generated, line.operation
        if line.prompt is not None and line.prompt < prompt:
            prompt = line.prompt
        if line.generated is not None and line.generated < generated:
            generated = line.generated
        attempt = Attempt(engine, operation, origin.trace, number, prompt, generated, self.host, line.edge)
        attempt.line, attempt.policy, attempt.replica = line, policy, replica
        attempt.sent, attempt.resend = now, resend
        if replica is None:
            engine.at(now + REFUSAL_SECONDS, attempt.fire, REFUSED)
            return attempt
        size = operation.request_bytes
        if operation.text:
            size += TOKEN_BYTES * prompt
        replica.inbound += 1
        engine.at(now + mesh.network.message(self.host, replica.host, size), replica.accept, attempt)
        mesh.deadlines.set(policy.timeout, attempt)
        return attempt

    def _end(self, origin: Request | Unit, attempt: Attempt, status: int) -> None:
        """An attempt is over for its caller: the CLIENT span; a process that was killed tells none."""
        mesh = self._mesh
        engine, line, replica = mesh.engine, attempt.line, attempt.replica
        now = engine.now
        if replica is not None:
            policy = attempt.policy
            mesh.deadlines.lift(policy.timeout, attempt)
            if policy.cancels and status in (TIMED_OUT, CANCELLED):
                engine.at(now + mesh.network.message(self.host, replica.host, CONTROL_BYTES), replica.cancel, attempt)
        if self.ended:
            return
        if attempt.trace:
            mesh.spans.append(
                SimSpan(
                    attempt.trace,
                    attempt.parent,
                    origin.span,
                    line.shape,
                    self.resource,
                    attempt.sent,
                    now,
                    status,
                    attempt.resend,
                    None,
                    mesh.epoch_ns,
                )
            )
        if mesh.counts.on:
            edge, durations, seconds = line.edge, line.shape.durations, now - attempt.sent
            edge.requests += 1
            edge.client_seconds.append(seconds)
            if attempt.resend:
                edge.retries += 1
            if status == OK:
                durations.answered.append(seconds)
            else:
                edge.failed += 1
                durations.failed.append(seconds)
