"""What jobs that share GPUs are like: the channels that they use while alone, as a distribution with four constants.

    sm       Kumaraswamy(a, b): its inverse distribution function is (1 − (1 − u)^(1/b))^(1/a)
    dram     uniform from 0 to sm
    kernels  one dispatch every FLOOR + log-normal seconds: median `interval`, exp(`spread`) to a standard deviation

The constants are fitted (`scripts/realism.py gpu --fit`) so that slow-downs of pairs, which follow from the physics in
`sharing` alone, have the quantiles that Gavel (Narayanan et al., OSDI 2020) measured for training jobs in pairs on one
GPU. Nothing is looked up: the pairs of a run are whatever the scenario places together.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Final

from foreshock_simulator.hardware.sharing import divide

FLOOR_SECONDS: Final = 1e-4
"""A host needs so long at least from one dispatch that it waits for to the next."""


@dataclass(frozen=True, slots=True)
class Population:
    """The distribution of jobs' channel uses on one kind of GPU."""

    a: float
    b: float
    interval: float
    spread: float


@dataclass(frozen=True, slots=True)
class Job:
    """A job's use of a GPU's channels while it is alone there."""

    sm: float
    dram: float
    kernels: float
    nvlink: float = 0.0
    pcie: float = 0.0


POPULATIONS: Final = {
    "V100": Population(a=6.30, b=9.17, interval=1.43e-3, spread=2.43),
    "P100": Population(a=2.16, b=0.524, interval=1.29e-3, spread=0.73),
    "K80": Population(a=3.04, b=0.428, interval=0.28e-3, spread=0.68),
}
"""Fitted to Gavel's pairs. The slower the GPU, the more of its time a job needs."""


def draw(population: Population, rng: Random) -> Job:
    """One job."""
    sm = (1.0 - (1.0 - rng.random()) ** (1.0 / population.b)) ** (1.0 / population.a)
    dram = sm * rng.random()
    return Job(sm, dram, 1.0 / (FLOOR_SECONDS + population.interval * math.exp(population.spread * rng.gauss())))


def slowdowns(population: Population, pairs: int, rng: Random) -> Iterator[float]:
    """How many times as long jobs take that are drawn in pairs and share a GPU by time-slicing; two values a pair."""
    for _ in range(pairs):
        for portion in divide((draw(population, rng), draw(population, rng)), slices=True):
            yield 1.0 / portion.speed
