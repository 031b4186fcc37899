"""Which faults happen to a system, in which order, and where."""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from typing import Literal, NamedTuple

from foreshock_lab.faults.catalog import KINDS
from foreshock_lab.faults.injection import FaultKind
from foreshock_lab.faults.placement import eligible_services
from foreshock_lab.topology.model import Topology

Split = Literal["dev", "heldout"]
HELD_OUT_SEED = 100
"""Seeds from here on are held out: they only score, and nothing is set on them."""
STRENGTHS = (1, 2, 3)
FAULTS_PER_SYSTEM = 22
"""Faults of a system in four hours: the plan of the next seed begins where that of such a time ends."""


class PlannedFault(NamedTuple):
    """A fault at a service of a system. service: name without the namespace. system: name of the topology."""

    kind: FaultKind
    strength: int
    service: str
    system: str
    seed: int

    @property
    def scenario(self) -> str:
        """`cpu-hog-2`."""
        return f"{self.kind.name}-{self.strength}"

    @property
    def name(self) -> str:
        """Name of its recording, `shop-11-cpu-hog-2`."""
        return f"{self.system}-{self.scenario}"


def split_of(seed: int) -> Split:
    """The split of a seed."""
    return "heldout" if seed >= HELD_OUT_SEED else "dev"


def plan(topology: Topology, kinds: Sequence[str] = ()) -> list[PlannedFault]:
    """All faults of a system, of some kinds if given; equal systems have equal plans.

    Each kind comes once before any comes again, and then at another strength, so that also a part of the plan is
    balanced.
    """
    rng = random.Random(f"faults {topology.seed}")  # noqa: S311 - not for secrets
    order = sorted(KINDS, key=lambda name: zlib.crc32(name.encode()))
    first = topology.seed * FAULTS_PER_SYSTEM % len(order)
    faults = [
        PlannedFault(
            KINDS[name],
            STRENGTHS[(place + topology.seed + turn) % 3],
            rng.choice(services),
            topology.name,
            topology.seed,
        )
        for turn in range(len(STRENGTHS))
        for place, name in enumerate([*order[first:], *order[:first]])
        if (services := eligible_services(topology, KINDS[name].place))
    ]
    return [fault for fault in faults if (not kinds or fault.kind.name in kinds) and not fault.kind.unavailable()]
