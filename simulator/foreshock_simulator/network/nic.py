"""A network interface: two directions, each with a capacity that messages and bulk flows share, and its counters."""

from __future__ import annotations

from math import exp
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from foreshock_simulator.network.bulk import Flow

WINDOW = 1.0
"""Seconds over which the rate of messages is averaged (exponentially). `Link` takes it for the unit of time:
bytes within it are a rate."""
BUFFER_BYTES = 4 * 2**20
"""What a port of a switch holds before it drops; bounds the wait. Top-of-rack switches have some MB per busy port."""
BURST_BYTES = 65_536
"""What a bulk flow hands to the interface at a time (the most that TCP segmentation offload takes)."""


class Link:
    """One direction of an interface. `capacity` in bytes per second.

    Messages are not slowed down as flows are: what they need is taken from the flows' capacity. How long a message
    waits behind others is the mean of an M/G/1 queue (Pollaczek-Khinchine), whose jobs are the messages of late and
    the bursts of the flows that pass:

        W = Σ rate · size / (2 · capacity² · (1 − ρ)),   ρ = (messages + flows) / capacity

    which for jobs of one size is that of M/D/1, ρ · S / (2 · (1 − ρ)). It is bounded by a full buffer.
    """

    __slots__ = (
        "_at", "_longest", "_squares", "assumed", "capacity", "drop_ratio", "flow_rate", "flows", "rate", "watched",
    )  # fmt: skip

    def __init__(self, capacity: float) -> None:
        self.capacity = capacity
        self.flows: dict[Flow, None] = {}
        """Bulk flows that pass, in the order in which they came."""
        self.flow_rate = 0.0
        """Bytes per second of these."""
        self.drop_ratio = 0.0
        """Share of packets that the flows' congestion loses here."""
        self.assumed = 0.0
        """The rate of messages for which the flows' rates were computed."""
        self.watched = False
        self.rate = 0.0
        """Bytes per second of messages when the last one came."""
        self._at = self._squares = 0.0
        self._longest = BUFFER_BYTES / capacity

    def message_rate(self, now: float) -> float:
        """Bytes per second of messages, averaged over `WINDOW`."""
        return self.rate * exp(self._at - now)

    def enter(self, now: float, size: int) -> float:
        """Let a message pass: the seconds that it waits behind others (without its own transmission)."""
        decay = exp(self._at - now)
        rate, squares = self.rate * decay, self._squares * decay
        self._at, self.rate, self._squares = now, rate + size, squares + size * size
        capacity, flow_rate = self.capacity, self.flow_rate
        idle = capacity - flow_rate - rate
        if idle > 0.0:
            if flow_rate:
                squares += flow_rate * BURST_BYTES
            wait = squares / (2.0 * capacity * idle)
            if wait < self._longest:
                return wait
        return self._longest

    def loss(self, now: float) -> float:
        """Share of packets dropped: what messages alone offer beyond the capacity, and the flows' congestion."""
        if self.rate <= self.capacity:  # whatever the rate was when they came, it is not more now
            return self.drop_ratio
        rate = self.message_rate(now)
        if rate <= self.capacity:
            return self.drop_ratio
        return 1.0 - (1.0 - self.drop_ratio) * self.capacity / rate


class NicCounters(NamedTuple):
    """What a host's kernel and adapter have counted since the start. Bytes on the wire, headers included.

    `receive_…` and `transmit_…` are those of /proc/net/dev; segments and time-outs those of Tcp and TcpExt in
    /proc/net/snmp and netstat; `rdma_…` those of the InfiniBand or RoCE port, whose traffic the others do not see.
    Segments that only acknowledge are not modelled.
    """

    receive_bytes: int = 0
    receive_packets: int = 0
    receive_drops: int = 0
    transmit_bytes: int = 0
    transmit_packets: int = 0
    segments_in: int = 0
    segments_out: int = 0
    segments_retransmitted: int = 0
    timeouts: int = 0
    rdma_receive_bytes: int = 0
    rdma_receive_packets: int = 0
    rdma_transmit_bytes: int = 0
    rdma_transmit_packets: int = 0
    rdma_out_of_sequence: int = 0


_COUNTED = attrgetter(*NicCounters._fields)


class Nic:
    """A host's interface; it counts what `NicCounters` tells. Each direction has the whole capacity (full duplex)."""

    __slots__ = (
        "host", "into", "out", "rdma_out_of_sequence", "rdma_receive_bytes", "rdma_receive_packets",
        "rdma_transmit_bytes", "rdma_transmit_packets", "receive_bytes", "receive_drops", "receive_packets",
        "segments_retransmitted", "timeouts", "transmit_bytes", "transmit_packets",
    )  # fmt: skip

    def __init__(self, host: str, bytes_per_second: float) -> None:
        self.host = host
        self.out = Link(bytes_per_second)
        self.into = Link(bytes_per_second)
        self.receive_bytes = self.receive_packets = self.receive_drops = 0
        self.transmit_bytes = self.transmit_packets = 0
        self.segments_retransmitted = self.timeouts = 0
        self.rdma_receive_bytes = self.rdma_receive_packets = self.rdma_out_of_sequence = 0
        self.rdma_transmit_bytes = self.rdma_transmit_packets = 0

    @property
    def segments_in(self) -> int:
        """Each is a packet."""
        return self.receive_packets

    @property
    def segments_out(self) -> int:
        """Those that were sent again count as packets only."""
        return self.transmit_packets - self.segments_retransmitted

    def counters(self) -> NicCounters:
        """The counters as they stand."""
        return NicCounters._make(_COUNTED(self))
