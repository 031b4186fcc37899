"""Random numbers that follow from the seed alone."""

from __future__ import annotations

import random
from collections.abc import Iterator
from math import cos, log, sin, sqrt, tau


def stream(seed: int, name: str) -> random.Random:
    """A generator of its own for each use, so that one use more does not shift the draws of the others."""
    return random.Random(f"{seed}/{name}")  # noqa: S311 - simulated chance, nothing secret


def normals(rng: random.Random) -> Iterator[float]:
    """Standard normal numbers, drawn in pairs (Box and Muller, 1958): those of `rng.gauss()`, sooner."""
    uniform = rng.random
    while True:
        angle = uniform() * tau
        radius = sqrt(-2.0 * log(1.0 - uniform()))
        yield cos(angle) * radius
        yield sin(angle) * radius
