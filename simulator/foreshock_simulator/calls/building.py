"""Makes running services of their specifications."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from foreshock_simulator.calls.cache import Cache
from foreshock_simulator.calls.client import Line
from foreshock_simulator.calls.request import Operation
from foreshock_simulator.calls.steps import Chance, FanOut, Infer, Lookup, Plan, Work
from foreshock_simulator.core.names import ServiceName
from foreshock_simulator.spec.services import (
    Cached,
    Call,
    CallPolicy,
    Cpu,
    OperationSpec,
    ServiceSpec,
    Sometimes,
    Step,
    Together,
)  # fmt: skip
from foreshock_simulator.tracing.service_graph import Counts
from foreshock_simulator.tracing.spans import (  # fmt: skip
    Attributes,
    Shape,
    client_attributes,
    database_attributes,
    server_attributes,
)

if TYPE_CHECKING:
    from foreshock_simulator.calls.service import Service

HTTP_PORT: Final = 8080
DATABASES: Final[Mapping[str, tuple[str, int]]] = {"database": ("postgresql", 5432), "cache": ("redis", 6379)}
"""What a kind of service is, in the terms of `db.system.name`, and its port."""


class Builder:
    """Turns steps into plans of the services of a mesh."""

    def __init__(self, services: Mapping[str, Service], caches: dict[str, Cache], counts: Counts) -> None:
        self._services, self._caches, self._counts = services, caches, counts

    def operation(self, spec: ServiceSpec, offered: OperationSpec) -> Operation:
        """An operation without its plan. Databases and caches send no spans of their own; only their callers tell."""
        own = spec.kind == "service"
        made = Operation(offered.route, offered.request_bytes, offered.response_bytes, text=own)
        if own:
            durations = self._counts.of_spans(spec.name, "server", offered.route)
            made.shape = Shape(durations, server_attributes(offered.route), database=False)
        return made

    def plan(self, caller: Service, steps: Sequence[Step]) -> Plan:
        """The steps of one of a service's operations.

        Raises:
            ValueError: they ask for what nobody offers.
        """
        return tuple(self._step(caller, step) for step in steps)

    def line(self, caller: ServiceName, call: Call) -> Line:
        """A call that a service, or a tenant, makes.

        Raises:
            ValueError: nobody offers what is asked.
        """
        policy, instead = call.policy, None
        if policy.fallback is not None:
            once = CallPolicy(policy.timeout, cancels=policy.cancels)
            service, route = policy.fallback
            instead = self.line(caller, Call(service, route, once, call.prompt_tokens, call.generated_tokens))
        target, operation = self.find(call.service, call.route, f"{caller.name} calls")
        kind, name = target.spec.kind, target.name
        durations = self._counts.of_spans(caller, "client", call.route)
        attributes: Attributes
        if kind == "service":
            edge = self._counts.of_calls(caller, name)
            attributes = client_attributes(call.route, name.name, HTTP_PORT)
        else:
            edge = self._counts.of_calls(caller, ServiceName("", name.name), "database")
            system, port = DATABASES[kind]
            attributes = database_attributes(call.route, target.spec.system or system, name.name, port)
        shape = Shape(durations, attributes, kind != "service")
        return Line(target, operation, policy, (call.prompt_tokens, call.generated_tokens), shape, edge, instead)

    def find(self, service: str, route: str, who: str) -> tuple[Service, Operation]:
        """A service and one of its operations, by name.

        Raises:
            ValueError: there is none; says `who` asked.
        """
        target = self._services.get(service)
        if target is None:
            raise ValueError(f"{who} {service!r}, but there is no such service; there are {', '.join(self._services)}")
        operation = target.operations.get(route)
        if operation is None:
            offers = ", ".join(map(repr, target.operations)) or "nothing"
            raise ValueError(f"{who} {route!r} of {service}, which offers {offers}")
        return target, operation

    def _step(self, caller: Service, step: Step) -> Work | Line | FanOut | Chance | Lookup | Infer:
        if isinstance(step, Cpu):
            return Work(step.median, step.spread)
        if isinstance(step, Call):
            if caller.spec.kind != "service":
                raise ValueError(
                    f"{caller.name.name} is a {caller.spec.kind} and calls {step.service}; a {caller.spec.kind} makes "
                    "no calls: let its callers make them, or give it the kind service"
                )
            line = self.line(caller.name, step)
            caller.lines += [line] if line.fallback is None else [line, line.fallback]
            return line
        if isinstance(step, Together):
            return FanOut([self.plan(caller, (each,)) for each in step.steps])
        if isinstance(step, Sometimes):
            return Chance(step.probability, self.plan(caller, step.steps))
        if isinstance(step, Cached):
            cache = self._caches.setdefault(step.cache, Cache())
            return Lookup(cache, step.hit_ratio, step.refill, self.plan(caller, step.steps))
        if caller.spec.model is None:
            raise ValueError(f"{caller.name.name} has a Serve step but no model; give it one, or leave the step out")
        return Infer(step.variant)
