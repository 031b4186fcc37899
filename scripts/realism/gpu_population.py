"""Distribution of the channel use of jobs that share GPUs, with four constants.

    sm       Kumaraswamy(a, b): inverse distribution function (1 − (1 − u)^(1/b))^(1/a) dram     uniform from 0 to sm
    kernels  one dispatch every MIN_DISPATCH_SECONDS + log-normal seconds: median `interval`, exp(`spread`) to a
    standard deviation

The constants are fitted (`python -m scripts.realism gpu --fit`) so that slowdowns of pairs, which follow from `sharing`
alone, have the quantiles that Gavel (Narayanan et al., OSDI 2020) measured for training jobs in pairs on one
GPU. The pairs of a run follow from the scenario, not from a table.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Final

from foreshock_simulator.hardware.sharing import share_channels

MIN_DISPATCH_SECONDS: Final = 1e-4
"""Shortest time of a host between two blocking dispatches."""


@dataclass(frozen=True, slots=True)
class Population:
    """Distribution of the channel use of jobs on one kind of GPU; see the module docstring."""

    a: float
    b: float
    interval: float
    spread: float


@dataclass(slots=True)
class Job:
    """Channel use of a job that runs alone."""

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
"""Fitted to Gavel's pairs. Jobs use more of a slower GPU."""


def draw_job(population: Population, rng: Random) -> Job:
    """Draw a job."""
    sm = (1.0 - (1.0 - rng.random()) ** (1.0 / population.b)) ** (1.0 / population.a)
    dram = sm * rng.random()
    return Job(sm, dram, 1.0 / (MIN_DISPATCH_SECONDS + population.interval * math.exp(population.spread * rng.gauss())))


def slowdowns(population: Population, pairs: int, rng: Random) -> Iterator[float]:
    """Slowdown of jobs drawn in pairs that share a GPU by time-slicing, 1 is no slowdown.

    Yields two values per pair.
    """
    for _ in range(pairs):
        for share in share_channels((draw_job(population, rng), draw_job(population, rng)), time_sliced=True):
            yield 1.0 / share.speed
