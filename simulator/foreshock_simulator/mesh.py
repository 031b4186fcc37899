"""Services that call each other: replicas with bounded concurrency and a queue, time-outs, retries, and their spans.

A server that a caller has given up on goes on with what it began, as most do; what still waits in its queue by then is
dropped when its turn comes. Both cost what they cost in the world.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from foreshock_simulator.engine import Engine, Process, Signal
from foreshock_simulator.gpu import Worker
from foreshock_simulator.machine import Machine, transfer
from foreshock_simulator.names import ServiceName
from foreshock_simulator.randomness import stream
from foreshock_simulator.request import TIMED_OUT, Attributes, CallFailed, Operation, Request
from foreshock_simulator.span import AttributeValue, Kind, SimSpan

NETWORK_SECONDS = 0.0003
"""One way between two processes."""
FIRST_BACKOFF = 0.1
"""Seconds; the n-th retry waits up to 2ⁿ⁻¹ times as long (full jitter)."""


class Instance:
    """A replica of a service: a process that works on `concurrency` requests at once and queues `backlog` more."""

    __slots__ = ("_mesh", "active", "backlog", "concurrency", "machine", "queue", "resource", "service", "worker")

    def __init__(
        self, mesh: Mesh, service: ServiceName, machine: Machine, worker: Worker | None, concurrency: int, backlog: int
    ) -> None:
        self._mesh, self.service, self.machine, self.worker = mesh, service, machine, worker
        self.concurrency, self.backlog = concurrency, backlog
        self.active = 0
        self.queue: deque[Request] = deque()
        pid = worker.pid if worker else machine.start(service)
        self.resource: Mapping[str, AttributeValue] = {
            "service.name": service.name,
            "service.namespace": service.namespace,
            "service.instance.id": f"{service.name}-{machine.name}-{pid}",
            "host.id": machine.host_id,
            "host.name": machine.name,
            "process.pid": pid,
        }

    @property
    def load(self) -> int:
        """How many requests it has taken and not answered."""
        return self.active + len(self.queue)

    def accept(self, request: Request) -> None:
        """Begin with a request, queue it, or turn it away."""
        if self.active < self.concurrency:
            self.active += 1
            self._mesh.engine.spawn(self._serve(request))
        elif len(self.queue) < self.backlog:
            self.queue.append(request)
        else:
            self._answer(request, self._mesh.new_span_id(), 503, {})

    def _serve(self, request: Request) -> Process:
        """Work on a request and on those that wait, one after the other."""
        while True:
            span_id = self._mesh.new_span_id()
            context = Context(self._mesh, self, request.trace_id, span_id, request)
            status = 499
            if not request.abandoned:
                try:
                    yield from request.operation.handler(context)
                    status = 200
                except CallFailed as failure:
                    status = failure.status
            self._answer(request, span_id, status, context.attributes)
            if not self.queue:
                break
            request = self.queue.popleft()
        self.active -= 1

    def _answer(self, request: Request, span_id: str, status: int, attributes: Attributes) -> None:
        mesh, operation = self._mesh, request.operation
        method, _, route = operation.route.partition(" ")
        attributes["http.request.method"] = method
        attributes["http.route"] = route
        attributes["http.response.status_code"] = status
        failed = "" if status < 499 else str(status)
        trace_id, parent_id, started = request.trace_id, request.parent_id, request.arrived
        mesh.record(trace_id, span_id, parent_id, operation.route, "server", started, failed, self.resource, attributes)
        if request.reply is None or request.origin is None:
            mesh.left += 1
            mesh.failed += status != 200
            return
        transfer(self.machine, request.origin, operation.response_bytes + 5 * request.generated_tokens)
        mesh.engine.at(mesh.engine.now + NETWORK_SECONDS, request.reply.fire, status)


class Context:
    """What a handler or a job works with: the time it takes, its GPU, its calls, the attributes of its span."""

    __slots__ = ("_mesh", "attributes", "instance", "request", "span_id", "trace_id")

    def __init__(
        self, mesh: Mesh, instance: Instance, trace_id: str, span_id: str, request: Request | None = None
    ) -> None:
        self._mesh, self.instance, self.trace_id, self.span_id, self.request = (
            mesh,
            instance,
            trace_id,
            span_id,
            request,
        )
        self.attributes: Attributes = {}

    @property
    def now(self) -> float:
        """Seconds since the simulation's start."""
        return self._mesh.engine.now

    @property
    def tokens(self) -> tuple[int, int]:
        """Prompt and generated tokens of the request."""
        return (self.request.prompt_tokens, self.request.generated_tokens) if self.request else (0, 0)

    def chance(self, probability: float) -> bool:
        """Draw lots."""
        return self._mesh.rng.random() < probability

    def cpu(self, median: float, spread: float = 0.3) -> float:
        """Seconds to yield for a stretch of work on the CPU, log-normal about the median."""
        return self._mesh.rng.lognormvariate(0.0, spread) * median

    def gpu(self, seconds: float, intensity: float) -> Signal:
        """Work on the replica's GPU, to be yielded.

        Raises:
            RuntimeError: the replica has none.
        """
        if self.instance.worker is None:
            raise RuntimeError(f"{self.instance.service} has no GPU")
        return self.instance.worker.run(seconds, intensity)

    def call(
        self, service: str, route: str, *, timeout: float, attempts: int = 1, tokens: tuple[int, int] = (0, 0)
    ) -> Process:
        """Ask another service, again after a failure, until `attempts` are used up.

        Raises:
            CallFailed: in all of them.
        """
        operation = self._mesh.operations[service, route]
        status = TIMED_OUT
        for attempt in range(attempts):
            if attempt:
                yield self._mesh.rng.random() * FIRST_BACKOFF * 2 ** (attempt - 1)
            status = yield from self._attempt(operation, timeout, attempt, tokens)
            if status == 200:
                return
        raise CallFailed(status)

    def _attempt(self, operation: Operation, timeout: float, attempt: int, tokens: tuple[int, int]) -> Process:
        mesh, engine = self._mesh, self._mesh.engine
        started, span_id, reply = engine.now, mesh.new_span_id(), Signal(engine)
        target, machine = mesh.pick(operation.service), self.instance.machine
        transfer(machine, target.machine, operation.request_bytes + 5 * tokens[0])
        request = Request(operation, self.trace_id, span_id, started + NETWORK_SECONDS, *tokens, machine, reply)
        engine.at(request.arrived, target.accept, request)
        engine.at(started + timeout, reply.fire, TIMED_OUT)
        status = yield reply
        attributes: Attributes = {
            "http.request.method": operation.route.partition(" ")[0],
            "server.address": operation.service,
        }
        failed = ""
        if status == TIMED_OUT:
            failed = attributes["error.type"] = "timeout"
        else:
            attributes["http.response.status_code"] = status
            if status >= 400:
                failed = attributes["error.type"] = str(status)
        if attempt:
            attributes["http.request.resend_count"] = attempt
        trace_id, parent_id, resource = self.trace_id, self.span_id, self.instance.resource
        mesh.record(trace_id, span_id, parent_id, operation.route, "client", started, failed, resource, attributes)
        return status


