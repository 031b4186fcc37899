"""A replica of a service: worker threads, a queue, and the lifecycle of each request."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from foreshock_simulator.calls.client import CONTROL_BYTES, Caller, CallSite
from foreshock_simulator.calls.mesh_state import MeshState
from foreshock_simulator.calls.request import TOKEN_BYTES, CallFailed, Host, Model, Plan, Request, UnitOfWork, Worker
from foreshock_simulator.calls.steps import OVERLOADED, CpuWork, Outcome, ServiceState
from foreshock_simulator.core.engine import Process, Signal
from foreshock_simulator.tracing.service_graph import USER
from foreshock_simulator.tracing.spans import CLIENT_CLOSED, OK, RESET, SimSpan, SpanTemplate, resource_attributes


class Replica(Caller):
    """A process that runs `threads` requests at once and queues up to `backlog` more, first in, first out.

    `load` counts running and queued requests; `inbound` counts requests on the network towards it.

    `worker` is the GPU process of its model server; without one, the replica gets a pid of its host. `on_end` is called
    when it has ended.
    """

    def __init__(
        self,
        mesh: MeshState,
        service: ServiceState,
        host: Host,
        model: Model[Any] | None,
        worker: Worker | None,
        on_end: Callable[[Replica], None],
    ) -> None:
        self._pid = host.start(service.name) if worker is None else None
        pid = worker.pid if worker is not None else self._pid or 0
        self.release = service.release
        resource = resource_attributes(service.name, self.release.version, host.name, host.host_id, pid)
        super().__init__(mesh, service.rng, host.name, resource, self.release.prompts, self.release.timeouts)
        self.engine, self.rng, self.service = mesh.engine, service.rng, service
        self.model, self.worker = model, worker
        self._host, self._on_end = host, on_end
        self._served = mesh.counts.version(service.name, self.release.version)
        self.queue: deque[Request] = deque()
        self._running: dict[Request, None] = {}
        self.load = self.inbound = 0
        self.healthy, self.draining = True, False
        self.leaked_bytes = 0.0
        self.terminated = Signal(mesh.engine)
        """Fires when the replica has ended and its host, GPUs and server are free."""

    def call(self, parent: Request | UnitOfWork, site: CallSite) -> Process:
        """Make a call as often as the release does; see `Caller.call`."""
        if self.release.repeats == 1:
            return super().call(parent, site)
        return self._call_repeatedly(parent, site)

    def _call_repeatedly(self, parent: Request | UnitOfWork, site: CallSite) -> Process:
        for _ in range(self.release.repeats):
            yield from super().call(parent, site)

    def accept(self, request: Request) -> None:
        """Start, queue or reject a request that has arrived."""
        self.inbound -= 1
        now = self.engine.now
        if self.ended:
            self._reply(request, RESET, CONTROL_BYTES)
            return
        mesh, service = self._mesh, self.service
        mesh.last_span_number = request.span = mesh.last_span_number + 1
        request.arrived = now
        service.population.add(now, 1)
        self.load += 1
        if len(self._running) < service.spec.threads:
            if request.fired:
                self._complete(request, CLIENT_CLOSED, "dropped")
            else:
                self._start(request)
        elif len(self.queue) < service.spec.backlog:
            self.queue.append(request)
        else:
            self._complete(request, OVERLOADED, "rejected")
        if self.draining:
            self.end_if_drained()

    def cancel(self, request: Request) -> None:
        """Stop working on a request that its caller abandoned. A queued request is dropped at the head of the queue."""
        if request in self._running and request.process is not None:
            request.process.close()
            self._complete(request, CLIENT_CLOSED, "cancelled")
            self._start_next(request)

    def kill(self) -> None:
        """End at once. Callers see a connection reset, and requests in flight leave no span."""
        if self.ended:
            return
        self.ended = True
        for request in tuple(self._running):
            if request.process is not None:
                request.process.close()
        for request in (*self._running, *self.queue):
            self._complete(request, RESET, "killed")
        self._running.clear()
        self.queue.clear()
        self._terminate()

    def end_if_drained(self) -> None:
        """End a draining replica that has no requests left."""
        if self.draining and not self.ended and not self.load and not self.inbound:
            self.ended = True
            self._terminate()

    def run_plan(self, request: Request, plan: Plan) -> Process:
        """Run the steps of a plan; to be used with `yield from`.

        Raises:
            CallFailed: a step failed.
        """
        for step in plan:
            yield from step.run(self, request)

    def _start(self, request: Request) -> None:
        self._running[request] = None
        request.process = process = self._work(request)
        self.engine.spawn(process)

    def _work(self, request: Request) -> Process:
        engine, service = self.engine, self.service
        status = OK
        try:
            for step in request.operation.plan:
                if isinstance(step, CpuWork):  # `CpuWork.run` without its generator: the most frequent step
                    service.busy_threads.add(engine.now, 1)
                    try:
                        yield step.draw_seconds(service) * self.release.slower
                    finally:
                        service.busy_threads.add(engine.now, -1)
                elif isinstance(step, CallSite):
                    yield from self.call(request, step)
                else:
                    yield from step.run(self, request)
        except CallFailed as failure:
            status = failure.status
        fail_ratio = service.fail_ratio or self.release.failing
        if status == OK and fail_ratio and self.rng.random() < fail_ratio:
            status = 500
        self._complete(request, status, "answered" if status == OK else "failed")
        self._start_next(request)

    def _start_next(self, completed: Request) -> None:
        """Give the thread of a completed request to the first queued request that its caller still waits for."""
        del self._running[completed]
        queue = self.queue
        while queue:
            request = queue.popleft()
            if not request.fired:
                self._start(request)
                return
            self._complete(request, CLIENT_CLOSED, "dropped")
        if self.draining:
            self.end_if_drained()

    def _complete(self, request: Request, status: int, outcome: Outcome) -> None:
        """Count and record the end of a request, and reply to its caller. Called once for each accepted request."""
        service, operation, now = self.service, request.operation, self.engine.now
        service.population.add(now, -1)
        service.outcomes[outcome] += 1
        self.load -= 1
        seconds = now - request.arrived
        if service.observe is not None and operation.route:
            service.observe(now, seconds, status == OK)
        if outcome == "killed":
            self._reply(request, RESET, CONTROL_BYTES)
            return
        if operation.template is not None:
            self._record_span(request, operation.template, status, seconds)
        if not request.fired:
            size = operation.response_bytes
            if operation.text:
                size += TOKEN_BYTES * request.generated
            self._reply(request, status, size)

    def _reply(self, request: Request, status: int, size: int) -> None:
        engine, caller_host = self.engine, request.caller_host
        time = engine.now
        if caller_host:
            time += self._mesh.network.message(self.host, caller_host, size)
        engine.schedule(time, request.fire, status)

    def _record_span(self, request: Request, template: SpanTemplate, status: int, seconds: float) -> None:
        """Record the SERVER span and its counts."""
        mesh, job, service = self._mesh, request.job, self.service
        served = job if service.model_usage is not None and status == OK else None
        if request.trace:
            inference = None if served is None else service.inference(request, served)
            span = SimSpan(
                request.trace, request.span, request.parent, template, self.resource, request.arrived, self.engine.now,
                status, 0, inference, mesh.epoch_ns,
            )  # fmt: skip
            mesh.spans.append(span)
        if mesh.counts.enabled:
            self._served.spans += 1
            durations = template.durations
            (durations.answered if status == OK else durations.failed).append(seconds)
            edge = request.edge
            if edge is not None:
                edge.server_seconds.append(seconds)
                if edge.client is USER:
                    edge.requests += 1
                    edge.failed += status != OK
            if served is not None and service.model_usage is not None:
                service.model_usage.add(*service.usage(request, served))

    def _terminate(self) -> None:
        if self._pid is not None:
            self._host.stop(self._pid)
        self._on_end(self)
        self.terminated.fire(self)
