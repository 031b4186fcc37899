"""What a scenario file may hold; `foreshock_simulator.spec` says what is in its platform, faults and expectation."""

from __future__ import annotations

from dataclasses import dataclass

from foreshock_simulator.spec.faults import Fault
from foreshock_simulator.spec.scenario import Expectation, PlatformSpec


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
