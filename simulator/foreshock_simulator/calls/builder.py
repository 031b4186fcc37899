"""Builds the operations and plans of services from their specs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from foreshock_simulator.calls.client import CallSite
from foreshock_simulator.calls.request import Operation, Plan, Step
from foreshock_simulator.calls.service import Service
from foreshock_simulator.calls.steps import Cache, CacheLookup, CpuWork, FanOut, ProbabilisticPlan, ServeModel
from foreshock_simulator.core.names import ServiceName
from foreshock_simulator.spec import services as specs
from foreshock_simulator.tracing import spans
from foreshock_simulator.tracing.service_graph import Counts

HTTP_PORT: Final = 8080
DATABASES: Final[Mapping[str, tuple[str, int]]] = {"database": ("postgresql", 5432), "cache": ("redis", 6379)}
"""Default `db.system.name` and port by kind of service."""


class Builder:
    """Builds operations and plans against the services of a mesh."""

    def __init__(self, services: Mapping[str, Service], caches: dict[str, Cache], counts: Counts) -> None:
        self._services, self._caches, self._counts = services, caches, counts

    def operation(self, service: specs.ServiceSpec, spec: specs.OperationSpec) -> Operation:
        """An operation without its plan.

        Databases and caches have no SERVER spans, only the CLIENT spans of callers.
        """
        instrumented = service.kind == "service"
        operation = Operation(spec.route, spec.request_bytes, spec.response_bytes, text=instrumented)
        if instrumented:
            durations = self._counts.span_durations(service.name, "server", spec.route)
            operation.template = spans.SpanTemplate(durations, spans.server_attributes(spec.route), database=False)
        return operation

    def plan(self, caller: Service, steps: Sequence[specs.Step]) -> Plan:
        """The plan of an operation.

        Raises:
            ValueError: a step calls an unknown service or operation.
        """
        return tuple(self._step(caller, step) for step in steps)

    def call_site(self, caller: ServiceName, call: specs.Call) -> CallSite:
        """A call of a service or tenant, with its fallback.

        Raises:
            ValueError: unknown service or operation.
        """
        policy, fallback = call.policy, None
        if policy.fallback is not None:
            service, route = policy.fallback
            single_attempt = specs.CallPolicy(policy.timeout, cancels=policy.cancels)
            fallback = self.call_site(caller, replace(call, service=service, route=route, policy=single_attempt))
        target, operation = self.find(call.service, call.route, f"{caller.name} calls")
        kind, name = target.spec.kind, target.name
        durations = self._counts.span_durations(caller, "client", call.route)
        attributes: spans.Attributes
        if kind == "service":
            edge = self._counts.edge(caller, name)
            attributes = spans.client_attributes(call.route, name.name, HTTP_PORT)
        else:
            edge = self._counts.edge(caller, ServiceName("", name.name), "database")
            system, port = DATABASES[kind]
            attributes = spans.database_attributes(call.route, target.spec.system or system, name.name, port)
        template = spans.SpanTemplate(durations, attributes, kind != "service")
        return CallSite(target, operation, policy, call.prompt_tokens, call.generated_tokens, template, edge, fallback)

    def find(self, service: str, route: str, subject: str) -> tuple[Service, Operation]:
        """A service and one of its operations, by name.

        Raises:
            ValueError: unknown service or operation; the message begins with `subject`.
        """
        target = self._services.get(service)
        if target is None:
            raise ValueError(
                f"{subject} {service!r}, but there is no such service; there are {', '.join(self._services)}"
            )
        operation = target.operations.get(route)
        if operation is None:
            offers = ", ".join(map(repr, target.operations)) or "nothing"
            raise ValueError(f"{subject} {route!r} of {service}, which offers {offers}")
        return target, operation

    def _step(self, caller: Service, step: specs.Step) -> Step:
        if isinstance(step, specs.Cpu):
            return CpuWork(step.median, step.spread)
        if isinstance(step, specs.Call):
            if caller.spec.kind != "service":
                raise ValueError(
                    f"{caller.name.name} is a {caller.spec.kind} and calls {step.service}; a {caller.spec.kind} makes "
                    "no calls: let its callers make them, or give it the kind service"
                )
            site = self.call_site(caller.name, step)
            caller.call_sites += [site] if site.fallback is None else [site, site.fallback]
            return site
        if isinstance(step, specs.Together):
            return FanOut([self.plan(caller, (branch,)) for branch in step.steps])
        if isinstance(step, specs.Sometimes):
            return ProbabilisticPlan(step.probability, self.plan(caller, step.steps))
        if isinstance(step, specs.Cached):
            cache = self._caches.setdefault(step.cache, Cache())
            return CacheLookup(cache, step.hit_ratio, step.refill, self.plan(caller, step.steps))
        if caller.spec.model is None:
            raise ValueError(f"{caller.name.name} has a Serve step but no model; give it one, or leave the step out")
        return ServeModel(step.variant)
