"""Network interfaces and the traffic on them: links, bulk flows, and counters."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp

from foreshock_simulator.core.engine import Signal
from foreshock_simulator.network.path import PACKET_BYTES, RDMA_PACKET_BYTES

RATE_WINDOW_SECONDS = 1.0
"""Time constant of the exponential average of the message rate. `Link` uses it as its unit of time, so that bytes
within the window are a rate."""
BUFFER_BYTES = 4 * 2**20
"""Buffer of a switch port, which bounds the wait. Top-of-rack switches have some MB per busy port."""
BURST_BYTES = 65_536
"""Burst of a bulk flow at the interface (the maximum of TCP segmentation offload)."""


class Link:
    """One direction of an interface. `capacity` in bytes per second.

    Messages have priority over flows: their rate is subtracted from the capacity of the flows. The wait of a message is
    the mean of an M/G/1 queue (Pollaczek-Khinchine) of recent messages and the bursts of the flows:

        W = Σ rate · size / (2 · capacity² · (1 − ρ)),   ρ = (messages + flows) / capacity

    which for jobs of one size is that of M/D/1, ρ · S / (2 · (1 − ρ)). A full buffer bounds it.
    """

    def __init__(self, capacity: float) -> None:
        self.capacity = capacity
        self.flows: dict[Flow, None] = {}
        """Bulk flows over this link, in order of their start."""
        self.flow_rate = 0.0
        """Sum of their rates in bytes per second."""
        self.drop_ratio = 0.0
        """Share of packets lost to congestion by the flows."""
        self.assumed_rate = 0.0
        """The message rate for which the rates of the flows were computed."""
        self.recheck_scheduled = False
        self.rate = 0.0
        """Message rate in bytes per second at the last message."""
        self._last_message = self._squares = 0.0
        self._max_wait = BUFFER_BYTES / capacity

    def message_rate(self, now: float) -> float:
        """Message rate in bytes per second, averaged over `RATE_WINDOW_SECONDS`."""
        return self.rate * exp(self._last_message - now)

    def enter(self, now: float, size: int) -> float:
        """Add a message; returns the seconds that it waits behind others, without its own transmission."""
        decay = exp(self._last_message - now)
        rate, squares = self.rate * decay, self._squares * decay
        self._last_message, self.rate, self._squares = now, rate + size, squares + size * size
        capacity, flow_rate = self.capacity, self.flow_rate
        idle = capacity - flow_rate - rate
        if idle > 0.0:
            if flow_rate:
                squares += flow_rate * BURST_BYTES
            wait = squares / (2.0 * capacity * idle)
            if wait < self._max_wait:
                return wait
        return self._max_wait

    def loss(self, now: float) -> float:
        """Share of packets dropped: the excess of the message rate over the capacity, and congestion by the flows."""
        if self.rate <= self.capacity:  # the rate only decays between messages
            return self.drop_ratio
        rate = self.message_rate(now)
        if rate <= self.capacity:
            return self.drop_ratio
        return 1.0 - (1.0 - self.drop_ratio) * self.capacity / rate


@dataclass(slots=True, eq=False)
class Nic:
    """The interface of a host, each direction with the full capacity, with counters since the start.

    Bytes are on the wire, headers included. `receive_…` and `transmit_…` as in /proc/net/dev, segments and timeouts as
    in Tcp and TcpExt of /proc/net/snmp and netstat. `rdma_…` as on the InfiniBand or RoCE port; the other counters
    exclude its traffic. Pure acknowledgements are not modeled.
    """

    host: str
    out: Link
    into: Link
    receive_bytes: int = 0
    receive_packets: int = 0
    receive_drops: int = 0
    transmit_bytes: int = 0
    transmit_packets: int = 0
    segments_retransmitted: int = 0
    timeouts: int = 0
    rdma_receive_bytes: int = 0
    rdma_receive_packets: int = 0
    rdma_transmit_bytes: int = 0
    rdma_transmit_packets: int = 0
    rdma_out_of_sequence: int = 0

    @property
    def segments_in(self) -> int:
        """Equal to received packets."""
        return self.receive_packets

    @property
    def segments_out(self) -> int:
        """Transmitted packets without retransmissions."""
        return self.transmit_packets - self.segments_retransmitted


@dataclass(slots=True, eq=False)
class Flow:
    """A bulk transfer. `moved` bytes had arrived at time `since`; from then on it moves at `rate` and loses packets."""

    source: Nic
    target: Nic
    size: float
    ceiling: float
    connections: int
    rdma: bool
    signal: Signal
    rate: float = 0.0
    since: float = 0.0
    moved: float = 0.0
    lost_ratio: float = 0.0
    """Lost packets per arrived packet."""
    drop_ratio: float = 0.0
    """The part of them that the receiving port drops."""
    lost: float = 0.0
    """Packets lost until `since`."""
    drops: float = 0.0
    counted: int = 0
    """Bytes already in the counters of the interfaces; likewise packets."""
    counted_lost: int = 0
    counted_drops: int = 0
    version: int = 0

    @property
    def packet_bytes(self) -> int:
        """Size of a packet on the wire."""
        return RDMA_PACKET_BYTES if self.rdma else PACKET_BYTES

    def moved_at(self, now: float) -> float:
        """Bytes that have arrived by `now`."""
        return min(self.moved + self.rate * (now - self.since), self.size)

    def change(self, now: float, rate: float, lost_ratio: float, drop_ratio: float) -> None:
        """Continue at another rate and loss."""
        moved = self.moved_at(now)
        packets = (moved - self.moved) / self.packet_bytes
        self.lost += packets * self.lost_ratio
        self.drops += packets * self.drop_ratio
        self.moved, self.since = moved, now
        self.rate, self.lost_ratio, self.drop_ratio = rate, lost_ratio, drop_ratio
        self.version += 1

    def count(self, now: float) -> int:
        """Update the counters of both interfaces; returns the bytes lost since the last update.

        Both ends count the same whole bytes, so they agree at any time.
        """
        packets = (self.moved_at(now) - self.moved) / self.packet_bytes
        moved = int(self.moved_at(now))
        lost, drops = int(self.lost + packets * self.lost_ratio), int(self.drops + packets * self.drop_ratio)
        new_packets = _packets(moved, self.packet_bytes) - _packets(self.counted, self.packet_bytes)
        new_bytes, resent, dropped = moved - self.counted, lost - self.counted_lost, drops - self.counted_drops
        self.counted, self.counted_lost, self.counted_drops = moved, lost, drops
        source, target = self.source, self.target
        if self.rdma:
            source.rdma_transmit_bytes += new_bytes + resent * self.packet_bytes
            source.rdma_transmit_packets += new_packets + resent
            target.rdma_receive_bytes += new_bytes
            target.rdma_receive_packets += new_packets
            target.rdma_out_of_sequence += resent
        else:
            source.transmit_bytes += new_bytes + resent * self.packet_bytes
            source.transmit_packets += new_packets + resent
            source.segments_retransmitted += resent
            target.receive_bytes += new_bytes
            target.receive_packets += new_packets
            target.receive_drops += dropped
        return resent * self.packet_bytes


def _packets(size: int, packet_bytes: int) -> int:
    return -(-size // packet_bytes)
