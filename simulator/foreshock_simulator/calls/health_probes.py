"""Probes: they wait for a thread of the replica like any request, so that one that is busy looks dead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from foreshock_simulator.calls.request import Operation, Request
from foreshock_simulator.calls.steps import Work
from foreshock_simulator.core.engine import Process
from foreshock_simulator.spec.services import HealthCheck
from foreshock_simulator.tracing.spans import OK

if TYPE_CHECKING:
    from foreshock_simulator.calls.mesh import Mesh
    from foreshock_simulator.calls.replica import Replica

_PROBE: Final = Operation("", 0, 0, text=False)
"""It has no spans: instrumentation leaves health checks out."""
_PROBE.plan = (Work(0.001, 0.3),)


def check(mesh: Mesh, replica: Replica, how: HealthCheck) -> Process:
    """Probe a replica from its own host for as long as it lives; evict it, and take it back."""
    engine, missed = mesh.engine, 0
    tick = engine.now + mesh.phases.random() * how.period
    while True:
        yield max(0.0, tick - engine.now)
        if replica.ended:
            return
        replica.inbound += 1
        probe = Request(engine, _PROBE, 0, 0, 0, 0, "", None)
        replica.accept(probe)
        mesh.deadlines.set(how.timeout, probe)
        missed = 0 if (yield probe) == OK else missed + 1
        mesh.deadlines.lift(how.timeout, probe)
        healthy = missed < how.failures
        if healthy != replica.healthy:
            replica.healthy = healthy
            replica.service.resort()
        tick += how.period
