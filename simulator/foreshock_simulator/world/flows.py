"""Traffic from outside, with the changes that faults make to it."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

from foreshock_simulator.calls.mesh import Mesh
from foreshock_simulator.core.engine import Engine, Process
from foreshock_simulator.spec.faults import Fault, LongerPrompts, Surge
from foreshock_simulator.spec.traffic import FlowSpec
from foreshock_simulator.traffic.arrivals import Arrivals, arrivals


def start_flows(
    engine: Engine, mesh: Mesh, flows: Iterable[FlowSpec], faults: Iterable[Fault], seed: int, start: float
) -> None:
    """Start the traffic of all flows, with surges and longer prompts of the faults.

    Raises:
        ValueError: an invalid value of a flow, or an unknown service or operation.
    """
    traffic_faults = sorted(
        (fault for fault in faults if isinstance(fault, Surge | LongerPrompts)), key=lambda fault: fault.at
    )
    for flow in flows:
        requests = arrivals(flow, seed, start)
        for fault in traffic_faults:
            if fault.flow == flow.name:
                _apply(requests, fault)
        engine.spawn(_generate(engine, mesh, flow, requests))


def _apply(requests: Arrivals, fault: Surge | LongerPrompts) -> None:
    curves = (
        [(requests.rate_factor, fault.factor)]
        if isinstance(fault, Surge)
        else [(requests.prompt_factor, fault.factor), (requests.answer_factor, fault.answers)]
    )
    for curve, factor in curves:
        before = curve(fault.at)
        curve.change(fault.at, before * factor, fault.ramp)
        if fault.duration is not None:
            curve.change(fault.at + fault.duration, before)


def _generate(engine: Engine, mesh: Mesh, flow: FlowSpec, requests: Arrivals) -> Process:
    while True:
        time, prompt, generated = requests.next()
        if time == inf:
            return
        if time > engine.now:
            yield time - engine.now
        mesh.enter(flow, prompt, generated)
