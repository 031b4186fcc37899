"""What may happen to the simulated platform, and the truth of what did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from foreshock_simulator.names import ServiceName


class Place(NamedTuple):
    """A GPU: the host's name and the index there."""

    host: str
    gpu: int


@dataclass(frozen=True, slots=True)
class Growth:
    """A batch tenant starts more workers on a model service's GPUs: `workers` on each, over `ramp` seconds."""

    aggressor: ServiceName
    victim: ServiceName
    places: tuple[Place, ...]
    workers: int
    ramp: float


@dataclass(frozen=True, slots=True)
class Scenario:
    """A platform's day. `description` is a sentence for people; without `growth` nothing is injected."""

    name: str
    description: str
    growth: Growth | None = None


@dataclass(frozen=True, slots=True)
class Truth:
    """What was done to the platform, and when (Unix seconds). No service or GPU is named where nothing was."""

    aggressor: ServiceName | None
    victim: ServiceName | None
    gpus: tuple[Place, ...]
    onset: float


SCENARIOS: Mapping[str, Scenario] = MappingProxyType(
    {
        scenario.name: scenario
        for scenario in (
            Scenario(
                "starve",
                "The batch tenant batch-embed starts more workers on the GPUs of llm-chat and squeezes it.",
                Growth(
                    ServiceName("ml", "batch-embed"),
                    ServiceName("serving", "llm-chat"),
                    (Place("host-1", 0), Place("host-1", 1), Place("host-2", 0), Place("host-2", 1)),
                    workers=2,
                    ramp=30.0,
                ),
            ),
            Scenario("calm", "The same platform and the same traffic; no tenant takes more than it usually does."),
        )
    }
)
"""By name; the first is the one to show."""
