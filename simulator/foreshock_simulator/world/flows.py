"""Traffic from outside, and what faults make of it."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

from foreshock_simulator.calls.mesh import Mesh
from foreshock_simulator.core.engine import Engine, Process
from foreshock_simulator.spec.faults import Fault, LongerPrompts, Surge
from foreshock_simulator.spec.traffic import FlowSpec
from foreshock_simulator.traffic.arrivals import Arrivals, arrivals


def begin_flows(
    engine: Engine, mesh: Mesh, flows: Iterable[FlowSpec], faults: Iterable[Fault], seed: int, start: float
) -> None:
    """Let users come from now on, with the surges and the longer prompts that the faults bring.

    Raises:
        ValueError: a flow has a figure that makes no sense, or asks for what nobody offers.
    """
    of_flows = sorted((fault for fault in faults if isinstance(fault, Surge | LongerPrompts)), key=lambda one: one.at)
    for flow in flows:
        coming = arrivals(flow, seed, start)
        for fault in of_flows:
            if fault.flow == flow.name:
                _bend(coming, fault)
        engine.spawn(_enter(engine, mesh, flow, coming))


def _bend(coming: Arrivals, fault: Surge | LongerPrompts) -> None:
    curves = (
        [(coming.rate_factor, fault.factor)]
        if isinstance(fault, Surge)
        else [(coming.prompt_factor, fault.factor), (coming.answer_factor, fault.answers)]
    )
    for curve, factor in curves:
        before = curve(fault.at)
        curve.change(fault.at, before * factor, fault.ramp)
        if fault.duration is not None:
            curve.change(fault.at + fault.duration, before)


def _enter(engine: Engine, mesh: Mesh, flow: FlowSpec, coming: Arrivals) -> Process:
    while True:
        time, prompt, generated = coming.next()
        if time == inf:
            return
        if time > engine.now:
            yield time - engine.now
        mesh.enter(flow, prompt, generated)
