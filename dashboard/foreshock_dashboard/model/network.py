"""Network interfaces and TCP connections of hosts."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from foreshock_dashboard.model.types import Floats


@dataclass(frozen=True, slots=True)
class Network:
    """Arrays of shape (hosts, times); NaN is no sample.

    used: utilization, 0 to 1, of the busier direction of the busiest interface (Ethernet or RDMA).
    bytes: bytes per second, both directions of all interfaces. retransmitted: share of TCP segments, 0 to 1.
    timeouts: TCP timeouts per second. dropped: packets per second dropped, in error, or out of sequence (RDMA).
    """

    hosts: tuple[str, ...]
    used: Floats = field(repr=False)
    bytes: Floats = field(repr=False)
    retransmitted: Floats = field(repr=False)
    timeouts: Floats = field(repr=False)
    dropped: Floats = field(repr=False)

    @classmethod
    def empty(cls, points: int) -> Network:
        """No host reports its network."""
        none = np.empty((0, points))
        return cls((), none, none, none, none, none)
