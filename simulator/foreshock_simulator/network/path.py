"""Paths between interfaces: latency, packet loss, and its recovery by TCP.

The model covers the parts of TCP that cost time: fast retransmit after three later packets (RFC 5681), else the
retransmission timer with exponential backoff (RFC 6298, with the 200 ms minimum of Linux). Tail loss probes (RFC 8985),
lost acknowledgements and connection setup are not modeled.
"""

from __future__ import annotations

import random
from math import log, log1p, sqrt
from typing import NamedTuple

LATENCY_SECONDS = 0.000_12
"""One way between processes on idle hosts of a data center, kernels included: half the median round trip of 216 to
268 µs in Pingmesh (Guo et al., SIGCOMM 2015, section 4)."""
LOOPBACK_SECONDS = 0.000_02
"""One way within a host."""
ROUND_TRIP_SECONDS = 2.0 * LATENCY_SECONDS
SEGMENT_BYTES = 1448
"""Payload of a packet: an Ethernet frame of 1,500 bytes less 52 of IPv4 and TCP with timestamps."""
HEADER_BYTES = 66
"""Of a packet: Ethernet 14, IPv4 20, TCP 32."""
PACKET_BYTES = SEGMENT_BYTES + HEADER_BYTES
RDMA_PACKET_BYTES = 4096
RDMA_ROUND_TRIP_SECONDS = 0.000_01
"""Without the kernels."""
MIN_TIMEOUT_SECONDS = 0.2
"""First run of the retransmission timer."""
MAX_TIMEOUT_SECONDS = 120.0
MAX_RETRANSMISSIONS = 15
"""Of one packet before the connection times out (Linux net.ipv4.tcp_retries2)."""
DUPLICATE_ACKS = 3
"""Duplicate acknowledgements that trigger a fast retransmit (RFC 5681)."""


def backoff_seconds(timeouts: int) -> float:
    """Seconds of `timeouts` consecutive runs of the retransmission timer, which doubles each time."""
    return sum(min(MIN_TIMEOUT_SECONDS * 2.0**run, MAX_TIMEOUT_SECONDS) for run in range(timeouts))


CONNECTION_TIMEOUT_SECONDS = backoff_seconds(MAX_RETRANSMISSIONS + 1)
"""Time until Linux closes a connection without any reply: 924.6."""


class Recovery(NamedTuple):
    """Effect of losses on a message: delay in seconds, packets and bytes lost and sent again, runs of the timer.

    `arrived` is False when the connection timed out.
    """

    delay: float
    lost_packets: int
    lost_bytes: int
    timeouts: int
    arrived: bool


NOTHING_LOST = Recovery(0.0, 0, 0, 0, True)


def recover(rng: random.Random, size: int, packets: int, loss: float) -> Recovery:
    """Draw the losses of a message, where each transmission of a packet is lost with probability `loss`.

    Packets of a message are sent together, so losses are recovered in parallel and the slowest determines the delay.
    """
    if loss >= 1.0:
        return _timed_out(size, packets)
    delay, lost_packets, lost_bytes, timeouts = 0.0, 0, 0, 0
    log_delivery = log1p(-loss)
    position = int(log(1.0 - rng.random()) / log_delivery)
    while position < packets:
        lost = 1
        while lost <= MAX_RETRANSMISSIONS and rng.random() < loss:
            lost += 1
        if lost > MAX_RETRANSMISSIONS:
            return _timed_out(size, packets)
        fast_retransmit = position + DUPLICATE_ACKS < packets
        runs = lost - 1 if fast_retransmit else lost
        delay = max(delay, (ROUND_TRIP_SECONDS if fast_retransmit else 0.0) + backoff_seconds(runs))
        payload = SEGMENT_BYTES if position < packets - 1 else size - SEGMENT_BYTES * (packets - 1)
        lost_packets += lost
        lost_bytes += lost * (payload + HEADER_BYTES)
        timeouts += runs
        position += 1 + int(log(1.0 - rng.random()) / log_delivery)
    return Recovery(delay, lost_packets, lost_bytes, timeouts, True) if lost_packets else NOTHING_LOST


def _timed_out(size: int, packets: int) -> Recovery:
    """No packet arrives; each run of the timer sends the first packet again (RFC 6298, 5.4)."""
    resent_bytes = min(size, SEGMENT_BYTES) + HEADER_BYTES
    lost_bytes = size + HEADER_BYTES * packets + MAX_RETRANSMISSIONS * resent_bytes
    return Recovery(
        CONNECTION_TIMEOUT_SECONDS, packets + MAX_RETRANSMISSIONS, lost_bytes, MAX_RETRANSMISSIONS + 1, False
    )


def tcp_ceiling(connections: int, loss: float) -> float:
    """Maximum rate of TCP connections over a lossy path, in bytes per second, independent of its capacity.

    Mathis, Semke, Mahdavi, Ott, "The macroscopic behavior of the TCP congestion avoidance algorithm", CCR 27(3), 1997:
    rate = segment / round trip · √(3 / (2 · loss)).
    """
    return connections * SEGMENT_BYTES / ROUND_TRIP_SECONDS * sqrt(1.5 / loss)


def rdma_ceiling(capacity: float, loss: float) -> float:
    """Maximum rate of RDMA in bytes per second: go-back-N resends all packets in flight for each lost packet."""
    window = max(capacity * RDMA_ROUND_TRIP_SECONDS / RDMA_PACKET_BYTES, 1.0)
    return capacity * (1.0 - loss) / (1.0 - loss + loss * window)


def congestion_loss(connections: int, capacity: float, buffer_bytes: float) -> float:
    """Share of packets that TCP connections lose on a full link, up to 0.1.

    Windows grow until the loss holds them at their share: the formula of `tcp_ceiling` solved for the loss, with the
    round trip through a full buffer.
    """
    round_trip = ROUND_TRIP_SECONDS + buffer_bytes / capacity
    return min(1.5 * (SEGMENT_BYTES * connections / (capacity * round_trip)) ** 2, 0.1)
