"""Large transfers as fluid: each has its max-min fair rate until something changes, and ends at the exact time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf

from foreshock_simulator.core.engine import (Engine, Signal)
from foreshock_simulator.network.fair import Demand, max_min
from foreshock_simulator.network.nic import BUFFER_BYTES, WINDOW, Link, Nic
from foreshock_simulator.network.path import (
    PACKET_BYTES,
    RDMA_PACKET_BYTES,
    congestion_loss,
    rdma_ceiling,
    tcp_ceiling,
)

LEAST_SHARE = 0.1
"""Of a link's capacity, that flows keep however many messages there are."""
NOTICEABLE = 0.01
"""Share of a link's capacity by which the rate of messages must change before flows' rates are computed again."""


class Flow:
    """A transfer. `moved` bytes had arrived at `since`; from then on it moves at `rate`, and loses packets beside."""

    __slots__ = (
        "ceiling", "connections", "counted", "counted_drops", "counted_lost", "drop_ratio", "drops", "lost",
        "lost_ratio", "moved", "rate", "rdma", "round", "signal", "since", "size", "source", "target",
    )  # fmt: skip

    def __init__(
        self, source: Nic, target: Nic, size: float, ceiling: float, connections: int, rdma: bool, signal: Signal
    ) -> None:
        self.source, self.target, self.size = source, target, size
        self.ceiling, self.connections, self.rdma, self.signal = ceiling, connections, rdma, signal
        self.rate = self.since = self.moved = 0.0
        self.lost_ratio = self.drop_ratio = 0.0
        """Packets lost, and of these dropped by the receiver's side, for each that arrives."""
        self.lost = self.drops = 0.0
        """Packets lost and dropped until `since`."""
        self.counted = self.counted_lost = self.counted_drops = 0
        self.round = 0

    @property
    def packet_bytes(self) -> int:
        """On the wire."""
        return RDMA_PACKET_BYTES if self.rdma else PACKET_BYTES

    def moved_at(self, now: float) -> float:
        """Bytes that have arrived."""
        return min(self.moved + self.rate * (now - self.since), self.size)

    def change(self, now: float, rate: float, lost_ratio: float, drop_ratio: float) -> None:
        """Go on at another rate."""
        moved = self.moved_at(now)
        packets = (moved - self.moved) / self.packet_bytes
        self.lost += packets * self.lost_ratio
        self.drops += packets * self.drop_ratio
        self.moved, self.since = moved, now
        self.rate, self.lost_ratio, self.drop_ratio = rate, lost_ratio, drop_ratio
        self.round += 1

    def count(self, now: float) -> int:
        """Add what has moved since the last time to the interfaces' counters; the bytes lost on the way meanwhile.

        Both ends get the same whole bytes, so that they add up whenever one looks; looking changes nothing else.
        """
        packets = (self.moved_at(now) - self.moved) / self.packet_bytes
        moved = int(self.moved_at(now))
        lost, drops = int(self.lost + packets * self.lost_ratio), int(self.drops + packets * self.drop_ratio)
        arrived = _packets(moved, self.packet_bytes) - _packets(self.counted, self.packet_bytes)
        more, again, dropped = moved - self.counted, lost - self.counted_lost, drops - self.counted_drops
        self.counted, self.counted_lost, self.counted_drops = moved, lost, drops
        source, target = self.source, self.target
        if self.rdma:
            source.rdma_transmit_bytes += more + again * self.packet_bytes
            source.rdma_transmit_packets += arrived + again
            target.rdma_receive_bytes += more
            target.rdma_receive_packets += arrived
            target.rdma_out_of_sequence += again
        else:
            source.transmit_bytes += more + again * self.packet_bytes
            source.transmit_packets += arrived + again
            source.segments_retransmitted += again
            target.receive_bytes += more
            target.receive_packets += arrived
            target.receive_drops += dropped
        return again * self.packet_bytes


