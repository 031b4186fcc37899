"""Scenarios, scenario files, and the ground truth of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from foreshock_simulator.core.names import ServiceName
from foreshock_simulator.spec.faults import Fault
from foreshock_simulator.spec.platform import PlatformSpec, Topology

Cause = Literal[
    "overload", "scale_up_lag", "gpu_contention", "retry_storm", "network", "dependency", "kv_cache_pressure",
    "load_imbalance", "hardware", "change",
]  # fmt: skip
"""Cause classes, named as in incidents."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """The intended outcome of a scenario; `Truth` has the actual one.

    `cascade`: services besides the origin breach their SLO; None: left to the run. `root_cause`: the tenant, flow,
    service, cache, rack or path without which there is no cascade. `origin`: the service where it starts.
    """

    cascade: bool | None
    cause: Cause | None = None
    root_cause: str = ""
    origin: str = ""


@dataclass(frozen=True, slots=True)
class ScenarioSpec:
    """A scenario on a platform. `description` is one sentence; `duration` is in seconds."""

    name: str
    description: str
    platform: PlatformSpec
    faults: tuple[Fault, ...] = ()
    expects: Expectation = Expectation(cascade=False)
    duration: float = 3600.0


@dataclass(frozen=True, slots=True)
class ScenarioFile:
    """A scenario file.

    `platform` is written out, or else generated and changed by `adjust`, which is read separately.
    """

    description: str
    duration: float = 3600.0
    topology: Topology = Topology()
    platform: PlatformSpec | None = None
    faults: tuple[Fault, ...] = ()
    expects: Expectation = Expectation(cascade=False)


@dataclass(frozen=True, slots=True)
class Truth:
    """The ground truth of a run, times in Unix seconds. It serves to score a detector and is not visible to it.

    `breached`: first breach of each service with an SLO. `onset`: start of the first fault. `pool`: pool of the
    contended GPUs.
    """

    scenario: str
    seed: int
    start: float
    end: float
    onset: float | None
    cause: Cause | None
    origin: ServiceName | None
    root_cause: str
    victims: tuple[ServiceName, ...]
    pool: str
    breached: dict[str, float]
    cascaded: bool
