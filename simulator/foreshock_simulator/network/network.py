"""The network between hosts. Its core is never congested, as in a data center; interfaces and lossy paths can be."""

from __future__ import annotations

import random
from collections.abc import Iterable
from copy import copy
from math import inf

from foreshock_simulator.core.engine import Engine, Signal
from foreshock_simulator.network.bulk import BulkTransfers
from foreshock_simulator.network.nic import Flow, Link, Nic
from foreshock_simulator.network.path import HEADER_BYTES, LATENCY_SECONDS, LOOPBACK_SECONDS, SEGMENT_BYTES, recover

LOCAL_BYTES_PER_SECOND = 20e9
"""Rate between two processes of a host: a copy through memory."""


class Network:
    """Hosts with their interfaces, and the paths between them. `rng` draws packet losses."""

    def __init__(self, engine: Engine, rng: random.Random) -> None:
        self._engine = engine
        self._rng = rng
        self._nics: dict[str, Nic] = {}
        self._lossy: dict[tuple[str, str], float] = {}
        self._lost_bytes = 0
        self._bulk = BulkTransfers(engine, self._path_loss)

    def add(self, host: str, bytes_per_second: float) -> None:
        """Add a host with the capacity of its interface in each direction.

        Raises:
            ValueError: the name is taken, or the capacity is not positive.
        """
        if host in self._nics:
            raise ValueError(f"host {host!r} is there already")
        if not 0.0 < bytes_per_second < inf:
            raise ValueError(f"host {host!r}: {bytes_per_second} bytes per second is not the capacity of an interface")
        self._nics[host] = Nic(host, Link(bytes_per_second), Link(bytes_per_second))

    def message(self, source: str, target: str, size: int) -> float:
        """Send `size` bytes of payload, up to some MB, now; returns the seconds until all have arrived.

        The sum of latency, transmission at the slower interface, waits at both, and recovery from losses. A connection
        without any reply takes `path.CONNECTION_TIMEOUT_SECONDS`.

        Raises:
            KeyError: unknown host.
        """
        sender, receiver = self._nics[source], self._nics[target]
        if sender is receiver:
            return LOOPBACK_SECONDS
        now, out, into = self._engine.now, sender.out, receiver.into
        packets = -(-size // SEGMENT_BYTES) or 1
        wire_bytes = size + HEADER_BYTES * packets
        bottleneck = out.capacity
        if into.capacity < bottleneck:
            bottleneck = into.capacity
        delay = LATENCY_SECONDS + wire_bytes / bottleneck + out.enter(now, wire_bytes) + into.enter(now, wire_bytes)
        if out.flows:
            self._bulk.check_message_rate(out)
        if into.flows:
            self._bulk.check_message_rate(into)
        sender.transmit_bytes += wire_bytes
        sender.transmit_packets += packets
        dropped = into.loss(now) if into.drop_ratio or into.rate > into.capacity else 0.0
        lost = self._lossy.get((source, target), 0.0) if self._lossy else 0.0
        if dropped or lost:
            return delay + self._recover(sender, receiver, size, packets, lost, dropped)
        receiver.receive_bytes += wire_bytes
        receiver.receive_packets += packets
        return delay

    def bulk(
        self, source: str, target: str, size: float, ceiling: float = inf, *, connections: int = 1, rdma: bool = False
    ) -> Signal:
        """Transfer `size` bytes (on the wire) at the max-min fair rate.

        Args:
            size: inf for a transfer that only `stop` ends.
            ceiling: maximum rate of all its connections together, in bytes per second.
            connections: shares are fair per connection; on a full link, many connections also lose more packets.
            rdma: whether it counts in the RDMA counters instead of the kernel's.

        Returns:
            Fires with True when all bytes have arrived.

        Raises:
            KeyError: unknown host.
            ValueError: size, ceiling or connections are not positive.
        """
        if size <= 0.0 or ceiling <= 0.0 or connections < 1:
            raise ValueError(f"{size} bytes at up to {ceiling} over {connections} connections is not a transfer")
        sender, receiver, signal = self._nics[source], self._nics[target], Signal(self._engine)
        if sender is not receiver:
            self._bulk.start(Flow(sender, receiver, size, ceiling, connections, rdma, signal))
        elif size < inf:
            self._engine.schedule(self._engine.now + size / min(ceiling, LOCAL_BYTES_PER_SECOND), signal.fire, True)
        return signal

    def stop(self, transfer: Signal) -> None:
        """Stop a running bulk transfer; its signal never fires. No effect on one that has ended."""
        self._bulk.stop(transfer)

    def lose(self, hosts_a: Iterable[str], hosts_b: Iterable[str], ratio: float) -> None:
        """Lose a share of the packets between two sets of hosts, in both directions, from now on; 0 ends the losses.

        Raises:
            KeyError: unknown host.
            ValueError: the ratio is not from 0 to 1.
        """
        if not 0.0 <= ratio <= 1.0:
            raise ValueError(f"{ratio} is not a valid loss ratio; use 0 to 1")
        hosts_b = tuple(hosts_b)
        for a in hosts_a:
            for b in hosts_b:
                for pair in ((self._nics[a].host, b), (self._nics[b].host, a)):
                    if ratio:
                        self._lossy[pair] = ratio
                    else:
                        self._lossy.pop(pair, None)
        self._bulk.recompute_all()

    def counters(self, host: str) -> Nic:
        """A copy of the interface of a host, with its counters at present.

        Raises:
            KeyError: unknown host.
        """
        nic = self._nics[host]
        self._bulk.count((nic.out, nic.into))
        return copy(nic)

    @property
    def lost_bytes(self) -> int:
        """Bytes sent and never received. Bytes sent by all hosts equal bytes received plus these."""
        return self._lost_bytes + self._bulk.count()

    def _path_loss(self, source: str, target: str) -> float:
        return self._lossy.get((source, target), 0.0)

    def _recover(self, sender: Nic, receiver: Nic, size: int, packets: int, lost: float, dropped: float) -> float:
        """Count a message that may lose packets; returns the additional delay in seconds."""
        loss = 1.0 - (1.0 - lost) * (1.0 - dropped)
        delay, lost_packets, lost_bytes, timeouts, arrived = recover(self._rng, size, packets, loss)
        wire_bytes = size + HEADER_BYTES * packets
        retransmitted = lost_packets if arrived else lost_packets - packets
        sender.transmit_bytes += lost_bytes if arrived else lost_bytes - wire_bytes
        sender.transmit_packets += retransmitted
        sender.segments_retransmitted += retransmitted
        sender.timeouts += timeouts
        receiver.receive_drops += _binomial(self._rng, lost_packets, (1.0 - lost) * dropped / loss)
        self._lost_bytes += lost_bytes
        if arrived:
            receiver.receive_bytes += wire_bytes
            receiver.receive_packets += packets
        return delay


def _binomial(rng: random.Random, count: int, share: float) -> int:
    """Draw from a binomial distribution."""
    if share in (0.0, 1.0):
        return int(count * share)
    return sum(rng.random() < share for _ in range(count))
