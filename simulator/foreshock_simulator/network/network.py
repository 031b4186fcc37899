"""The network between hosts. Its core has room, as in a data centre; interfaces and single paths are what fills up."""

from __future__ import annotations

import random
from collections.abc import Iterable
from math import inf

from foreshock_simulator.core.engine import (Engine, Signal)
from foreshock_simulator.network.bulk import Bulk, Flow
from foreshock_simulator.network.nic import Nic, NicCounters
from foreshock_simulator.network.path import HEADER_BYTES, LATENCY, LOOPBACK, SEGMENT_BYTES, recover

LOCAL_BYTES_PER_SECOND = 20e9
"""Between two processes of a host: a copy through memory."""


class Network:
    """Hosts with their interfaces, and the paths between them. `rng` decides which packets are lost."""

    __slots__ = ("_bulk", "_engine", "_lossy", "_lost_bytes", "_nics", "_rng")

    def __init__(self, engine: Engine, rng: random.Random) -> None:
        self._engine = engine
        self._rng = rng
        self._nics: dict[str, Nic] = {}
        self._lossy: dict[tuple[str, str], float] = {}
        self._lost_bytes = 0
        self._bulk = Bulk(engine, self._path_loss)

    def add(self, host: str, bytes_per_second: float) -> None:
        """Add a host whose interface has this capacity in each direction.

        Raises:
            ValueError: there is one of that name, or the capacity is not positive.
        """
        if host in self._nics:
            raise ValueError(f"host {host!r} is there already")
        if not 0.0 < bytes_per_second < inf:
            raise ValueError(f"host {host!r}: {bytes_per_second} bytes per second is no capacity of an interface")
        self._nics[host] = Nic(host, bytes_per_second)

    def message(self, source: str, target: str, size: int) -> float:
        """Send `size` bytes of payload, up to some MB, now. Seconds until all of them have arrived.

        Latency, transmission at the slower interface, waits at both, and the recovery from losses. A connection over
        which nothing comes back takes `path.GIVEN_UP`: who asked will have given up long before.

        Raises:
            KeyError: a host is unknown.
        """
        sender, receiver = self._nics[source], self._nics[target]
        if sender is receiver:
            return LOOPBACK
        now, out, into = self._engine.now, sender.out, receiver.into
        packets = -(-size // SEGMENT_BYTES) or 1
        wire = size + HEADER_BYTES * packets
        slower = out.capacity
        if into.capacity < slower:
            slower = into.capacity
        delay = LATENCY + wire / slower + out.enter(now, wire) + into.enter(now, wire)
        if out.flows:
            self._bulk.notice(out)
        if into.flows:
            self._bulk.notice(into)
        sender.transmit_bytes += wire
        sender.transmit_packets += packets
        dropped = into.loss(now) if into.drop_ratio or into.rate > into.capacity else 0.0
        lost = self._lossy.get((source, target), 0.0) if self._lossy else 0.0
        if dropped or lost:
            return delay + self._recover(sender, receiver, size, packets, lost, dropped)
        receiver.receive_bytes += wire
        receiver.receive_packets += packets
        return delay

    def bulk(
        self, source: str, target: str, size: float, ceiling: float = inf, *, connections: int = 1, rdma: bool = False
    ) -> Signal:
        """Move `size` bytes (as on the wire) at the max-min fair rate, at most `ceiling` bytes per second.

        Args:
            source: and `target`: hosts.
            size: inf for a transfer that only `stop` ends.
            ceiling: of all its connections together.
            connections: fairness is between connections; many of them also lose more where they fill a link.
            rdma: whether it is told by the RDMA counters instead of the kernel's.

        Returns:
            Fires with True when all has arrived.

        Raises:
            KeyError: a host is unknown.
            ValueError: size, ceiling or connections are not positive.
        """
        if size <= 0.0 or ceiling <= 0.0 or connections < 1:
            raise ValueError(f"{size} bytes at up to {ceiling} over {connections} connections is no transfer")
        sender, receiver, signal = self._nics[source], self._nics[target], Signal(self._engine)
        if sender is not receiver:
            self._bulk.start(Flow(sender, receiver, size, ceiling, connections, rdma, signal))
        elif size < inf:
            self._engine.at(self._engine.now + size / min(ceiling, LOCAL_BYTES_PER_SECOND), signal.fire, True)
        return signal

    def stop(self, transfer: Signal) -> None:
        """End a bulk transfer that is under way; its signal never fires. Nothing happens to one that is over."""
        self._bulk.stop(transfer)

    def lose(self, hosts_a: Iterable[str], hosts_b: Iterable[str], ratio: float) -> None:
        """From now on lose this share of the packets between any of these and any of those hosts, both ways.

        Raises:
            KeyError: a host is unknown.
            ValueError: the ratio is not within 0 and 1.
        """
        if not 0.0 <= ratio <= 1.0:
            raise ValueError(f"{ratio} is no share of packets to lose; give one from 0 to 1")
        hosts_b = tuple(hosts_b)
        for a in hosts_a:
            for b in hosts_b:
                for pair in ((a, b), (b, a)):
                    _ = self._nics[pair[0]]
                    self._lossy[pair] = ratio
        self._bulk.touch_all()

    def heal(self, hosts_a: Iterable[str], hosts_b: Iterable[str]) -> None:
        """Lose nothing any more between these and those hosts."""
        hosts_b = tuple(hosts_b)
        for a in hosts_a:
            for b in hosts_b:
                self._lossy.pop((a, b), None)
                self._lossy.pop((b, a), None)
        self._bulk.touch_all()

    def counters(self, host: str) -> NicCounters:
        """What the host has counted up to now. Looking changes nothing.

        Raises:
            KeyError: the host is unknown.
        """
        nic = self._nics[host]
        self._bulk.count((nic.out, nic.into))
        return nic.counters()

    @property
    def lost_bytes(self) -> int:
        """Bytes that were sent and never counted as received: all that hosts sent is what they received and this."""
        return self._lost_bytes + self._bulk.count()

    def _path_loss(self, source: str, target: str) -> float:
        return self._lossy.get((source, target), 0.0)

    def _recover(self, sender: Nic, receiver: Nic, size: int, packets: int, lost: float, dropped: float) -> float:
        """Count a message that may lose packets; the seconds that this takes it longer."""
        loss = 1.0 - (1.0 - lost) * (1.0 - dropped)
        delay, lost_packets, lost_bytes, timeouts, arrived = recover(self._rng, size, packets, loss)
        wire = size + HEADER_BYTES * packets
        again = lost_packets if arrived else lost_packets - packets
        sender.transmit_bytes += lost_bytes if arrived else lost_bytes - wire
        sender.transmit_packets += again
        sender.segments_retransmitted += again
        sender.timeouts += timeouts
        receiver.receive_drops += _part(self._rng, lost_packets, (1.0 - lost) * dropped / loss)
        self._lost_bytes += lost_bytes
        if arrived:
            receiver.receive_bytes += wire
            receiver.receive_packets += packets
        return delay


def _part(rng: random.Random, count: int, share: float) -> int:
    """How many of so many, each with that probability."""
    if share in (0.0, 1.0):
        return int(count * share)
    return sum(rng.random() < share for _ in range(count))