class Bulk:
    """All transfers. `path_loss(source, target)` is the share of packets that the path between two hosts loses."""

    __slots__ = ("_by_signal", "_dirty", "_engine", "_lost_bytes", "_path_loss")

    def __init__(self, engine: Engine, path_loss: Callable[[str, str], float]) -> None:
        self._engine = engine
        self._path_loss = path_loss
        self._by_signal: dict[Signal, Flow] = {}
        self._dirty: dict[Link, None] = {}
        self._lost_bytes = 0

    def start(self, flow: Flow) -> None:
        """Begin a transfer."""
        self._by_signal[flow.signal] = flow
        flow.since = self._engine.now
        for link in (flow.source.out, flow.target.into):
            link.flows[flow] = None
            self.touch(link)

    def stop(self, signal: Signal) -> None:
        """End a transfer that is under way, where it is; what has moved stays counted, and the signal never fires."""
        if (flow := self._by_signal.pop(signal, None)) is None:
            return
        self._lost_bytes += flow.count(self._engine.now)
        flow.round += 1
        for link in (flow.source.out, flow.target.into):
            del link.flows[flow]
            link.flow_rate = sum(other.rate for other in link.flows)
            self.touch(link)

    def touch(self, link: Link) -> None:
        """Compute the rates again, once for all that changes at this instant."""
        if not self._dirty:
            self._engine.at(self._engine.now, self._solve)
        self._dirty[link] = None

    def notice(self, link: Link) -> None:
        """Let the flows of a link make room for messages where their rate has changed; called at each message."""
        if abs(link.message_rate(self._engine.now) - link.assumed) > NOTICEABLE * link.capacity:
            self.touch(link)

    def touch_all(self) -> None:
        """Compute all rates again, because a path changed."""
        for flow in self._by_signal.values():
            self.touch(flow.source.out)

    def count(self, links: Iterable[Link] | None = None) -> int:
        """Bring the counters up to now, of the flows over these links (all: None); the bytes lost so far by flows."""
        flows = self._by_signal.values() if links is None else dict.fromkeys(f for link in links for f in link.flows)
        for flow in flows:
            self._lost_bytes += flow.count(self._engine.now)
        return self._lost_bytes

    def _solve(self, _: object) -> None:
        now = self._engine.now
        flows, links = _component(self._dirty)
        self._dirty = {}
        for link in links:
            link.assumed = link.message_rate(now)
            self._watch(link)
        room = {link: max(link.capacity - link.assumed, LEAST_SHARE * link.capacity) for link in links}
        demands = [self._demand(flow) for flow in flows]
        rates = max_min(demands, room)
        for link in links:
            link.flow_rate, link.drop_ratio = 0.0, 0.0
        for flow, rate in zip(flows, rates, strict=True):
            flow.source.out.flow_rate += rate
            flow.target.into.flow_rate += rate
        pressing: dict[Link, int] = {}
        for flow, rate, demand in zip(flows, rates, demands, strict=True):
            into = flow.target.into
            if not flow.rdma and rate < demand.ceiling and into.flow_rate >= room[into] * (1.0 - 1e-9):
                pressing[into] = pressing.get(into, 0) + flow.connections
        for link, connections in pressing.items():
            link.drop_ratio = congestion_loss(connections, link.capacity, BUFFER_BYTES)
        for flow, rate in zip(flows, rates, strict=True):
            self._set(flow, rate)

    def _demand(self, flow: Flow) -> Demand[Link]:
        links, ceiling = (flow.source.out, flow.target.into), flow.ceiling
        if loss := self._path_loss(flow.source.host, flow.target.host):
            slowest = min(link.capacity for link in links)
            reached = rdma_ceiling(slowest, loss) if flow.rdma else tcp_ceiling(flow.connections, loss)
            ceiling = 0.0 if loss >= 1.0 else min(ceiling, reached)
        return Demand(links, ceiling, flow.connections)

    def _set(self, flow: Flow, rate: float) -> None:
        kept_by_path = 1.0 - self._path_loss(flow.source.host, flow.target.host)
        kept_by_port = 1.0 if flow.rdma else 1.0 - flow.target.into.drop_ratio
        kept = kept_by_path * kept_by_port
        lost = (1.0 - kept) / kept if kept else 0.0
        dropped = (1.0 - kept_by_port) / kept_by_port
        if (rate, lost, dropped) == (flow.rate, flow.lost_ratio, flow.drop_ratio):
            return
        now = self._engine.now
        flow.change(now, rate, lost, dropped)
        if rate > 0.0 and flow.size < inf:
            self._engine.at(now + (flow.size - flow.moved) / rate, self._arrive, (flow, flow.round))

    def _arrive(self, what: tuple[Flow, int]) -> None:
        flow, round_ = what
        if flow.round != round_:
            return
        flow.change(self._engine.now, 0.0, 0.0, 0.0)
        flow.moved = flow.size
        self.stop(flow.signal)
        flow.signal.fire(True)

    def _watch(self, link: Link) -> None:
        """Look again in a while whether messages have become fewer: then none may come that would tell."""
        if not link.watched and link.flows and link.assumed > NOTICEABLE * link.capacity:
            link.watched = True
            self._engine.at(self._engine.now + WINDOW, self._look, link)

    def _look(self, link: Link) -> None:
        link.watched = False
        self.notice(link)
        self._watch(link)


def _component(links: Iterable[Link]) -> tuple[list[Flow], list[Link]]:
    """All flows that share a link with one that shares a link … with these, and all their links."""
    flows: dict[Flow, None] = {}
    found = dict.fromkeys(links)
    todo = list(found)
    while todo:
        for flow in todo.pop().flows:
            if flow not in flows:
                flows[flow] = None
                for link in (flow.source.out, flow.target.into):
                    if link not in found:
                        found[link] = None
                        todo.append(link)
    return list(flows), list(found)


def _packets(moved: int, packet_bytes: int) -> int:
    return -(-moved // packet_bytes)
