"""A replica of a service: threads, a queue, and what becomes of each request."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final, Literal

from foreshock_simulator.calls.client import CONTROL_BYTES, Caller, Line
from foreshock_simulator.calls.interfaces import Host, Model, Worker
from foreshock_simulator.calls.request import TOKEN_BYTES, Failed, Request
from foreshock_simulator.calls.steps import OVERLOADED, Plan, Work
from foreshock_simulator.core.engine import (Process, Signal)
from foreshock_simulator.tracing.service_graph import USER
from foreshock_simulator.tracing.spans import GONE, OK, RESET, Shape, SimSpan, resource

if TYPE_CHECKING:
    from foreshock_simulator.calls.mesh import Mesh
    from foreshock_simulator.calls.service import Service

End = Literal["answered", "failed", "rejected", "dropped", "cancelled", "killed"]
ENDS: Final[tuple[End, ...]] = ("answered", "failed", "rejected", "dropped", "cancelled", "killed")
"""How a request leaves a replica: with 200, with an error, turned away because the queue was full, not begun because
its caller had gone, broken off because its caller said so, lost with the replica."""


class Replica(Caller):
    """A process of a service: it works on `threads` requests at once and queues `backlog` more, first in, first out.

    `load` counts both; `inbound`, requests that are still on the network.
    """

    __slots__ = (
        "_pid", "_working", "draining", "engine", "gone", "healthy", "inbound", "load", "machine", "model", "queue",
        "rng", "service", "worker",
    )  # fmt: skip

    def __init__(
        self, mesh: Mesh, service: Service, host: Host, model: Model[Any] | None, worker: Worker | None
    ) -> None:
        self._pid = host.start(service.name) if worker is None else None
        pid = worker.pid if worker is not None else self._pid or 0
        super().__init__(mesh, service.rng, host.name, resource(service.name, host.name, host.host_id, pid))
        self.engine, self.rng, self.service = mesh.engine, service.rng, service
        self.machine, self.model, self.worker = host, model, worker
        self.queue: deque[Request] = deque()
        self._working: dict[Request, None] = {}
        self.load = self.inbound = 0
        self.healthy, self.draining = True, False
        self.gone = Signal(mesh.engine)
        """Fires when it has ended: its host, GPUs and server are free."""

    def accept(self, request: Request) -> None:
        """A request has come in: begin with it, queue it, or turn it away."""
        self.inbound -= 1
        now = self.engine.now
        if self.ended:
            self._reply(request, RESET, CONTROL_BYTES)
            return
        mesh, service = self._mesh, self.service
        mesh.numbered = request.span = mesh.numbered + 1
        request.arrived = now
        service.population.up(now)
        self.load += 1
        if len(self._working) < service.spec.threads:
            if request.fired:
                self._leave(request, GONE, "dropped")
            else:
                self._begin(request)
        elif len(self.queue) < service.spec.backlog:
            self.queue.append(request)
        else:
            self._leave(request, OVERLOADED, "rejected")
        if self.draining:
            self.settle()

    def cancel(self, request: Request) -> None:
        """Its caller does not want it any more: stop working on it. One that waits is dropped when its turn comes."""
        if request in self._working and request.process is not None:
            request.process.close()
            self._leave(request, GONE, "cancelled")
            self._turn(request)

    def kill(self) -> None:
        """End at once. Callers see their connections reset; no span tells of what was under way."""
        if self.ended:
            return
        self.ended = True
        for request in tuple(self._working):
            if request.process is not None:
                request.process.close()
        for request in (*self._working, *self.queue):
            self._leave(request, RESET, "killed")
        self._working.clear()
        self.queue.clear()
        self._stop()

    def settle(self) -> None:
        """End, if it is to and nothing is left to do."""
        if self.draining and not self.ended and not self.load and not self.inbound:
            self.ended = True
            self._stop()

    def follow(self, request: Request, plan: Plan) -> Process:
        """Take steps for a request, to be yielded from.

        Raises:
            Failed: one of them failed.
        """
        for step in plan:
            yield from self.ask(request, step) if isinstance(step, Line) else step.run(self, request)

    def _begin(self, request: Request) -> None:
        self._working[request] = None
        request.process = process = self._work(request)
        self.engine.spawn(process)

    def _work(self, request: Request) -> Process:
        engine, service = self.engine, self.service
        status = OK
        try:
            for step in request.operation.plan:
                if step.__class__ is Work:  # as `Work.run` does: most requests do little else
                    cpu = service.cpu
                    cpu.up(engine.now)
                    try:
                        yield step.draw(service)
                    finally:
                        cpu.down(engine.now)
                elif step.__class__ is Line:
                    yield from self.ask(request, step)
                else:
                    yield from step.run(self, request)  # type: ignore[union-attr]  # a line was handled
        except Failed as failure:
            status = failure.status
        if status == OK and service.fail_ratio and self.rng.random() < service.fail_ratio:
            status = 500
        self._leave(request, status, "answered" if status == OK else "failed")
        self._turn(request)

    def _turn(self, over: Request) -> None:
        """A thread is free: take the next that somebody still waits for."""
        del self._working[over]
        queue = self.queue
        while queue:
            request = queue.popleft()
            if not request.fired:
                self._begin(request)
                return
            self._leave(request, GONE, "dropped")
        if self.draining:
            self.settle()

    def _leave(self, request: Request, status: int, how: End) -> None:
        """A request ends here, once, in one of the ways of `ENDS`."""
        service, operation, now = self.service, request.operation, self.engine.now
        service.population.down(now)
        service.ends[how] += 1
        self.load -= 1
        seconds = now - request.arrived
        if service.observe is not None and operation.route:
            service.observe(now, seconds, status == OK)
        if how == "killed":
            self._reply(request, RESET, CONTROL_BYTES)
            return
        if operation.shape is not None:
            self._tell(request, operation.shape, status, seconds)
        if not request.fired:
            size = operation.response_bytes
            if operation.text:
                size += TOKEN_BYTES * request.generated
            self._reply(request, status, size)

    def _reply(self, request: Request, status: int, size: int) -> None:
        engine, origin = self.engine, request.origin
        time = engine.now
        if origin:
            time += self._mesh.network.message(self.host, origin, size)
        engine.at(time, request.fire, status)

    def _tell(self, request: Request, shape: Shape, status: int, seconds: float) -> None:
        """The SERVER span."""
        mesh, job, use = self._mesh, request.job, self.service.use
        if request.trace:
            told = None
            if job is not None and use is not None and status == OK:
                told = self.service.inference(request, job)
            mesh.spans.append(
                SimSpan(
                    request.trace,
                    request.span,
                    request.parent,
                    shape,
                    self.resource,
                    request.arrived,
                    self.engine.now,
                    status,
                    0,
                    told,
                    mesh.epoch_ns,
                )
            )
        if mesh.counts.on:
            durations = shape.durations
            (durations.answered if status == OK else durations.failed).append(seconds)
            edge = request.edge
            if edge is not None:
                edge.server_seconds.append(seconds)
                if edge.client is USER:
                    edge.requests += 1
                    edge.failed += status != OK
            if job is not None and use is not None and status == OK:
                self.service.used(request, job)

    def _stop(self) -> None:
        if self._pid is not None:
            self.machine.stop(self._pid)
        self.service.left(self)
        self.gone.fire(self)
