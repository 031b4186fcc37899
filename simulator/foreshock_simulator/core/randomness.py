"""Random numbers that depend on the seed alone."""

from __future__ import annotations

import random
from collections.abc import Iterator
from math import cos, log, sin, sqrt, tau


def random_stream(seed: int, name: str) -> random.Random:
    """An independent generator for each name, so that a new use does not shift the draws of other uses."""
    return random.Random(f"{seed}/{name}")  # noqa: S311 - simulated chance, nothing secret


def standard_normals(rng: random.Random) -> Iterator[float]:
    """Standard normal numbers by the Box-Muller transform (1958); faster than `rng.gauss()`."""
    uniform = rng.random
    while True:
        angle = uniform() * tau
        radius = sqrt(-2.0 * log(1.0 - uniform()))
        yield cos(angle) * radius
        yield sin(angle) * radius
