"""A simulated inference platform: GPUs, services, traffic and faults that emit what the real world emits."""

from foreshock_simulator.emitter import Emitter, SpanSender
from foreshock_simulator.names import ServiceName
from foreshock_simulator.scenario import SCENARIOS, Place, Scenario, Truth
from foreshock_simulator.simulation import SimHost, Simulation, exporters
from foreshock_simulator.span import SimSpan

__all__ = [
    "SCENARIOS",
    "Emitter",
    "Place",
    "Scenario",
    "ServiceName",
    "SimHost",
    "SimSpan",
    "Simulation",
    "SpanSender",
    "Truth",
    "exporters",
]
