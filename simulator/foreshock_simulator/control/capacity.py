"""Pools of GPUs: allocation to replicas, pending claims, and provisioning of nodes."""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

from foreshock_simulator.core.engine import Engine, Signal
from foreshock_simulator.spec.platform import Place, PoolSpec

NODE_IDLE_SECONDS = 600.0
"""Idle time after which a node is removed (scale-down-unneeded-time of the cluster autoscaler)."""

PROVISIONING_SIGMA = 0.279
"""Sigma of the log-normal provisioning time of a node. With a median of 380 s, 90% take 4 to 10 minutes, the range that
is reported for GPU nodes of autoscalers: ln(600 / 240) / (2 · 1.645)."""


class Quota(NamedTuple):
    """The quota of a pool: allowed GPUs and used GPUs."""

    hard: int
    used: int


def provisioning_seconds(rng: random.Random, median: float) -> float:
    """Time to provision a node: log-normal about the median."""
    return median * math.exp(rng.gauss(0.0, PROVISIONING_SIGMA))


@dataclass(slots=True, eq=False)
class _Claim:
    gpus: int
    signal: Signal
    places: tuple[Place, ...] = ()


@dataclass(slots=True, eq=False)
class _Pool:
    spec: PoolSpec
    held: dict[Place, int]
    available_until: dict[Place, float]
    """When the node of a GPU is removed; infinite while it is held, -inf before it is provisioned."""
    queue: deque[_Claim] = field(default_factory=deque)
    provisioning: dict[_Claim, None] = field(default_factory=dict)

    @property
    def used(self) -> int:
        return sum(self.held.values())

    @property
    def quota(self) -> int:
        total = len(self.spec.places) * self.spec.slots
        return total if self.spec.quota is None else min(self.spec.quota, total)


class Capacity:
    """The pools of a platform. Claims of a pool are granted in order of arrival, whatever their size.

    A claim gets the emptiest GPUs of one host, and among those first the ones with a node. Each GPU is a node of its
    own. In a pool with `provisioning` above 0, a GPU idle for `NODE_IDLE_SECONDS` must be provisioned first, and counts
    against the quota meanwhile. A claim beyond the quota stays pending.
    """

    def __init__(self, engine: Engine, pools: Iterable[PoolSpec], rng: random.Random) -> None:
        self._engine = engine
        self._rng = rng
        self._pools = {
            spec.name: _Pool(
                spec,
                dict.fromkeys(spec.places, 0),
                dict.fromkeys(spec.places, -inf if spec.provisioning > 0.0 else inf),
            )
            for spec in pools
        }

    def allocate(self, pool: str, gpus: int) -> tuple[Place, ...]:
        """Allocate GPUs for a replica that runs from the start, at once and with their nodes.

        Raises:
            KeyError: unknown pool.
            ValueError: not enough room.
        """
        state = self._pools[pool]
        places = self._choose(state, gpus)
        if places is None:
            raise ValueError(
                f"pool {pool!r}: no room for {gpus} more GPUs on one host ({state.used} of {state.quota} are held); "
                "lower the replicas or raise quota, places or slots"
            )
        self._hold(state, places)
        return places

    def claim(self, pool: str, gpus: int) -> Signal:
        """Claim GPUs of one host.

        Returns:
            Fires with a tuple of `Place` when the GPUs are available.

        Raises:
            KeyError: unknown pool.
            ValueError: less than one GPU.
        """
        if gpus < 1:
            raise ValueError(f"a claim of {gpus} GPUs of pool {pool!r} is none")
        state, claim = self._pools[pool], _Claim(gpus, Signal(self._engine))
        state.queue.append(claim)
        self._grant(state)
        return claim.signal

    def withdraw(self, pool: str, signal: Signal) -> None:
        """Withdraw a pending claim; its signal then never fires. No effect on a granted one."""
        state = self._pools[pool]
        for claim in (*state.queue, *state.provisioning):
            if claim.signal is signal:
                if claim.places:
                    del state.provisioning[claim]
                    self.release(pool, claim.places)
                else:
                    state.queue.remove(claim)
                    self._grant(state)
                return

    def release(self, pool: str, places: Sequence[Place]) -> None:
        """Release GPUs. Their nodes stay for `NODE_IDLE_SECONDS`.

        Raises:
            ValueError: a GPU is not held.
        """
        state = self._pools[pool]
        for place in places:
            if not state.held.get(place):
                raise ValueError(f"{place} of pool {pool!r} is released and not held")
            state.held[place] -= 1
            if not state.held[place] and state.spec.provisioning > 0.0 and state.available_until[place] == inf:
                state.available_until[place] = self._engine.now + NODE_IDLE_SECONDS
        self._grant(state)

    def quotas(self) -> dict[str, Quota]:
        """Quotas and their use, by pool."""
        return {name: Quota(state.quota, state.used) for name, state in self._pools.items()}

    def _grant(self, pool: _Pool) -> None:
        while pool.queue:
            claim = pool.queue[0]
            places = self._choose(pool, claim.gpus)
            if places is None:
                return
            pool.queue.popleft()
            claim.places = places
            if all(self._has_node(pool, place) for place in places):
                self._hold(pool, places)
                claim.signal.fire(places)
            else:
                for place in places:
                    pool.held[place] += 1
                pool.provisioning[claim] = None
                delay = provisioning_seconds(self._rng, pool.spec.provisioning)
                self._engine.schedule(self._engine.now + delay, self._finish_provisioning, (pool, claim))

    def _finish_provisioning(self, pool_and_claim: tuple[_Pool, _Claim]) -> None:
        pool, claim = pool_and_claim
        if claim in pool.provisioning:
            del pool.provisioning[claim]
            for place in claim.places:
                pool.available_until[place] = inf
            claim.signal.fire(claim.places)

    def _hold(self, pool: _Pool, places: Iterable[Place]) -> None:
        for place in places:
            pool.held[place] += 1
            pool.available_until[place] = inf

    def _has_node(self, pool: _Pool, place: Place) -> bool:
        return pool.available_until[place] >= self._engine.now

    def _choose(self, pool: _Pool, gpus: int) -> tuple[Place, ...] | None:
        """The best GPUs of one host: those with a node first, then the emptiest, then in the order of the pool.

        None beyond the quota, or without a host that has enough.
        """
        if pool.used + gpus > pool.quota:
            return None
        rank = {
            place: (not self._has_node(pool, place), held, order)
            for order, (place, held) in enumerate(pool.held.items())
            if held < pool.spec.slots
        }
        hosts: dict[str, list[Place]] = {}
        for place in sorted(rank, key=rank.__getitem__):
            hosts.setdefault(place.host, []).append(place)
        sets = [tuple(places[:gpus]) for places in hosts.values() if len(places) >= gpus]
        return min(sets, key=lambda places: [rank[place] for place in reversed(places)], default=None)
