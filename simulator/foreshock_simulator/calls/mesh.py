"""All services, who calls them from outside, and the spans that are finished."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from foreshock_simulator.calls.building import Builder
from foreshock_simulator.calls.cache import Cache
from foreshock_simulator.calls.interfaces import Host, Network
from foreshock_simulator.calls.request import Operation, Request
from foreshock_simulator.calls.service import Service
from foreshock_simulator.calls.tenant import Tenant
from foreshock_simulator.calls.timeouts import Deadlines
from foreshock_simulator.core.engine import (Engine, Process)
from foreshock_simulator.core.names import ServiceName
from foreshock_simulator.core.randomness import stream
from foreshock_simulator.spec.services import Call, ServiceSpec
from foreshock_simulator.spec.traffic import FlowSpec
from foreshock_simulator.tracing.service_graph import USER, Counts
from foreshock_simulator.tracing.spans import OK, REFUSED, TIMED_OUT, SimSpan, scramble

USER_BACKOFF: Final = 1.0
"""Seconds within which a user tries again after the first failure; twice as many after each further one."""
_IDS = 1 << 64


class Mesh:
    """Services that call each other.

    Args:
        engine: its clock.
        seed: of all chance. Each service draws from a stream of its own.
        epoch_ns: Unix nanoseconds at the engine's 0.
        network: carries messages between hosts; users' messages take no time.
        sample: ratio of traces whose spans are kept, as OpenTelemetry's TraceIdRatioBased decides. What happens does
            not depend on it, nor do the ids.
        count: whether `counts` counts over all spans; then somebody is to take the durations now and then.

    `entered` requests of users are `answered`, `failed` (in the last attempt) or `given_up` (it took too long), each
    once; `attempts` counts how often they asked.
    """

    def __init__(
        self, engine: Engine, seed: int, epoch_ns: int, network: Network, *, sample: float = 1.0, count: bool = False
    ) -> None:
        self.engine, self.seed, self.epoch_ns, self.network = engine, seed, epoch_ns, network
        self.services: dict[str, Service] = {}
        self.caches: dict[str, Cache] = {}
        self.spans: list[SimSpan] = []
        self.counts = Counts(on=count)
        self.deadlines = Deadlines(engine)
        self.phases = stream(seed, "phases")
        self.entered = self.answered = self.failed = self.given_up = self.attempts = 0
        ids = stream(seed, "ids")
        self.numbered = ids.randrange(_IDS)
        """The newest span's number."""
        self._trace = ids.randrange(_IDS)
        self._bound = round(sample * _IDS)
        self._users = stream(seed, "users")
        self._builder = Builder(self.services, self.caches, self.counts)

    @property
    def open(self) -> int:
        """Users' requests that have not ended."""
        return self.entered - self.answered - self.failed - self.given_up

    def deploy(self, specs: Iterable[ServiceSpec]) -> None:
        """Make services known, without replicas; they may call each other and those already there.

        Raises:
            ValueError: a name is taken, or a service asks for what nobody offers.
        """
        added: list[Service] = []
        for spec in specs:
            if spec.name.name in self.services:
                raise ValueError(f"there are two services called {spec.name.name!r}; rename one")
            service = self.services[spec.name.name] = Service(self, spec)
            service.operations = {each.route: self._builder.operation(spec, each) for each in spec.operations}
            added.append(service)
        for service in added:
            for offered in service.spec.operations:
                service.operations[offered.route].plan = self._builder.plan(service, offered.steps)

    def flush(self, cache: str) -> None:
        """Empty a cache.

        Raises:
            ValueError: there is none of that name.
        """
        if cache not in self.caches:
            raise ValueError(f"there is no cache {cache!r}; there are {', '.join(self.caches) or 'none'}")
        self.caches[cache].flush()

    def enter(self, flow: FlowSpec, prompt_tokens: int, generated_tokens: int) -> None:
        """A user asks for something.

        Raises:
            ValueError: nobody offers it.
        """
        service, operation = self._builder.find(flow.service, flow.route, f"flow {flow.name} asks")
        self.entered += 1
        self.engine.spawn(self._user(flow, service, operation, prompt_tokens, generated_tokens))

    def tenant(self, name: ServiceName, host: Host, pid: int, calls: Sequence[Call]) -> Tenant:
        """A process that works by itself, and makes these calls; they have no tokens where they say nothing of them.

        Raises:
            ValueError: nobody offers one of them.
        """
        told = (
            replace(call, prompt_tokens=call.prompt_tokens or 0, generated_tokens=call.generated_tokens or 0)
            for call in calls
        )
        lines = tuple(self._builder.line(name, call) for call in told)
        return Tenant(self, name, host, pid, lines)

    def new_trace(self) -> int:
        """The number of the next trace; 0 if it is not sampled."""
        self._trace = number = self._trace + 1
        return number if scramble(number) < self._bound else 0

    def _user(self, flow: FlowSpec, service: Service, operation: Operation, prompt: int, generated: int) -> Process:
        """Ask, at most so often. A user who gives up on an attempt just leaves: the platform goes on with it."""
        status = TIMED_OUT
        edge = self.counts.of_calls(USER, service.name, "virtual_node")
        for attempt in range(flow.attempts):
            if attempt:
                yield self._users.random() * USER_BACKOFF * 2 ** (attempt - 1)
            self.attempts += 1
            replica = service.pick()
            if replica is None:
                status = REFUSED
                continue
            replica.inbound += 1
            request = Request(self.engine, operation, self.new_trace(), 0, prompt, generated, "", edge)
            replica.accept(request)
            self.deadlines.set(flow.timeout, request)
            status = yield request
            self.deadlines.lift(flow.timeout, request)
            if status == OK:
                break
        if status == OK:
            self.answered += 1
        elif status == TIMED_OUT:
            self.given_up += 1
        else:
            self.failed += 1
