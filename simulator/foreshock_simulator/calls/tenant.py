"""Processes that work by themselves (training, batch) and call services on the way; each unit of work is a trace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from foreshock_simulator.calls.client import Caller, Line
from foreshock_simulator.calls.interfaces import Host
from foreshock_simulator.calls.request import Failed, Unit
from foreshock_simulator.core.engine import Process
from foreshock_simulator.core.names import ServiceName
from foreshock_simulator.core.randomness import stream
from foreshock_simulator.tracing.spans import OK, Attributes, Shape, SimSpan, resource

if TYPE_CHECKING:
    from foreshock_simulator.calls.mesh import Mesh


class Tenant(Caller):
    """A process of a tenant. `lines` are its calls, in the order in which they were given.

    Whoever kills the process sets `ended`: then what it was about to tell is lost with it.
    """

    __slots__ = ("_name", "lines")

    def __init__(self, mesh: Mesh, name: ServiceName, host: Host, pid: int, lines: tuple[Line, ...]) -> None:
        rng = stream(mesh.seed, f"tenant/{name}/{host.name}/{pid}")
        super().__init__(mesh, rng, host.name, resource(name, host.name, host.host_id, pid))
        self._name, self.lines = name, lines

    def begin(self) -> Unit:
        """Begin a unit of work."""
        mesh = self._mesh
        mesh.numbered = number = mesh.numbered + 1
        return Unit(mesh.new_trace(), number, mesh.engine.now)

    def call(self, unit: Unit, line: Line) -> Process:
        """Make one of its calls, to be yielded from; gives whether it was answered. Nothing else comes of a failure."""
        try:
            yield from self.ask(unit, line)
        except Failed:
            return False
        return True

    def end(self, unit: Unit, name: str, attributes: Attributes) -> None:
        """End a unit of work: the INTERNAL span that its calls are within."""
        mesh = self._mesh
        if self.ended:
            return
        now = mesh.engine.now
        durations = mesh.counts.of_spans(self._name, "internal", name)
        if unit.trace:
            shape = Shape(durations, {}, database=False)
            mesh.spans.append(
                SimSpan(
                    unit.trace, unit.span, 0, shape, self.resource, unit.began, now, OK, 0, attributes, mesh.epoch_ns
                )
            )
        if mesh.counts.on:
            durations.answered.append(now - unit.began)
