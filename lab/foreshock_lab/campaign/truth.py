"""Ground truth of a recorded fault, `truth.json`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from foreshock_lab.campaign.plan import PlannedFault, split_of
from foreshock_lab.faults.placement import most_called
from foreshock_lab.topology.model import NAMESPACE, Topology


class Times(NamedTuple):
    """Unix seconds: of the recording, of the fault, and of the first SLO breach of users, if any."""

    start: float
    onset: float
    fault_end: float
    end: float
    breach: float | None


def truth_of(fault: PlannedFault, topology: Topology, times: Times) -> dict[str, Any]:
    """Truth of a fault, in the form that `foreshock_evaluation` reads."""
    kind, front = fault.kind, service_text(topology.front.name)
    suspect = kind.root_cause or service_text(fault.service)
    return {
        "scenario": fault.scenario,
        "seed": fault.seed,
        "start": times.start,
        "end": times.end,
        "onset": times.onset,
        "root_cause": None if kind.lookalike else suspect,
        "also_right": [] if kind.lookalike else list(also_right(fault, topology)),
        "cause": kind.cause or None,
        "origin": None if kind.lookalike else suspect,
        "victims": [front] if times.breach is not None else [],
        "breached": {topology.front.name: times.breach} if times.breach is not None else {},
        "pool": "",
        "kind": kind.name,
        "strength": fault.strength,
        "fault_end": times.fault_end,
        "asked": front,
        "noticed": times.breach,
        "develops_seconds": kind.develops_seconds,
        "lookalike": kind.lookalike,
        "topology": topology.name,
        "split": split_of(fault.seed),
    }


def also_right(fault: PlannedFault, topology: Topology) -> Sequence[str]:
    """Further services that are right as a root cause: the other end of a network path, or of a change between two."""
    match fault.kind.name:
        case "packet-loss" | "packet-delay" | "name-failure":
            return [service_text(name) for name in sorted(topology.callers(fault.service))]
        case "retry-storm":
            return [service_text(most_called(topology, fault.service))]
        case "slow-query":
            return ["postgres"]
        case "cache-flush":
            return [service_text(fault.service)]
        case "longer-requests":
            return [service_text(item.name) for item in topology.services if item.role in ("api", "gateway", "chat")]
        case "traffic-surge":
            return [service_text(item.name) for item in topology.services if item.role == "api"]
    return []


def service_text(name: str) -> str:
    """A service of the system, as `truth.json` has it."""
    return f"{NAMESPACE}/{name}"
