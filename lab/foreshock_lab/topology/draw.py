"""Topologies drawn by seed: kind of system, names, layers, fan-out, caches, stacks, and replicas differ."""

from __future__ import annotations

import random

from foreshock_lab.topology.desk import draw_desk
from foreshock_lab.topology.model import Topology
from foreshock_lab.topology.shop import draw_shop


def draw(seed: int) -> Topology:
    """The topology of a seed, every fourth a help desk and else a shop; equal seeds give equal topologies."""
    rng = random.Random(f"topology {seed}")  # noqa: S311 - not for secrets
    return (draw_desk if seed % 4 == 3 else draw_shop)(seed, rng)