class Mesh:
    """All services, and the spans that are finished. `entered`, `left`, `failed` count requests from outside."""

    def __init__(self, engine: Engine, seed: int, epoch_ns: int) -> None:
        self.engine = engine
        self.rng = stream(seed, "service")
        self.operations: dict[tuple[str, str], Operation] = {}
        self.instances: dict[str, list[Instance]] = {}
        self.spans: list[SimSpan] = []
        self.entered = self.left = self.failed = 0
        self._ids = stream(seed, "ids")
        self._turns: dict[str, int] = {}
        self._epoch_ns = epoch_ns

    def offer(self, operation: Operation) -> None:
        """Make an operation known."""
        self.operations[operation.service, operation.route] = operation

    def place(
        self,
        service: ServiceName,
        machine: Machine,
        worker: Worker | None = None,
        concurrency: int = 64,
        backlog: int = 256,
    ) -> Instance:
        """Start a replica."""
        instance = Instance(self, service, machine, worker, concurrency, backlog)
        self.instances.setdefault(service.name, []).append(instance)
        return instance

    def pick(self, service: str) -> Instance:
        """The replica with the least to do, in turn where several have as little."""
        instances = self.instances[service]
        turn = self._turns.get(service, 0) % len(instances)
        self._turns[service] = turn + 1
        best = instances[turn]
        for offset in range(1 - len(instances), 0):
            other = instances[turn + offset]
            if other.load < best.load:
                best = other
        return best

    def enter(self, service: str, route: str, prompt_tokens: int, generated_tokens: int) -> None:
        """A request comes in from outside."""
        self.entered += 1
        now = self.engine.now
        operation = self.operations[service, route]
        self.pick(service).accept(
            Request(operation, self.new_trace_id(), "", now, prompt_tokens, generated_tokens, None, None)
        )

    def job(self, instance: Instance) -> Context:
        """The context of a unit of work that nobody called for; it starts a trace."""
        return Context(self, instance, self.new_trace_id(), self.new_span_id())

    def new_trace_id(self) -> str:
        """32 hexadecimal digits, never all zero."""
        return f"{self._ids.getrandbits(128) or 1:032x}"

    def new_span_id(self) -> str:
        """16 hexadecimal digits, never all zero."""
        return f"{self._ids.getrandbits(64) or 1:016x}"

    def record(
        self,
        trace_id: str,
        span_id: str,
        parent_id: str,
        name: str,
        kind: Kind,
        started: float,
        failed: str,
        resource: Mapping[str, AttributeValue],
        attributes: Attributes,
    ) -> None:
        """Keep a span that ends now. `failed` says why, or is empty."""
        epoch = self._epoch_ns
        self.spans.append(
            SimSpan(
                trace_id,
                span_id,
                parent_id,
                name,
                kind,
                epoch + int(started * 1e9),
                epoch + int(self.engine.now * 1e9),
                "error" if failed else "unset",
                failed,
                resource,
                attributes,
            )
        )
