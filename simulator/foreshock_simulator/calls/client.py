"""The client side of calls: attempts, retries, fallbacks, cancellation, and CLIENT spans."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import Final, Protocol

from foreshock_simulator.calls.mesh_state import MeshState
from foreshock_simulator.calls.policies import Admission, CircuitBreaker, RetryBudget
from foreshock_simulator.calls.request import TOKEN_BYTES, CallFailed, Operation, Request, UnitOfWork, response_status
from foreshock_simulator.core.engine import Process
from foreshock_simulator.core.names import ServiceName
from foreshock_simulator.spec.services import CallPolicy
from foreshock_simulator.tracing import spans
from foreshock_simulator.tracing.service_graph import Edge
from foreshock_simulator.tracing.spans import OK, SimSpan

CONTROL_BYTES: Final = 100
"""Size of a message that only closes a connection."""
REFUSAL_SECONDS: Final = 0.0002
"""Time until a caller learns that no replica is ready."""


class Endpoint(Protocol):
    """A replica as its callers see it. `inbound` counts requests on the network towards it."""

    host: str
    inbound: int

    def accept(self, request: Request, /) -> None:
        """Take a request that has arrived."""

    def cancel(self, request: Request, /) -> None:
        """Stop working on a request."""


class Callee(Protocol):
    """A service as its callers see it."""

    name: ServiceName

    def pick(self) -> Endpoint | None:
        """The replica for the next request; None when no replica is ready."""


@dataclass(slots=True, eq=False)
class CallSite:
    """A call in the plan of a caller: target operation, policy, and token limits. `policy` may change at run time."""

    target: Callee
    operation: Operation
    policy: CallPolicy
    prompt: int | None
    generated: int | None
    template: spans.SpanTemplate
    edge: Edge
    fallback: CallSite | None

    def run(self, caller: Caller, request: Request) -> Process:
        """Make the call; see `Step`."""
        return caller.call(request, self)


class Attempt(Request):
    """A request with its caller's side.

    `endpoint` is None when no replica was ready; `resend` counts earlier attempts.
    """

    __slots__ = ("endpoint", "policy", "resend", "sent", "site")

    site: CallSite
    policy: CallPolicy
    endpoint: Endpoint | None
    sent: float
    resend: int


class Caller:
    """A process that makes calls. It has its own retry budget and circuit breaker for each callee and setting.

    prompts, timeouts: factors on the length of the prompts that it sends, and on the timeouts of its calls.
    """

    def __init__(
        self,
        mesh: MeshState,
        rng: Random,
        host: str,
        resource: spans.Attributes,
        prompts: float = 1.0,
        timeouts: float = 1.0,
    ) -> None:
        self._mesh, self._rng, self.host, self.resource = mesh, rng, host, resource
        self._prompts, self._timeouts = prompts, timeouts
        self.ended = False
        self._budgets: dict[tuple[Callee, float], RetryBudget] = {}
        self._breakers: dict[tuple[Callee, int, float], CircuitBreaker] = {}

    def breaker(self, callee: Callee, policy: CallPolicy) -> CircuitBreaker | None:
        """The circuit breaker towards a callee; None when the policy has no breaker."""
        if policy.breaker is None:
            return None
        key = callee, policy.breaker, policy.breaker_open
        breaker = self._breakers.get(key)
        if breaker is None:
            breaker = self._breakers[key] = CircuitBreaker(policy.breaker, policy.breaker_open)
        return breaker

    def call(self, parent: Request | UnitOfWork, site: CallSite) -> Process:
        """Make a call as part of `parent`; to be used with `yield from`.

        Raises:
            CallFailed: all attempts and the fallback failed, and the call is required.
        """
        policy, engine = self._policy(site), self._mesh.engine
        breaker = None if policy.breaker is None else self.breaker(site.target, policy)
        budget = None if policy.retry_budget is None else self._budget(site.target, policy.retry_budget)
        status, failed_attempts = spans.BREAKER_OPEN, 0
        admission: Admission = "yes"
        attempt: Attempt | None = None  # in flight
        try:
            for resend in range(policy.attempts):
                if resend:
                    if budget is not None and not budget.take_retry(engine.now):
                        break
                    yield self._rng.random() * policy.backoff * 2 ** (resend - 1)
                elif budget is not None:
                    budget.count_first_attempt(engine.now)
                if breaker is not None:
                    admission = breaker.admit(engine.now)
                    if admission == "no":
                        break
                attempt = self._send(parent, site, policy, resend)
                status = yield attempt
                self._finish(parent, attempt, status)
                attempt = None
                if breaker is not None:
                    breaker.record(engine.now, admission, status != OK)
                if status == OK:
                    return
                failed_attempts = resend + 1
            if site.fallback is not None:
                breaker = None
                attempt = self._send(parent, site.fallback, self._policy(site.fallback), 0)
                fallback_status = yield attempt
                self._finish(parent, attempt, fallback_status)
                attempt = None
                if fallback_status == OK:
                    if self._mesh.counts.enabled and failed_attempts:
                        fallbacks, name = site.edge.fallbacks, site.fallback.edge.server
                        fallbacks[name] = fallbacks.get(name, 0) + failed_attempts
                    return
        except GeneratorExit:
            if attempt is not None:
                if attempt.endpoint is not None:
                    attempt.fire(spans.CANCELLED)
                    self._finish(parent, attempt, spans.CANCELLED)
                if breaker is not None:
                    breaker.record(engine.now, admission, None)
            raise
        if policy.required:
            raise CallFailed(response_status(status))

    def _policy(self, site: CallSite) -> CallPolicy:
        policy = site.policy
        return policy if self._timeouts == 1.0 else replace(policy, timeout=policy.timeout * self._timeouts)

    def _budget(self, callee: Callee, ratio: float) -> RetryBudget:
        budget = self._budgets.get((callee, ratio))
        if budget is None:
            budget = self._budgets[callee, ratio] = RetryBudget(ratio)
        return budget

    def _send(self, parent: Request | UnitOfWork, site: CallSite, policy: CallPolicy, resend: int) -> Attempt:
        """Start an attempt. Without a ready replica it fires with `REFUSED` after `REFUSAL_SECONDS`."""
        mesh = self._mesh
        engine = mesh.engine
        now = engine.now
        mesh.last_span_number = number = mesh.last_span_number + 1
        endpoint = site.target.pick()
        prompt, generated, operation = parent.prompt, parent.generated, site.operation
        if site.prompt is not None and site.prompt < prompt:
            prompt = site.prompt
        if self._prompts != 1.0:
            prompt = round(prompt * self._prompts)
        if site.generated is not None and site.generated < generated:
            generated = site.generated
        attempt = Attempt(engine, operation, parent.trace, number, prompt, generated, self.host, site.edge)
        attempt.site, attempt.policy, attempt.endpoint = site, policy, endpoint
        attempt.sent, attempt.resend = now, resend
        if endpoint is None:
            engine.schedule(now + REFUSAL_SECONDS, attempt.fire, spans.REFUSED)
            return attempt
        size = operation.request_bytes
        if operation.text:
            size += TOKEN_BYTES * prompt
        endpoint.inbound += 1
        engine.schedule(now + mesh.network.message(self.host, endpoint.host, size), endpoint.accept, attempt)
        mesh.deadlines.set(policy.timeout, attempt)
        return attempt

    def _finish(self, parent: Request | UnitOfWork, attempt: Attempt, status: int) -> None:
        """End an attempt on the caller's side: cancel it at the callee, record the CLIENT span and the counts.

        A caller that has ended records nothing.
        """
        mesh = self._mesh
        engine, site, endpoint = mesh.engine, attempt.site, attempt.endpoint
        now = engine.now
        if endpoint is not None:
            policy = attempt.policy
            mesh.deadlines.lift(policy.timeout, attempt)
            if policy.cancels and status in (spans.TIMED_OUT, spans.CANCELLED):
                delay = mesh.network.message(self.host, endpoint.host, CONTROL_BYTES)
                engine.schedule(now + delay, endpoint.cancel, attempt)
        if self.ended:
            return
        if attempt.trace:
            span = SimSpan(
                attempt.trace, attempt.parent, parent.span, site.template, self.resource, attempt.sent, now, status,
                attempt.resend, None, mesh.epoch_ns,
            )  # fmt: skip
            mesh.spans.append(span)
        if mesh.counts.enabled:
            edge, durations, seconds = site.edge, site.template.durations, now - attempt.sent
            edge.requests += 1
            edge.client_seconds.append(seconds)
            if attempt.resend:
                edge.retries += 1
            if status == OK:
                durations.answered.append(seconds)
            else:
                edge.failed += 1
                durations.failed.append(seconds)
