"""Between two interfaces: latency, and what TCP does about lost packets.

Of TCP there is what costs time: fast retransmit where three later packets show the gap (RFC 5681), else the
retransmission timer with its back-off (RFC 6298, with Linux' minimum of 200 ms instead of the RFC's second). Tail loss
probes (RFC 8985), lost acknowledgements and the opening of connections are not modelled.
"""

from __future__ import annotations

import random
from math import log, log1p, sqrt
from typing import NamedTuple

LATENCY = 0.000_12
"""Seconds one way between two processes on idle hosts of a data centre, kernels included: half the median round trip of
216 to 268 µs that Pingmesh measured (Guo et al., SIGCOMM 2015, section 4)."""
LOOPBACK = 0.000_02
"""Seconds one way within a host."""
ROUND_TRIP = 2.0 * LATENCY
SEGMENT_BYTES = 1448
"""Payload of a packet: an Ethernet frame of 1,500 bytes less 52 of IPv4 and TCP with timestamps."""
HEADER_BYTES = 66
"""Of a packet: Ethernet 14, IPv4 20, TCP 32."""
PACKET_BYTES = SEGMENT_BYTES + HEADER_BYTES
RDMA_PACKET_BYTES = 4096
RDMA_ROUND_TRIP = 0.000_01
"""Seconds; the kernels have no part in it."""
RETRANSMISSION_TIMEOUT = 0.2
LONGEST_TIMEOUT = 120.0
RETRIES = 15
"""Of one packet, as Linux' net.ipv4.tcp_retries2; then the connection is given up."""
DUPLICATES = 3
"""Later packets whose acknowledgements show that one is missing (RFC 5681)."""


def backed_off(timeouts: int) -> float:
    """Seconds that so many runs of the retransmission timer take, each twice as long as the one before."""
    return sum(min(RETRANSMISSION_TIMEOUT * 2.0**run, LONGEST_TIMEOUT) for run in range(timeouts))


GIVEN_UP = backed_off(RETRIES + 1)
"""Seconds until Linux gives a connection up over which nothing comes back: 924.6."""


class Recovery(NamedTuple):
    """What losses did to a message: seconds of delay, packets and bytes lost and sent again, runs of the timer.

    Where it was given up, its packets never arrived.
    """

    delay: float
    lost_packets: int
    lost_bytes: int
    timeouts: int
    arrived: bool


NOTHING_LOST = Recovery(0.0, 0, 0, 0, True)


def recover(rng: random.Random, size: int, packets: int, loss: float) -> Recovery:
    """Draw which of a message's packets are lost, each with probability `loss`, first and when sent again.

    Packets of a message are sent in one go, so lost ones are recovered side by side: the slowest counts.
    """
    if loss >= 1.0:
        return _given_up(size, packets)
    delay, lost_packets, lost_bytes, timeouts = 0.0, 0, 0, 0
    log_kept = log1p(-loss)
    position = int(log(1.0 - rng.random()) / log_kept)
    while position < packets:
        lost = 1
        while lost <= RETRIES and rng.random() < loss:
            lost += 1
        if lost > RETRIES:
            return _given_up(size, packets)
        seen = position + DUPLICATES < packets
        runs = lost - 1 if seen else lost
        delay = max(delay, (ROUND_TRIP if seen else 0.0) + backed_off(runs))
        payload = SEGMENT_BYTES if position < packets - 1 else size - SEGMENT_BYTES * (packets - 1)
        lost_packets += lost
        lost_bytes += lost * (payload + HEADER_BYTES)
        timeouts += runs
        position += 1 + int(log(1.0 - rng.random()) / log_kept)
    return Recovery(delay, lost_packets, lost_bytes, timeouts, True) if lost_packets else NOTHING_LOST


def _given_up(size: int, packets: int) -> Recovery:
    """Nothing arrives; on each run of the timer the first packet is sent again (RFC 6298, 5.4)."""
    again = min(size, SEGMENT_BYTES) + HEADER_BYTES
    lost_bytes = size + HEADER_BYTES * packets + RETRIES * again
    return Recovery(GIVEN_UP, packets + RETRIES, lost_bytes, RETRIES + 1, False)


def tcp_ceiling(connections: int, loss: float) -> float:
    """Bytes per second that connections reach over a path that loses packets, whatever its capacity.

    Mathis, Semke, Mahdavi, Ott, "The macroscopic behavior of the TCP congestion avoidance algorithm", CCR 27(3), 1997:
    rate = segment / round trip · √(3 / (2 · loss)).
    """
    return connections * SEGMENT_BYTES / ROUND_TRIP * sqrt(1.5 / loss)


def rdma_ceiling(capacity: float, loss: float) -> float:
    """Bytes per second that RDMA reaches: go-back-N sends all that was in flight again for each lost packet."""
    window = max(capacity * RDMA_ROUND_TRIP / RDMA_PACKET_BYTES, 1.0)
    return capacity * (1.0 - loss) / (1.0 - loss + loss * window)


def congestion_loss(connections: int, capacity: float, buffer_bytes: float) -> float:
    """Share of packets that so many TCP connections lose where they fill a link, at most 0.1.

    They grow until they lose as much as keeps them at their share: the formula of `tcp_ceiling` solved for the loss,
    with the round trip through a full buffer.
    """
    round_trip = ROUND_TRIP + buffer_bytes / capacity
    return min(1.5 * (SEGMENT_BYTES * connections / (capacity * round_trip)) ** 2, 0.1)
