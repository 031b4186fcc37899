"""A platform, and what happens to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from foreshock_simulator.core.names import ServiceName
from foreshock_simulator.spec.faults import Fault
from foreshock_simulator.spec.hosts import HostSpec, PoolSpec
from foreshock_simulator.spec.services import ServiceSpec, TenantSpec
from foreshock_simulator.spec.traffic import FlowSpec

Cause = Literal[
    "demand", "provisioning_lag", "pool_contention", "retry_storm", "network", "dependency", "memory", "imbalance",
    "hardware",
]  # fmt: skip
"""Classes of causes, as incidents name them."""


@dataclass(frozen=True, slots=True)
class PlatformSpec:
    """All that is there before anything happens."""

    hosts: tuple[HostSpec, ...]
    pools: tuple[PoolSpec, ...]
    services: tuple[ServiceSpec, ...]
    tenants: tuple[TenantSpec, ...] = ()
    flows: tuple[FlowSpec, ...] = ()


@dataclass(frozen=True, slots=True)
class Expectation:
    """What whoever wrote the scenario means to happen; the truth says what did.

    `cascade`: services besides the first are to breach their objectives. `culprit` is the tenant, flow, service or path
    without which it does not happen; `origin` is the service where it begins.
    """

    cascade: bool
    cause: Cause | None = None
    culprit: str = ""
    origin: str = ""


@dataclass(frozen=True, slots=True)
class ScenarioSpec:
    """A scenario on a platform. `description` is a sentence for people; `duration` (s) is what is worth seeing."""

    name: str
    description: str
    platform: PlatformSpec
    faults: tuple[Fault, ...] = ()
    expects: Expectation = Expectation(cascade=False)
    duration: float = 3600.0


@dataclass(frozen=True, slots=True)
class Topology:
    """What generated platforms of every size are told.

    Args:
        load: traffic of language models as a share of what they can serve.
        spare: GPUs that services with language models may still claim, as a share of those they hold at the start.
        provisioning: median seconds until such a GPU has its node.
        mig: whether the embedder's GPUs are cut into MIG instances, one of which the tenant `sliced-batch` has.
    """

    load: float = 0.45
    spare: float = 1.0
    provisioning: float = 360.0
    mig: bool = False


@dataclass(frozen=True, slots=True)
class ScenarioFile:
    """A file. `adjust` changes a generated platform and is read once that is known; `platform` is one written out."""

    description: str
    duration: float = 3600.0
    topology: Topology = Topology()
    platform: PlatformSpec | None = None
    faults: tuple[Fault, ...] = ()
    expects: Expectation = Expectation(cascade=False)


@dataclass(frozen=True, slots=True)
class Truth:
    """What happened in a run (times in Unix seconds): for whoever judges a detector, never for the detector.

    `breached`: when each service that has an objective first missed it for a minute; `onset`: when the first fault
    began; `pool`: where GPUs were fought for.
    """

    scenario: str
    seed: int
    start: float
    end: float
    onset: float | None
    cause: Cause | None
    origin: ServiceName | None
    culprit: str
    victims: tuple[ServiceName, ...]
    pool: str
    breached: dict[str, float]
    cascaded: bool
