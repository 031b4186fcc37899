"""A process of a tenant that makes calls; each unit of its work is a trace."""

from __future__ import annotations

from foreshock_simulator.calls.client import Caller, CallSite
from foreshock_simulator.calls.interfaces import Host
from foreshock_simulator.calls.mesh_state import MeshState
from foreshock_simulator.calls.request import CallFailed, UnitOfWork
from foreshock_simulator.core.engine import Process
from foreshock_simulator.core.names import ServiceName
from foreshock_simulator.core.randomness import random_stream
from foreshock_simulator.tracing.spans import OK, Attributes, SimSpan, SpanTemplate, resource_attributes


class Tenant(Caller):
    """A process of a tenant with its calls, in the order of its spec.

    Set `ended` when the process is killed: it then records no further spans.
    """

    __slots__ = ("_name", "call_sites")

    def __init__(
        self, mesh: MeshState, name: ServiceName, host: Host, pid: int, call_sites: tuple[CallSite, ...]
    ) -> None:
        rng = random_stream(mesh.seed, f"tenant/{name}/{host.name}/{pid}")
        super().__init__(mesh, rng, host.name, resource_attributes(name, host.name, host.host_id, pid))
        self._name, self.call_sites = name, call_sites

    def begin(self) -> UnitOfWork:
        """Start a unit of work."""
        mesh = self._mesh
        mesh.last_span_number = number = mesh.last_span_number + 1
        return UnitOfWork(mesh.new_trace(), number, mesh.engine.now)

    def try_call(self, unit: UnitOfWork, site: CallSite) -> Process:
        """Make one of its calls; to be used with `yield from`. Returns whether the call succeeded."""
        try:
            yield from self.call(unit, site)
        except CallFailed:
            return False
        return True

    def end(self, unit: UnitOfWork, name: str, attributes: Attributes) -> None:
        """End a unit of work and record its INTERNAL span, the parent of its calls."""
        mesh = self._mesh
        if self.ended:
            return
        now = mesh.engine.now
        durations = mesh.counts.span_durations(self._name, "internal", name)
        if unit.trace:
            template = SpanTemplate(durations, {}, database=False)
            mesh.spans.append(
                SimSpan(
                    unit.trace, unit.span, 0, template, self.resource, unit.began, now, OK, 0, attributes, mesh.epoch_ns
                )
            )
        if mesh.counts.enabled:
            durations.answered.append(now - unit.began)
