"""All services of a platform, the users that call them from outside, and the tenants beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from foreshock_simulator.calls.builder import Builder
from foreshock_simulator.calls.client import Caller, CallSite
from foreshock_simulator.calls.mesh_state import MeshState
from foreshock_simulator.calls.request import CallFailed, Host, Network, Operation, Request, UnitOfWork
from foreshock_simulator.calls.service import Service
from foreshock_simulator.calls.steps import Cache
from foreshock_simulator.core.engine import Engine, Process
from foreshock_simulator.core.names import ServiceName
from foreshock_simulator.core.randomness import random_stream
from foreshock_simulator.spec.platform import FlowSpec
from foreshock_simulator.spec.services import Call, ServiceSpec
from foreshock_simulator.tracing import spans
from foreshock_simulator.tracing.service_graph import USER

USER_BACKOFF_SECONDS: Final = 1.0
"""Longest wait of a user before the first retry; it doubles with each further one."""


class Tenant(Caller):
    """A process of a tenant with its calls, in the order of its spec.

    Set `ended` when the process is killed: it then records no further spans.
    """

    def __init__(
        self, mesh: MeshState, name: ServiceName, host: Host, pid: int, call_sites: Mapping[Call, CallSite]
    ) -> None:
        rng = random_stream(mesh.seed, f"tenant/{name}/{host.name}/{pid}")
        super().__init__(mesh, rng, host.name, spans.resource_attributes(name, "", host.name, host.host_id, pid))
        self._name, self.call_sites = name, call_sites

    def begin(self) -> UnitOfWork:
        """Start a unit of work."""
        mesh = self._mesh
        mesh.last_span_number = number = mesh.last_span_number + 1
        return UnitOfWork(mesh.new_trace(), number, mesh.engine.now)

    def try_call(self, unit: UnitOfWork, call: Call) -> Process:
        """Make one of its calls; to be used with `yield from`. Returns whether the call succeeded."""
        try:
            yield from self.call(unit, self.call_sites[call])
        except CallFailed:
            return False
        return True

    def end(self, unit: UnitOfWork, name: str, attributes: spans.Attributes) -> None:
        """End a unit of work and record its INTERNAL span, the parent of its calls."""
        mesh = self._mesh
        if self.ended:
            return
        now = mesh.engine.now
        durations = mesh.counts.span_durations(self._name, "internal", name)
        if unit.trace:
            template = spans.SpanTemplate(durations, {}, database=False)
            span = spans.SimSpan(
                unit.trace, unit.span, 0, template, self.resource, unit.began, now, spans.OK, 0, attributes,
                mesh.epoch_ns,
            )  # fmt: skip
            mesh.spans.append(span)
        if mesh.counts.enabled:
            durations.answered.append(now - unit.began)


class Mesh(MeshState):
    """Services that call each other; arguments as in `MeshState`. Messages of users take no time.

    Each user request counts as `entered` and then once as `answered`, `failed` (its last attempt failed) or `given_up`
    (its last attempt timed out). `attempts` counts all attempts of users.
    """

    def __init__(
        self, engine: Engine, seed: int, epoch_ns: int, network: Network, *, sample: float = 1.0, count: bool = False
    ) -> None:
        super().__init__(engine, seed, epoch_ns, network, sample=sample, count=count)
        self.services: dict[str, Service] = {}
        self.caches: dict[str, Cache] = {}
        self.entered = self.answered = self.failed = self.given_up = self.attempts = 0
        self._user_rng = random_stream(seed, "users")
        self._builder = Builder(self.services, self.caches, self.counts)

    @property
    def open(self) -> int:
        """User requests in flight."""
        return self.entered - self.answered - self.failed - self.given_up

    def deploy(self, specs: Iterable[ServiceSpec]) -> None:
        """Add services without replicas. They may call each other and the services deployed before.

        Raises:
            ValueError: a name is taken, or a call goes to an unknown service or operation.
        """
        added: list[Service] = []
        for spec in specs:
            if spec.name.name in self.services:
                raise ValueError(f"there are two services called {spec.name.name!r}; rename one")
            service = self.services[spec.name.name] = Service(self, spec)
            service.operations = {
                operation.route: self._builder.operation(spec, operation) for operation in spec.operations
            }
            added.append(service)
        for service in added:
            for operation in service.spec.operations:
                service.operations[operation.route].plan = self._builder.plan(service, operation.steps)

    def flush(self, cache: str) -> None:
        """Empty a cache.

        Raises:
            ValueError: unknown cache.
        """
        if cache not in self.caches:
            raise ValueError(f"there is no cache {cache!r}; there are {', '.join(self.caches) or 'none'}")
        self.caches[cache].fill_ratio = 0.0

    def enter(self, flow: FlowSpec, prompt_tokens: int, generated_tokens: int) -> None:
        """Start a request of a user.

        Raises:
            ValueError: unknown service or operation.
        """
        service, operation = self._builder.find(flow.service, flow.route, f"flow {flow.name} asks")
        self.entered += 1
        self.engine.spawn(self._user(flow, service, operation, prompt_tokens, generated_tokens))

    def tenant(self, name: ServiceName, host: Host, pid: int, calls: Sequence[Call]) -> Tenant:
        """A tenant process that makes these calls. Calls without token counts have 0 tokens.

        Raises:
            ValueError: unknown service or operation.
        """
        sites = {}
        for call in calls:
            prompt, generated = call.prompt_tokens or 0, call.generated_tokens or 0
            limited = replace(call, prompt_tokens=prompt, generated_tokens=generated)
            sites[call] = self._builder.call_site(name, limited)
        return Tenant(self, name, host, pid, sites)

    def _user(self, flow: FlowSpec, service: Service, operation: Operation, prompt: int, generated: int) -> Process:
        """Make up to `flow.attempts` attempts. An attempt that times out is not cancelled at the platform."""
        status = spans.TIMED_OUT
        edge = self.counts.edge(USER, service.name, "virtual_node")
        for attempt in range(flow.attempts):
            if attempt:
                yield self._user_rng.random() * USER_BACKOFF_SECONDS * 2 ** (attempt - 1)
            self.attempts += 1
            replica = service.pick()
            if replica is None:
                status = spans.REFUSED
                continue
            replica.inbound += 1
            request = Request(self.engine, operation, self.new_trace(), 0, prompt, generated, "", edge)
            replica.accept(request)
            self.deadlines.set(flow.timeout, request)
            status = yield request
            self.deadlines.lift(flow.timeout, request)
            if status == spans.OK:
                break
        if status == spans.OK:
            self.answered += 1
        elif status == spans.TIMED_OUT:
            self.given_up += 1
        else:
            self.failed += 1
