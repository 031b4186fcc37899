"""Random numbers that follow from the seed alone."""

from __future__ import annotations

import random


def stream(seed: int, name: str) -> random.Random:
    """A generator of its own for each use, so that one use more does not shift the draws of the others."""
    return random.Random(f"{seed}/{name}")  # noqa: S311 - simulated chance, nothing secret
