"""Bulk transfers as fluid flows: each has its max-min fair rate until a change, and ends at the exact time."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from math import inf
from typing import Generic, NamedTuple, TypeVar

from foreshock_simulator.core.engine import Engine, Signal
from foreshock_simulator.network.nic import BUFFER_BYTES, RATE_WINDOW_SECONDS, Flow, Link
from foreshock_simulator.network.path import congestion_loss, rdma_ceiling, tcp_ceiling

MIN_FLOW_RATIO = 0.1
"""Share of a link's capacity that messages leave to flows."""
RATE_CHANGE_RATIO = 0.01
"""Change of the message rate, as a share of the capacity, at which flow rates are recomputed."""
L = TypeVar("L", bound=Hashable)


class Demand(NamedTuple, Generic[L]):
    """The demand of a flow: its links, its maximum rate, and its weight (an integer, so that sums are exact)."""

    links: tuple[L, ...]
    ceiling: float
    weight: int


def max_min_rates(demands: Sequence[Demand[L]], capacities: Mapping[L, float]) -> list[float]:
    """Weighted max-min fair rate of each flow, in the unit of the capacities.

    The level (rate per weight) of all flows rises together. A flow stops at its ceiling, or when one of its links is
    full (Bertsekas and Gallager, "Data Networks", 2nd edition, section 6.5.2).
    """
    rates = [0.0] * len(demands)
    left = dict(capacities)
    weights = dict.fromkeys(capacities, 0)
    rising = dict.fromkeys(range(len(demands)))
    for demand in demands:
        for link in demand.links:
            weights[link] += demand.weight
    while rising:
        full, level = None, min(demands[flow].ceiling / demands[flow].weight for flow in rising)
        for link, weight in weights.items():
            if weight and left[link] < level * weight:
                full, level = link, left[link] / weight
        if full is None:
            done = [flow for flow in rising if demands[flow].ceiling / demands[flow].weight <= level]
        else:
            done = [flow for flow in rising if full in demands[flow].links]
        for flow in done:
            demand = demands[flow]
            rates[flow] = demand.ceiling if full is None else level * demand.weight
            del rising[flow]
            for link in demand.links:
                left[link] = max(left[link] - rates[flow], 0.0)
                weights[link] -= demand.weight
    return rates


