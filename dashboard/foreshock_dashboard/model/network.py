"""What hosts tell of their interfaces and connections."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from foreshock_dashboard.model.types import Floats


@dataclass(frozen=True, slots=True)
class Network:
    """Arrays of shape (hosts, times), NaN where there is no sample.

    used: share 0…1 of the fastest direction of the fullest interface (Ethernet or RDMA) that is used.
    bytes: bytes per second, both directions of all interfaces. retransmitted: share 0…1 of TCP segments sent again.
    timeouts: TCP time-outs per second. dropped: packets dropped or in error, or out of sequence (RDMA), per second.
    """

    hosts: tuple[str, ...]
    used: Floats = field(repr=False)
    bytes: Floats = field(repr=False)
    retransmitted: Floats = field(repr=False)
    timeouts: Floats = field(repr=False)
    dropped: Floats = field(repr=False)

    @classmethod
    def empty(cls, points: int) -> Network:
        """No host tells of its network."""
        none = np.empty((0, points))
        return cls((), none, none, none, none, none)