class BulkTransfers:
    """All bulk transfers. `path_loss(source, target)` is the share of packets lost between two hosts."""

    def __init__(self, engine: Engine, path_loss: Callable[[str, str], float]) -> None:
        self._engine = engine
        self._path_loss = path_loss
        self._by_signal: dict[Signal, Flow] = {}
        self._changed_links: dict[Link, None] = {}
        self._lost_bytes = 0

    def start(self, flow: Flow) -> None:
        """Start a transfer."""
        self._by_signal[flow.signal] = flow
        flow.since = self._engine.now
        for link in (flow.source.out, flow.target.into):
            link.flows[flow] = None
            self.recompute(link)

    def stop(self, signal: Signal) -> None:
        """Stop a running transfer; its signal never fires. No effect on one that has ended."""
        if (flow := self._by_signal.pop(signal, None)) is None:
            return
        self._lost_bytes += flow.count(self._engine.now)
        flow.version += 1
        for link in (flow.source.out, flow.target.into):
            del link.flows[flow]
            link.flow_rate = sum(other.rate for other in link.flows)
            self.recompute(link)

    def recompute(self, link: Link) -> None:
        """Recompute the rates at the end of this instant, once for all changes."""
        if not self._changed_links:
            self._engine.schedule(self._engine.now, self._solve)
        self._changed_links[link] = None

    def check_message_rate(self, link: Link) -> None:
        """Recompute the rates of a link's flows if the message rate has changed; called at each message."""
        if abs(link.message_rate(self._engine.now) - link.assumed_rate) > RATE_CHANGE_RATIO * link.capacity:
            self.recompute(link)

    def recompute_all(self) -> None:
        """Recompute all rates after a change of a path."""
        for flow in self._by_signal.values():
            self.recompute(flow.source.out)

    def count(self, links: Iterable[Link] | None = None) -> int:
        """Update the counters for the flows on some links (None: all); returns the bytes lost so far by all flows."""
        flows = self._by_signal.values() if links is None else dict.fromkeys(f for link in links for f in link.flows)
        for flow in flows:
            self._lost_bytes += flow.count(self._engine.now)
        return self._lost_bytes

    def _solve(self, _: object) -> None:
        now = self._engine.now
        flows, links = _connected(self._changed_links)
        self._changed_links = {}
        for link in links:
            link.assumed_rate = link.message_rate(now)
            self._schedule_recheck(link)
        available = {link: max(link.capacity - link.assumed_rate, MIN_FLOW_RATIO * link.capacity) for link in links}
        demands = [self._demand(flow) for flow in flows]
        rates = max_min_rates(demands, available)
        for link in links:
            link.flow_rate, link.drop_ratio = 0.0, 0.0
        for flow, rate in zip(flows, rates, strict=True):
            flow.source.out.flow_rate += rate
            flow.target.into.flow_rate += rate
        congested: dict[Link, int] = {}
        for flow, rate, demand in zip(flows, rates, demands, strict=True):
            into = flow.target.into
            if not flow.rdma and rate < demand.ceiling and into.flow_rate >= available[into] * (1.0 - 1e-9):
                congested[into] = congested.get(into, 0) + flow.connections
        for link, connections in congested.items():
            link.drop_ratio = congestion_loss(connections, link.capacity, BUFFER_BYTES)
        for flow, rate in zip(flows, rates, strict=True):
            self._set_rate(flow, rate)

    def _demand(self, flow: Flow) -> Demand[Link]:
        links, ceiling = (flow.source.out, flow.target.into), flow.ceiling
        if loss := self._path_loss(flow.source.host, flow.target.host):
            min_capacity = min(link.capacity for link in links)
            loss_ceiling = rdma_ceiling(min_capacity, loss) if flow.rdma else tcp_ceiling(flow.connections, loss)
            ceiling = 0.0 if loss >= 1.0 else min(ceiling, loss_ceiling)
        return Demand(links, ceiling, flow.connections)

    def _set_rate(self, flow: Flow, rate: float) -> None:
        path_delivery = 1.0 - self._path_loss(flow.source.host, flow.target.host)
        port_delivery = 1.0 if flow.rdma else 1.0 - flow.target.into.drop_ratio
        delivery = path_delivery * port_delivery
        lost = (1.0 - delivery) / delivery if delivery else 0.0
        dropped = (1.0 - port_delivery) / port_delivery
        if (rate, lost, dropped) == (flow.rate, flow.lost_ratio, flow.drop_ratio):
            return
        now = self._engine.now
        flow.change(now, rate, lost, dropped)
        if rate > 0.0 and flow.size < inf:
            self._engine.schedule(now + (flow.size - flow.moved) / rate, self._arrive, (flow, flow.version))

    def _arrive(self, flow_version: tuple[Flow, int]) -> None:
        flow, version = flow_version
        if flow.version != version:
            return
        flow.change(self._engine.now, 0.0, 0.0, 0.0)
        flow.moved = flow.size
        self.stop(flow.signal)
        flow.signal.fire(True)

    def _schedule_recheck(self, link: Link) -> None:
        """Schedule a check for a fallen message rate, which no further message would trigger."""
        if not link.recheck_scheduled and link.flows and link.assumed_rate > RATE_CHANGE_RATIO * link.capacity:
            link.recheck_scheduled = True
            self._engine.schedule(self._engine.now + RATE_WINDOW_SECONDS, self._recheck, link)

    def _recheck(self, link: Link) -> None:
        link.recheck_scheduled = False
        self.check_message_rate(link)
        self._schedule_recheck(link)


def _connected(links: Iterable[Link]) -> tuple[list[Flow], list[Link]]:
    """The connected component of some links: all flows and links that share a link, directly or through others."""
    flows: dict[Flow, None] = {}
    component = dict.fromkeys(links)
    todo = list(component)
    while todo:
        for flow in todo.pop().flows:
            if flow not in flows:
                flows[flow] = None
                for link in (flow.source.out, flow.target.into):
                    if link not in component:
                        component[link] = None
                        todo.append(link)
    return list(flows), list(component)
